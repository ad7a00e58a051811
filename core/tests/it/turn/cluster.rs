//! Cluster clients: they are told which core owns which slot, and are answered by every core.

use std::collections::BTreeSet;

use pinion_core::cluster::Advertising;
use pinion_core::host::sim::{Node, NodeOptions};
use pinion_wal::disk::sim::{Faults, SimDisk};

use super::*;

fn cluster_node(cores: u16, groups: u32, core_ports: Vec<u16>) -> Node {
    let mut options = NodeOptions::small(cores, groups, seed(70));
    options.cluster = Some(Advertising { core_ports, ..Advertising::default() });
    let disk = SimDisk::new(options.seed, Faults::default());
    let mut node = Node::start(disk, &options).map_err(|failed| failed.1).expect("the node starts");
    assert!(node.run_until(MILLIS, |node| node.serves()), "the node does not serve");
    node
}

fn ask(node: &mut Node, client: ClientId, line: &str, end: &str) -> String {
    node.send(client, &words(line));
    node.run_until(MILLIS, |node| node.received(client).ends_with(end.as_bytes()));
    String::from_utf8(node.take_received(client)).expect("replies of this test are text")
}

/// What the core of the slot is told and every other one answers alike: there is no MOVED, and ids are those of the ports.
#[test]
fn a_request_on_the_wrong_core_is_answered_all_the_same() {
    let mut node = cluster_node(2, 4, vec![7000, 7001]);
    let clients = [node.connect(0), node.connect(1)];
    let [first, second] = clients.map(|client| ask(&mut node, client, "CLUSTER SLOTS", "*0\r\n"));
    assert_eq!(first, second);
    assert_eq!(first.matches(":7000\r\n").count(), 2, "{first}");
    let ids = clients.map(|client| ask(&mut node, client, "CLUSTER MYID", "\r\n"));
    assert!(ids[0] != ids[1] && ids.iter().all(|id| first.contains(id)), "{ids:?}");
    // `b` is in slot 3300 and `foo` in 12182: one on each core.
    for (number, key) in ["b", "foo"].into_iter().cycle().take(8).enumerate() {
        let (writer, reader) = (clients[number % 2], clients[1 - number % 2]);
        expect(&mut node, writer, &words(&format!("SET {key} {number}")), "+OK\r\n");
        expect(&mut node, reader, &words(&format!("GET {key}")), &format!("$1\r\n{number}\r\n"));
    }
    expect(&mut node, clients[0], &words("ASKING"), "+OK\r\n");
}

/// A slot is counted and listed by itself, page by page, from any core.
#[test]
fn the_keys_of_a_slot_are_counted_and_listed_alone() {
    const KEYS: usize = 9_000;
    let mut node = cluster_node(2, 4, Vec::new());
    let clients = [node.connect(0), node.connect(1)];
    // `{06S}` is in slot 0, `b` in 3300, whose neighbours hold `{1tx}` and `{MG9}`.
    let slot = |name: &str| pinion_shard::Key::new(name.as_bytes()).slot().0;
    let middle = slot("b");
    let beside = |slot_wanted: u16| {
        (0..).map(|n| format!("{{{n}}}")).find(|name| slot(name) == slot_wanted).expect("some name")
    };
    for neighbour in [middle - 1, middle + 1, 0, 16_383] {
        let line = format!("SET {} x", beside(neighbour));
        expect(&mut node, clients[0], &words(&line), "+OK\r\n");
    }
    for from in (0..KEYS).step_by(1_000) {
        let mut line = "MSET".to_owned();
        for number in from..from + 1_000 {
            line += &format!(" {{b}}{number} x");
        }
        expect(&mut node, clients[1], &words(&line), "+OK\r\n");
    }
    for client in clients {
        let counted = |node: &mut Node, slot: u16| {
            ask(node, client, &format!("CLUSTER COUNTKEYSINSLOT {slot}"), "\r\n")
        };
        assert_eq!(counted(&mut node, middle), format!(":{KEYS}\r\n"));
        for neighbour in [middle - 1, middle + 1, 0, 16_383] {
            assert_eq!(counted(&mut node, neighbour), ":1\r\n");
        }
        assert_eq!(counted(&mut node, 77), ":0\r\n");
        for (wanted, got) in [(1, 1), (10, 10), (5_000, 5_000), (8_999, 8_999), (100_000, KEYS), (0, 0)] {
            node.send(client, &words(&format!("CLUSTER GETKEYSINSLOT {middle} {wanted}")));
            node.send(client, &words("PING"));
            node.run_until(MILLIS, |node| node.received(client).ends_with(b"+PONG\r\n"));
            let text = String::from_utf8(node.take_received(client)).expect("text");
            let keys: BTreeSet<&str> = text.lines().filter(|line| line.starts_with("{b}")).collect();
            assert!(
                text.starts_with(&format!("*{got}\r\n")) && keys.len() == got,
                "{wanted}: {}",
                keys.len()
            );
        }
    }
    node.check();
}
