//! The groups of a node on a simulated disk: what they answer, when they refuse, and what time it is.

use pinion_lsm::{Boundary, Cache, Engine, FlushState, TreeId};
use pinion_shard::crash::{SimNode, SimOptions};
use pinion_shard::{
    After, BatchBuf, BatchBuilder, CLOCK_GROUP, Command, CoreId, Expire, GroupId, Key, Kind, NodeId, Options,
    Origin, OwnedReply, Read, Reply, ReplyError, ReplyTo, SetWhen, Standing, Timestamp,
};
use pinion_wal::disk::sim::{Faults, Image, Pattern, SimDisk};
use pinion_wal::disk::{Disk, block_on};
use pinion_wal::task::Tasks;

const GROUP: GroupId = GroupId(16);

fn start(sim: SimDisk, options: SimOptions) -> SimNode {
    let mut node = SimNode::start(sim, options).unwrap_or_else(|refused| panic!("{}", refused.1));
    assert!(node.run_ready(), "{}", node.describe());
    node
}

fn fresh() -> SimNode {
    start(SimDisk::new(1, Faults::default()), SimOptions::small(1, 1))
}

fn to(slot: u32, index: u32) -> ReplyTo {
    ReplyTo { core: CoreId(0), slot, index }
}

fn sets(slot: u32, rows: &[(&str, &str)]) -> BatchBuf {
    let mut builder = BatchBuilder::default();
    for (key, value) in rows {
        let (key, value) = (Key::new(key.as_bytes()), value.as_bytes());
        builder.push(&Command::Set { key, value, when: SetWhen::Always, expire: Expire::Keep, get: false });
    }
    builder.finish(Kind::Commands, Origin { node: NodeId(1), core: CoreId(0), slot })
}

fn get(key: &str) -> Read<'_> {
    Read::Get { key: Key::new(key.as_bytes()) }
}

fn error(error: ReplyError) -> Option<OwnedReply> {
    Some(OwnedReply::Plain(Reply::Error(error)))
}

fn ok() -> Option<OwnedReply> {
    Some(OwnedReply::Plain(Reply::Ok))
}

fn bulk(text: &str) -> Option<OwnedReply> {
    Some(OwnedReply::Bulk(text.as_bytes().to_vec()))
}

fn nil() -> Option<OwnedReply> {
    Some(OwnedReply::Plain(Reply::Nil))
}

/// A batch that no group can execute.
fn broken(slot: u32, value: &str) -> BatchBuf {
    let mut bytes = sets(slot, &[("k", value)]).into_bytes();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    BatchBuf::from_bytes(bytes).expect("its header is sound")
}

/// Writes and waits for the answer to the last command.
fn write(node: &mut SimNode, slot: u32, rows: &[(&str, &str)]) -> Option<OwnedReply> {
    write_to(node, GROUP, slot, rows)
}

fn write_to(node: &mut SimNode, group: GroupId, slot: u32, rows: &[(&str, &str)]) -> Option<OwnedReply> {
    node.submit(group, sets(slot, rows));
    let last = to(slot, u32::try_from(rows.len()).expect("a few rows") - 1);
    for _ in 0..20_000 {
        if let Some(reply) = node.take_reply(last) {
            return Some(reply);
        }
        node.step();
    }
    None
}

fn ask(node: &mut SimNode, key: &str) -> Option<OwnedReply> {
    ask_of(node, GROUP, key)
}

fn ask_of(node: &mut SimNode, group: GroupId, key: &str) -> Option<OwnedReply> {
    node.read(group, &get(key), to(u32::MAX, 0), After::Nothing);
    for _ in 0..1_000 {
        if let Some(reply) = node.take_reply(to(u32::MAX, 0)) {
            return Some(reply);
        }
        node.step();
    }
    None
}

