//! A whole node on the simulated host, real groups, logs and trees under it, against the oracle.

use std::io::ErrorKind;

use pinion_core::host::sim::{ClientId, Node, NodeOptions};
use pinion_wal::disk::sim::{Faults, SimDisk};

use super::differential::differential;
use super::env_number;
use super::process::Server;
use super::wire::{Connection, Peer, Value};

/// Virtual time within which every reply comes.
const MILLIS: u64 = 10_000;

/// A client of a simulated node.
struct Simulated {
    node: Node,
    client: ClientId,
    received: Vec<u8>,
}

impl Simulated {
    fn start(options: &NodeOptions) -> Simulated {
        let disk = SimDisk::new(options.seed, Faults::default());
        let mut node = Node::start(disk, options).map_err(|failed| failed.1).expect("the node starts");
        assert!(node.run_until(MILLIS, |node| node.serves()), "the node does not serve");
        let client = node.connect(0);
        Simulated { node, client, received: Vec::new() }
    }
}

impl Peer for Simulated {
    fn send(&mut self, bytes: &[u8]) {
        self.node.send(self.client, bytes);
    }

    fn reply(&mut self) -> Value {
        loop {
            let mut rest = self.received.as_slice();
            match Value::read(&mut rest) {
                Ok(value) => {
                    let done = self.received.len() - rest.len();
                    self.received.drain(..done);
                    return value;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::UnexpectedEof),
            }
            let client = self.client;
            let came = self.node.run_until(MILLIS, |node| !node.received(client).is_empty());
            assert!(came, "no reply comes; the node ended: {:?}", self.node.any_exit());
            self.received.extend(self.node.take_received(client));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the node starts at the oracle's time")]
fn wall_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("it is later than 1970").as_millis() as u64
}

fn compare(cores: u16, groups: u32) {
    let Some(redis) = Server::redis(&[]) else { return };
    let (seed, count) = (env_number("PINION_SEED", 1), env_number("PINION_ORACLE_COMMANDS", 4_000));
    println!(
        "PINION_SEED={seed} PINION_ORACLE_COMMANDS={count} cargo test -p pinion-core --test it oracle::simulated"
    );
    let mut options = NodeOptions::small(cores, groups, seed);
    options.world.wall_ms = wall_ms();
    let mut oracle = Connection::open(redis.address).expect("it answers");
    let mut node = Simulated::start(&options);
    if let Err(difference) = differential([&mut oracle, &mut node], seed, count) {
        panic!("{difference}");
    }
    node.node.check();
}

#[test]
fn a_node_of_one_core_and_group_answers_as_the_oracle() {
    compare(1, 1);
}

#[test]
fn a_node_of_two_cores_answers_as_the_oracle() {
    compare(2, 6);
}
