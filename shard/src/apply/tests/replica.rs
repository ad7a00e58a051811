//! A state machine on a simulated disk, fed with entries by hand.

use std::cell::Cell;
use std::rc::Rc;

use pinion_lsm::{Cache, Engine, FlushState, Options, TreeId};
use pinion_wal::Ticks;
use pinion_wal::disk::Disk;
use pinion_wal::disk::sim::{Faults, SimDisk};
use pinion_wal::task::{Class, Tasks};

use crate::reply::OwnedReply;
use crate::{
    Apply, BatchBuilder, Command, Committed, Control, CoreId, Halt, Kind, Lanes, LogIndex, NodeId, Origin,
    PendingRead, Read, Reply, ReplyTo, Stamp, Term, Timestamp,
};

pub struct Replica {
    pub apply: Apply,
    disk: Disk,
    sim: SimDisk,
    tasks: Tasks,
    replies: Vec<(ReplyTo, OwnedReply)>,
}

/// A counter that stands for ticks: one a reading.
struct Counter(Cell<u64>);

impl Ticks for Counter {
    fn now(&self) -> u64 {
        self.0.set(self.0.get() + 1);
        self.0.get()
    }

    fn per_micro(&self) -> u64 {
        1
    }
}

/// Lets the next operation complete. Answers whether there was one.
fn drive(sim: &mut SimDisk, disk: &Disk) -> bool {
    sim.drive(disk, sim.clock());
    sim.next_due().is_some_and(|due| sim.drive(disk, due) > 0)
}

fn origin() -> Origin {
    Origin { node: NodeId(1), core: CoreId(0), slot: 3 }
}

/// An entry of one batch.
pub fn committed(index: u64, base: u64, time_ms: u64, builder: BatchBuilder, kind: Kind) -> Committed {
    let mut batch = builder.finish(kind, origin());
    batch.stamp(&Stamp { base: Timestamp(base), time_ms, ..Stamp::default() });
    Committed { index: LogIndex(index), term: Term(1), data: batch.into_bytes().into(), answer: true }
}