/// A read sees the writes of its connection that came before it in the pipeline, and none that came after.
#[test]
fn a_read_sees_the_commands_before_it_in_its_pipeline() {
    let mut node = fresh();
    assert_eq!(write(&mut node, 1, &[("k", "0")]), ok());
    node.submit(GROUP, sets(2, &[("k", "1"), ("other", "x"), ("k", "2")]));
    node.read(GROUP, &get("k"), to(9, 0), After::Batch { position: 0 });
    node.read(GROUP, &get("k"), to(9, 1), After::Batch { position: 1 });
    node.read(GROUP, &get("k"), to(9, 2), After::Batch { position: 3 });
    node.read(GROUP, &get("k"), to(9, 3), After::Nothing);
    node.read(GROUP, &get("k"), to(9, 4), After::Proposed);
    assert_eq!(node.take_reply(to(9, 3)), bulk("0"), "another connection does not wait");
    assert_eq!(node.take_reply(to(9, 1)), None);
    assert!(node.run_idle());
    assert_eq!(node.take_reply(to(9, 0)), bulk("0"));
    assert_eq!(node.take_reply(to(9, 1)), bulk("1"));
    assert_eq!(node.take_reply(to(9, 2)), bulk("2"));
    assert_eq!(node.take_reply(to(9, 4)), bulk("2"));
    node.check();
}

/// T2: a read behind a batch that was refused sees everything that its connection had written before.
#[test]
fn a_read_behind_a_refused_batch_has_no_place_in_the_one_before() {
    let groups_options =
        Options { proposal_bytes_max: 4 << 10, wal: pinion_wal::Options::tiny(), ..Options::default() };
    let mut node =
        start(SimDisk::new(1, Faults::default()), SimOptions { groups_options, ..SimOptions::small(1, 1) });
    assert_eq!(write(&mut node, 1, &[("b", "0")]), ok());
    node.submit(GROUP, sets(2, &[("a", "1"), ("b", "2")]));
    let large = "x".repeat(5_000);
    node.submit(GROUP, sets(3, &[("c", &large), ("c", &large), ("c", &large), ("b", "3")]));
    assert_eq!(node.take_reply(to(3, 3)), error(ReplyError::Overloaded));
    for (index, position) in [1, 4].into_iter().enumerate() {
        node.read(GROUP, &get("b"), to(9, index as u32), After::Batch { position });
    }
    node.submit(GROUP, sets(4, &[("b", "4"), ("b", "5")]));
    node.read(GROUP, &get("b"), to(9, 2), After::Batch { position: 1 });
    assert!(node.run_idle());
    assert_eq!(node.take_reply(to(9, 0)), bulk("2"));
    assert_eq!(node.take_reply(to(9, 1)), bulk("2"));
    assert_eq!(node.take_reply(to(9, 2)), bulk("4"));
    node.check();
}

/// L2: nothing is read before an entry of the leader's own term was applied; then reads are answered.
#[test]
fn reads_wait_for_an_entry_of_the_own_term() {
    let mut node = fresh();
    assert_eq!(write(&mut node, 1, &[("k", "v")]), ok());
    // Crashed before an idle core moves the row from the log to a table.
    let last = node.applied(GROUP);
    let image = node.into_disk().crashed(Pattern::Nothing, 1);
    let sim = SimDisk::from_image(image, 2, Faults::default());
    let mut node =
        SimNode::start(sim, SimOptions::small(1, 1)).unwrap_or_else(|refused| panic!("{}", refused.1));
    node.read(GROUP, &get("k"), to(5, 0), After::Nothing);
    node.submit(GROUP, sets(6, &[("k", "w")]));
    assert_eq!(node.take_reply(to(5, 0)), None, "a new leader does not know yet what was committed");
    let reply = loop {
        assert!(node.applied(GROUP) <= last.next(), "the read saw a later write, or was never answered");
        assert!(node.step());
        if let Some(reply) = node.take_reply(to(5, 0)) {
            break reply;
        }
    };
    assert_eq!(Some(reply), bulk("v"));
    assert!(node.applied(GROUP) > last, "the entry of its own term follows what its predecessor left");
}

/// T2: once a read was served at a timestamp, nothing is written at or below it.
#[test]
fn nothing_is_written_at_or_below_a_served_timestamp() {
    let broken = served_then_written();
    assert_eq!(broken, None);
}

