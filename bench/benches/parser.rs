//! The Redis protocol: a receive buffer of small commands, parsed whole.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pinion_core::resp::limits::Limits;
use pinion_core::resp::{Arguments, Next, Parser};

/// Commands in the receive buffer: a pipeline of 16 from four clients.
const COMMANDS: usize = 64;

fn parse_all(mut bytes: &[u8]) -> usize {
    let (mut parser, mut arguments) = (Parser::new(), Arguments::new());
    let limits = Limits::default();
    let mut seen = 0;
    while !bytes.is_empty() {
        match parser.next(bytes, &mut arguments, &limits) {
            Next::Request { request, consumed } => {
                seen += request.len();
                bytes = &bytes[consumed..];
            }
            other => panic!("the buffer is sound and whole: {other:?}"),
        }
    }
    seen
}

fn parser(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parser");
    group.throughput(Throughput::Elements(COMMANDS as u64));
    let get = |n: usize| format!("*2\r\n$3\r\nGET\r\n$16\r\nkey:{n:012}\r\n");
    let set = |n: usize| format!("*3\r\n$3\r\nSET\r\n$16\r\nkey:{n:012}\r\n$128\r\n{}\r\n", "v".repeat(128));
    let gets: String = (0..COMMANDS).map(get).collect();
    let sets: String = (0..COMMANDS).map(set).collect();
    let inline: String = (0..COMMANDS).map(|n| format!("GET key:{n:012}\r\n")).collect();
    for (name, text) in [("get", gets), ("set 128 B", sets), ("inline get", inline)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| parse_all(std::hint::black_box(text.as_bytes())))
        });
    }
    group.finish();
}

criterion_group!(benches, parser);
criterion_main!(benches);
