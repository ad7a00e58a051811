//! Real groups, logs and trees under the turn, on the simulated disk.

use std::collections::BTreeMap;

use super::pipelines::step;
use super::*;
use pinion_core::host::sim::{Node, NodeOptions};
use pinion_wal::disk::sim::{Faults, PATTERNS, Pattern, SimDisk};

fn start(disk: SimDisk, options: &NodeOptions) -> Node {
    let mut node = Node::start(disk, options).map_err(|failed| failed.1).expect("the node starts");
    assert!(node.run_until(MILLIS, |node| node.serves()), "the node does not serve");
    node
}

fn fresh(options: &NodeOptions) -> Node {
    start(SimDisk::new(options.seed, Faults::default()), options)
}

#[test]
fn a_pipeline_reads_its_own_writes_on_real_groups() {
    let pipeline =
        ["SET k 1", "GET k", "SET k 2", "GET k", "INCR k", "GET k", "DEL k", "GET k"].map(words).concat();
    let expected = "+OK\r\n$1\r\n1\r\n+OK\r\n$1\r\n2\r\n:3\r\n$1\r\n3\r\n:1\r\n$-1\r\n";
    for cores in [1, 2] {
        let mut node = fresh(&NodeOptions::small(cores, 4, seed(31)));
        for core in 0..cores {
            let client = node.connect(usize::from(core));
            expect(&mut node, client, &pipeline, expected);
        }
        node.check();
    }
}

/// T12, M9: random pipelines give what a map gives, on one core and on two, also after a stop with nothing lost and a start
/// with another number of cores.
#[test]
fn random_pipelines_survive_crashes_and_other_numbers_of_cores() {
    for run in 0..rounds(4) {
        let seed = seed(400 + run);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut options = NodeOptions::small(1 + (run % 2) as u16, 6, seed);
        let mut disk = SimDisk::new(seed, Faults::default());
        let mut model: BTreeMap<u8, i64> = BTreeMap::new();
        for start_number in 0..4u64 {
            options.cores = rng.u16(1..=3);
            options.seed = seed + start_number;
            let mut node = start(disk, &options);
            for _ in 0..10 {
                let client = node.connect(rng.usize(..usize::from(options.cores)));
                let (mut sent, mut expected) = (Vec::new(), String::new());
                for _ in 0..rng.usize(1..60) {
                    let (line, reply) = step(&mut rng, 0, &mut model);
                    sent.extend_from_slice(&words(&line));
                    expected.push_str(&reply);
                }
                expect(&mut node, client, &sent, &expected);
            }
            node.check();
            disk = node.crash_with(PATTERNS[rng.usize(..PATTERNS.len())]);
        }
    }
}

