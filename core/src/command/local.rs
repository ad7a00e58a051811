//! Commands that the core of the connection answers at once.

mod connection;
mod help;
mod introspect;

use std::collections::BTreeSet;

use pinion_shard::glob_matches;

use super::action::Local;
use super::error::CommandError;
use super::parse::pattern;
use crate::planted;
use crate::resp::{Encoder, Protocol, Request};

/// What a connection has told about itself, and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its number: unique as long as the server runs.
    pub id: u64,
    /// Its name; empty: none.
    pub name: Vec<u8>,
    /// What it understands.
    pub protocol: Protocol,
    /// Whether it may run commands.
    pub authenticated: bool,
}

impl Client {
    /// A fresh connection; without a password it may do everything at once.
    pub fn new(id: u64, server: &impl Server) -> Client {
        let authenticated = server.password().is_none() || planted::is("password-not-asked");
        Client { id, name: Vec::new(), protocol: Protocol::Resp2, authenticated }
    }
}

/// What the answers depend on besides the connection.
pub trait Server {
    /// The password that clients must give, if any.
    fn password(&self) -> Option<&[u8]>;
    /// Wall time, in microseconds since 1970.
    fn time_us(&self) -> u64;
    /// Whether clients are told that this is a cluster.
    fn is_cluster(&self) -> bool {
        false
    }
    /// Changes settings, given by name: all of them or, with the reason, none.
    fn set(&self, changes: &[(&str, &str)]) -> Result<(), String>;
    /// Hands every setting and its value to `each`, in the order in which CONFIG GET is to show them.
    fn settings(&self, each: &mut dyn FnMut(&str, &str));
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Done {
    /// It stays.
    Open,
    /// It is closed once everything is sent.
    Close,
}

/// Answers `local`, which `request` was resolved to. The reply is appended to `out`, in the protocol that holds after it.
pub fn answer(
    local: Local,
    request: &Request<'_>,
    client: &mut Client,
    server: &impl Server,
    out: &mut Vec<u8>,
) -> Done {
    let mut encoder = Encoder::new(out, client.protocol);
    match local {
        Local::Ping => connection::ping(request, &mut encoder),
        Local::Echo => encoder.bulk(request.arg(1)),
        Local::Hello => refusable(connection::hello(request, client, server, out), client, out),
        Local::Auth => refusable(connection::auth(request, client, server, out), client, out),
        Local::Select => refusable(connection::select(request, &mut encoder), client, out),
        Local::Reset => connection::reset(client, server, out),
        Local::Quit => {
            encoder.ok();
            return Done::Close;
        }
        Local::Command => introspect::all(&mut encoder),
        Local::CommandCount => introspect::count(&mut encoder),
        Local::CommandInfo => introspect::info(request, &mut encoder),
        Local::CommandList => refusable(introspect::list(request, &mut encoder), client, out),
        Local::CommandDocs => introspect::docs(request, &mut encoder),
        Local::CommandGetKeys => refusable(introspect::get_keys(request, false, &mut encoder), client, out),
        Local::CommandGetKeysAndFlags => {
            refusable(introspect::get_keys(request, true, &mut encoder), client, out)
        }
        Local::ClientId => encoder.integer(client.id as i64),
        Local::ClientGetName if client.name.is_empty() => encoder.null(),
        Local::ClientGetName => encoder.bulk(&client.name),
        Local::ClientSetName => refusable(connection::set_name(request, client, out), client, out),
        Local::ConfigGet => refusable(config_get(request, server, &mut encoder), client, out),
        Local::ConfigSet => match config_set(request, server) {
            Ok(()) => encoder.ok(),
            Err(why) => encoder.error(format!("ERR {why}").as_bytes()),
        },
        // Everything that was answered is on the disk.
        Local::LastSave => encoder.integer((server.time_us() / 1_000_000) as i64),
        Local::Shutdown => return Done::Close,
        Local::Time => time(server, &mut encoder),
        Local::CommandHelp => help::write("COMMAND", help::COMMAND, &mut encoder),
        Local::ClientHelp => help::write("CLIENT", help::CLIENT, &mut encoder),
        Local::ObjectHelp => help::write("OBJECT", help::OBJECT, &mut encoder),
        Local::SlowlogHelp => help::write("SLOWLOG", help::SLOWLOG, &mut encoder),
        Local::ConfigHelp => help::write("CONFIG", help::CONFIG, &mut encoder),
    }
    Done::Open
}

/// Answers CLUSTER HELP.
pub fn cluster_help(encoder: &mut Encoder<'_>) {
    help::write("CLUSTER", help::CLUSTER, encoder);
}

fn refusable(result: Result<(), CommandError<'_>>, client: &Client, out: &mut Vec<u8>) {
    if let Err(error) = result {
        error.encode(&mut Encoder::new(out, client.protocol));
    }
}

fn config_get<'a>(
    request: &Request<'a>,
    server: &impl Server,
    encoder: &mut Encoder<'_>,
) -> Result<(), CommandError<'a>> {
    let mut found: Vec<(Vec<u8>, String)> = Vec::new();
    let mut seen: BTreeSet<Vec<u8>> = BTreeSet::new();
    for asked in request.args(2) {
        let folded = pattern(asked)?.to_ascii_lowercase();
        let literal = memchr::memchr3(b'[', b'*', b'?', asked).is_none();
        server.settings(&mut |name, value| {
            // A name comes back as it was asked for.
            let shown = match literal {
                true if asked.eq_ignore_ascii_case(name.as_bytes()) => asked,
                false if glob_matches(&folded, name.as_bytes()) => name.as_bytes(),
                _ => return,
            };
            if seen.insert(shown.to_vec()) {
                found.push((shown.to_vec(), value.to_owned()));
            }
        });
    }
    encoder.map(found.len());
    for (name, value) in found {
        encoder.bulk(&name);
        encoder.bulk(value.as_bytes());
    }
    Ok(())
}

fn config_set(request: &Request<'_>, server: &impl Server) -> Result<(), String> {
    let texts: Vec<String> =
        request.args(2).map(|argument| String::from_utf8_lossy(argument).into_owned()).collect();
    let changes: Vec<(&str, &str)> = texts.chunks_exact(2).map(|pair| (&pair[0][..], &pair[1][..])).collect();
    server.set(&changes)
}

fn time(server: &impl Server, encoder: &mut Encoder<'_>) {
    let time_us = server.time_us();
    encoder.array(2);
    encoder.bulk_integer((time_us / 1_000_000) as i64);
    encoder.bulk_integer((time_us % 1_000_000) as i64);
}

#[cfg(test)]
mod tests;
