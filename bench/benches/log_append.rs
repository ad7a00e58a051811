//! The log without a disk that takes time: one entry of 256 bytes for each of the groups, flushed and stable. What a real
//! disk makes of it is measured by `pinion-bench log`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pinion_wal::disk::sim::{Faults, SimDisk};
use pinion_wal::disk::{Disk, Driver, block_on};
use pinion_wal::{EntryRef, GroupId, LogId, LogIndex, Mono, Options, Term, Wal};

/// Entries of a group that are kept before the log is told to drop the older ones.
const KEPT_ENTRIES: u64 = 100;

fn log_append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("log_append");
    for groups in [1, 48, 1000u32] {
        let disk = Disk::new();
        let mut driver = SimDisk::new(1, Faults { micros_min: 1, micros_max: 1, ..Faults::default() });
        let opened = block_on(&disk, &mut driver, None, Wal::open(&disk, LogId(0), Options::default()));
        let mut wal = opened.expect("an empty disk opens").0;
        let data = [b'x'; 256];
        let (mut index, mut now) = (LogIndex(1), Mono(0));
        group.throughput(Throughput::Elements(groups.into()));
        group.bench_function(format!("{groups} groups"), |bencher| {
            bencher.iter(|| {
                for id in (16..16 + groups).map(GroupId) {
                    if index.0.is_multiple_of(KEPT_ENTRIES) {
                        wal.append_first(id, index, Term(1));
                    }
                    let entry = EntryRef { index, term: Term(1), kind: 0, data: &data };
                    wal.append_entries(id, LogIndex(index.0 - 1), &[entry]);
                }
                index = LogIndex(index.0 + 1);
                let wanted = wal.appended();
                while wal.stable() < wanted {
                    now = now.plus_micros(10);
                    wal.flush(now, true);
                    Driver::drive(&mut driver, &disk);
                    wal.poll(now).expect("the simulated disk has no faults");
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, log_append);
criterion_main!(benches);
