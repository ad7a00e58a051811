//! What is not flushed stays within its budget: while groups serve, and while the log is replayed.

use pinion_shard::crash::{Load, SimNode, SimOptions, StartError};
use pinion_shard::{
    BatchBuf, BatchBuilder, Command, CoreId, Expire, GroupId, Key, Kind, NodeId, Origin, OwnedReply, Reply,
    ReplyError, ReplyTo, SetWhen,
};
use pinion_wal::disk::OpKind;
use pinion_wal::disk::sim::{Fault, Faults, Image, Pattern, Rule, SimDisk};

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

/// O1: while level 0 is full, and not the memory, what little is in memory stays there: as a table it would be one more
/// to compact, and so would every later control.
#[test]
fn a_full_level_0_gets_no_small_tables() {
    let mut faults = Faults::default();
    // The flushes that fill level 0 succeed; no compaction and no later flush does.
    faults.rules.push(Rule {
        kind: Some(OpKind::Open),
        path_part: "tree-00000016/0".to_owned(),
        nth: 3,
        for_ever: true,
        fault: Fault::Error(5),
    });
    let mut options = SimOptions::small(1, 1);
    options.rows.level0_tables_compact = 2;
    options.rows.level0_tables_max = 2;
    options.rows.memtable_bytes_seal = 64 << 10;
    let mut node =
        SimNode::start(SimDisk::new(1, faults), options).unwrap_or_else(|refused| panic!("{}", refused.1));
    assert!(node.run_ready());
    let group = GroupId(16);
    let answered = |node: &mut SimNode, slot, value: &str| {
        let mut builder = BatchBuilder::default();
        let (key, value) = (Key::new(b"k"), value.as_bytes());
        let (when, expire) = (SetWhen::Always, Expire::Keep);
        builder.push(&Command::Set { key, value, when, expire, get: false });
        node.submit(group, builder.finish(Kind::Commands, Origin { node: NodeId(1), core: CoreId(0), slot }));
        let to = ReplyTo { core: CoreId(0), slot, index: 0 };
        (0..20_000).find_map(|_| {
            node.step();
            node.take_reply(to)
        })
    };
    let ok = Some(OwnedReply::Plain(Reply::Ok));
    let tables = |node: &SimNode| node.cores()[0].machine(group).expect("it is there").tree().metrics();
    let large = "x".repeat(100_000);
    assert_eq!(answered(&mut node, 1, &large), ok);
    node.pass(1_000_000);
    assert_eq!(tables(&node).level_tables[0], 1);
    // The second is admitted while the table of the first is on its way.
    assert_eq!(answered(&mut node, 2, &large), ok);
    assert_eq!(answered(&mut node, 3, "y"), ok);
    node.pass(10_000_000);
    let found = tables(&node);
    assert_eq!((found.level_tables[0], found.sealed), (2, 0), "{found:?}");
    assert!(found.memtable_bytes > 0, "nothing to seal");
    let overloaded = Some(OwnedReply::Plain(Reply::Error(ReplyError::Overloaded)));
    assert_eq!(answered(&mut node, 4, "z"), overloaded);
}

