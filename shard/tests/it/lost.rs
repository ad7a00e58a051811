//! Logs and groups that are not there any more: nothing that was acknowledged is taken for something new.

use pinion_shard::crash::{Load, SimNode, SimOptions, StartError};
use pinion_shard::rehome::RehomeError;
use pinion_shard::{GroupId, OpenError, Standing};
use pinion_wal::disk::sim::{Faults, Image, Pattern, SimDisk};
use pinion_wal::disk::{Disk, block_on};
use pinion_wal::{EntryRef, LogId, LogIndex, Term, Wal};

const GROUPS: u32 = 3;

/// Rows that stay in memory and the log: what the tables hold tells of a group too.
fn options(cores: u16) -> SimOptions {
    let mut options = SimOptions { cores, ..SimOptions::small(GROUPS, 1) };
    options.rows.memtable_bytes_seal = 1 << 20;
    options
}

fn start(image: &Image, cores: u16) -> Result<SimNode, StartError> {
    let sim = SimDisk::from_image(image.clone(), 1, Faults::default());
    SimNode::start(sim, options(cores)).map_err(|refused| refused.1)
}

/// A directory of two cores with acknowledged writes to every group, nothing of them in tables.
fn written() -> (Image, Load) {
    let sim = SimDisk::new(1, Faults::default());
    let mut node = SimNode::start(sim, options(2)).unwrap_or_else(|refused| panic!("{}", refused.1));
    assert!(node.run_ready());
    let mut load = Load::new(1, GROUPS);
    assert!(load.drive(&mut node, 30));
    node.pass(50_000);
    (node.into_disk().crashed(Pattern::Everything, 1), load)
}

fn files<'a>(image: &Image, prefix: &'a str) -> impl Iterator<Item = (String, u64)> + use<'a> {
    image.paths().into_iter().filter(move |(path, _)| path.starts_with(prefix))
}

/// D4, M9: when everything that a log knew of its groups is damaged they do not look new: they refuse where they live, also
/// after a move was refused for them, however often either is tried.
#[test]
fn a_group_without_a_record_beside_damage_is_not_new() {
    let (mut image, _) = written();
    for (path, bytes) in files(&image.clone(), "log-0001/segment-") {
        image.damage(&path, 0, |at| at.fill(0), usize::try_from(bytes).expect("a small segment"));
    }
    for _ in 0..3 {
        let refused = start(&image, 1).map(drop);
        let Err(StartError::Rehome(RehomeError::Damaged { group, cores: Some(2), .. })) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(group, GroupId(17));
        let mut node = start(&image, 2).unwrap_or_else(|why| panic!("{why}"));
        assert!(node.run_ready(), "{}", node.describe());
        let standing = |group| node.cores()[usize::from(group == 17)].standing(GroupId(group));
        assert_eq!((standing(16), standing(18)), (Some(&Standing::Sound), Some(&Standing::Sound)));
        assert!(matches!(standing(17), Some(Standing::Damaged(_))), "{}", node.describe());
        image = node.into_disk().crashed(Pattern::Everything, 1);
    }
}

/// M9: a move that is refused for a damaged group leaves the directory as it was for the former number of cores; one that
/// leaves the group where it is goes on.
#[test]
fn a_refused_move_leaves_the_former_number_of_cores() {
    let (mut image, _) = written();
    for (path, bytes) in files(&image.clone(), "log-0001/segment-") {
        image.damage(&path, 0, |at| at.fill(0xee), usize::try_from(bytes).expect("a small segment"));
    }
    for (cores, moves) in [(1, false), (2, true), (3, true), (1, false), (2, true)] {
        let sim = SimDisk::from_image(image, 1, Faults::default());
        let sim = match SimNode::start(sim, options(cores)) {
            Ok(node) => {
                assert!(moves, "group 17 would leave log 1");
                node.into_disk()
            }
            Err(refused) => {
                assert!(!moves, "{cores} cores: {}", refused.1);
                refused.0
            }
        };
        image = sim.crashed(Pattern::Everything, 1);
    }
}

