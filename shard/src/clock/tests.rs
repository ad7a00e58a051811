use pinion_lsm::Timestamp;
use pinion_wal::Mono;

use super::*;

fn word(ceiling_ms: u64) -> Word {
    let word = Word::new();
    word.raise(Timestamp::from_millis(1_000));
    word.publish(Grant {
        lease_end: Mono(5_000_000_000),
        ceiling: Timestamp::from_millis(ceiling_ms),
        time_ms_max: ceiling_ms,
        anchor: Anchor { mono: Mono(0), unix_nanos: 1_000_000_000, rate: Rate::Even },
    });
    word
}

/// T4: nothing is issued without a lease, after it, or above the ceiling.
#[test]
fn lease_and_ceiling_bound_what_is_issued() {
    assert_eq!(Word::new().take(1, Mono(0)), Err(NoTime::Lease));
    let word = word(1_001);
    assert_eq!(word.take(1, Mono(5_000_000_000)), Err(NoTime::Lease));
    let first = word.take(10, Mono(0)).unwrap();
    assert_eq!(first, Issued { base: Timestamp::from_millis(1_000), time_ms: 1_000 });
    assert_eq!(word.take(1 << 16, Mono(0)), Err(NoTime::Ceiling));
    let rest = word.take((1 << 16) - 10, Mono(0)).unwrap();
    assert_eq!(rest.base, first.base.plus(10), "a refused range costs nothing");
    assert_eq!(word.take(1, Mono(0)), Err(NoTime::Ceiling));
    assert_eq!(word.take(1, Mono(4_000_000_000)), Err(NoTime::Ceiling), "the clock alone raises no ceiling");
    assert_eq!(word.time_ms(Mono(4_000_000_000)), Some(1_001), "time stands still where the ceiling ends");
    word.revoke();
    assert_eq!(word.take(1, Mono(0)), Err(NoTime::Lease));
}

/// T13: timestamps follow the oracle's time and are issued once.
#[test]
fn ranges_follow_the_time_and_never_overlap() {
    let word = word(4_000);
    let early = word.take(3, Mono(0)).unwrap();
    let late = word.take(2, Mono(20_000_000)).unwrap();
    assert_eq!(late, Issued { base: Timestamp::from_millis(1_020), time_ms: 1_020 });
    let again = word.take(1, Mono(0)).unwrap();
    assert!(early.base.plus(3) <= late.base && again.base == late.base.plus(2));
}

/// T13: with several threads, nothing is issued twice.
#[test]
fn threads_share_the_word() {
    let word = word(4_000);
    let mut all: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let word = &word;
                scope.spawn(move || {
                    let take = |i| word.take(thread + 1, Mono(i)).unwrap().base.0;
                    (0..2_000).map(take).flat_map(|base| base..=base + thread).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let issued = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!((issued, all.len()), (20_000, 20_000));
}
