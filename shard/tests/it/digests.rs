//! One log, however it is applied.

use pinion_shard::crash::{Load, SimNode, SimOptions};
use pinion_wal::disk::sim::{Faults, Image, Pattern, SimDisk};

const GROUPS: u32 = 4;

fn options(cores: u16, lanes: u32) -> SimOptions {
    let mut options = SimOptions { cores, lanes, ..SimOptions::small(GROUPS, 1) };
    options.groups_options.wal.retained_bytes_max = 64 << 20;
    options
}

fn start(image: &Image, cores: u16, lanes: u32) -> SimNode {
    let sim = SimDisk::from_image(image.clone(), 1, Faults::default());
    SimNode::start(sim, options(cores, lanes)).unwrap_or_else(|refused| panic!("{}", refused.1))
}

/// T12: what one core applied with four lanes while it served has the digests of the same log replayed with 1, 2, 4 and 8
/// lanes, on one core and on two, and replayed again after that; with tables in the way and without.
#[test]
fn one_log_gives_one_digest_on_any_lanes_and_cores() {
    for memtable_bytes in [8 << 10, 16 << 20] {
        let mut first = options(1, 4);
        first.rows.memtable_bytes_seal = memtable_bytes;
        let sim = SimDisk::new(1, Faults::default());
        let mut node = SimNode::start(sim, first).unwrap_or_else(|refused| panic!("{}", refused.1));
        let mut load = Load::new(1, GROUPS);
        assert!(load.drive(&mut node, 400));
        assert!(node.run_idle());
        let served = node.digests();
        assert_eq!(served.len(), GROUPS as usize, "{}", node.describe());
        assert!(served.windows(2).all(|pair| pair[0].1 != pair[1].1), "groups of different rows: {served:?}");
        let written = node.into_disk().crashed(Pattern::Everything, 1);
        for cores in [1, 2] {
            for lanes in [1, 2, 4, 8] {
                let node = start(&written, cores, lanes);
                assert_eq!(node.digests(), served, "{cores} cores, {lanes} lanes");
                let again = node.into_disk().crashed(Pattern::Everything, 1);
                let node = start(&again, 3 - cores, lanes);
                assert_eq!(node.digests(), served, "moved from {cores} cores, {lanes} lanes");
            }
        }
    }
}