/// Reads at a timestamp ahead of what was issued, writes, and reads there again: what changed.
fn served_then_written() -> Option<String> {
    let mut node = fresh();
    assert_eq!(write(&mut node, 1, &[("k", "old")]), ok());
    let at = Timestamp::from_millis(node.cores()[0].word().next().millis() + 3);
    node.read_at(GROUP, get("k"), at, to(7, 0));
    let first = node.take_reply(to(7, 0));
    assert_eq!(first, bulk("old"));
    assert_eq!(
        write(&mut node, 2, &[("k", "new")]),
        ok(),
        "the write waits until time has passed the reader"
    );
    let machine = node.cores()[0].machine(GROUP).expect("the group lives here");
    (machine.published() <= at).then(|| format!("written at {}, served at {at}", machine.published()))
}

/// The bug that T2 is about, planted: the check above sees it.
#[cfg(feature = "planted")]
#[test]
fn a_stamp_below_a_served_timestamp_is_caught() {
    pinion_shard::planted::plant("stamp-below-served");
    assert!(served_then_written().is_some());
}

/// T4: while the ceiling cannot be renewed, what is left of it is issued and then nothing.
#[test]
fn without_a_disk_the_ceiling_runs_out() {
    let mut node = fresh();
    let done = node.disk_mut().completed();
    node.disk_mut().halt_after(Some(done));
    let start = node.now().mono;
    let ceiling = node.cores()[0].word().grant().ceiling;
    for second in 1..=8 {
        node.turn_at(start.plus_millis(second * 500));
    }
    let now = node.now().mono;
    assert_eq!(node.cores()[0].word().grant().ceiling, ceiling);
    assert!(node.cores()[0].word().take(1, now).is_err());
    node.submit(GROUP, sets(1, &[("k", "v")]));
    node.turn_at(now.plus_millis(1));
    assert_eq!(node.take_reply(to(1, 0)), None);
    node.turn_at(now.plus_millis(5_000));
    assert_eq!(node.take_reply(to(1, 0)), error(ReplyError::TryAgain), "writes wait for a bounded time");
}

/// T3, T6: after a restart timestamps go on above everything issued before, and time goes on behind everything served, also
/// when the wall clock went back, by much or by little, and when more were issued than time had passed.
#[test]
fn timestamps_rise_across_restarts() {
    let mut sim = SimDisk::new(1, Faults::default());
    let mut last = (Timestamp::ZERO, 0);
    // The second start is a quick one, with a clock that was set back to before what the first has served.
    let walls =
        [1_700_000_000_000, 1_700_000_000_300, 1_600_000_000_000, 1_700_000_100_000, 1_700_000_101_000];
    for (run, wall_ms) in walls.into_iter().enumerate() {
        let options = SimOptions { wall_ms, ..SimOptions::small(1, 1) };
        let mut node = start(sim, options);
        let first = node.cores()[0].word().next();
        assert!(first > last.0, "run {run}: {first} is not above {}", last.0);
        assert_eq!(write(&mut node, 1, &[("k", &format!("{run}"))]), ok());
        assert!(node.run_idle());
        let time_ms = node.cores()[0].time_ms();
        assert!(time_ms >= last.1, "run {run}: {time_ms} lies before {}", last.1);
        node.pass(900_000);
        let time_ms = node.cores()[0].time_ms();
        let burst = node.cores()[0].word().take(2_000 << 16, node.now().mono);
        burst.expect("the ceiling lies three seconds ahead");
        last = (node.cores()[0].word().next(), time_ms);
        sim = SimDisk::from_image(node.into_disk().crashed(Pattern::Nothing, 1), 2, Faults::default());
    }
}

