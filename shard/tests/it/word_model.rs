//! The timestamp word under a model checker: every interleaving and every stale read that the memory model allows.
//!
//! The same source file is compiled against the atomics of `loom`; once with all of its fences, and once without.

mod sound;
mod unfenced;

macro_rules! model {
    ($word:path) => {{
        use $word as word;
        let grant = |n: u64| word::Grant {
            lease_end: pinion_wal::Mono(n),
            ceiling: pinion_lsm::Timestamp(n << 32),
            time_ms_max: n,
            anchor: word::Anchor { mono: pinion_wal::Mono(n), unix_nanos: n, rate: word::Rate::Even },
        };
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(move || {
            let word = loom::sync::Arc::new(word::Word::new());
            word.publish(grant(1));
            let writer = word.clone();
            let publisher = loom::thread::spawn(move || writer.publish(grant(2)));
            let seen = word.grant();
            assert!(seen == grant(1) || seen == grant(2), "a torn grant: {seen:?}");
            publisher.join().unwrap();
            assert_eq!(word.grant(), grant(2));
        });
    }};
}

macro_rules! ranges {
    ($word:path) => {{
        use $word as word;
        loom::model(|| {
            let word = loom::sync::Arc::new(word::Word::new());
            word.publish(word::Grant {
                lease_end: pinion_wal::Mono(u64::MAX),
                ceiling: pinion_lsm::Timestamp(100),
                time_ms_max: 0,
                anchor: word::Anchor { mono: pinion_wal::Mono(0), unix_nanos: 0, rate: word::Rate::Even },
            });
            let other = word.clone();
            let taker = loom::thread::spawn(move || other.take(2, pinion_wal::Mono(0)).unwrap().base.0);
            let mine = word.take(3, pinion_wal::Mono(0)).unwrap().base.0;
            let theirs = taker.join().unwrap();
            assert!(mine + 3 <= theirs || theirs + 2 <= mine, "{mine} and {theirs} overlap");
        });
    }};
}

/// T4: a core sees each grant whole: never the lease of one with the ceiling of another.
#[test]
fn grants_are_seen_whole() {
    model!(sound::word);
}

/// The check above catches a missing fence.
#[test]
#[should_panic(expected = "a torn grant")]
fn a_missing_fence_is_caught() {
    model!(unfenced::word);
}

/// T13: two cores that take at the same time get different timestamps.
#[test]
fn ranges_do_not_overlap() {
    ranges!(sound::word);
}
