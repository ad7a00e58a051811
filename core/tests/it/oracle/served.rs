//! The server itself, over its sockets and disks, against the oracle.

use std::process::Command;

use super::differential::differential;
use super::env_number;
use super::process::{Scratch, Server};
use super::wire::{Connection, Peer, Value};

#[test]
fn the_server_answers_as_the_oracle() {
    let Some(redis) = Server::redis(&[]) else { return };
    let (seed, count) = (env_number("PINION_SEED", 1), env_number("PINION_ORACLE_COMMANDS", 4_000));
    println!(
        "PINION_SEED={seed} PINION_ORACLE_COMMANDS={count} cargo test -p pinion-core --test it oracle::served"
    );
    let scratch = Scratch::new("served");
    let pinion = Server::start(|address| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pinion"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PINION_")) {
            command.env_remove(name);
        }
        command
            .arg("--data-dir")
            .arg(scratch.path().join("data"))
            .args(["--port", &address.port().to_string()]);
        command
    });
    let mut oracle = Connection::open(redis.address).expect("it answers");
    let mut server = Connection::open(pinion.address).expect("it answers");
    if let Err(difference) = differential([&mut oracle, &mut server], seed, count) {
        panic!("{difference}");
    }
}

/// Every command of the oracle is served, or answers that it is not yet.
#[test]
fn every_command_of_the_oracle_is_served_or_comes_later() {
    use pinion_core::command::{LATER, lookup};
    let Some(redis) = Server::redis(&[]) else { return };
    let mut oracle = Connection::open(redis.address).expect("it answers");
    let Value::Array(names) = oracle.ask(&[b"COMMAND".to_vec(), b"LIST".to_vec()]) else { panic!("a list") };
    assert!(names.len() > 200, "{} commands", names.len());
    for name in &names {
        let Value::Bulk(name) = name else { panic!("names are bulks") };
        let text = String::from_utf8_lossy(name).to_ascii_lowercase();
        // Subcommands answer with their container.
        if text.contains('|') {
            continue;
        }
        let later = LATER.binary_search(&&*text).is_ok();
        assert!(later != lookup(name).is_some(), "{text}");
    }
}