/// How many rounds a long test runs; `PINION_ROUNDS` multiplies it.
fn rounds(default: u64) -> u64 {
    let factor = std::env::var("PINION_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    default * factor
}

/// D1: whatever was answered before a crash at any moment is there after it.
#[test]
fn acknowledged_writes_survive_a_crash_at_any_moment() {
    for run in 0..rounds(12) {
        let seed = seed(500 + run);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut options = NodeOptions::small(rng.u16(1..=2), 4, seed);
        let mut node = fresh(&options);
        let client = node.connect(0);
        let count = 200;
        let sets: Vec<u8> =
            (0..count).flat_map(|number| words(&format!("SET key:{} {number}", number % 20))).collect();
        node.send(client, &sets);
        for _ in 0..rng.usize(1..400) {
            node.step();
        }
        let answered = node.take_received(client).len() / "+OK\r\n".len();
        let disk = node.crash_with(PATTERNS[rng.usize(..PATTERNS.len())]);
        options.cores = rng.u16(1..=2);
        let mut node = start(disk, &options);
        let client = node.connect(0);
        for key in 0..20 {
            let value = call(&mut node, client, &format!("GET key:{key}"), |reply| {
                reply.ends_with(b"\r\n") && reply.len() > 4
            });
            let found = value.split("\r\n").nth(1).and_then(|text| text.parse::<usize>().ok());
            let least = (0..answered).rev().find(|number| number % 20 == key);
            assert!(
                found >= least,
                "key:{key} is {found:?}, but {least:?} was acknowledged ({answered} answers)"
            );
        }
    }
}

/// INFO tells how many keys reads found, and how many not, wherever the groups live; writes look for none.
#[test]
fn reads_are_counted_by_what_they_found() {
    let mut node = fresh(&NodeOptions::small(2, 4, seed(34)));
    let client = node.connect(0);
    let lines = ["SET a 1", "INCR b", "GET a", "GET c", "EXISTS a b c c", "MGET a c", "TTL c", "STRLEN b"];
    let replies = "+OK\r\n:1\r\n$1\r\n1\r\n$-1\r\n:2\r\n*2\r\n$1\r\n1\r\n$-1\r\n:-2\r\n:1\r\n";
    expect(&mut node, client, &lines.map(words).concat(), replies);
    let info = call(&mut node, client, "INFO stats", |reply| reply.ends_with(b"\r\n\r\n"));
    for line in ["keyspace_hits:5", "keyspace_misses:5"] {
        assert!(info.lines().any(|found| found == line), "{line} is missing in {info}");
    }
}

/// Expiry, options and errors on real groups, as Redis answers them.
#[test]
fn strings_behave_on_real_groups() {
    let mut node = fresh(&NodeOptions::small(2, 4, seed(33)));
    let client = node.connect(0);
    let dialogue = [
        ("SET k v NX", "+OK\r\n"),
        ("SET k w NX", "$-1\r\n"),
        ("SET k w XX GET", "$1\r\nv\r\n"),
        ("APPEND k xyz", ":4\r\n"),
        ("STRLEN k", ":4\r\n"),
        ("GETRANGE k 1 -1", "$3\r\nxyz\r\n"),
        ("INCR k", "-ERR value is not an integer or out of range\r\n"),
        ("TYPE k", "+string\r\n"),
        ("PERSIST k", ":0\r\n"),
        ("EXPIRE k 100", ":1\r\n"),
        ("TTL k", ":100\r\n"),
        ("SET k v PX 30", "+OK\r\n"),
        ("GETDEL k", "$1\r\nv\r\n"),
        ("EXISTS k", ":0\r\n"),
        ("MSET {t}a 1 {t}b 2", "+OK\r\n"),
        ("MGET {t}a none {t}b", "*3\r\n$1\r\n1\r\n$-1\r\n$1\r\n2\r\n"),
        ("DBSIZE", ":2\r\n"),
        ("SET e v PX 30", "+OK\r\n"),
    ];
    for (line, expected) in dialogue {
        expect(&mut node, client, &words(line), expected);
    }
    node.run_until(200, |_| false);
    expect(&mut node, client, &words("GET e"), "$-1\r\n");
    expect(&mut node, client, &words("FLUSHALL"), "+OK\r\n");
    expect(&mut node, client, &words("MGET {t}a k"), "*2\r\n$-1\r\n$-1\r\n");
    node.check();
}

/// Two runs of a seed over crashes are the same run.
#[test]
fn a_seed_replays_exactly_on_real_groups() {
    let run = |seed| {
        let options = NodeOptions::small(2, 4, seed);
        let mut node = fresh(&options);
        let client = node.connect(1);
        node.send(
            client,
            &(0..100).flat_map(|number| words(&format!("INCR key:{}", number % 7))).collect::<Vec<_>>(),
        );
        node.run_until(100, |_| false);
        let before = node.event_hash();
        let mut node = start(node.crash_with(Pattern::RandomHalf), &options);
        node.run_until(50, |_| false);
        (before, node.event_hash(), node.digests())
    };
    let seed = seed(34);
    assert_eq!(run(seed), run(seed));
    assert_ne!(run(seed).0, run(seed + 1).0);
}

/// D2: after a failed write or sync nothing is acknowledged, and the core ends with a reason.
#[test]
fn a_failed_sync_ends_the_core_and_acknowledges_nothing() {
    let options = NodeOptions::small(1, 2, seed(35));
    let mut node = fresh(&options);
    let client = node.connect(0);
    expect(&mut node, client, &words("SET k 1"), "+OK\r\n");
    let faults = Faults::default().with(
        pinion_wal::disk::OpKind::Write,
        1,
        true,
        pinion_wal::disk::sim::Fault::Error(5),
    );
    node.disk_mut().expect("a node has a disk").set_faults(faults);
    node.send(client, &words("SET k 2"));
    node.run_until(1_000, |node| node.any_exit().is_some());
    assert!(matches!(node.any_exit(), Some(pinion_core::Exit::Poisoned(_))), "{:?}", node.any_exit());
    assert!(!node.received(client).starts_with(b"+"), "acknowledged after a failed write");
    let mut disk = node.crash_with(Pattern::Everything);
    disk.set_faults(Faults::default());
    let mut node = start(disk, &options);
    let client = node.connect(0);
    let value = call(&mut node, client, "GET k", |reply| reply.ends_with(b"\r\n") && reply.len() > 4);
    assert!(value == "$1\r\n1\r\n" || value == "$1\r\n2\r\n", "{value}");
}
