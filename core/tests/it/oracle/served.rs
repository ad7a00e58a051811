//! The server itself, over its sockets and disks, against the oracle.

use std::path::PathBuf;
use std::process::Command;

use super::differential::differential;
use super::env_number;
use super::process::Server;
use super::wire::Connection;

/// A directory for the server's data, removed at the end.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_server_answers_as_the_oracle() {
    let Some(redis) = Server::redis(&[]) else { return };
    let (seed, count) = (env_number("PINION_SEED", 1), env_number("PINION_ORACLE_COMMANDS", 4_000));
    println!(
        "PINION_SEED={seed} PINION_ORACLE_COMMANDS={count} cargo test -p pinion-core --test it oracle::served"
    );
    let directory = Directory(std::env::temp_dir().join(format!("pinion-oracle-{}", std::process::id())));
    let pinion = Server::start(|address| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pinion"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PINION_")) {
            command.env_remove(name);
        }
        command.arg("--data-dir").arg(&directory.0).args(["--port", &address.port().to_string()]);
        command
    });
    let mut oracle = Connection::open(redis.address).expect("it answers");
    let mut server = Connection::open(pinion.address).expect("it answers");
    if let Err(difference) = differential([&mut oracle, &mut server], seed, count) {
        panic!("{difference}");
    }
}