/// An entry of one batch of commands.
pub fn entry(index: u64, base: u64, time_ms: u64, commands: &[Command<'_>]) -> Committed {
    let mut builder = BatchBuilder::default();
    for command in commands {
        builder.push(command);
    }
    committed(index, base, time_ms, builder, Kind::Commands)
}

/// An entry of one batch of controls.
pub fn control_entry(index: u64, base: u64, time_ms: u64, controls: &[Control<'_>]) -> Committed {
    let mut builder = BatchBuilder::default();
    for control in controls {
        builder.push_control(control);
    }
    committed(index, base, time_ms, builder, Kind::Control)
}

impl Replica {
    /// A fresh one that owns every slot.
    pub fn open(lanes: u32) -> Self {
        let mut replica = Self::open_without_ranges(lanes);
        replica.control(1, 0, &[Control::Own { range: 1, version: 1, first_slot: 0, last_slot: 16383 }]);
        replica
    }

    /// A fresh one that owns nothing.
    pub fn open_without_ranges(lanes: u32) -> Self {
        let (disk, sim) = (Disk::new(), SimDisk::new(7, Faults::default()));
        Self::on(disk, sim, lanes, Options::default(), 1 << 20)
    }

    /// One on this disk, as its tables have it.
    pub fn on(disk: Disk, mut sim: SimDisk, lanes: u32, options: Options, cache_bytes: usize) -> Self {
        let mut tasks = Tasks::new(Rc::new(Counter(Cell::new(0))));
        let spawner = tasks.spawner();
        let engine = Engine::new(disk.clone(), spawner.clone(), Cache::new(cache_bytes), options);
        let opening = spawner.spawn_join(Class::Raft, async move { engine.open_tree(TreeId(16)).await });
        let (tree, boundary) = loop {
            tasks.run_all();
            if let Some(opened) = opening.take() {
                break opened.expect("the disk is sound");
            }
            drive(&mut sim, &disk);
        };
        let lanes = Lanes::new(lanes).expect("1, 2, 4 or 8");
        let apply = Apply::open(tree, &boundary, lanes, spawner).expect("this version wrote it");
        Self { apply, disk, sim, tasks, replies: Vec::new() }
    }

    /// What its disk does from now on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.sim.set_faults(faults);
    }

    /// Closes it; what its disk holds.
    pub fn close(mut self) -> (Disk, SimDisk) {
        self.settle();
        (self.disk, self.sim)
    }

    pub fn next_index(&self) -> LogIndex {
        self.apply.applied().0.next()
    }

    /// One run of the pipeline. Asks for a seal when commands wait for room.
    pub fn run_once(&mut self) -> Result<bool, Halt> {
        let replies = &mut self.replies;
        let mut out = |to, reply: Reply<'_>| replies.push((to, OwnedReply::from(reply)));
        let more = self.apply.run(64, &mut out)?;
        if self.apply.waits_for_room() && self.apply.tree().flush_state() == FlushState::Idle {
            self.apply.request_seal();
        }
        Ok(more)
    }

    /// Writes all rows to tables, and compacts them if there are enough.
    pub fn flush(&mut self) {
        self.apply.request_seal();
        let mut idle = 0;
        while idle < 10 {
            let busy = self.run_once().expect("every entry can be executed") || self.step_disk();
            idle = if busy { 0 } else { idle + 1 };
        }
    }

    /// Lets tasks run and the disk answer once. Answers whether anything was in flight.
    pub fn step_disk(&mut self) -> bool {
        self.tasks.run_all();
        drive(&mut self.sim, &self.disk)
    }

    /// Runs until nothing is left to do, the disk included.
    pub fn settle(&mut self) {
        let mut idle_runs = 0;
        loop {
            while self.run_once().expect("every entry can be executed") {}
            idle_runs += 1;
            assert!(idle_runs < 1_000_000, "the pipeline is stuck: {:?}", self.apply);
            if !self.step_disk() && self.disk.in_flight() == 0 && self.apply.is_idle() {
                return;
            }
        }
    }

    /// Takes the replies so far, in order; each must be the next of its batch.
    pub fn take_replies(&mut self) -> Vec<(ReplyTo, OwnedReply)> {
        std::mem::take(&mut self.replies)
    }

    pub fn submit(&mut self, entry: Committed) -> Vec<OwnedReply> {
        self.apply.submit(entry).expect("it is the next");
        self.settle();
        let replies = self.take_replies().into_iter().enumerate().map(|(number, (to, reply))| {
            assert_eq!(to, origin().reply_to(number as u32));
            reply
        });
        replies.collect()
    }

    pub fn execute(&mut self, base: u64, time_ms: u64, commands: &[Command<'_>]) -> Vec<OwnedReply> {
        self.submit(entry(self.next_index().0, base, time_ms, commands))
    }

    pub fn control(&mut self, base: u64, time_ms: u64, controls: &[Control<'_>]) {
        let replies = self.submit(control_entry(self.next_index().0, base, time_ms, controls));
        assert!(replies.is_empty(), "the system asks for no reply");
    }

    pub fn read_at(&mut self, read: &Read<'_>, at: u64, time_ms: u64) -> OwnedReply {
        self.begin_read(read, at, time_ms).unwrap_or_else(|pending| self.finish_read(pending))
    }

    /// What a read that waits for the disk answers.
    pub fn finish_read(&mut self, pending: PendingRead) -> OwnedReply {
        let join = self.tasks.spawner().spawn_join(Class::Client, pending);
        loop {
            self.tasks.run_all();
            if let Some(answer) = join.take() {
                return answer.expect("the disk is sound");
            }
            drive(&mut self.sim, &self.disk);
        }
    }

    /// The answer of a read, or the read if it waits for the disk.
    pub fn begin_read(&self, read: &Read<'_>, at: u64, time_ms: u64) -> Result<OwnedReply, PendingRead> {
        let to = ReplyTo { core: CoreId(0), slot: 9, index: 9 };
        let mut parts = Vec::new();
        let mut out = |at, reply: Reply<'_>| {
            assert_eq!(at, to);
            parts.push(OwnedReply::from(reply));
        };
        let mut prepared = self.apply.prepare(*read);
        while self.apply.touch(&mut prepared) {}
        if let Some(pending) = self.apply.read(&prepared, Timestamp(at), time_ms, to, &mut out) {
            return Err(pending);
        }
        let head = parts.remove(0);
        Ok(match head {
            OwnedReply::Plain(Reply::Array(count)) => {
                assert_eq!(parts.len(), count as usize);
                OwnedReply::Array(parts)
            }
            single => {
                assert!(parts.is_empty());
                single
            }
        })
    }
}
