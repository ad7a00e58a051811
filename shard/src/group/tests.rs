use std::rc::Rc;

use pinion_lsm::{Cache, Engine, TreeId};
use pinion_wal::Ticks;
use pinion_wal::disk::sim::{Faults, SimDisk};
use pinion_wal::disk::{Disk, block_on};
use pinion_wal::task::Tasks;
use raft::eraftpb::{ConfState, HardState, Message, MessageType};

use super::*;
use crate::apply::{Apply, Lanes};
use crate::clock::{Anchor, Grant, Rate};
use crate::node::Start;
use crate::reply::OwnedReply;
use crate::storage::LogPoint;
use crate::{
    BatchBuilder, Command, Committed, Control, Expire, Key, Kind, Origin, Read, ReplicaId, SetWhen, Stamp,
};

struct Still;

impl Ticks for Still {
    fn now(&self) -> u64 {
        0
    }

    fn per_micro(&self) -> u64 {
        1
    }
}

fn message(kind: MessageType, term: u64) -> Message {
    let mut message = Message { from: 2, to: 1, term, ..Message::default() };
    message.set_msg_type(kind);
    message
}

/// The leader of a group of two replicas.
fn leader() -> Node {
    let mut node = Node::new(Start {
        replica: ReplicaId(1),
        configuration: ConfState { voters: vec![1, 2], ..ConfState::default() },
        hard_state: HardState::default(),
        prev: LogPoint::default(),
        entries: Vec::new(),
        applied: LogIndex(0),
        seed: 1,
    });
    node.campaign();
    for kind in [MessageType::MsgRequestPreVoteResponse, MessageType::MsgRequestVoteResponse] {
        while let Some(ready) = node.ready() {
            node.persisted(ready.number);
        }
        node.step(message(kind, 1)).expect("an answer of the other voter");
    }
    assert!(node.is_leader());
    node
}

/// The state machine of a group without rows, and the tasks that it spawns.
fn machine(late: &Late) -> (Machine, Tasks) {
    let (disk, mut sim, mut tasks) =
        (Disk::new(), SimDisk::new(1, Faults::default()), Tasks::new(Rc::new(Still)));
    let spawner = tasks.spawner();
    let engine = Engine::new(disk.clone(), spawner.clone(), Cache::new(0), pinion_lsm::Options::default());
    let opened = block_on(&disk, &mut sim, Some(&mut tasks), engine.open_tree(TreeId(16)));
    let (tree, boundary) = opened.expect("the disk is sound");
    let apply = Apply::open(tree, &boundary, Lanes::default(), spawner.clone()).expect("a fresh tree");
    (Machine::new(apply, spawner, late.clone()), tasks)
}

fn nobody(_: ReplyTo, _: Reply<'_>) {}

/// A read that was accepted before its group halted, and looks at the rows only afterwards, does not take what is left in
/// tables for what there is.
#[test]
fn a_read_that_a_halt_overtakes_is_refused() {
    let late = Late::default();
    let (mut machine, mut tasks) = machine(&late);
    let mut own = BatchBuilder::default();
    own.push_control(&Control::Own { range: 1, version: 1, first_slot: 0, last_slot: 16383 });
    let mut set = BatchBuilder::default();
    let (when, expire) = (SetWhen::Always, Expire::Keep);
    set.push(&Command::Set { key: Key::new(b"k"), value: b"v", when, expire, get: false });
    let batches =
        [own.finish(Kind::Control, Origin::default()), set.finish(Kind::Commands, Origin::default())];
    for (index, mut batch) in (1..).zip(batches) {
        batch.stamp(&Stamp { base: Timestamp(index * 100), ..Stamp::default() });
        let data = batch.into_bytes().into();
        let entry = Committed { index: LogIndex(index), term: pinion_wal::Term(1), data, answer: false };
        machine.apply.submit(entry).expect("it is the next");
        machine.apply.run(10, &mut nobody).expect("it can be executed");
    }
    let at = machine.apply.published();
    assert_eq!(at, Timestamp(200));
    let to = ReplyTo { core: crate::CoreId(0), slot: 0, index: 0 };
    let mut count = |halts: bool| {
        let prepared = machine.apply.prepare(Read::DbSize { cursor: 0, count: 10 });
        machine.read(&prepared, at, 0, to, &mut nobody);
        if halts {
            machine.forget_rows();
        }
        tasks.run_all();
        let mut replies = Vec::new();
        late.deliver(&mut |_: ReplyTo, reply: Reply<'_>| replies.push(OwnedReply::from(reply)));
        replies
    };
    let counted = count(false);
    let refused = [OwnedReply::Plain(Reply::Error(ReplyError::ReadOnly))];
    assert!(counted.len() == 1 && counted != refused, "{counted:?}");
    assert_eq!(count(true), refused);
}

/// O5: a batch is not taken out of its queue by a replica that leads no more and has not noticed: it is refused in time.
#[test]
fn a_batch_outlives_a_leadership_that_ended_unnoticed() {
    let (machine, _tasks) = machine(&Late::default());
    let mut group = Group::new(GroupId(16), leader(), machine);
    group.own_entry = Some(LogIndex(0));

    let word = Word::new();
    word.publish(Grant {
        lease_end: Mono(u64::MAX),
        ceiling: Timestamp::from_millis(4_000),
        time_ms_max: 4_000,
        anchor: Anchor { mono: Mono(0), unix_nanos: 1_000_000_000, rate: Rate::Even },
    });
    let mut builder = BatchBuilder::default();
    builder.push(&Command::IncrBy { key: Key::new(b"k"), delta: 1 });
    group.submit(builder.finish(Kind::Commands, Origin::default()), Mono(0));
    group.node.step(message(MessageType::MsgHeartbeat, 9)).expect("another leader");
    assert!(!group.node.is_leader() && group.leads_ready(), "it was not noticed yet");

    let mut replies = Vec::new();
    let mut out = |_, reply: Reply<'_>| replies.push(OwnedReply::from(reply));
    for millis in [0, 3_000] {
        let mono = Mono(millis * 1_000_000);
        let moment = Moment { mono, word: &word, entry_bytes_max: 1 << 20, wait_ms_max: 2_000, refuse: None };
        group.propose(&moment, &mut out);
    }
    assert_eq!(replies, [OwnedReply::Plain(Reply::Error(ReplyError::TryAgain))]);
    assert!(!group.is_waiting());
}
