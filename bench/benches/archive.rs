//! Batches: commands archived into a reused buffer, and read back in place.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pinion_shard::{BatchBuilder, Command, Expire, Key, Kind, Origin, SetWhen, batches};

/// Commands of a batch.
const COMMANDS: usize = 64;

fn fill(builder: &mut BatchBuilder, keys: &[String], value: &[u8]) {
    for key in keys {
        builder.push(&Command::Set {
            key: Key::new(key.as_bytes()),
            value,
            when: SetWhen::Always,
            expire: Expire::Clear,
            get: false,
        });
    }
}

fn archive(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("archive");
    group.throughput(Throughput::Elements(COMMANDS as u64));
    let keys: Vec<String> = (0..COMMANDS).map(|n| format!("key:{n:012}")).collect();
    let value = [b'v'; 100];
    let mut spare = Some(Vec::with_capacity(64 << 10));
    group.bench_function("write SET 100 B, header and crc included", |bencher| {
        bencher.iter(|| {
            let mut builder = BatchBuilder::reuse(spare.take().expect("given back below"));
            fill(&mut builder, &keys, &value);
            spare = Some(builder.finish(Kind::Commands, Origin::default()).into_bytes());
        });
    });
    let mut builder = BatchBuilder::reuse(Vec::new());
    fill(&mut builder, &keys, &value);
    let batch = builder.finish(Kind::Commands, Origin::default());
    group.bench_function("read SET 100 B, checked", |bencher| {
        bencher.iter(|| {
            let mut seen = 0;
            for batch in batches(std::hint::black_box(batch.as_bytes())) {
                let batch = batch.expect("the batch is sound");
                batch.check_body().expect("the batch is sound");
                for command in batch.commands() {
                    let Command::Set { value, .. } = command.expect("the batch is sound") else {
                        panic!("only SETs were written")
                    };
                    seen += value.len();
                }
            }
            seen
        });
    });
    group.finish();
}

criterion_group!(benches, archive);
criterion_main!(benches);