/// O5: what exceeds the budget of proposals is refused at once, with an error that says: try again.
#[test]
fn overload_is_refused_with_a_retryable_error() {
    let groups_options =
        Options { proposal_bytes_max: 4 << 10, wal: pinion_wal::Options::tiny(), ..Options::default() };
    let mut node =
        start(SimDisk::new(1, Faults::default()), SimOptions { groups_options, ..SimOptions::small(1, 1) });
    let value = "x".repeat(1_000);
    for slot in 0..10 {
        node.submit(GROUP, sets(slot, &[("k", &value)]));
    }
    assert!(!node.cores()[0].has_room(GROUP, 2_000));
    assert_eq!(node.take_reply(to(9, 0)), error(ReplyError::Overloaded));
    assert!(ReplyError::Overloaded.retryable());
    assert!(node.run_idle());
    assert_eq!(node.take_reply(to(0, 0)), ok());
    assert!(node.cores()[0].has_room(GROUP, 2_000));
    assert_eq!(write(&mut node, 20, &[("k", "small")]), ok());
}

/// Lets `millis` pass: no deadline lies in the past after a turn, and the core sleeps.
fn sleeps_for(node: &mut SimNode, millis: u64) {
    let (start, mut turns) = (node.now().mono, 0);
    while node.now().mono < start.plus_millis(millis) {
        assert!(node.step());
        let (now, deadline) = (node.now().mono, node.cores()[0].next_deadline());
        assert!(deadline.is_none_or(|deadline| deadline >= now), "{deadline:?} lies before {now:?}");
        turns += 1;
        assert!(turns < 4 * millis, "the core does not sleep");
    }
}

/// O5: writes that find no room in memory are refused in a bounded time, and until then the core sleeps.
#[test]
fn writes_that_find_no_room_are_refused_in_time() {
    let mut node = fresh();
    assert_eq!(write(&mut node, 1, &[("k", "v")]), ok());
    node.pass(100_000);
    node.cores()[0].engine().set_memtable_bytes_max(0);
    node.submit(GROUP, sets(2, &[("k", "w")]));
    sleeps_for(&mut node, 2_500);
    assert_eq!(node.take_reply(to(2, 0)), error(ReplyError::Overloaded));
    node.cores()[0].engine().set_memtable_bytes_max(1 << 30);
    assert_eq!(write(&mut node, 3, &[("k", "x")]), ok());
}

/// O5: a group that halts while it serves leaves its core asleep.
#[test]
fn a_core_with_a_halted_group_sleeps() {
    let mut node = fresh();
    assert_eq!(write(&mut node, 1, &[("k", "v")]), ok());
    node.submit(GROUP, broken(2, "w"));
    sleeps_for(&mut node, 40_000);
    assert!(matches!(node.cores()[0].standing(GROUP), Some(Standing::Halted(_))), "{}", node.describe());
    assert_eq!(node.cores()[0].halted(), [GROUP], "told once");
    assert_eq!(write(&mut node, 3, &[("k", "x")]), error(ReplyError::ReadOnly));
}

/// D6: while its disk is full a core sleeps.
#[test]
fn a_core_with_a_full_disk_sleeps() {
    let mut node = fresh();
    node.disk_mut().set_capacity(Some(0));
    let value = "x".repeat(4_000);
    let mut slots = 1..2_000;
    assert!(slots.any(|slot| write(&mut node, slot, &[("k", &value)]) == error(ReplyError::NoSpace)));
    sleeps_for(&mut node, 40_000);
    node.disk_mut().set_capacity(None);
    node.pass(5_000_000);
    assert_eq!(write(&mut node, 5_000, &[("k", "again")]), ok(), "{}", node.describe());
}

/// O5: what a group had in flight when it halted is given back to the budget of its core: the others go on, and the core
/// can stop.
#[test]
fn a_halted_group_gives_its_share_of_the_budget_back() {
    let groups_options =
        Options { proposal_bytes_max: 64 << 10, wal: pinion_wal::Options::tiny(), ..Options::default() };
    let mut node =
        start(SimDisk::new(1, Faults::default()), SimOptions { groups_options, ..SimOptions::small(2, 1) });
    let value = "x".repeat(10_000);
    for slot in 0..6 {
        node.submit(GROUP, broken(slot, &value));
    }
    node.pass(100_000);
    assert!(matches!(node.cores()[0].standing(GROUP), Some(Standing::Halted(_))), "{}", node.describe());
    assert_eq!(write_to(&mut node, GroupId(17), 9, &[("a", &value)]), ok());
    assert!(node.run_idle());
    assert_eq!(node.cores()[0].proposal_bytes(), 0);
}

