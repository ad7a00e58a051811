//! What is answered without any group: errors and local commands, of one connection held in memory.

use pinion_core::command::{Action, Client, CommandId, Server, answer, resolve};
use pinion_core::resp::{Arguments, Encoder, Limits, Next, Parser, Protocol};

use super::compare::{comparable, differs_by_design, shown};
use super::env_number;
use super::generate::Generator;
use super::process;
use super::wire::{Connection, Peer, Value, request};

/// A server as the oracle is configured.
struct Plain {
    password: Option<&'static str>,
}

impl Server for Plain {
    fn password(&self) -> Option<&[u8]> {
        self.password.map(str::as_bytes)
    }

    fn time_us(&self) -> u64 {
        0
    }

    fn set(&self, _: &[(&str, &str)]) -> Result<(), String> {
        Err("nothing changes here".to_owned())
    }

    fn settings(&self, each: &mut dyn FnMut(&str, &str)) {
        each("appendonly", "no");
        each("save", "");
    }
}

/// What a session said to a request.
enum Said {
    /// The reply.
    Reply,
    /// Nothing: the connection is closed without a word.
    Hung,
    /// Nothing: an owner would answer, to this command.
    Owner(CommandId),
}

struct Session {
    parser: Parser,
    arguments: Arguments,
    server: Plain,
    client: Client,
    out: Vec<u8>,
}

impl Session {
    fn new(password: Option<&'static str>) -> Session {
        let server = Plain { password };
        let client = Client::new(1, &server);
        Session { parser: Parser::new(), arguments: Arguments::new(), server, client, out: Vec::new() }
    }

    /// Runs the whole stream; what was said, request by request, and whether the connection is closed.
    fn run(&mut self, bytes: &[u8]) -> (Vec<Said>, bool) {
        let (mut said, mut start) = (Vec::new(), 0);
        loop {
            let limits = Limits { authenticated: self.client.authenticated, ..Limits::default() };
            let (request, consumed) = match self.parser.next(&bytes[start..], &mut self.arguments, &limits) {
                Next::Request { request, consumed } => (request, consumed),
                Next::Incomplete { .. } => return (said, false),
                Next::Broken { error } => {
                    Encoder::new(&mut self.out, self.client.protocol).protocol_error(error);
                    said.push(Said::Reply);
                    return (said, true);
                }
            };
            start += consumed;
            match resolve(request, self.client.authenticated) {
                Ok((_, Action::Local(local))) => {
                    let done = answer(local, &request, &mut self.client, &self.server, &mut self.out);
                    said.push(Said::Reply);
                    if done == pinion_core::command::Done::Close {
                        return (said, true);
                    }
                }
                Ok((id, _)) => said.push(Said::Owner(id)),
                Err(error) => {
                    error.encode(&mut Encoder::new(&mut self.out, self.client.protocol));
                    if error.closes() {
                        said.push(Said::Hung);
                        return (said, true);
                    }
                    said.push(Said::Reply);
                }
            }
        }
    }
}

/// Errors that depend on rows: a command without one of its own may still meet these at the oracle.
const ROW_ERRORS: &[&str] = &[
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "ERR value is not an integer or out of range",
    "ERR value is not a valid float",
    "ERR no such key",
    "ERR increment would produce NaN or Infinity",
    "ERR increment or decrement would overflow",
    "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
    "ERR invalid expire time in ",
];

fn is_row_error(value: &Value) -> bool {
    matches!(value, Value::Error(text) if ROW_ERRORS.iter().any(|known| text.starts_with(known)))
}

#[test]
fn local_replies_and_errors_are_those_of_the_oracle() {
    let Some(redis) = process::Server::redis(&[]) else { return };
    let (seed, count) = (env_number("PINION_SEED", 1), env_number("PINION_ORACLE_COMMANDS", 20_000));
    println!(
        "PINION_SEED={seed} PINION_ORACLE_COMMANDS={count} cargo test -p pinion-core --test it oracle::session"
    );
    let mut generator = Generator::new(seed);
    let (mut oracle, mut session) =
        (Connection::open(redis.address).expect("it answers"), Session::new(None));
    let (mut compared, mut left_to_owners) = (0, 0);
    for number in 0..count {
        if number % 1000 == 0 {
            let version = if generator.below(2) == 0 { "2" } else { "3" };
            let hello = [b"hello".to_vec(), version.as_bytes().to_vec()];
            oracle.ask(&hello);
            let (_, closed) = session.run(&request(&hello));
            assert!(!closed && session.client.protocol >= Protocol::Resp2);
        }
        let command = generator.command();
        if differs_by_design(&command) {
            continue;
        }
        session.out.clear();
        let (said, closed) = session.run(&request(&command));
        assert!(!closed, "{}", shown(&command));
        let expected = comparable(&command, oracle.ask(&command));
        match said.as_slice() {
            [Said::Reply] => {
                let got = Value::read(&mut session.out.as_slice()).expect("there is a reply");
                assert_eq!(
                    comparable(&command, got),
                    expected,
                    "seed {seed} command {number}: {}",
                    shown(&command)
                );
                compared += 1;
            }
            [Said::Owner(id)] => {
                let error = matches!(expected, Value::Error(_));
                assert!(!error || is_row_error(&expected), "{}: {expected:?} after {id:?}", shown(&command));
                left_to_owners += 1;
            }
            _ => panic!("one request, one reply: {}", shown(&command)),
        }
    }
    println!("{compared} compared, {left_to_owners} left to owners");
    assert!(compared > count / 10 && left_to_owners > count / 10);
}

