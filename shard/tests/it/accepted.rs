//! Damage that a person accepted: what is left is served, and the damage is told no more.

use std::cell::Cell;
use std::rc::Rc;

use pinion_lsm::{Cache, Engine};
use pinion_shard::crash::{Load, SimNode, SimOptions, StartError};
use pinion_shard::layout::{self, Founding, Wanted};
use pinion_shard::loss::{Accepted, LossError, accept_loss};
use pinion_shard::rehome::RehomeError;
use pinion_shard::{ClusterId, GroupId, LogIndex, NodeId, OpenError, Standing};
use pinion_wal::disk::sim::{Faults, Image, Pattern, SimDisk};
use pinion_wal::disk::{Disk, block_on, run_until};
use pinion_wal::task::Tasks;
use pinion_wal::{EntryRef, HardState, LogId, Term, Ticks, Wal};

const GROUPS: u32 = 3;
/// The only group of log 1.
const LOST: GroupId = GroupId(17);

/// Memtables of this size: with large ones all rows stay in memory and the log.
fn options(seal: usize) -> SimOptions {
    let mut options = SimOptions { cores: 2, ..SimOptions::small(GROUPS, 1) };
    options.rows.memtable_bytes_seal = seal;
    options
}

const LARGE: usize = 1 << 20;

fn start(image: &Image) -> Result<SimNode, StartError> {
    let sim = SimDisk::from_image(image.clone(), 1, Faults::default());
    SimNode::start(sim, options(LARGE)).map_err(|refused| refused.1)
}

fn started(image: &Image) -> SimNode {
    let mut node = start(image).unwrap_or_else(|why| panic!("{why}"));
    assert!(node.run_ready(), "{}", node.describe());
    node
}

/// A directory of two cores with acknowledged writes to every group.
fn written(seal: usize) -> (Image, Load) {
    let sim = SimDisk::new(1, Faults::default());
    let mut node = SimNode::start(sim, options(seal)).unwrap_or_else(|refused| panic!("{}", refused.1));
    let mut load = Load::new(1, GROUPS);
    assert!(load.drive(&mut node, 60));
    node.pass(50_000);
    (node.into_disk().crashed(Pattern::Everything, 1), load)
}

/// The segments of log 1 and their lengths in blocks.
fn segments(image: &Image) -> Vec<(String, u64)> {
    let own = image.paths().into_iter().filter(|(path, _)| path.starts_with("log-0001/segment-"));
    own.map(|(path, bytes)| (path, bytes / 4096)).collect()
}

