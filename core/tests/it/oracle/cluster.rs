//! CLUSTER of a server in cluster mode, against an oracle in cluster mode that serves all slots.

use std::process::Command;

use super::process::{Scratch, Server};
use super::wire::{Connection, Peer, Value};

fn request(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

/// A text without what names this server: its id, its address, its epochs.
fn masked_text(bytes: &[u8], port: u16) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let words = text.split_inclusive([' ', '\n']).map(|word| {
        let (own, end) = word.split_at(word.trim_end().len());
        let bare = match own {
            id if id.trim_start_matches("txt:").len() == 40 => "ID",
            address if address.contains(&format!(":{port}@")) => "ADDRESS",
            line if line.starts_with("cluster_") && line.contains("epoch:") => "EPOCH",
            other => other,
        };
        // After a flag and two times, the epoch of the node.
        format!("{}{end}", if bare == "1" { "0" } else { bare })
    });
    words.collect::<String>().into_bytes()
}

fn masked(value: Value, port: u16) -> Value {
    let all = |values: Vec<Value>| values.into_iter().map(|value| masked(value, port)).collect();
    match value {
        Value::Int(number) if number == i64::from(port) => Value::Simple("PORT".to_owned()),
        Value::Bulk(bytes) if bytes.is_empty() || bytes == b"127.0.0.1" => Value::Simple("HOST".to_owned()),
        Value::Bulk(bytes) => Value::Bulk(masked_text(&bytes, port)),
        Value::Verbatim(bytes) => Value::Verbatim(masked_text(&bytes, port)),
        Value::Array(values) => Value::Array(all(values)),
        Value::Map(values) => Value::Map(all(values)),
        other => other,
    }
}

fn sorted_keys(value: Value) -> Value {
    match value {
        Value::Array(mut keys) => {
            keys.sort();
            Value::Array(keys)
        }
        other => other,
    }
}

#[test]
fn cluster_answers_have_the_shape_of_those_of_the_oracle() {
    let scratch = Scratch::new("cluster");
    let dir = scratch.path().display().to_string();
    let Some(redis) = Server::redis(&["--cluster-enabled", "yes", "--dir", &dir]) else { return };
    let pinion = Server::start(|address| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pinion"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PINION_")) {
            command.env_remove(name);
        }
        command.arg("--data-dir").arg(scratch.path().join("data")).args(["--cluster-enabled", "yes"]);
        command.args(["--port", &address.port().to_string(), "--groups", "4"]);
        command
    });
    let mut oracle = Connection::open(redis.address).expect("it answers");
    let mut server = Connection::open(pinion.address).expect("it answers");
    oracle.ask(&request("CLUSTER ADDSLOTSRANGE 0 16383"));
    // It takes a moment before it serves them.
    let ready = (0..2_000).any(|_| {
        std::thread::park_timeout(std::time::Duration::from_millis(5));
        oracle.ask(&request("SET {a}0 x")) == Value::Simple("OK".to_owned())
    });
    assert!(ready, "the oracle does not serve its slots");
    let mut both = |line: &str| {
        let asked = request(line);
        let expected = masked(oracle.ask(&asked), redis.address.port());
        let got = masked(server.ask(&asked), pinion.address.port());
        (got, expected)
    };
    for number in 0..20 {
        both(&format!("SET {{a}}{number} x"));
    }
    for protocol in ["HELLO 2", "HELLO 3"] {
        both(protocol);
        for line in [
            "CLUSTER SLOTS",
            "CLUSTER SHARDS",
            "CLUSTER NODES",
            "CLUSTER LINKS",
            "CLUSTER INFO",
            "CLUSTER MYID",
            "CLUSTER KEYSLOT {user1000}.following",
            "CLUSTER KEYSLOT foo{}{bar}",
            "CLUSTER COUNTKEYSINSLOT 15495",
            "CLUSTER COUNTKEYSINSLOT 3",
            "CLUSTER COUNTKEYSINSLOT 16384",
            "CLUSTER COUNTKEYSINSLOT -1",
            "CLUSTER COUNTKEYSINSLOT x",
            "CLUSTER GETKEYSINSLOT 15495 100",
            "CLUSTER GETKEYSINSLOT 15495 0",
            "CLUSTER GETKEYSINSLOT 15495 -1",
            "CLUSTER GETKEYSINSLOT 15495 x",
            "CLUSTER GETKEYSINSLOT x 1",
            "CLUSTER GETKEYSINSLOT 16384 1",
            "CLUSTER GETKEYSINSLOT 3",
            "CLUSTER REPLICAS 0123",
            "CLUSTER SLAVES 0123",
            "CLUSTER COUNT-FAILURE-REPORTS 0123",
            "CLUSTER SAVECONFIG",
            "CLUSTER SLOTS x",
            "CLUSTER MEET",
            "CLUSTER NOTHING",
            "CLUSTER",
            "READONLY",
            "READWRITE",
            "ASKING",
            "SELECT 1",
        ] {
            let (got, expected) = both(line);
            assert_eq!(sorted_keys(got), sorted_keys(expected), "{protocol}, {line}");
        }
    }
    let refused = server.ask(&request("CLUSTER ADDSLOTS 1"));
    assert!(matches!(refused, Value::Error(text) if text.starts_with("ERR This server lays out")));
    let Value::Bulk(own) = server.ask(&request("CLUSTER MYID")) else { panic!("an id is text") };
    let own = String::from_utf8(own).expect("40 digits");
    assert_eq!(server.ask(&request(&format!("CLUSTER REPLICAS {own}"))), Value::Array(Vec::new()));
}

/// Without cluster mode all are refused in the words of the oracle.
#[test]
fn without_cluster_mode_its_commands_are_refused_as_by_the_oracle() {
    let Some(redis) = Server::redis(&[]) else { return };
    let scratch = Scratch::new("no-cluster");
    let pinion = Server::start(|address| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pinion"));
        command.arg("--data-dir").arg(scratch.path().join("data"));
        command.args(["--port", &address.port().to_string(), "--groups", "1"]);
        command
    });
    let mut oracle = Connection::open(redis.address).expect("it answers");
    let mut server = Connection::open(pinion.address).expect("it answers");
    for line in [
        "CLUSTER SLOTS",
        "CLUSTER KEYSLOT a",
        "CLUSTER COUNTKEYSINSLOT x",
        "CLUSTER HELP",
        "CLUSTER ADDSLOTS 1",
        "CLUSTER NOTHING",
        "READONLY",
        "READWRITE",
        "ASKING",
    ] {
        assert_eq!(server.ask(&request(line)), oracle.ask(&request(line)), "{line}");
    }
}
