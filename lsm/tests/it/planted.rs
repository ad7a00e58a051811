//! Each planted bug is caught, by the cases that are clean without it.

use pinion_lsm::harness::{Report, Workload, crash_points, random_operations};
use pinion_wal::planted::plant;

/// Whether one of `cases` fails while `bug` is planted; without it all must be clean up to there.
fn is_caught(bug: &str, cases: impl Iterator<Item = Box<dyn Fn() -> Option<String>>>) {
    for case in cases {
        plant("");
        assert_eq!(case(), None, "without {bug}");
        plant(bug);
        let failure = std::panic::catch_unwind(std::panic::AssertUnwindSafe(&case));
        plant("");
        match failure {
            Ok(None) => {}
            Ok(Some(what)) => return println!("{bug}: {what}"),
            Err(_) => return println!("{bug}: an assertion of the crate itself"),
        }
    }
    panic!("{bug} was not caught");
}

fn random_runs() -> impl Iterator<Item = Box<dyn Fn() -> Option<String>>> {
    (1..200)
        .map(|seed| Box::new(move || random_operations(seed, 400).err()) as Box<dyn Fn() -> Option<String>>)
}

fn crashes(workload: Workload) -> impl Iterator<Item = Box<dyn Fn() -> Option<String>>> {
    let failure = |report: Report| report.failure;
    let case = move |seed| {
        Box::new(move || failure(crash_points(workload, seed, 7))) as Box<dyn Fn() -> Option<String>>
    };
    (1..200).map(case)
}

#[test]
fn a_tombstone_dropped_under_a_reader_is_caught() {
    is_caught("tombstone-dropped-under-reader", random_runs());
}

#[test]
fn a_replay_from_the_wrong_index_is_caught() {
    is_caught("replay-from-wrong-index", random_runs());
}

#[test]
fn a_lost_directory_sync_of_the_manifest_is_caught() {
    is_caught("manifest-directory-sync-lost", crashes(Workload::Rollover));
}
