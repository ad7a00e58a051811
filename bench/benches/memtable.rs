//! Rows in memory: a million keys of 29 bytes with values of 128, uniformly chosen; alone and in prefetched batches.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use pinion_bench::rows::{Rows, row};
use pinion_lsm::{Cell, Get, Timestamp, Tree};
use pinion_shard::RowKey;

/// Rows of the tree.
const KEYS: u64 = 1_000_000;
/// Keys that are prefetched together.
const BATCH: usize = 16;

fn memtable(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("memtable");
    let tree = Rows::new(64 << 20).tree;
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
    group.throughput(Throughput::Elements(KEYS));
    group.sample_size(10);
    let fill = |batch: usize| {
        move |tree: &mut Tree, rows: &[(RowKey, u64)]| {
            for rows in rows.chunks(batch) {
                if batch > 1 {
                    rows.iter().for_each(|(_, hash)| tree.prefetch_slot(*hash));
                    rows.iter().for_each(|(key, hash)| tree.prefetch_put(key, *hash));
                }
                for (key, hash) in rows {
                    tree.put(key, *hash, Timestamp(1), Cell::Inline(&value));
                }
            }
        }
    };
    for batch in [1, BATCH] {
        group.bench_function(format!("put of a million new keys, prefetched by {batch}"), |bencher| {
            let fresh = || Rows::new(64 << 20).tree;
            bencher.iter_batched_ref(fresh, |tree| fill(batch)(tree, &rows), BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, memtable);
criterion_main!(benches);