/// The groups of which `log` has a whole copy.
fn whole_in(image: &Image, log: LogId) -> Vec<GroupId> {
    let mut sim = SimDisk::from_image(image.clone(), 1, Faults::default());
    let disk = Disk::new();
    let (options, mut whole) = (pinion_wal::Options::tiny(), Vec::new());
    let work = async {
        let (wal, recovered) = Wal::open(&disk, log, options).await.expect("damage is told");
        let sound = recovered.groups.iter().filter(|(_, held)| held.lost.is_none());
        whole.extend(sound.map(|(group, _)| *group));
        drop(wal);
    };
    block_on(&disk, &mut sim, None, work);
    whole
}

/// M9: damage to what a move has written so far, found when it goes on, costs nothing while the log that the group comes
/// from holds it whole.
#[test]
fn a_damaged_copy_never_costs_the_whole_one() {
    let sim = SimDisk::new(1, Faults::default());
    let mut node = SimNode::start(sim, options(1)).unwrap_or_else(|refused| panic!("{}", refused.1));
    let mut load = Load::new(1, GROUPS);
    assert!(load.drive(&mut node, 150));
    let full = node.into_disk().crashed(Pattern::Everything, 1);
    let (mut damaged, mut doubted) = (0, 0);
    for halt in 1.. {
        let mut sim = SimDisk::from_image(full.clone(), halt, Faults::default());
        sim.halt_after(Some(halt));
        let (sim, ended) = match SimNode::start(sim, options(2)) {
            Ok(node) => (node.into_disk(), true),
            Err(refused) => (refused.0, false),
        };
        let image = sim.crashed(Pattern::Everything, halt);
        if ended || !whole_in(&image, LogId(0)).contains(&GroupId(17)) {
            break;
        }
        for (path, bytes) in files(&image, "log-0001/segment-") {
            let contents = image.contents(&path).expect("it was listed");
            for block in (0..bytes).step_by(4 << 10) {
                let at = usize::try_from(block).expect("a small segment");
                if contents[at..at + 64].iter().all(|byte| *byte == 0) {
                    continue;
                }
                let mut image = image.clone();
                image.flip(&path, block + 40, 3);
                damaged += 1;
                doubted += u32::from(!whole_in(&image, LogId(1)).contains(&GroupId(17)));
                let at = format!("operation {halt}, {path} at {block}");
                for cores in [2, 1] {
                    let mut node = start(&image, cores).unwrap_or_else(|why| panic!("{at}: {why}"));
                    assert!(node.run_ready(), "{at}: {}", node.describe());
                    load.verify(&mut node).unwrap_or_else(|lost| panic!("{at}: {lost}"));
                    image = node.into_disk().crashed(Pattern::Nothing, halt);
                }
            }
        }
    }
    assert!(damaged > 10 && doubted > 0, "{damaged} places were damaged, {doubted} of them of the group");
}

/// D4: a log whose directory was deleted, or emptied, is not taken for one that never was.
#[test]
fn a_log_that_is_gone_is_refused() {
    let (image, _) = written();
    let mut emptied = image.clone();
    for (path, _) in files(&image, "log-0001/") {
        emptied.remove(&path);
    }
    let mut gone = emptied.clone();
    gone.remove("log-0001");
    for cores in [2, 1, 2, 3] {
        let why = start(&gone, cores).map(drop).expect_err("acknowledged writes are gone");
        assert!(matches!(why, StartError::Rehome(RehomeError::LogGone { .. })), "{cores} cores: {why}");
        assert!(why.to_string().contains("log-0001") && why.to_string().contains("restore"), "{why}");
    }
    for cores in [2, 1, 2, 3] {
        let sim = SimDisk::from_image(emptied, 1, Faults::default());
        let (sim, why) =
            *SimNode::start(sim, options(cores)).map(drop).expect_err("acknowledged writes are gone");
        let told = matches!(
            why,
            StartError::Open(OpenError::Unknown { .. }) | StartError::Rehome(RehomeError::GroupGone { .. })
        );
        assert!(told, "{cores} cores: {why}");
        assert!(why.to_string().contains("restore"), "{why}");
        emptied = sim.crashed(Pattern::Everything, 1);
    }
}