/// D6: a full disk refuses writes with a clear error, goes on serving reads, and recovers when space returns.
#[test]
fn a_full_disk_refuses_writes_and_recovers() {
    let mut node = fresh();
    assert_eq!(write(&mut node, 0, &[("kept", "v")]), ok());
    node.disk_mut().set_capacity(Some(0));
    let value = "x".repeat(4_000);
    let mut refused = None;
    for slot in 1..2_000 {
        match write(&mut node, slot, &[("k", &value)]) {
            Some(OwnedReply::Plain(Reply::Ok)) => {}
            other => {
                refused = other;
                break;
            }
        }
    }
    assert_eq!(refused, error(ReplyError::NoSpace));
    assert_eq!(ask(&mut node, "kept"), bulk("v"), "reads go on");
    node.disk_mut().set_capacity(None);
    node.pass(5_000_000);
    assert_eq!(write(&mut node, 5_000, &[("k", "again")]), ok(), "{}", node.describe());
    assert_eq!(ask(&mut node, "k"), bulk("again"));
}

/// D4: damage to acknowledged records of the log is never cut off in silence: the group refuses, with file and offset. The
/// others serve; without the group that keeps the time they serve reads, and refuse writes at once and for good.
#[test]
fn damage_to_acknowledged_records_is_refused() {
    let mut node = fresh();
    for slot in 0..20 {
        assert_eq!(write(&mut node, slot, &[("k", &format!("{slot}"))]), ok());
    }
    node.pass(50_000);
    let image = node.into_disk().crashed(Pattern::Everything, 1);
    let segments: Vec<(String, u64)> =
        image.paths().into_iter().filter(|(path, _)| path.contains("/segment-")).collect();
    let (mut refused, mut timeless) = (0, 0);
    for (path, bytes) in segments {
        for block in (0..bytes / 4096).take(40) {
            let mut damaged = image.clone();
            damaged.flip(&path, block * 4096 + 700, 3);
            let sim = SimDisk::from_image(damaged, 3, Faults::default());
            let mut node = match SimNode::start(sim, SimOptions::small(1, 1)) {
                Ok(node) => node,
                Err(why) => {
                    assert!(why.1.to_string().contains("log"), "{}", why.1);
                    refused += 1;
                    continue;
                }
            };
            assert!(node.run_ready(), "block {block} of {path}: {}", node.describe());
            node.pass(100_000);
            let keeps_time = node.cores()[0].standing(CLOCK_GROUP) == Some(&Standing::Sound);
            match node.cores()[0].standing(GROUP).unwrap() {
                Standing::Sound => {
                    assert_eq!(ask(&mut node, "k"), bulk("19"), "block {block} of {path}");
                    timeless += u32::from(!keeps_time);
                    let expected = if keeps_time { ok() } else { error(ReplyError::NoClock) };
                    assert_eq!(write(&mut node, 99, &[("k", "20")]), expected, "block {block} of {path}");
                }
                Standing::Damaged(why) => {
                    assert!(why.contains("segment-"), "{why}");
                    assert_eq!(ask(&mut node, "k"), error(ReplyError::Damaged));
                    refused += 1;
                }
                Standing::Halted(why) => panic!("{why}"),
            }
        }
    }
    assert!(refused > 0, "some damage concerned the group");
    assert!(timeless > 0, "some damage concerned the clock alone");
}

struct Still;

impl pinion_wal::Ticks for Still {
    fn now(&self) -> u64 {
        0
    }

    fn per_micro(&self) -> u64 {
        1
    }
}

