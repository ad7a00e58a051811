//! Who the client is and how it speaks.

use super::{Client, Server};
use crate::command::CommandError;
use crate::resp::{Encoder, Protocol, Request, parse_i64};

/// What clients that ask for a version are told: the one whose replies are given.
const REDIS_VERSION: &str = "7.0.15";
const WRONG_PASSWORD: CommandError<'static> =
    CommandError::Text("WRONGPASS invalid username-password pair or user is disabled.");
/// The only user.
const USER: &[u8] = b"default";

type Answered<'a> = Result<(), CommandError<'a>>;

pub(super) fn ping(request: &Request<'_>, encoder: &mut Encoder<'_>) {
    match request.get(1) {
        None => encoder.simple("PONG"),
        Some(_) if request.len() > 2 => CommandError::Arity("ping").encode(encoder),
        Some(text) => encoder.bulk(text),
    }
}

pub(super) fn select<'a>(request: &Request<'a>, encoder: &mut Encoder<'_>) -> Answered<'a> {
    let index = parse_i64(request.arg(1)).ok_or(CommandError::NotAnInteger)?;
    if i32::try_from(index).is_err() {
        let text = "ERR value is out of range, value must between -2147483648 and 2147483647";
        return Err(CommandError::Text(text));
    }
    if index != 0 {
        return Err(CommandError::Text("ERR SELECT is not allowed in cluster mode"));
    }
    encoder.ok();
    Ok(())
}

pub(super) fn auth<'a>(
    request: &Request<'a>,
    client: &mut Client,
    server: &impl Server,
    out: &mut Vec<u8>,
) -> Answered<'a> {
    let (user, password) = match request.len() {
        2 if server.password().is_none() => {
            return Err(CommandError::Text(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                 configuration is correct?",
            ));
        }
        2 => (USER, request.arg(1)),
        3 => (request.arg(1), request.arg(2)),
        _ => return Err(CommandError::Syntax),
    };
    authenticate(user, password, client, server)?;
    Encoder::new(out, client.protocol).ok();
    Ok(())
}

/// Without a password the default user is let in with any.
fn authenticate<'a>(user: &[u8], password: &[u8], client: &mut Client, server: &impl Server) -> Answered<'a> {
    if user != USER || server.password().is_some_and(|expected| !same(expected, password)) {
        return Err(WRONG_PASSWORD);
    }
    client.authenticated = true;
    Ok(())
}

/// Compares in a time that depends on the length of what the client sent, not on what it got right.
fn same(expected: &[u8], given: &[u8]) -> bool {
    let mut different = u8::from(expected.len() != given.len());
    for (index, byte) in given.iter().enumerate() {
        different |= byte ^ expected.get(index).copied().unwrap_or(!byte);
    }
    std::hint::black_box(different) == 0
}

pub(super) fn hello<'a>(
    request: &Request<'a>,
    client: &mut Client,
    server: &impl Server,
    out: &mut Vec<u8>,
) -> Answered<'a> {
    let mut protocol = client.protocol;
    if let Some(version) = request.get(1) {
        protocol = match parse_i64(version) {
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return Err(CommandError::Text("NOPROTO unsupported protocol version")),
            None => {
                return Err(CommandError::Text("ERR Protocol version is not an integer or out of range"));
            }
        };
        hello_options(request, client, server)?;
    }
    if !client.authenticated {
        return Err(CommandError::Text(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> \
             <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
        ));
    }
    client.protocol = protocol;
    let mut encoder = Encoder::new(out, protocol);
    encoder.map(7);
    encoder.bulk(b"server");
    encoder.bulk(b"redis");
    encoder.bulk(b"version");
    encoder.bulk(REDIS_VERSION.as_bytes());
    encoder.bulk(b"proto");
    encoder.integer(i64::from(protocol.number()));
    encoder.bulk(b"id");
    encoder.integer(client.id as i64);
    encoder.bulk(b"mode");
    encoder.bulk(if server.is_cluster() { b"cluster" } else { b"standalone" });
    encoder.bulk(b"role");
    encoder.bulk(b"master");
    encoder.bulk(b"modules");
    encoder.array(0);
    Ok(())
}

/// Options take effect one by one: what stands before an option in error stays done.
fn hello_options<'a>(request: &Request<'a>, client: &mut Client, server: &impl Server) -> Answered<'a> {
    let mut args = request.args(2);
    while let Some(option) = args.next() {
        if option.eq_ignore_ascii_case(b"auth") && args.len() >= 2 {
            let (user, password) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
            authenticate(user, password, client, server)?;
        } else if option.eq_ignore_ascii_case(b"setname") && args.len() >= 1 {
            rename(args.next().unwrap_or_default(), client)?;
        } else {
            return Err(CommandError::HelloOption(option));
        }
    }
    Ok(())
}

pub(super) fn reset(client: &mut Client, server: &impl Server, out: &mut Vec<u8>) {
    *client = Client::new(client.id, server);
    Encoder::new(out, client.protocol).simple("RESET");
}

pub(super) fn set_name<'a>(request: &Request<'a>, client: &mut Client, out: &mut Vec<u8>) -> Answered<'a> {
    rename(request.arg(2), client)?;
    Encoder::new(out, client.protocol).ok();
    Ok(())
}

/// The longest name of a client, in bytes. Redis has no limit; here 10,000 names take 10 MiB.
const NAME_BYTES_MAX: usize = 1 << 10;

fn rename<'a>(name: &[u8], client: &mut Client) -> Answered<'a> {
    if !name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        let text = "ERR Client names cannot contain spaces, newlines or special characters.";
        return Err(CommandError::Text(text));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(CommandError::Text("ERR Client names cannot be longer than 1024 bytes."));
    }
    client.name.clear();
    client.name.extend_from_slice(name);
    Ok(())
}
