use super::*;

/// Seeds of a test run: a few by default, more when asked for.
fn seeds() -> std::ops::Range<u64> {
    let of =
        |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let first = of("PINION_SEED", 1);
    let count = of("PINION_SIM_SEEDS", 6);
    println!("replay: PINION_SEED={first} PINION_SIM_SEEDS={count} cargo test -p pinion-tools sim");
    first..first + count
}

/// D1: what was acknowledged is there after every crash, what was not is there whole or not at all, and reads are
/// linearizable over all lives, with disk faults and other numbers of cores in between.
#[test]
fn acknowledged_writes_survive_whatever_a_seed_draws() {
    let mut total = Report::default();
    for seed in seeds() {
        match run(&mut RealNode, &Plan::draw(seed)) {
            Ok(report) => total.add(&report),
            Err(broken) => panic!("{broken}"),
        }
    }
    println!("{total}");
    assert!(
        total.judged > 10 * total.seeds && total.checked > 2 * total.seeds,
        "the load proves nothing: {total}"
    );
}

/// T12: one seed decides everything: two runs of it do the same to the last byte.
#[test]
fn a_seed_replays_to_the_same_hash() {
    let seed = seeds().start;
    let first = run(&mut RealNode, &Plan::draw(seed)).unwrap_or_else(|broken| panic!("{broken}"));
    let second = run(&mut RealNode, &Plan::draw(seed)).unwrap_or_else(|broken| panic!("{broken}"));
    assert_eq!(first.event_hash, second.event_hash);
    assert_eq!((first.lives, first.judged), (second.lives, second.judged));
}

/// Bugs of every layer that the simulator must find. `cut-record-comes-back` is not among them: it takes whole nodes some
/// 300 seeds to meet it, and the crash points of the log find it in their first.
#[cfg(feature = "planted")]
const PLANTED: [&str; 10] = [
    "acknowledge-before-sync",
    "ignored-sync-error",
    "retry-failed-sync",
    "lost-directory-sync",
    "manifest-directory-sync-lost",
    "replay-from-wrong-index",
    "report-before-stable",
    "vote-not-persisted",
    "rehome-forgets-entries",
    "read-forgets-own-write",
];

/// D1, D2, D5, M9: each planted bug is caught within 200 seeds. The same seeds are run without one by the test above and
/// by `pinion-sim`.
#[cfg(feature = "planted")]
#[test]
fn bugs_of_every_layer_are_caught() {
    for bug in PLANTED {
        pinion_wal::planted::plant(bug);
        let caught = (1..=200).find_map(|seed| run(&mut RealNode, &Plan::draw(seed)).err());
        pinion_wal::planted::plant("");
        println!("{bug}: {}", caught.unwrap_or_else(|| panic!("{bug} was not caught")));
    }
}