/// The image with everything that log 1 wrote from its n-th block on damaged.
fn damaged(image: &Image, mut whole: u64) -> Image {
    let mut image = image.clone();
    for (path, blocks) in segments(&image) {
        let from = whole.min(blocks);
        whole -= from;
        if from < blocks {
            let bytes = usize::try_from((blocks - from) * 4096).expect("a small segment");
            image.damage(&path, from * 4096, |at| at.fill(0xee), bytes);
        }
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
    let image = damaged(&written(LARGE).0, 3);
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

struct Still(Cell<u64>);

impl Ticks for Still {
    fn now(&self) -> u64 {
        self.0.get()
    }

    fn per_micro(&self) -> u64 {
        1
    }
}

/// Accepts the loss of a group, as a start does before it opens anything. `None` when the disk stopped meanwhile.
fn accept(sim: &mut SimDisk, group: GroupId) -> Option<Result<Accepted, LossError>> {
    let (disk, tasks) = (Disk::new(), Tasks::new(Rc::new(Still(Cell::new(0)))));
    let engine = Engine::new(disk.clone(), tasks.spawner(), Cache::new(1 << 20), options(LARGE).rows);
    let founding = Founding { cluster: ClusterId(1), node: NodeId(1) };
    let wanted = Wanted { cores: 2, groups: Some(GROUPS), founding };
    let work = async {
        let layout = layout::open(&disk, &wanted).await.expect("the directory has a layout");
        accept_loss(&disk, &engine, &layout, group, &pinion_wal::Options::tiny()).await
    };
    run_until(&disk, sim, None, work).ok()
}

fn accepted(image: &Image, group: GroupId) -> Result<(Image, Accepted), LossError> {
    let mut sim = SimDisk::from_image(image.clone(), 1, Faults::default());
    let accepted = accept(&mut sim, group).expect("the disk goes on")?;
    Ok((sim.crashed(Pattern::Nothing, 1), accepted))
}

/// Starts what was accepted, and compares it with the model: what is left of the group is a beginning of what was
/// acknowledged, of the others nothing is missing. Then it is written to and started once more. Answers how many batches of the
/// group are left.
fn serves_what_is_left(image: &Image, load: &Load, kept: LogIndex) -> usize {
    let mut load = load.clone();
    let mut node = started(image);
    assert!(!is_damaged(&node, LOST), "{}", node.describe());
    assert!(node.applied(LOST) >= kept, "{kept} entries are kept");
    let left = load.give_up(&mut node, LOST).expect("the group answers");
    load.verify(&mut node).unwrap_or_else(|why| panic!("{why}"));
    assert!(load.drive(&mut node, 20));
    node.pass(100_000);
    let image = node.into_disk().crashed(Pattern::Nothing, 1);
    assert_eq!(told(&image), 0, "what was accepted is told no more");
    load.verify(&mut started(&image)).unwrap_or_else(|why| panic!("{why}"));
    left
}

/// D4: what a group lost is given up when a person says so: what was acknowledged before the damage is there, also what only
/// tables hold, and nothing of the other groups is touched.
#[test]
fn an_accepted_loss_leaves_what_stands_before_the_damage() {
    for seal in [LARGE, 2 << 10] {
        let (image, load) = written(seal);
        let mut left_before = 0;
        let blocks: u64 = segments(&image).iter().map(|(_, blocks)| blocks).sum();
        for block in 0..blocks {
            let image = damaged(&image, block);
            if !is_damaged(&started(&image), LOST) {
                continue;
            }
            let (image, accepted) = accepted(&image, LOST).unwrap_or_else(|why| panic!("{block}: {why}"));
            assert!(
                accepted.damage.is_some() && accepted.to_string().contains("damaged at byte"),
                "{accepted}"
            );
            let left = serves_what_is_left(&image, &load, accepted.kept);
            assert!(
                left >= left_before,
                "{left} batches stand before block {block}, {left_before} before less"
            );
            left_before = left;
        }
        assert!(left_before > 10, "{left_before} batches stood before the last damage");
    }
}

/// D4: damage in the midst: what follows is given up with it, whatever single block of the log was hit.
#[test]
fn a_loss_in_the_midst_can_be_accepted() {
    let (image, load) = written(LARGE);
    let image = with_a_lone_vote(&image);
    let mut losses = 0;
    let places =
        segments(&image).into_iter().flat_map(|(path, blocks)| (0..blocks).map(move |at| (path.clone(), at)));
    for (path, block) in places {
        for sector in [0, 5] {
            let mut image = image.clone();
            image.flip(&path, block * 4096 + sector * 512 + 70, 3);
            if is_damaged(&started(&image), LOST) {
                losses += 1;
                let (image, accepted) =
                    accepted(&image, LOST).unwrap_or_else(|why| panic!("{path} {block}: {why}"));
                serves_what_is_left(&image, &load, accepted.kept);
            }
        }
    }
    assert!(losses > 5, "{losses} blocks held records");
}

/// A term whose vote stands in a flush of its own, and an empty entry of that term behind it.
fn with_a_lone_vote(image: &Image) -> Image {
    let (disk, mut sim) = (Disk::new(), SimDisk::from_image(image.clone(), 1, Faults::default()));
    block_on(&disk, &mut sim, None, async {
        let opened = Wal::open(&disk, LogId(1), pinion_wal::Options::tiny()).await;
        let (mut wal, recovered) = opened.expect("a sound log");
        let held = &recovered.groups[&LOST];
        let term = Term(held.hard_state.term.0 + 1);
        wal.append_hard_state(LOST, HardState { term, ..held.hard_state });
        wal.settle().await.expect("the disk is sound");
        let index = held.entries.last().expect("entries were written").index.next();
        wal.append_entries(LOST, LogIndex(0), &[EntryRef { index, term, kind: 0, data: b"" }]);
        wal.settle_and_mark().await.expect("the disk is sound");
    });
    sim.crashed(Pattern::Nothing, 1)
}

/// D4: a group of which no log has a record any more is brought back with what its tables hold, also when its log is gone.
#[test]
fn a_group_without_a_record_can_be_given_up() {
    for seal in [LARGE, 2 << 10] {
        let (image, load) = written(seal);
        let files: Vec<String> = image.paths().into_iter().map(|(path, _)| path).collect();
        let log = files.iter().filter(|path| path.starts_with("log-0001/"));
        let mut emptied = image.clone();
        log.for_each(|path| emptied.remove(path));
        let mut gone = emptied.clone();
        gone.remove("log-0001");
        let why = start(&gone).map(drop).expect_err("the log is gone");
        assert!(matches!(why, StartError::Rehome(RehomeError::LogGone { .. })), "{why}");
        assert!(why.to_string().contains("--accept-loss 17"), "{why}");
        let why = start(&emptied).map(drop).expect_err("the log is empty");
        assert!(matches!(why, StartError::Open(OpenError::Unknown { .. })), "{why}");
        assert!(why.to_string().contains("--accept-loss 17"), "{why}");
        for image in [damaged(&image, 0), emptied, gone] {
            let (image, accepted) = accepted(&image, LOST).unwrap_or_else(|why| panic!("{why}"));
            let left = serves_what_is_left(&image, &load, accepted.kept);
            assert_eq!(left > 0, seal != LARGE, "{left} batches are in tables");
        }
    }
}

/// D4: a loss that nobody had is not accepted, and nothing changes.
#[test]
fn a_loss_that_is_none_is_refused() {
    let (image, load) = written(LARGE);
    let damaged = damaged(&image, 3);
    for (image, group) in [(&image, LOST), (&damaged, GroupId(16)), (&damaged, GroupId(0))] {
        let why = accepted(image, group).map(drop).expect_err("it has lost nothing");
        assert!(matches!(why, LossError::NothingLost { .. }), "{why}");
        assert!(why.to_string().contains(&format!("without --accept-loss {group}")), "{why}");
    }
    let why = accepted(&damaged, GroupId(19)).map(drop).expect_err("there is no such group");
    assert!(matches!(why, LossError::NoGroup { .. }) && why.to_string().contains("16 to 18"), "{why}");
    load.verify(&mut started(&image)).unwrap_or_else(|why| panic!("{why}"));
    assert!(is_damaged(&started(&damaged), LOST));
}

/// D4: a crash at any operation of an acceptance leaves the group lost, or accepted; it can be tried again.
#[test]
fn an_interrupted_acceptance_can_be_repeated() {
    let (image, load) = written(2 << 10);
    let mut gone = image.clone();
    for (path, _) in image.paths().iter().filter(|(path, _)| path.starts_with("log-0001/")) {
        gone.remove(path);
    }
    gone.remove("log-0001");
    for image in [damaged(&image, 6), damaged(&image, 0), gone] {
        for halt in 1.. {
            let mut sim = SimDisk::from_image(image.clone(), halt, Faults::default());
            sim.halt_after(Some(halt));
            let ended = accept(&mut sim, LOST).is_some();
            let crashed = sim.crashed(Pattern::RandomHalf, halt);
            let (crashed, kept) = match accepted(&crashed, LOST) {
                Ok((image, accepted)) => (image, accepted.kept),
                Err(LossError::NothingLost { .. }) => (crashed, LogIndex(0)),
                Err(why) => panic!("operation {halt}: {why}"),
            };
            serves_what_is_left(&crashed, &load, kept);
            if ended {
                break;
            }
        }
    }
}
