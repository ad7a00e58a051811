//! Damage that a person accepted: what is left is served, and the damage is told no more.

use pinion_shard::crash::{Load, SimNode, SimOptions, StartError};
use pinion_shard::{GroupId, Standing};
use pinion_wal::disk::sim::{Faults, Image, Pattern, SimDisk};
use pinion_wal::disk::{Disk, block_on};
use pinion_wal::{LogId, Wal};

const GROUPS: u32 = 3;
/// The only group of log 1.
const LOST: GroupId = GroupId(17);

/// Rows that stay in memory and the log.
fn options() -> SimOptions {
    let mut options = SimOptions { cores: 2, ..SimOptions::small(GROUPS, 1) };
    options.rows.memtable_bytes_seal = 1 << 20;
    options
}

fn start(image: &Image) -> Result<SimNode, StartError> {
    let sim = SimDisk::from_image(image.clone(), 1, Faults::default());
    SimNode::start(sim, options()).map_err(|refused| refused.1)
}

fn started(image: &Image) -> SimNode {
    let mut node = start(image).unwrap_or_else(|why| panic!("{why}"));
    assert!(node.run_ready(), "{}", node.describe());
    node
}

/// A directory of two cores with acknowledged writes to every group, nothing of them in tables.
fn written() -> (Image, Load) {
    let sim = SimDisk::new(1, Faults::default());
    let mut node = SimNode::start(sim, options()).unwrap_or_else(|refused| panic!("{}", refused.1));
    let mut load = Load::new(1, GROUPS);
    assert!(load.drive(&mut node, 30));
    node.pass(50_000);
    (node.into_disk().crashed(Pattern::Everything, 1), load)
}

/// The image with everything that log 1 wrote from this block of its first segment on damaged.
fn damaged(image: &Image, block: u64) -> Image {
    let mut image = image.clone();
    for (path, bytes) in image.paths().into_iter().filter(|(path, _)| path.starts_with("log-0001/segment-")) {
        let from = if path.ends_with("00000000") { block * 4096 } else { 0 };
        image.damage(
            &path,
            from,
            |at| at.fill(0xee),
            usize::try_from(bytes - from).expect("a small segment"),
        );
    }
    image
}

fn is_damaged(node: &SimNode, group: GroupId) -> bool {
    let core = &node.cores()[usize::from(node.layout().core_of(group).0)];
    matches!(core.standing(group), Some(Standing::Damaged(_)))
}

/// How many damaged places the log of core 1 tells of.
fn told(image: &Image) -> usize {
    let (disk, mut sim) = (Disk::new(), SimDisk::from_image(image.clone(), 1, Faults::default()));
    let work = async {
        let opened = Wal::open(&disk, LogId(1), pinion_wal::Options::tiny()).await;
        opened.expect("a log that can be opened").1.damage.len()
    };
    block_on(&disk, &mut sim, None, work)
}

/// D4: damage is told while it may concern a group, and no longer: with every group found and whole it is accepted, and
/// keeps no segment.
#[test]
fn damage_that_concerns_nobody_is_accepted() {
    let image = damaged(&written().0, 3);
    let mut node = started(&image);
    assert!(is_damaged(&node, LOST), "{}", node.describe());
    node.pass(100_000);
    let image = node.into_disk().crashed(Pattern::Everything, 1);
    assert!(told(&image) > 0, "its group has lost records");

    // The loss of the group is accepted, and there is a crash before the damage is.
    let (disk, mut sim) = (Disk::new(), SimDisk::from_image(image, 1, Faults::default()));
    block_on(&disk, &mut sim, None, async {
        let (mut wal, _) = Wal::open(&disk, LogId(1), pinion_wal::Options::tiny()).await.expect("a log");
        wal.accept_loss(LOST);
        wal.settle_and_mark().await.expect("the disk is sound");
    });
    let image = sim.crashed(Pattern::Nothing, 1);
    assert!(told(&image) > 0, "nobody has accepted it");
    let mut node = started(&image);
    assert!(!is_damaged(&node, LOST), "{}", node.describe());
    node.pass(100_000);
    let image = node.into_disk().crashed(Pattern::Nothing, 1);
    assert_eq!(told(&image), 0);
    assert!(!is_damaged(&started(&image), LOST));
}