/// D5: a directory whose founding a crash interrupted is founded by the next start, with whatever number of cores.
#[test]
fn an_interrupted_founding_goes_on() {
    for halt in 1.. {
        let mut sim = SimDisk::new(halt, Faults::default());
        sim.halt_after(Some(halt));
        let (sim, ended) = match SimNode::start(sim, options(2)) {
            Ok(node) => (node.into_disk(), true),
            Err(refused) => (refused.0, false),
        };
        let image = sim.crashed(Pattern::RandomHalf, halt);
        for cores in [[2, 1], [3, 2]][usize::from(halt % 2 == 0)] {
            let mut node =
                start(&image, cores).unwrap_or_else(|why| panic!("operation {halt}, {cores} cores: {why}"));
            assert!(node.run_ready(), "operation {halt}: {}", node.describe());
        }
        if ended {
            break;
        }
    }
}

/// The image with an entry of group 17 in this log that cannot be executed.
fn with_an_entry_that_halts(image: Image, log: LogId) -> Image {
    let mut sim = SimDisk::from_image(image, 1, Faults::default());
    let disk = Disk::new();
    let work = async {
        let (mut wal, recovered) =
            Wal::open(&disk, log, pinion_wal::Options::tiny()).await.expect("a sound log");
        let held = &recovered.groups[&GroupId(17)];
        let last = held.entries.last().map_or(LogIndex(held.first.0 - 1), |entry| entry.index);
        let entry =
            EntryRef { index: last.next(), term: Term(held.hard_state.term.0), kind: 0, data: b"no batch" };
        wal.append_entries(GroupId(17), LogIndex(0), &[entry]);
        wal.settle_and_mark().await.expect("the disk is sound");
        wal.close().await.expect("the disk is sound");
    };
    block_on(&disk, &mut sim, None, work);
    sim.crashed(Pattern::Everything, 1)
}

/// D3: an entry that cannot be executed stops its group, at every start again, and none of the others.
#[test]
fn a_group_that_halted_does_not_keep_the_others_from_starting() {
    let mut image = with_an_entry_that_halts(written().0, LogId(1));
    for _ in 0..2 {
        let mut node = start(&image, 2).unwrap_or_else(|why| panic!("{why}"));
        assert!(node.run_ready(), "{}", node.describe());
        let standing = |group| node.cores()[usize::from(group == 17)].standing(GroupId(group));
        assert!(matches!(standing(17), Some(Standing::Halted(_))), "{}", node.describe());
        assert_eq!((standing(16), standing(18)), (Some(&Standing::Sound), Some(&Standing::Sound)));
        node.pass(50_000);
        image = node.into_disk().crashed(Pattern::Everything, 1);
    }
}

/// D3, D6: a group that halted holds back its own entries, and not the segments in which they stand: the log stays bounded, and
/// what it would execute is there at every start.
#[test]
fn a_group_that_halted_does_not_fill_the_log() {
    let small = || SimOptions::small(GROUPS, 1);
    let sim = SimDisk::new(1, Faults::default());
    let mut node = SimNode::start(sim, SimOptions { cores: 1, ..options(1) })
        .unwrap_or_else(|refused| panic!("{}", refused.1));
    let mut load = Load::new(1, GROUPS);
    assert!(load.drive(&mut node, 60));
    let image = with_an_entry_that_halts(node.into_disk().crashed(Pattern::Everything, 1), LogId(0));
    let sim = SimDisk::from_image(image, 1, Faults::default());
    let mut node = SimNode::start(sim, small()).unwrap_or_else(|refused| panic!("{}", refused.1));
    let halted = |node: &SimNode| matches!(node.cores()[0].standing(GroupId(17)), Some(Standing::Halted(_)));
    assert!(node.run_ready() && halted(&node), "{}", node.describe());
    let applied = node.applied(GroupId(17));
    let bound = 2 * pinion_wal::Options::tiny().retained_bytes_max;
    load.drive(&mut node, 3_000);
    // The last copies wait for segments that others fill: on an idle core those are the ceilings of the clock.
    node.pass(60_000_000);
    let log = node.cores()[0].log();
    assert!(log.metrics().segments_started > 40, "{:?}", log.metrics());
    assert!(
        log.retained_bytes() <= bound,
        "{} bytes are retained: {:?}",
        log.retained_bytes(),
        log.metrics()
    );
    let sim = SimDisk::from_image(node.into_disk().crashed(Pattern::Nothing, 1), 1, Faults::default());
    let mut node = SimNode::start(sim, small()).unwrap_or_else(|refused| panic!("{}", refused.1));
    assert!(node.run_ready() && halted(&node), "{}", node.describe());
    assert_eq!(node.applied(GroupId(17)), applied);
}
