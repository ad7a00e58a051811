//! Whole turns on the simulated host: 64 pipelined requests come in, their replies go out, on one core with four groups.
//! A SET goes through Raft, the log on the simulated disk and the apply pipeline.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pinion_core::host::sim::{ClientId, Node, NodeOptions, World};
use pinion_wal::disk::sim::{Faults, SimDisk};

/// Requests of a client that are on their way together.
const PIPELINE: usize = 64;
/// Keys that are named.
const KEYS: u64 = 10_000;

fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// Sends what was encoded and waits for so many bytes of replies.
fn exchange(node: &mut Node, client: ClientId, requests: &[u8], reply_bytes: usize) {
    node.send(client, requests);
    let answered = node.run_until(10_000, |node| node.received(client).len() >= reply_bytes);
    let received = node.take_received(client);
    assert!(answered && received.len() == reply_bytes, "{}", String::from_utf8_lossy(&received));
}

fn turn(criterion: &mut Criterion) {
    let mut options = NodeOptions::small(1, 4, 1);
    options.world = World { receive_bytes_max: 1 << 20, ..World::default() };
    options.shard.wal = pinion_wal::Options::default();
    options.rows = pinion_lsm::Options::default();
    options.cache_bytes = 64 << 20;
    let disk = SimDisk::new(1, Faults { micros_min: 1, micros_max: 1, ..Faults::default() });
    let mut node = Node::start(disk, &options).map_err(|failed| failed.1).expect("an empty disk opens");
    assert!(node.run_until(10_000, |node| node.serves()));
    let client = node.connect(0);
    let key = |number: u64| format!("key:{number:012}").into_bytes();
    let value = [b'v'; 128];
    let mut requests = Vec::new();
    for number in 0..KEYS {
        requests.clear();
        command(&mut requests, &[b"SET", &key(number), &value]);
        exchange(&mut node, client, &requests, 5);
    }
    let mut rng = fastrand::Rng::with_seed(1);
    let mut group = criterion.benchmark_group("turn");
    group.throughput(Throughput::Elements(PIPELINE as u64));
    group.bench_function("64 GETs", |bencher| {
        bencher.iter(|| {
            requests.clear();
            (0..PIPELINE).for_each(|_| command(&mut requests, &[b"GET", &key(rng.u64(0..KEYS))]));
            exchange(&mut node, client, &requests, PIPELINE * (128 + 8));
        });
    });
    group.bench_function("64 SETs", |bencher| {
        bencher.iter(|| {
            requests.clear();
            (0..PIPELINE).for_each(|_| command(&mut requests, &[b"SET", &key(rng.u64(0..KEYS)), &value]));
            exchange(&mut node, client, &requests, PIPELINE * 5);
        });
    });
    group.finish();
}

criterion_group!(benches, turn);
criterion_main!(benches);