/// Streams of requests that no owner sees, some broken.
fn stream(generator: &mut Generator) -> Vec<u8> {
    const PARTS: &[&[u8]] = &[
        b"*1\r\n$4\r\nPING\r\n",
        b"*2\r\n$4\r\nECHO\r\n$5\r\nab\r\nc\r\n",
        b"PING 'a b' \r\n",
        b"ECHO \"\\x41\\n'\"\r\n",
        b"\r\n*0\r\n*-3\r\n",
        b"*2\r\n$4\r\nECHO\r\n$12\r\n0123456789ab\r\n",
        b"*3\r\n$4\r\nAUTH\r\n$1\r\na\r\n$6\r\nsecret\r\n",
        b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n",
        b"CLIENT GETNAME\nCLIENT SETNAME me\n",
        b"QUIT\r\n",
        b"HELLO 3 AUTH default secret\r\nRESET\r\n",
        b"*11\r\n$4\r\nECHO\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n$1\r\n6\r\n$1\r\n7\r\n$1\r\n8\r\n$1\r\n9\r\n$1\r\n0\r\n",
        b"*1\r\n$16385\r\n",
        b"POST / HTTP/1.1\r\n",
    ];
    const MARKS: &[u8] = b"\r\n$*-019 \"'x\0\xff";
    let mut bytes = Vec::new();
    for _ in 0..1 + generator.below(5) {
        // The last two break nearly everything: they are rare.
        let rare = if generator.below(8) == 0 { 0 } else { 5 };
        bytes.extend_from_slice(PARTS[generator.below(PARTS.len() - rare)]);
    }
    for _ in 0..generator.below(3) {
        let (at, mark) = (generator.below(bytes.len()), MARKS[generator.below(MARKS.len())]);
        match generator.below(3) {
            0 => bytes[at] = mark,
            1 => bytes.insert(at, mark),
            _ => drop(bytes.remove(at)),
        }
        if bytes.is_empty() {
            bytes.push(mark);
        }
    }
    bytes
}

/// Numbers of connections are the only thing in these replies that differs.
fn without_ids(bytes: &[u8]) -> Vec<u8> {
    let mark = b"$2\r\nid\r\n:";
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(mark.len()).position(|window| window == mark) {
        out.extend_from_slice(&rest[..at + mark.len()]);
        rest = &rest[at + mark.len()..];
        rest = &rest[rest.iter().position(|byte| *byte == b'\r').expect("a number has an end")..];
    }
    out.extend_from_slice(rest);
    out
}

#[test]
fn broken_streams_end_as_they_do_at_the_oracle() {
    let Some(open) = process::Server::redis(&[]) else { return };
    let Some(locked) = process::Server::redis(&["--requirepass", "secret"]) else { return };
    let (seed, count) = (env_number("PINION_SEED", 1), env_number("PINION_ORACLE_STREAMS", 2_000));
    println!(
        "PINION_SEED={seed} PINION_ORACLE_STREAMS={count} cargo test -p pinion-core --test it broken_streams"
    );
    let mut generator = Generator::new(seed);
    let (mut errors, mut skipped) = (0, 0);
    for number in 0..count {
        let bytes = stream(&mut generator);
        let (server, password) = if number % 2 == 0 { (&open, None) } else { (&locked, Some("secret")) };
        let mut session = Session::new(password);
        let (said, _) = session.run(&bytes);
        if said.iter().any(|said| matches!(said, Said::Owner(_))) {
            skipped += 1;
            continue;
        }
        let expected = Connection::open(server.address).expect("it answers").exchange(&bytes);
        if matches!(said.last(), Some(Said::Hung)) {
            // The oracle also forgets replies that it has not sent.
            assert!(expected.is_empty() || session.out.starts_with(&expected), "{}", bytes.escape_ascii());
            continue;
        }
        errors += u64::from(expected.windows(14).any(|window| window == b"Protocol error"));
        assert_eq!(
            without_ids(&session.out).escape_ascii().to_string(),
            without_ids(&expected).escape_ascii().to_string(),
            "seed {seed} stream {number}: {}",
            bytes.escape_ascii()
        );
    }
    println!("{count} streams, {errors} with protocol errors, {skipped} skipped");
    assert!(errors > count / 20 && skipped < count / 10);
}