/// The disk when `state` stands with the rows of `group`.
fn with_state(image: &Image, group: GroupId, state: &'static [u8]) -> Image {
    let (disk, mut sim) = (Disk::new(), SimDisk::from_image(image.clone(), 1, Faults::default()));
    let mut tasks = Tasks::new(std::rc::Rc::new(Still));
    let engine = Engine::new(disk.clone(), tasks.spawner(), Cache::new(0), pinion_lsm::Options::default());
    let seal = async {
        let (tree, boundary) = engine.open_tree(TreeId(group.0)).await.expect("the rows are sound");
        tree.seal(Boundary { state: state.into(), ..boundary });
        while tree.flush_state() != FlushState::Idle {
            disk.free_space().await.expect("the disk is sound");
        }
    };
    block_on(&disk, &mut sim, Some(&mut tasks), seal);
    sim.crashed(Pattern::Everything, 1)
}

/// D4: rows of one group that cannot be opened, or that do not belong to its log, are refused by that group and name the file
/// or the remedy; the others serve, and nothing of the group is taken for new.
#[test]
fn a_group_whose_rows_are_damaged_refuses_alone() {
    let mut options = SimOptions::small(3, 1);
    // A manifest without what was added to it is an empty tree.
    options.rows.manifest_bytes_max = 1 << 30;
    let mut node = start(SimDisk::new(1, Faults::default()), options.clone());
    let value = "x".repeat(2_000);
    let rows = [(GroupId(16), "b"), (GroupId(17), "k"), (GroupId(18), "a")];
    for slot in 0..400 {
        for (group, key) in rows {
            assert_eq!(write_to(&mut node, group, slot, &[(key, &value)]), ok());
        }
    }
    node.pass(5_000_000);
    assert!(
        node.cores()[0].log().metrics().segments_recycled > 0,
        "the log does not begin at the first entry"
    );
    let image = node.into_disk().crashed(Pattern::Everything, 1);
    let mut gone = image.clone();
    let mut images = Vec::new();
    for (path, bytes) in image.paths() {
        let Some(tree) = path.strip_prefix("tree-").and_then(|path| path.split('/').next()) else { continue };
        let group = GroupId(tree.parse().expect("trees are numbered"));
        if group == GroupId(17) {
            gone.remove(&path);
        }
        if path.contains("MANIFEST") && group != GroupId(18) {
            let mut damaged = image.clone();
            damaged.damage(&path, 0, |at| at.fill(0xee), usize::try_from(bytes.min(4096)).expect("small"));
            images.push((damaged, group, "MANIFEST"));
        }
        if path.contains("MANIFEST") && group == GroupId(17) {
            let mut lost = image.clone();
            lost.damage(&path, 4096, |at| at.fill(0), usize::try_from(bytes - 4096).expect("small"));
            images.push((lost, group, "the end of the manifest is lost"));
        }
    }
    images.push((gone, GroupId(17), "restore the whole data directory"));
    images.push((with_state(&image, GroupId(17), &[1, 0, 7]), GroupId(17), "malformed; restore"));
    assert_eq!(images.len(), 7, "every tree has a manifest");
    // What a newer version wrote is no damage.
    let newer = SimDisk::from_image(with_state(&image, GroupId(17), &[3, 0, 7]), 3, Faults::default());
    let refused = SimNode::start(newer, options.clone()).err().expect("this version does not know it");
    assert!(refused.1.to_string().contains("open it with the version that wrote it"), "{}", refused.1);
    for (image, bad, says) in images {
        let mut node = start(SimDisk::from_image(image, 3, Faults::default()), options.clone());
        let Some(Standing::Damaged(why)) = node.cores()[0].standing(bad) else {
            panic!("{}", node.describe())
        };
        assert!(why.contains(says), "{bad}: {why}");
        for (group, key) in rows {
            let (read, written) = if group == bad {
                (error(ReplyError::Damaged), error(ReplyError::Damaged))
            } else {
                assert_eq!(node.cores()[0].standing(group), Some(&Standing::Sound));
                let written = if bad == CLOCK_GROUP { error(ReplyError::NoClock) } else { ok() };
                (bulk(&value), written)
            };
            assert!(
                ask_of(&mut node, group, key) == read,
                "{bad} is damaged, {group} does not answer as it should"
            );
            assert_eq!(write_to(&mut node, group, 999, &[(key, &value)]), written);
        }
        assert!(node.run_idle());
        if bad != GroupId(17) {
            continue;
        }
        let rewritten = node.cores()[0].log().metrics().entries_rewritten;
        for slot in 1_000..1_400 {
            assert_eq!(write_to(&mut node, GroupId(16), slot, &[("b", &value)]), ok());
        }
        node.pass(20_000_000);
        let log = node.cores()[0].log();
        assert!(log.metrics().entries_rewritten > rewritten, "{:?}", log.metrics());
        assert!(log.retained_bytes() <= 2 * pinion_wal::Options::tiny().retained_bytes_max);
    }
}

