//! Two servers are told the same, command by command and in pipelines, and must answer the same.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::compare::{comparable, differs_by_design, shown, word};
use super::env_number;
use super::generate::{Generator, Request};
use super::process::Server;
use super::wire::{Connection, Value, request};

/// How far a time may differ that was counted from the arrival of a command.
const SLACK_MS: i64 = 5_000;
/// Commands between two comparisons of all keys.
const COMMANDS_PER_SCAN: u64 = 500;

/// Tells both servers, which are empty, the same random commands; the first difference is the error.
pub(super) fn differential(a: SocketAddr, b: SocketAddr, seed: u64, commands: u64) -> Result<(), String> {
    let mut generator = Generator::new(seed);
    let mut pair = [a, b].map(|address| Connection::open(address).expect("it answers"));
    let mut number = 0;
    while number < commands {
        let hello =
            vec![b"hello".to_vec(), if generator.below(2) == 0 { b"2".to_vec() } else { b"3".to_vec() }];
        for connection in &mut pair {
            connection.ask(&hello);
        }
        for _ in 0..COMMANDS_PER_SCAN.div_ceil(8) {
            let pipeline: Vec<Request> =
                (0..1 + generator.below(16)).map(|_| generator.command()).filter(is_comparable).collect();
            let bytes: Vec<u8> = pipeline.iter().flat_map(|command| request(command)).collect();
            for connection in &mut pair {
                connection.send(&bytes);
            }
            for command in &pipeline {
                let [left, right] = pair.each_mut().map(|connection| comparable(command, connection.reply()));
                if !same(command, &left, &right) {
                    let command = shown(command);
                    return Err(format!(
                        "seed {seed}, about command {number}: {command}: {left:?} and {right:?}"
                    ));
                }
                number += 1;
            }
        }
        let [left, right] = pair.each_mut().map(keys);
        if left != right {
            return Err(format!("seed {seed}, after {number} commands: keys {left:?} and {right:?}"));
        }
    }
    Ok(())
}

fn is_comparable(command: &Request) -> bool {
    let crossing = word(command, 0).starts_with(b"mset")
        && command.iter().skip(1).step_by(2).any(|key| !key.starts_with(b"{a}"));
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
fn keys(connection: &mut Connection) -> BTreeSet<Value> {
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
    let seed = env_number("PINION_SEED", 1);
    differential(a.address, b.address, seed, 3_000).expect("the oracle agrees with itself");

    let stray = |command: &str| {
        let mut connection = Connection::open(b.address).expect("it answers");
        connection.ask(&command.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>());
    };
    for address in [a.address, b.address] {
        Connection::open(address).expect("it answers").ask(&[b"flushall".to_vec()]);
    }
    stray("set stray 1");
    let error = differential(a.address, b.address, seed, 3_000).expect_err("one of them has a stray key");
    println!("{error}");
}
