//! Crash points of a node: its log and rows together, on one and two cores.

use pinion_shard::crash::{MemtableBytes, Report, Workload, crash_moves, fail_each, run};
use pinion_wal::disk::sim::{PATTERNS, Pattern};

/// Every `PINION_CRASH_STEP`-th operation is a crash point; 1 tries them all.
fn step(default: u64) -> u64 {
    std::env::var("PINION_CRASH_STEP").ok().and_then(|step| step.parse().ok()).unwrap_or(default)
}

fn seed() -> u64 {
    let seed = std::env::var("PINION_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("seed {seed}: PINION_SEED={seed} cargo test -p pinion-shard --test it crash");
    seed
}

fn workload(name: &'static str, cores: &[u16], crash_in_recovery: bool) -> Workload {
    Workload { name, cores: cores.to_vec(), groups: 3, batches: 60, crash_in_recovery }
}

fn crash(workload: &Workload, patterns: &[Pattern], every: u64) -> Report {
    let report = run(workload, seed(), patterns, step(every)).unwrap_or_else(|broken| panic!("{broken}"));
    println!("{}: {report:?}", workload.name);
    report
}

/// D1, T12: what was acknowledged survives a crash at any operation; lanes do not matter.
#[test]
fn acknowledged_writes_survive_on_one_core() {
    let report = crash(&workload("one core", &[1, 1], false), &PATTERNS, 7);
    assert!(report.points > 20 && report.acknowledged > 100, "{report:?}");
}

/// D1: and a crash within the recovery.
#[test]
fn acknowledged_writes_survive_a_crash_in_recovery() {
    let report = crash(&workload("recovery", &[1], true), &[Pattern::RandomHalf, Pattern::Torn512], 5);
    assert!(report.points > 20, "{report:?}");
}

/// M9, T12: the directory is opened with another number of cores, forth and back; nothing is lost and digests agree.
#[test]
fn the_number_of_cores_may_change() {
    crash(&workload("1 to 2", &[1, 2, 1], true), &[Pattern::Nothing, Pattern::RandomHalf], 5);
    crash(&workload("2 to 1", &[2, 1, 2, 3], true), &[Pattern::Nothing, Pattern::Torn4096], 5);
}

/// M9: a crash at any operation of the move between logs leaves every group whole.
#[test]
fn an_interrupted_move_loses_nothing() {
    for (name, cores, memtable_bytes) in
        [("1 to 2", [1, 2], 1 << 20), ("2 to 1", [2, 1], 1 << 20), ("2 to 3", [2, 3], 8 << 10)]
    {
        let workload = workload(name, &cores, true);
        let memtable = MemtableBytes(memtable_bytes);
        let report =
            crash_moves(&workload, memtable, seed(), &[Pattern::Nothing, Pattern::RandomHalf], step(5))
                .unwrap_or_else(|broken| panic!("{broken}"));
        println!("move {name}: {report:?}");
        assert!(report.points > 20, "{report:?}");
    }
}

/// D2: after a failed operation nothing is acknowledged that is not there, once it is opened again.
#[test]
fn a_failed_operation_loses_nothing() {
    for for_ever in [false, true] {
        let report = fail_each(&workload("failure", &[1], false), seed(), for_ever, step(3))
            .unwrap_or_else(|broken| panic!("{broken}"));
        println!("{report:?}");
        assert!(report.failures > 5, "{report:?}");
    }
}