/// T6: expiry is judged by the oracle's time: a key expires by virtual time on a frozen wall clock of the reader.
#[test]
fn keys_expire_by_the_oracles_time() {
    let mut node = fresh();
    let mut builder = BatchBuilder::default();
    let key = Key::new(b"mortal");
    builder.push(&Command::Set {
        key,
        value: b"v",
        when: SetWhen::Always,
        expire: Expire::In(500),
        get: false,
    });
    node.submit(GROUP, builder.finish(Kind::Commands, Origin { node: NodeId(1), core: CoreId(0), slot: 3 }));
    while node.take_reply(to(3, 0)).is_none() {
        assert!(node.step());
    }
    let written = node.cores()[0].time_ms();
    assert_eq!(ask(&mut node, "mortal"), bulk("v"));
    node.pass_to(written + 450);
    assert_eq!(ask(&mut node, "mortal"), bulk("v"));
    node.pass_to(written + 600);
    assert_eq!(ask(&mut node, "mortal"), nil());
}

/// T6: what a read found expired, no later command finds; neither what waits for the log at that time, nor what follows
/// in the pipeline of the same connection.
#[test]
fn a_read_does_not_judge_expiry_ahead_of_the_log() {
    for pipelined in [false, true] {
        let mut node = fresh();
        let expiry = node.now().wall_ms + 50;
        let (key, expire) = (Key::new(b"k"), Expire::At(expiry as i64));
        let set = Command::Set { key, value: b"v", when: SetWhen::Always, expire, get: false };
        let batch = |commands: &[Command<'_>], slot: u32| {
            let mut builder = BatchBuilder::default();
            for command in commands {
                builder.push(command);
            }
            builder.finish(Kind::Commands, Origin { node: NodeId(1), core: CoreId(0), slot })
        };
        node.submit(GROUP, batch(&[set], 1));
        assert!(node.run_idle());
        assert_eq!(ask(&mut node, "k"), bulk("v"));
        while node.cores()[0].time_ms() < expiry - 1 {
            node.turn_at(node.now().mono.plus_micros(100));
        }
        // Stamped before the key expires, and stable afterwards.
        node.submit(GROUP, batch(&[set, Command::Persist { key }], 2));
        if pipelined {
            node.read(GROUP, &get("k"), to(9, 0), After::Batch { position: 1 });
        }
        node.turn_at(node.now().mono.plus_micros(10));
        node.turn_at(node.now().mono.plus_millis(5));
        assert!(node.cores()[0].time_ms() > expiry);
        if !pipelined {
            node.read(GROUP, &get("k"), to(9, 0), After::Nothing);
            assert_eq!(node.take_reply(to(2, 1)), None, "not applied yet");
        }
        assert!(node.run_idle());
        assert_eq!(node.take_reply(to(9, 0)), bulk("v"));
        assert_eq!(node.take_reply(to(2, 1)), Some(OwnedReply::Plain(Reply::Int(1))));
        assert_eq!(ask(&mut node, "k"), bulk("v"));
        node.check();
    }
}

/// A node whose group holds `count` keys that expire after 300 ms.
fn mortals(count: u32) -> SimNode {
    let groups_options = Options { reap_ms: 1_000, wal: pinion_wal::Options::tiny(), ..Options::default() };
    let options = SimOptions { groups_options, ..SimOptions::small(1, 1) };
    let mut node = start(SimDisk::new(1, Faults::default()), options);
    let mut builder = BatchBuilder::default();
    for number in 0..count {
        let name = format!("mortal {number}");
        let (key, expire) = (Key::new(name.as_bytes()), Expire::In(300));
        builder.push(&Command::Set { key, value: b"v", when: SetWhen::Always, expire, get: false });
    }
    node.submit(GROUP, builder.finish(Kind::Commands, Origin { node: NodeId(1), core: CoreId(0), slot: 3 }));
    assert!(node.run_idle());
    node
}

