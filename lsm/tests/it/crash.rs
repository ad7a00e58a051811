//! Crash points, failing operations and damage.
//!
//! Sizes come from `PINION_STRIDE` (every how manieth case is tried; 1 tries all) and `PINION_SEEDS`.

use pinion_lsm::harness::{Report, WORKLOADS, Workload, crash_points, failing_operations, flipped_bytes};

use crate::number;

fn check(name: &str, stride: u64, seeds: u64, run: impl Fn(Workload, u64, u64) -> Report) {
    let (first, stride) = (number("PINION_SEED", 1), number("PINION_STRIDE", stride));
    let mut cases = 0;
    for workload in WORKLOADS {
        for seed in first..first + number("PINION_SEEDS", seeds) {
            let report = run(workload, seed, stride);
            cases += report.cases;
            if let Some(what) = report.failure {
                panic!(
                    "{what}\nreplay with: PINION_SEED={seed} PINION_SEEDS=1 PINION_STRIDE={stride} \
                     cargo test -p pinion-lsm {name}"
                );
            }
        }
    }
    println!("{name}: {cases} cases");
    assert!(cases > 100, "{cases} cases");
}

/// D1, D4, D5: whatever a crash leaves, the tree opens at a boundary that was sealed and holds exactly its rows.
#[test]
fn every_crash_point_recovers() {
    check("every_crash_point_recovers", 5, 1, crash_points);
}

/// D2: after a failed operation nothing wrong is durable, and no answer is wrong.
#[test]
fn every_failing_operation_is_survived() {
    check("every_failing_operation_is_survived", 3, 1, failing_operations);
}

/// D3: every flipped byte is found, and never served.
#[test]
fn every_flipped_byte_is_found() {
    check("every_flipped_byte_is_found", 401, 1, flipped_bytes);
}