/// D4: a damaged table is never merged. When those above it have filled level 0, writes are refused for good, and why is
/// said: waiting would not help.
#[test]
fn damaged_tables_that_hold_up_the_others_are_told() {
    let mut options = SimOptions::small(1, 1);
    options.rows.level0_tables_compact = 2;
    options.rows.level0_tables_max = 4;
    options.rows.memtable_bytes_seal = 16 << 10;
    let started = |sim, options: &SimOptions| {
        SimNode::start(sim, options.clone()).unwrap_or_else(|refused| panic!("{}", refused.1))
    };
    let mut node = started(SimDisk::new(1, Faults::default()), &options);
    assert!(node.run_ready());
    let group = GroupId(16);
    let answered = |node: &mut SimNode, slot, key: &str, value: &str| {
        let mut builder = BatchBuilder::default();
        let (key, value) = (Key::new(key.as_bytes()), value.as_bytes());
        let (when, expire) = (SetWhen::Always, Expire::Keep);
        builder.push(&Command::Set { key, value, when, expire, get: false });
        node.submit(group, builder.finish(Kind::Commands, Origin { node: NodeId(1), core: CoreId(0), slot }));
        let to = ReplyTo { core: CoreId(0), slot, index: 0 };
        (0..20_000).find_map(|_| {
            node.step();
            node.take_reply(to)
        })
    };
    let ok = Some(OwnedReply::Plain(Reply::Ok));
    let large = "x".repeat(20_000);
    assert_eq!(answered(&mut node, 1, "k", &large), ok);
    node.pass(1_000_000);
    let mut image = node.into_disk().crashed(Pattern::Everything, 1);
    let mut paths = image.paths().into_iter().map(|(path, _)| path);
    let path = paths.find(|path| path.starts_with("tree-00000016/") && path.ends_with(".table"));
    image.flip(&path.expect("the row is in a table"), 100, 3);
    let mut node = started(SimDisk::from_image(image, 1, Faults::default()), &options);
    assert!(node.run_ready());
    let mut answers = Vec::new();
    for slot in 0..8 {
        // A write of the damaged row itself would halt the group.
        answers.push(answered(&mut node, slot, &format!("other{slot}"), &large));
        node.pass(1_000_000);
    }
    let told = Some(OwnedReply::Plain(Reply::Error(ReplyError::TablesDamaged)));
    assert_eq!((&answers[0], &answers[7]), (&ok, &told), "{answers:?}");
    assert!(answers.iter().all(|answer| *answer == ok || *answer == told));
    assert!(!ReplyError::TablesDamaged.retryable());
    assert_eq!(node.cores()[0].damaged_tables(), 1);
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

/// A log with more rows than the memtables of a start may hold, and tables.
fn rows_to_replay() -> Image {
    let mut load = Load::new(1, GROUPS);
    let mut node = start(None, 64 << 10);
    assert!(load.drive(&mut node, 2_000));
    let image = node.into_disk().crashed(Pattern::Everything, 1);
    let mut node = start(Some(&image), 64 << 20);
    assert!(load.drive(&mut node, 6_000));
    node.into_disk().crashed(Pattern::Everything, 1)
}

/// Far more operations of the disk than a start takes: one that takes them all waits for ever.
const OPERATIONS_MAX: u64 = 100_000;

/// Starts on `image`, and goes on for a moment. Panics when the start waits for ever.
fn start_or_refuse(image: &Image, faults: Faults, budget_bytes: usize) -> Result<SimNode, String> {
    let mut sim = SimDisk::from_image(image.clone(), 1, faults);
    sim.halt_after(Some(OPERATIONS_MAX));
    SimNode::start(sim, options(budget_bytes)).map_err(|refused| {
        assert!(!matches!(refused.1, StartError::Stalled), "the start waits for ever");
        refused.1.to_string()
    })
}

/// D2: whatever operation of the disk fails during a start, the start ends: the server serves, or says why not.
#[test]
fn a_replay_ends_whatever_operation_fails() {
    let image = rows_to_replay();
    let budget_bytes = BUDGET_BYTES / 4;
    let every: usize = std::env::var("PINION_EVERY").ok().and_then(|every| every.parse().ok()).unwrap_or(23);
    let (mut served, mut refused) = (0, 0);
    for nth in (1..1_500).step_by(every) {
        for for_ever in [false, true] {
            match start_or_refuse(&image, Faults::default().fail_nth(nth, for_ever), budget_bytes) {
                Ok(_) => served += 1,
                Err(why) => {
                    assert!(why.to_lowercase().contains("input/output error"), "{why}");
                    assert!(!why.contains("make room"), "{why}");
                    refused += 1;
                }
            }
        }
    }
    assert!(served > 0 && refused > 0, "{served} served, {refused} refused");
}

/// D6: on a disk that is full a start ends as well, and one that finds space serves.
#[test]
fn a_replay_ends_on_a_full_disk() {
    let image = rows_to_replay();
    let budget_bytes = BUDGET_BYTES / 4;
    let used: u64 = image.paths().iter().map(|(_, bytes)| bytes).sum();
    let (mut served, mut refused) = (0, 0);
    for more in (0..2_000_000).step_by(100_000) {
        let capacity_bytes = Some(used + more);
        match start_or_refuse(&image, Faults { capacity_bytes, ..Faults::default() }, budget_bytes) {
            Ok(node) => {
                assert!(memtable_bytes(&node) <= budget_bytes * 5 / 4, "{} bytes", memtable_bytes(&node));
                served += 1;
            }
            Err(why) => {
                assert!(why.contains("no space is left") && !why.contains("replace the disk"), "{why}");
                refused += 1;
            }
        }
    }
    assert!(served > 0 && refused > 0, "{served} served, {refused} refused");
}

/// Bytes of each row of [`amplifying`].
const ROW_BYTES: usize = 100_000;

/// One batch of short commands that write far more than the memtables may hold: new rows, and copies of a large one. All keys
/// are in the slot of `tag`.
fn amplifying(tag: &str, rows: u32) -> BatchBuf {
    let mut builder = BatchBuilder::default();
    let first = format!("{{{tag}}}0");
    for number in 0..rows {
        let name = format!("{{{tag}}}{number}");
        let offset = ROW_BYTES as u64 - 1;
        builder.push(&Command::SetRange { key: Key::new(name.as_bytes()), offset, value: b"x" });
        builder.push(&Command::Append { key: Key::new(first.as_bytes()), value: b"yz" });
    }
    builder.finish(Kind::Commands, Origin { slot: 7, ..Origin::default() })
}

fn append(name: &[u8], value: &[u8]) -> BatchBuf {
    let mut builder = BatchBuilder::default();
    builder.push(&Command::Append { key: Key::new(name), value });
    builder.finish(Kind::Commands, Origin { slot: 7, ..Origin::default() })
}

/// O1: a start ends whatever one group leaves in memory for the next: the last row of the first does not fit the budget of
/// the start, which is smaller than that of the server before.
#[test]
fn a_replay_leaves_room_for_the_next_group() {
    let mut node = start(None, 64 << 20);
    assert!(node.run_ready());
    let groups: Vec<_> =
        (0..GROUPS).map(|n| pinion_shard::GroupId(pinion_shard::FIRST_DATA_GROUP.0 + n)).collect();
    for &group in &groups {
        node.submit(group, append(b"l", b"v"));
        assert!(node.run_idle());
        node.submit(group, append(b"k", &vec![7; 2 * BUDGET_BYTES]));
        assert!(node.run_idle());
    }
    let digests = node.digests();
    let image = node.into_disk().crashed(Pattern::Everything, 1);
    let mut node = start(Some(&image), BUDGET_BYTES);
    assert!(node.run_ready());
    assert_eq!(node.digests(), digests);
}

/// O1: a start goes on while the flush of one group pauses, as long as that of the group at hand makes room.
#[test]
fn a_replay_waits_for_its_own_flush_while_another_pauses() {
    let budget_bytes = 8 << 20;
    let sim_options = |bytes| SimOptions { groups: 2, ..options(bytes) };
    let mut node = SimNode::start(SimDisk::new(1, Faults::default()), sim_options(64 << 20))
        .unwrap_or_else(|refused| panic!("{}", refused.1));
    assert!(node.run_ready());
    let first = pinion_shard::FIRST_DATA_GROUP;
    let tag = |group| {
        let in_first = |tag: &&str| Key::new(tag.as_bytes()).slot().0 < 8192;
        ["a", "b"].into_iter().find(|tag| in_first(tag) == (group == first)).expect("one in each half")
    };
    for (group, rows) in [(first, 12), (GroupId(first.0 + 1), 100)] {
        node.submit(group, amplifying(tag(group), rows));
        assert!(node.run_idle());
    }
    let digests = node.digests();
    let image = node.into_disk().crashed(Pattern::Everything, 1);
    let mut faults = Faults::default();
    faults.rules.push(Rule {
        kind: Some(OpKind::Open),
        path_part: format!("tree-{:08}/0", first.0),
        nth: 1,
        for_ever: false,
        fault: Fault::Error(5),
    });
    let sim = SimDisk::from_image(image, 1, faults);
    let mut node =
        SimNode::start(sim, sim_options(budget_bytes)).unwrap_or_else(|refused| panic!("{}", refused.1));
    let tree = |node: &SimNode| node.cores()[0].machine(first).expect("it is there").tree().metrics();
    assert_eq!(tree(&node).work.abandoned, 1, "the flush of the first group has failed: {:?}", tree(&node));
    assert!(node.run_ready());
    assert_eq!(node.digests(), digests);
}

/// O1: commands that write much more than they are long wait, within their entry, until memtables have reached the disk; a
/// start goes on where the tables end, and is bounded too.
#[test]
fn one_entry_stays_within_the_budget() {
    const ROWS: u32 = 200;
    let budget_bytes = 8 << 20;
    // Memtables grow by up to 2 MiB.
    let most_bytes = budget_bytes / 8 * 9 + (2 << 20) + ROW_BYTES;
    let group = pinion_shard::FIRST_DATA_GROUP;
    let mut sim_options = options(budget_bytes);
    (sim_options.groups, sim_options.rows.memtable_bytes_seal) = (1, budget_bytes / 2);
    let mut images = Vec::new();
    let mut node = SimNode::start(SimDisk::new(1, Faults::default()), sim_options.clone())
        .unwrap_or_else(|refused| panic!("{}", refused.1));
    assert!(node.run_ready());
    assert!(node.run_idle());
    let before = node.digests();
    node.submit(group, amplifying("t", ROWS));
    let mut steps = 0;
    let last = ReplyTo { core: CoreId(0), slot: 7, index: 2 * ROWS - 1 };
    let reply = loop {
        assert!(node.step());
        let bytes = memtable_bytes(&node);
        assert!(bytes <= most_bytes, "{bytes} bytes of rows that are not flushed");
        steps += 1;
        if steps % 8 == 0 {
            images.push(node.disk_mut().crashed(Pattern::Everything, 1));
        }
        if let Some(reply) = node.take_reply(last) {
            break reply;
        }
    };
    assert_eq!(reply, OwnedReply::Plain(Reply::Int((ROW_BYTES + 2 * ROWS as usize) as i64)));
    let executed = node.digests();
    images.push(node.into_disk().crashed(Pattern::Everything, 1));
    assert!(images.len() > 5, "only {} crashes", images.len());
    let mut resumed = 0;
    for image in images {
        let sim = SimDisk::from_image(image, 1, Faults::default());
        let mut node =
            SimNode::start(sim, sim_options.clone()).unwrap_or_else(|refused| panic!("{}", refused.1));
        assert!(memtable_bytes(&node) <= most_bytes, "{} bytes after a start", memtable_bytes(&node));
        assert!(node.run_ready());
        let digests = node.digests();
        assert!([&before, &executed].contains(&&digests), "{digests:?}, {}", node.describe());
        resumed += usize::from(digests == executed);
    }
    assert!(resumed > 4, "only {resumed} starts found the entry");
}
