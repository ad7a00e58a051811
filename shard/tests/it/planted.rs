//! Bugs planted on purpose: the crash harness sees each of them, and the same seeds are clean without.

use pinion_shard::crash::{MemtableBytes, Workload, crash_moves, run};
use pinion_shard::planted::{assert_caught, plant};
use pinion_wal::disk::sim::Pattern;

const SEED: u64 = 1;

fn workload(cores: &[u16]) -> Workload {
    Workload { name: "planted", cores: cores.to_vec(), groups: 3, batches: 60, crash_in_recovery: false }
}

/// Whatever a broken promise looks like: an error of the harness, or an assertion within.
fn is_caught(check: impl Fn() -> Result<pinion_shard::crash::Report, String>) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)).map_or(true, |report| report.is_err())
}

fn crash() -> Result<pinion_shard::crash::Report, String> {
    run(&workload(&[1, 1]), SEED, &[Pattern::Nothing, Pattern::RandomHalf], 3)
}

fn crash_in_moves() -> Result<pinion_shard::crash::Report, String> {
    crash_moves(&workload(&[1, 2]), MemtableBytes(1 << 20), SEED, &[Pattern::Nothing], 7)
}

fn caught_by(bug: &str, check: impl Fn() -> Result<pinion_shard::crash::Report, String>) {
    plant("");
    if let Err(broken) = check() {
        panic!("not clean without a planted bug: {broken}");
    }
    plant(bug);
    let caught = is_caught(check);
    plant("");
    assert!(caught, "{bug} was not caught");
}

/// D1: an answer before the write is stable.
#[test]
fn acknowledge_before_sync_is_caught() {
    caught_by("acknowledge-before-sync", crash);
}

/// D1: the same, within this crate: Raft is told too early.
#[test]
fn report_before_stable_is_caught() {
    caught_by("report-before-stable", crash);
}

/// D1: a command executed twice, or not at all, by recovery.
#[test]
fn replay_from_wrong_index_is_caught() {
    caught_by("replay-from-wrong-index", crash);
}

/// T3: a term that is taken without being logged.
#[test]
fn vote_not_persisted_is_caught() {
    caught_by("vote-not-persisted", crash);
}

/// M9: a move that forgets what is not in tables yet.
#[test]
fn rehome_forgets_entries_is_caught() {
    caught_by("rehome-forgets-entries", crash_in_moves);
}

/// T2, T3, T4, T6, M3, L2, D6, O5: each check of whole groups fails under the bug that the table of promises names.
#[test]
fn bugs_within_groups_are_caught() {
    for (bug, tests) in [
        ("oracle-forgets-the-ceiling", &["groups::timestamps_rise_across_restarts"][..]),
        ("ceiling-ignored", &["groups::without_a_disk_the_ceiling_runs_out"]),
        ("expiry-ignores-the-given-time", &["groups::keys_expire_by_the_oracles_time"]),
        ("groups-from-the-flags", &["layout::later_flags_do_not_change_the_layout"]),
        ("read-before-own-entry", &["groups::reads_wait_for_an_entry_of_the_own_term"]),
        ("stamp-below-served", &["groups::nothing_is_written_at_or_below_a_served_timestamp"]),
        ("full-disk-poisons", &["groups::a_full_disk_refuses_writes_and_recovers"]),
        ("admission-without-bound", &["groups::overload_is_refused_with_a_retryable_error"]),
    ] {
        assert_caught(bug, tests);
    }
}
