//! The word of the oracle: timestamps taken one by one and in ranges, by one thread and by two at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pinion_lsm::Timestamp;
use pinion_shard::clock::{Anchor, Grant, Rate, Word};
use pinion_wal::Mono;

/// A word that may issue for the whole bench.
fn word() -> Word {
    let word = Word::new();
    word.publish(Grant {
        lease_end: Mono(u64::MAX),
        ceiling: Timestamp::MAX,
        time_ms_max: 1_000,
        anchor: Anchor { mono: Mono(0), unix_nanos: 0, rate: Rate::Even },
    });
    word
}

fn timestamps(criterion: &mut Criterion) {
    let word = Arc::new(word());
    let mut group = criterion.benchmark_group("timestamps");
    for count in [1, 16] {
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("ranges of {count}"), |bencher| {
            bencher.iter(|| word.take(count, Mono(1)).expect("the grant covers the bench"));
        });
    }
    group.throughput(Throughput::Elements(1));
    group.bench_function("ranges of 1, while another thread takes them", |bencher| {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    word.take(1, Mono(1)).expect("the grant covers the bench");
                }
            });
            bencher.iter(|| word.take(1, Mono(1)).expect("the grant covers the bench"));
            stop.store(true, Ordering::Relaxed);
        });
    });
    group.finish();
}

criterion_group!(benches, timestamps);
criterion_main!(benches);
