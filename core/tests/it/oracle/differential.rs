//! Two servers are told the same, command by command and in pipelines, and must answer the same.

use std::collections::BTreeSet;

use super::compare::{comparable, differs_by_design, shown, word};
use super::env_number;
use super::generate::{Generator, Request};
use super::process::Server;
use super::wire::{Connection, Peer, Value, request};

/// How far a time may differ that was counted from the arrival of a command.
const SLACK_MS: i64 = 60_000;
/// Commands between two comparisons of all keys.
const COMMANDS_PER_SCAN: u64 = 500;
/// Pipelines up to so many bytes are sent byte by byte now and then.
const BYTES_ALONE_MAX: usize = 2_000;

/// Tells both servers, which are empty, the same random commands; the first difference is the error.
pub(super) fn differential(mut pair: [&mut dyn Peer; 2], seed: u64, commands: u64) -> Result<(), String> {
    let mut generator = Generator::new(seed);
    let mut number = 0;
    while number < commands {
        let hello =
            vec![b"hello".to_vec(), if generator.below(2) == 0 { b"2".to_vec() } else { b"3".to_vec() }];
        for connection in &mut pair {
            connection.ask(&hello);
        }
        for _ in 0..COMMANDS_PER_SCAN.div_ceil(8) {
            let pipeline = pipeline(&mut generator);
            let bytes: Vec<u8> = pipeline.iter().flat_map(|command| request(command)).collect();
            for piece in pieces(&mut generator, &bytes) {
                for connection in &mut pair {
                    connection.send(piece);
                }
            }
            for command in &pipeline {
                let [left, right] = pair.each_mut().map(|peer| comparable(command, peer.reply()));
                if !same(command, &left, &right) {
                    let command = shown(command);
                    return Err(format!(
                        "seed {seed}, about command {number}: {command}: {left:?} and {right:?}"
                    ));
                }
                number += 1;
            }
        }
        let [left, right] = pair.each_mut().map(|peer| keys(&mut **peer));
        if left != right {
            return Err(format!("seed {seed}, after {number} commands: keys {left:?} and {right:?}"));
        }
    }
    Ok(())
}

fn pipeline(generator: &mut Generator) -> Vec<Request> {
    let mut pipeline = Vec::new();
    for _ in 0..1 + generator.below(16) {
        let command = generator.command();
        if word(&command, 0) == b"dbsize" {
            // The oracle counts keys that have expired until it meets them.
            let scan: [&[u8]; 4] = [b"scan", b"0", b"count", b"10000"];
            pipeline.push(scan.map(<[u8]>::to_vec).to_vec());
        }
        if is_comparable(&command) {
            pipeline.push(command);
        }
    }
    pipeline
}

/// The bytes as they are sent: mostly at once, sometimes in a few pieces, now and then every byte alone.
fn pieces<'b>(generator: &mut Generator, bytes: &'b [u8]) -> Vec<&'b [u8]> {
    let longest = match generator.below(256) {
        0 if bytes.len() <= BYTES_ALONE_MAX => return bytes.chunks(1).collect(),
        0..16 => bytes.len(),
        _ => return vec![bytes],
    };
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((1 + generator.below(longest)).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

fn is_comparable(command: &Request) -> bool {
    // The first key, how many arguments hold keys, and how far they are from one another.
    let (first, most, step) = match word(command, 0).as_slice() {
        b"mset" | b"msetnx" => (1, usize::MAX, 2),
        b"rename" | b"renamenx" | b"copy" => (1, 2, 1),
        b"bitop" => (2, usize::MAX, 1),
        _ => (0, 0, 1),
    };
    let mut keys = command.iter().skip(first).take(most).step_by(step);
    let crossing = keys.any(|key| !key.starts_with(b"{a}"));
    !crossing && !differs_by_design(command)
}

fn same(command: &Request, left: &Value, right: &Value) -> bool {
    match (word(command, 0).as_slice(), left, right) {
        (b"ttl" | b"expiretime", Value::Int(left), Value::Int(right)) => near(*left, *right, SLACK_MS / 1000),
        (b"pttl" | b"pexpiretime", Value::Int(left), Value::Int(right)) => near(*left, *right, SLACK_MS),
        // The order of keys is each server's own.
        (b"scan", Value::Array(left), Value::Array(right)) => left.len() == right.len(),
        _ => left == right,
    }
}

fn near(left: i64, right: i64, slack: i64) -> bool {
    (left < 0) == (right < 0) && left.abs_diff(right) <= if left < 0 { 0 } else { slack as u64 }
}

/// All keys, by a whole scan.
fn keys(connection: &mut dyn Peer) -> BTreeSet<Value> {
    let (mut found, mut cursor) = (BTreeSet::new(), b"0".to_vec());
    loop {
        let page = connection.ask(&[b"scan".to_vec(), cursor, b"count".to_vec(), b"3".to_vec()]);
        let Value::Array(parts) = page else { panic!("no page: {page:?}") };
        let [Value::Bulk(next), Value::Array(keys)] = parts.as_slice() else { panic!("no page: {parts:?}") };
        found.extend(keys.iter().cloned());
        if next == b"0" {
            return found;
        }
        cursor = next.clone();
    }
}

/// The comparison itself: it is silent about equal servers, and speaks up about others.
#[test]
fn the_comparison_finds_what_differs() {
    let (Some(a), Some(b)) = (Server::redis(&[]), Server::redis(&[])) else { return };
    let (mut a, mut b) = (Connection::open(a.address).expect("up"), Connection::open(b.address).expect("up"));
    let seed = env_number("PINION_SEED", 1);
    differential([&mut a, &mut b], seed, 3_000).expect("the oracle agrees with itself");
    // Commands that forget all keys may come before the first look at them: one of several attempts must find it.
    let found = (seed..seed + 8).find_map(|seed| {
        for server in [&mut a, &mut b] {
            server.ask(&[b"flushall".to_vec()]);
        }
        b.ask(&[b"set".to_vec(), b"stray".to_vec(), b"1".to_vec()]);
        differential([&mut a, &mut b], seed, 3_000).err()
    });
    println!("{}", found.expect("one of them has a stray key"));
}