/// O1: reclaiming writes tombstones: it waits while there is no memory for them, and asks for no turn meanwhile.
#[test]
fn nothing_is_reaped_without_room() {
    let mut node = mortals(1_000);
    let engine = node.cores()[0].engine().clone();
    let (before, room) = (engine.memtable_bytes(), engine.memtable_bytes_max());
    engine.set_memtable_bytes_max(0);
    let entries = node.applied(GROUP);
    node.pass_to(node.now().wall_ms + 5_000);
    assert!(engine.memtable_bytes() <= before, "{} of {before} bytes", engine.memtable_bytes());
    assert!(node.applied(GROUP).0 <= entries.0 + 3, "{} after {entries}", node.applied(GROUP));
    let deadline = node.cores()[0].next_deadline();
    assert!(deadline.is_none_or(|at| at > node.now().mono), "it spins");
    engine.set_memtable_bytes_max(room);
    let before = node.cores()[0].machine(GROUP).expect("it lives here").state().digest;
    node.pass_to(node.now().wall_ms + 5_000);
    assert_ne!(node.cores()[0].machine(GROUP).expect("it lives here").state().digest, before, "reaped");
}

/// What a FLUSHALL has hidden is not reclaimed again, key by key, when it expires.
#[test]
fn what_was_flushed_is_not_reaped() {
    let mut node = mortals(10 * pinion_shard::limits::REAP_ROWS);
    let mut builder = BatchBuilder::default();
    builder.push(&Command::FlushAll);
    node.submit(GROUP, builder.finish(Kind::Commands, Origin { node: NodeId(1), core: CoreId(0), slot: 4 }));
    assert!(node.run_idle());
    node.pass_to(node.now().wall_ms + 400);
    assert_eq!(write(&mut node, 5, &[("kept", "v")]), ok());
    let before = node.applied(GROUP);
    node.pass_to(node.now().wall_ms + 6_000);
    // Safe points only: a page of expired keys is an entry.
    assert!(node.applied(GROUP).0 <= before.0 + 3, "{} after {before}", node.applied(GROUP));
}

/// T6: what has expired is reclaimed by an entry of the log: its rows are gone for a reader that judges no expiry at all.
#[test]
fn expired_keys_are_reaped() {
    let groups_options = Options { reap_ms: 1_000, wal: pinion_wal::Options::tiny(), ..Options::default() };
    let options = SimOptions { groups_options, ..SimOptions::small(1, 1) };
    let mut node = start(SimDisk::new(1, Faults::default()), options);
    let mut builder = BatchBuilder::default();
    for name in ["a", "b", "c"] {
        let key = Key::new(name.as_bytes());
        builder.push(&Command::Set {
            key,
            value: b"v",
            when: SetWhen::Always,
            expire: Expire::In(300),
            get: false,
        });
    }
    node.submit(GROUP, builder.finish(Kind::Commands, Origin { node: NodeId(1), core: CoreId(0), slot: 3 }));
    assert_eq!(write(&mut node, 4, &[("kept", "v")]), ok());
    let before = node.cores()[0].machine(GROUP).expect("it lives here").state().digest;
    node.pass_to(node.now().wall_ms + 6_000);
    let machine = node.cores()[0].machine(GROUP).expect("it lives here");
    assert_ne!(machine.state().digest, before, "tombstones were written");
    let applied = node.applied(GROUP);
    node.pass_to(node.now().wall_ms + 20_000);
    assert!(node.applied(GROUP).0 <= applied.0 + 2, "a group that rests is left alone");
    assert_eq!(ask(&mut node, "kept"), bulk("v"));
    assert_eq!(ask(&mut node, "b"), nil());
}
