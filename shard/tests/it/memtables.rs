//! What is not flushed stays within its budget: while groups serve, and while the log is replayed.

use pinion_shard::crash::{Load, SimNode, SimOptions};
use pinion_wal::disk::sim::{Faults, Image, Pattern, SimDisk};

const GROUPS: u32 = 4;
const BUDGET_BYTES: usize = 4 << 20;

/// No memtable is sealed for its own size, and the log keeps everything.
fn options(budget_bytes: usize) -> SimOptions {
    let mut options = SimOptions::small(GROUPS, 1);
    options.rows.memtable_bytes_seal = budget_bytes;
    options.rows.memtable_bytes_max = budget_bytes;
    options.groups_options.wal.retained_bytes_max = 64 << 20;
    options
}

fn start(image: Option<&Image>, budget_bytes: usize) -> SimNode {
    let sim = match image {
        Some(image) => SimDisk::from_image(image.clone(), 1, Faults::default()),
        None => SimDisk::new(1, Faults::default()),
    };
    SimNode::start(sim, options(budget_bytes)).unwrap_or_else(|refused| panic!("{}", refused.1))
}

fn memtable_bytes(node: &SimNode) -> usize {
    node.cores()[0].engine().memtable_bytes()
}

/// O1: before the memtables of a core have used up their budget together the largest goes to a table, so that writes find
/// room although none is large by itself.
#[test]
fn the_largest_memtable_makes_room_for_all() {
    let mut node = start(None, BUDGET_BYTES);
    let mut load = Load::new(1, GROUPS);
    for _ in 0..50 {
        assert!(load.drive(&mut node, 400));
        let bytes = memtable_bytes(&node);
        assert!(
            bytes <= BUDGET_BYTES / 4 * 3,
            "{bytes} bytes: the budget is nearly used up before anything is sealed"
        );
    }
    assert!(load.acknowledged_count() > 19_000, "{} of 20000", load.acknowledged_count());
    load.verify(&mut node).unwrap_or_else(|lost| panic!("{lost}"));
}

/// O1: a start fills no more than the budget of the memtables, whatever the log holds.
#[test]
fn a_replay_stays_within_the_budget() {
    let mut node = start(None, 64 << 20);
    let mut load = Load::new(1, GROUPS);
    assert!(load.drive(&mut node, 20_000));
    let written = memtable_bytes(&node);
    assert!(written > 2 * BUDGET_BYTES, "only {written} bytes to replay");
    let image = node.into_disk().crashed(Pattern::Everything, 1);
    let mut node = start(Some(&image), BUDGET_BYTES);
    assert!(memtable_bytes(&node) <= BUDGET_BYTES, "{} of {written} bytes", memtable_bytes(&node));
    assert!(node.run_ready());
    load.verify(&mut node).unwrap_or_else(|lost| panic!("{lost}"));
}
