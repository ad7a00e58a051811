//! Rows in tables whose blocks are all cached: half a million keys of 29 bytes with values of 128, uniformly chosen; alone
//! and in prefetched batches.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pinion_bench::rows::{Rows, row};
use pinion_lsm::{Boundary, Cell, Get, Hint, Timestamp};
use pinion_wal::{LogIndex, Term};

/// Rows of the tree.
const KEYS: u64 = 500_000;

fn table_read(criterion: &mut Criterion) {
    let mut world = Rows::new(1 << 30);
    let tree = world.tree.clone();
    let rows: Vec<_> = (0..KEYS).map(row).collect();
    let value = [b'v'; 128];
    for (at, (key, hash)) in rows.iter().enumerate() {
        tree.put(key, *hash, Timestamp(at as u64 + 1), Cell::Inline(&value));
    }
    tree.seal(Boundary { index: LogIndex(1), term: Term(1), ..Boundary::default() });
    world.run_until(|tree| tree.is_idle());
    for (key, hash) in &rows {
        if let Get::OnDisk(probe) = tree.get(key, *hash, Timestamp::MAX, |_, _| ()) {
            world
                .wait(tree.read(probe))
                .expect("the simulated disk has no faults")
                .expect("every key was put");
        }
    }
    let found = |choice: &[u64]| {
        choice.iter().fold(0, |sum, &number| {
            let (key, hash) = &rows[number as usize];
            match tree.get(key, *hash, Timestamp::MAX, |_, cell| matches!(cell, Cell::Inline(_))) {
                Get::Found(inline) => sum + usize::from(inline),
                other => panic!("every block is cached: {other:?}"),
            }
        })
    };
    let mut rng = fastrand::Rng::with_seed(1);
    let mut group = criterion.benchmark_group("table_read");
    group.throughput(Throughput::Elements(16));
    group.bench_function("get", |bencher| {
        bencher.iter(|| found(&std::array::from_fn::<_, 16, _>(|_| rng.u64(0..KEYS))));
    });
    for batch in [1, 4, 16] {
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(format!("get, prefetched in batches of {batch}"), |bencher| {
            bencher.iter(|| {
                let choice: [u64; 16] = std::array::from_fn(|_| rng.u64(0..KEYS));
                let choice = &choice[..batch];
                choice.iter().for_each(|&number| tree.prefetch_slot(rows[number as usize].1));
                let mut hints = [Hint::default(); 16];
                let mut round = || {
                    let more = choice.iter().zip(&mut hints).map(|(&number, hint)| {
                        let (key, hash) = &rows[number as usize];
                        tree.prefetch_next(key, *hash, hint)
                    });
                    more.fold(false, |any, more| any | more)
                };
                while round() {}
                found(choice)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, table_read);
criterion_main!(benches);
