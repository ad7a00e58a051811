//! The groups of all cores of a node in one thread, on virtual time and a simulated disk.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use pinion_lsm::{Cache, Engine};
use pinion_wal::disk::sim::SimDisk;
use pinion_wal::disk::{Disk, run_until};
use pinion_wal::task::Tasks;
use pinion_wal::{Mono, Ticks};

use crate::clock::Word;
use crate::layout::{self, Founding, LayoutError, Wanted};
use crate::rehome::{RehomeError, rehome};
use crate::{
    After, BatchBuf, ClusterId, CoreId, Digest, GroupId, Groups, Layout, LogIndex, NodeId, Now, OpenError,
    Options, OwnedReply, Read, Reply, ReplyTo, Setup, Timestamp,
};

/// How a simulated node is started.
#[derive(Clone, Debug)]
pub struct SimOptions {
    /// Cores.
    pub cores: u16,
    /// Data groups.
    pub groups: u32,
    /// Lanes of each group.
    pub lanes: u32,
    /// The seed of everything random.
    pub seed: u64,
    /// Options of the groups.
    pub groups_options: Options,
    /// Options of the rows.
    pub rows: pinion_lsm::Options,
    /// The wall clock at the start, in milliseconds since 1970.
    pub wall_ms: u64,
}

impl SimOptions {
    /// Small segments and memtables, so that little work reaches every corner.
    #[must_use]
    pub fn small(groups: u32, seed: u64) -> Self {
        Self {
            cores: 1,
            groups,
            lanes: 4,
            seed,
            groups_options: Options { wal: pinion_wal::Options::tiny(), ..Options::default() },
            rows: pinion_lsm::Options { memtable_bytes_seal: 8 << 10, ..pinion_lsm::Options::default() },
            wall_ms: 1_700_000_000_000,
        }
    }
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The disk has stopped.
    #[error("the disk has stopped")]
    Stalled,
    /// The layout cannot be used.
    #[error("{0}")]
    Layout(#[from] LayoutError),
    /// The groups cannot be moved to this number of cores.
    #[error("{0}")]
    Rehome(#[from] RehomeError),
    /// The groups of a core cannot be opened.
    #[error("{0}")]
    Open(#[from] OpenError),
}

/// Work units of the simulator: they only measure.
struct Units(Cell<u64>);

impl Ticks for Units {
    fn now(&self) -> u64 {
        self.0.set(self.0.get() + 1);
        self.0.get()
    }

    fn per_micro(&self) -> u64 {
        10
    }
}

/// See the module page.
pub struct SimNode {
    disk: Disk,
    tasks: Tasks,
    cores: Vec<Groups>,
    layout: Layout,
    sim: SimDisk,
    now: Now,
    wall_start: (Mono, u64),
    replies: BTreeMap<ReplyTo, OwnedReply>,
}

impl SimNode {
    /// Opens the directory on `sim`: founds it when it is new, moves groups when the number of cores has changed, and
    /// opens the groups of every core.
    ///
    /// # Errors
    /// The disk, and why not.
    pub fn start(mut sim: SimDisk, options: SimOptions) -> Result<Self, Box<(SimDisk, StartError)>> {
        let disk = Disk::new();
        let ticks: Rc<dyn Ticks> = Rc::new(Units(Cell::new(0)));
        let mut tasks = Tasks::new(ticks);
        let spawner = tasks.spawner();
        let now = Now { mono: sim.clock(), wall_ms: options.wall_ms };
        let opening = async {
            let founding = Founding { cluster: ClusterId(1), node: NodeId(1) };
            let wanted = Wanted { cores: options.cores, groups: Some(options.groups), founding };
            let stored = layout::open(&disk, &wanted).await?;
            let layout = rehome(&disk, stored, options.cores, &options.groups_options.wal).await?;
            let word = Arc::new(Word::new());
            let mut cores = Vec::new();
            for core in 0..options.cores {
                let cache = Cache::new(1 << 20);
                let engine = Engine::new(disk.clone(), spawner.clone(), cache, options.rows.clone());
                let setup = Setup {
                    core: CoreId(core),
                    layout: layout.clone(),
                    disk: disk.clone(),
                    spawner: spawner.clone(),
                    engine,
                    word: word.clone(),
                    seed: options.seed,
                    options: Options { lanes: options.lanes, ..options.groups_options.clone() },
                };
                cores.push(Groups::open(setup, now).await?);
            }
            Ok::<_, StartError>((layout, cores))
        };
        let opened = run_until(&disk, &mut sim, Some(&mut tasks), opening);
        match opened {
            Err(_) => Err(Box::new((sim, StartError::Stalled))),
            Ok(Err(error)) => Err(Box::new((sim, error))),
            Ok(Ok((layout, cores))) => {
                let now = Now { mono: sim.clock(), ..now };
                let wall_start = (now.mono, options.wall_ms);
                let replies = BTreeMap::new();
                Ok(Self { disk, tasks, cores, layout, sim, now, wall_start, replies })
            }
        }
    }

    /// One turn of every core, at the next moment at which something happens. Answers whether the disk still works.
    pub fn step(&mut self) -> bool {
        let soon = self.now.mono.plus_micros(10);
        let deadlines = self.cores.iter().filter_map(Groups::next_deadline);
        let next = deadlines.chain(self.sim.next_due()).min();
        let busy = self.disk.submissions_waiting() > 0;
        let mono = if busy { soon } else { next.map_or(soon, |next| next.max(soon)) };
        self.turn_at(mono);
        !self.sim.halted()
    }

    /// Lets `micros` of virtual time pass, with everything that happens in it.
    pub fn pass(&mut self, micros: u64) {
        let end = self.now.mono.plus_micros(micros);
        while self.now.mono < end && self.step() {}
    }

    /// Lets time pass until the wall clock shows `wall_ms`, in steps of a millisecond.
    pub fn pass_to(&mut self, wall_ms: u64) {
        while self.now.wall_ms < wall_ms {
            self.turn_at(self.now.mono.plus_millis(1));
        }
    }

    /// One turn of every core at `mono`, whatever else is due.
    pub fn turn_at(&mut self, mono: Mono) {
        let passed_ms = mono.nanos_since(self.wall_start.0) / 1_000_000;
        self.now = Now { mono, wall_ms: self.wall_start.1 + passed_ms };
        self.sim.drive(&self.disk, mono);
        self.tasks.run_all();
        let Self { cores, replies, now, .. } = self;
        let mut out = |to: ReplyTo, reply: Reply<'_>| drop(replies.insert(to, OwnedReply::from(reply)));
        for core in cores {
            core.begin(*now, &mut out);
            core.turn(*now, &mut out);
        }
        self.tasks.run_all();
    }

    /// Runs until every core serves. Answers whether that happened.
    pub fn run_ready(&mut self) -> bool {
        for _ in 0..20_000 {
            if self.cores.iter().all(Groups::is_ready) {
                return true;
            }
            if !self.step() {
                return false;
            }
        }
        false
    }

    /// Runs until everything submitted is answered. Answers whether that happened.
    pub fn run_idle(&mut self) -> bool {
        for _ in 0..50_000 {
            if self.cores.iter().all(Groups::is_idle) && self.disk.in_flight() == 0 {
                return true;
            }
            if !self.step() || self.cores.iter().any(|core| core.stopped().is_some()) {
                return false;
            }
        }
        false
    }

    /// Submits a batch to the core that owns `group`.
    pub fn submit(&mut self, group: GroupId, batch: BatchBuf) {
        let core = self.layout.core_of(group);
        let Self { cores, replies, .. } = self;
        let mut out = |to: ReplyTo, reply: Reply<'_>| drop(replies.insert(to, OwnedReply::from(reply)));
        cores[usize::from(core.0)].submit(group, batch, &mut out);
    }

    /// Asks the core that owns `group`.
    pub fn read(&mut self, group: GroupId, read: &Read<'_>, to: ReplyTo, after: After) {
        let core = self.layout.core_of(group);
        let Self { cores, replies, .. } = self;
        let mut out = |to: ReplyTo, reply: Reply<'_>| drop(replies.insert(to, OwnedReply::from(reply)));
        cores[usize::from(core.0)].read(group, read, to, after, &mut out);
    }

    /// Asks the core that owns `group` what there is at `at`.
    pub fn read_at(&mut self, group: GroupId, read: Read<'_>, at: Timestamp, to: ReplyTo) {
        let core = self.layout.core_of(group);
        let Self { cores, replies, .. } = self;
        let mut out = |to: ReplyTo, reply: Reply<'_>| drop(replies.insert(to, OwnedReply::from(reply)));
        let core = &mut cores[usize::from(core.0)];
        let Some(prepared) = core.prepare(group, read) else { return };
        core.read_at(group, &prepared, at, to, &mut out);
    }

    /// Takes the answer to a command or read, if it has come.
    pub fn take_reply(&mut self, to: ReplyTo) -> Option<OwnedReply> {
        self.replies.remove(&to)
    }

    /// The groups of the cores.
    #[must_use]
    pub fn cores(&self) -> &[Groups] {
        &self.cores
    }

    /// The layout.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The disk.
    pub const fn disk_mut(&mut self) -> &mut SimDisk {
        &mut self.sim
    }

    /// The time.
    #[must_use]
    pub const fn now(&self) -> Now {
        self.now
    }

    /// Applied index and digest of every data group, in their order.
    #[must_use]
    pub fn digests(&self) -> Vec<(GroupId, Digest)> {
        let digest = |spec: &layout::GroupSpec| {
            let machine = self.cores[usize::from(spec.core.0)].machine(spec.id)?;
            Some((spec.id, machine.digest()?))
        };
        self.layout.groups.iter().filter_map(digest).collect()
    }

    /// The last applied entry of a group.
    #[must_use]
    pub fn applied(&self, group: GroupId) -> LogIndex {
        let core = self.layout.core_of(group);
        self.cores[usize::from(core.0)].machine(group).map_or(LogIndex(0), |machine| machine.applied().0)
    }

    /// Executes every invariant.
    ///
    /// # Panics
    /// When one is broken.
    pub fn check(&self) {
        for core in &self.cores {
            core.check();
        }
    }

    /// How the groups stand, for reports.
    #[must_use]
    pub fn describe(&self) -> String {
        let core = |core: &Groups| {
            let groups: Vec<String> = core.ids().map(|id| format!("{id}: {:?}", core.standing(id))).collect();
            format!("core {}: stopped {:?}, {}", core.core(), core.stopped(), groups.join(", "))
        };
        self.cores.iter().map(core).collect::<Vec<_>>().join("; ")
    }

    /// Ends the node as a crash would, and gives its disk back.
    #[must_use]
    pub fn into_disk(self) -> SimDisk {
        self.sim
    }
}
