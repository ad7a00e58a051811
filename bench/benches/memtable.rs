//! Rows in memory: a million keys of 29 bytes with values of 128, uniformly chosen; alone and in prefetched batches.

use std::rc::Rc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pinion_lsm::{Cache, Cell, Engine, Get, Options, Timestamp, Tree, TreeId};
use pinion_shard::{Key, REDIS_KEYSPACE, RowKey, RowKind};
use pinion_wal::Ticks;
use pinion_wal::disk::sim::{Faults, SimDisk};
use pinion_wal::disk::{Disk, block_on};
use pinion_wal::task::Tasks;

/// Rows of the tree.
const KEYS: u64 = 1_000_000;
/// Keys that are prefetched together.
const BATCH: usize = 16;

/// No slices are cut here: time stands still.
struct Still;

impl Ticks for Still {
    fn now(&self) -> u64 {
        0
    }

    fn per_micro(&self) -> u64 {
        1
    }
}

fn row(number: u64) -> (RowKey, u64) {
    let name = format!("key:{number:012}");
    let row = Key::new(name.as_bytes()).row(REDIS_KEYSPACE, RowKind::Metadata);
    let hash = Tree::hash(&row);
    (row, hash)
}

/// A tree on an empty simulated disk: nothing is flushed here.
fn tree() -> Tree {
    let (disk, mut tasks) = (Disk::new(), Tasks::new(Rc::new(Still)));
    let mut driver = SimDisk::new(1, Faults::default());
    let engine = Engine::new(disk.clone(), tasks.spawner(), Cache::new(64 << 20), Options::default());
    let opened = block_on(&disk, &mut driver, Some(&mut tasks), engine.open_tree(TreeId(16)));
    opened.expect("an empty disk opens").0
}

fn memtable(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("memtable");
    let tree = tree();
    let rows: Vec<(RowKey, u64)> = (0..KEYS).map(row).collect();
    let mut rng = fastrand::Rng::with_seed(1);
    let value = [b'v'; 128];
    for (at, (key, hash)) in rows.iter().enumerate() {
        tree.put(key, *hash, Timestamp(at as u64 + 1), Cell::Inline(&value));
    }
    group.throughput(Throughput::Elements(BATCH as u64));
    let found = |choice: &[u64; BATCH]| {
        choice.iter().fold(0, |sum, &number| {
            let (key, hash) = &rows[number as usize];
            match tree.get(key, *hash, Timestamp(u64::MAX), |_, cell| matches!(cell, Cell::Inline(_))) {
                Get::Found(inline) => sum + usize::from(inline),
                other => panic!("every key was put: {other:?}"),
            }
        })
    };
    group.bench_function("get", |bencher| {
        bencher.iter(|| found(&std::array::from_fn(|_| rng.u64(0..KEYS))));
    });
    group.bench_function("get, prefetched in batches of 16", |bencher| {
        bencher.iter(|| {
            let choice: [u64; BATCH] = std::array::from_fn(|_| rng.u64(0..KEYS));
            choice.iter().for_each(|&number| tree.prefetch_slot(rows[number as usize].1));
            choice.iter().for_each(|&number| tree.prefetch_entry(rows[number as usize].1));
            found(&choice)
        });
    });
    group.throughput(Throughput::Elements(1));
    let mut at = KEYS;
    group.bench_function("put of a known key", |bencher| {
        bencher.iter(|| {
            let (key, hash) = &rows[rng.u64(0..KEYS) as usize];
            at += 1;
            tree.put(key, *hash, Timestamp(at), Cell::Inline(&value));
        });
    });
    group.finish();
}

criterion_group!(benches, memtable);
criterion_main!(benches);
