//! A tree on a simulated disk, the log that feeds it, and what must hold of both.

use std::cell::Cell as StdCell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use pinion_wal::disk::sim::{Faults, Image, SimDisk};
use pinion_wal::disk::{Disk, Driver, Stalled};
use pinion_wal::task::Tasks;
use pinion_wal::{LogIndex, Ticks};

use super::model::{Model, Put};
use crate::cache::Cache;
use crate::cell::{Cell, OwnedCell};
use crate::engine::Engine;
use crate::error::{OpenError, ReadError};
use crate::ids::{Timestamp, TreeId};
use crate::options::Options;
use crate::table::envelope::Compression;
use crate::tree::{Get, KeyRange, Tree};

/// The tree under test.
pub(super) const TREE: TreeId = TreeId(16);

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Counter(StdCell<u64>);

impl Ticks for Counter {
    fn now(&self) -> u64 {
        self.0.set(self.0.get() + 1);
        self.0.get()
    }

    fn per_micro(&self) -> u64 {
        1
    }
}

/// Small limits, so that short workloads come to every kind of work.
pub(super) fn options(seed: u64) -> Options {
    Options {
        memtable_bytes_seal: 4 << 10,
        memtable_bytes_max: 1 << 30,
        block_bytes: [200, 512, 2048][(seed % 3) as usize],
        table_bytes: 2 << 10,
        level0_tables_compact: 2,
        level0_tables_max: 1_000,
        level1_bytes: 6 << 10,
        level_growth: 2,
        manifest_bytes_max: 24 << 10,
        compression: [Compression::None, Compression::Lz4][(seed % 2) as usize],
        compression_last: Compression::Zstd,
    }
}

/// See the module page.
pub(super) struct World {
    pub disk: Disk,
    pub sim: SimDisk,
    pub tasks: Tasks,
    pub engine: Engine,
    pub tree: Option<Tree>,
    pub model: Model,
    /// The largest boundary that the tree called durable.
    pub durable: LogIndex,
}

/// Why a step of a workload ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The disk halted, or the process stopped: crash and recover.
    Halted,
    /// Something is wrong with the tree.
    Wrong(String),
}

impl From<Stalled> for Stop {
    fn from(_: Stalled) -> Self {
        Self::Halted
    }
}

/// `Wrong` unless it holds.
pub(super) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), Stop> {
    if holds { Ok(()) } else { Err(Stop::Wrong(what())) }
}

impl World {
    /// A closed tree on `image`.
    pub fn new(image: Image, seed: u64, faults: Faults, cache_bytes: usize) -> Self {
        let (disk, sim) = (Disk::new(), SimDisk::from_image(image, seed, faults));
        let tasks = Tasks::new(Rc::new(Counter(StdCell::new(0))));
        let engine = Engine::new(disk.clone(), tasks.spawner(), Cache::new(cache_bytes), options(seed));
        Self { disk, sim, tasks, engine, tree: None, model: Model::default(), durable: LogIndex(0) }
    }

    pub fn tree(&self) -> Tree {
        self.tree.clone().expect("opened")
    }

    /// Runs tasks, completes one disk operation, lets time pass if nothing else can; answers whether anything moved.
    pub fn step(&mut self) -> bool {
        self.tasks.run_all();
        let mut moved = Driver::drive(&mut self.sim, &self.disk) > 0;
        let mut now = self.sim.clock();
        if !moved
            && !self.sim.halted()
            && let Some(deadline) = self.engine.next_deadline()
        {
            now = now.max(deadline);
            moved = true;
        }
        self.engine.tick(now);
        self.tasks.run_all();
        if let Some(tree) = &self.tree {
            self.durable = self.durable.max(tree.flushed().index);
        }
        moved
    }

    /// Waits for `future`; stalls when the disk has halted.
    pub fn wait<T>(&mut self, future: impl Future<Output = T>) -> Result<T, Stalled> {
        let mut future = pin!(future);
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(flag.clone());
        loop {
            if flag.0.swap(false, Ordering::Relaxed)
                && let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker))
            {
                return Ok(value);
            }
            if !flag.0.load(Ordering::Relaxed) && !self.step() && !flag.0.load(Ordering::Relaxed) {
                return Err(Stalled);
            }
        }
    }

    /// Opens the tree and replays the log behind its boundary, after checking that the tables hold exactly what lies
    /// before it.
    pub fn open(&mut self) -> Result<Result<(), OpenError>, Stop> {
        let engine = self.engine.clone();
        let (tree, boundary) = match self.wait(async move { engine.open_tree(TREE).await })? {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(error)),
        };
        self.tree = Some(tree);
        let index = boundary.index;
        let durable = self.durable;
        ensure(index >= durable, || format!("boundary {index} after {durable} was durable"))?;
        ensure(index <= self.model.last_index(), || format!("boundary {index} was never sealed"))?;
        if index > LogIndex(0) {
            ensure(boundary == Model::boundary(index), || format!("{boundary:?} is not what was sealed"))?;
        }
        let model = std::mem::take(&mut self.model);
        self.model = model.up_to(index);
        let checked = self.check_all();
        self.model = model;
        checked?;
        self.replay(index);
        Ok(Ok(()))
    }

    fn replay(&self, after: LogIndex) {
        let tree = self.tree();
        let skip = usize::try_from(after.0).expect("a short log");
        for put in self.model.entries[skip..].iter().flatten() {
            apply(&tree, put);
        }
    }

    /// One more entry of the log.
    pub fn put(&mut self, puts: Vec<Put>) {
        let tree = self.tree();
        puts.iter().for_each(|put| apply(&tree, put));
        self.model.push(puts);
    }

    pub fn seal(&mut self) {
        self.tree().seal(Model::boundary(self.model.last_index()));
    }

    /// Runs until no background work is left or the disk has halted or the engine is poisoned.
    pub fn settle(&mut self) -> Result<(), Stop> {
        while self.tree.as_ref().is_some_and(|tree| !tree.is_idle()) {
            if self.engine.poisoned().is_some() || !self.step() {
                return Err(Stop::Halted);
            }
        }
        Ok(())
    }

    /// What the tree says about a key; `None` when it says that it cannot answer.
    pub fn get(&mut self, key: &[u8], at: Timestamp) -> Result<Option<Answer>, Stop> {
        let tree = self.tree();
        let hash = Tree::hash(key);
        tree.prefetch_slot(hash);
        tree.prefetch_entry(hash);
        let found = tree.get(key, hash, at, |at, cell| (at, cell.to_owned()));
        let found = match found {
            Get::Found(found) => Some(found),
            Get::Absent => None,
            Get::OnDisk(probe) => match self.wait(async move { tree.read(probe).await })? {
                Ok(found) => found,
                Err(ReadError::Corruption(_) | ReadError::Disk(_)) => return Ok(None),
                Err(error) => return Err(Stop::Wrong(error.to_string())),
            },
        };
        Ok(Some(found.map(|(at, cell)| match cell {
            OwnedCell::Inline(bytes) => (at, Some(bytes.to_vec())),
            OwnedCell::Tombstone => (at, None),
        })))
    }

    /// A point read must give what the model gives, or an error. A tombstone and nothing are the same to a reader.
    pub fn check_get(&mut self, key: &[u8], at: Timestamp) -> Result<(), Stop> {
        let Some(found) = self.get(key, at)? else { return Ok(()) };
        let found = found.filter(|(_, value)| value.is_some());
        let expected = self.model.get(key, at).filter(|(_, value)| value.is_some());
        let expected = expected.map(|(at, value)| (at, value.map(<[u8]>::to_vec)));
        ensure(found == expected, || format!("key {key:?} at {at}: {found:?} instead of {expected:?}"))
    }

    /// A walk both ways must give what the model gives, or an error. Answers whether there was an error.
    pub fn check_walk(&mut self, from: &[u8], to: Option<&[u8]>, at: Timestamp) -> Result<bool, Stop> {
        let tree = self.tree();
        let expected = self.model.visible(from, to, at);
        for forward in [true, false] {
            let mut cursor = tree.cursor(KeyRange { from, to }, at);
            let walk = async move {
                let mut seen = Vec::new();
                loop {
                    let row = if forward { cursor.next().await } else { cursor.prev().await };
                    match row {
                        Ok(Some(row)) => seen.push((row.key.to_vec(), row.at, row.value.to_vec())),
                        Ok(None) => return Some(seen),
                        Err(_) => return None,
                    }
                }
            };
            let Some(mut seen) = self.wait(walk)? else { return Ok(true) };
            if !forward {
                seen.reverse();
            }
            ensure(seen == expected, || {
                format!("walk at {at}, forward {forward}: {seen:?} instead of {expected:?}")
            })?;
        }
        Ok(false)
    }

    /// Every key at several timestamps, and everything in order. Answers whether there was an error.
    pub fn check_all(&mut self) -> Result<bool, Stop> {
        let (safe, now) = (self.model.safe_point, self.model.now());
        let middle = Timestamp(safe.0.midpoint(now.0.max(safe.0)));
        let keys: Vec<Vec<u8>> = self.model.rows.keys().cloned().collect();
        let mut failed = false;
        for at in [safe, middle, Timestamp::MAX] {
            for key in &keys {
                self.check_get(key, at)?;
            }
            failed |= self.check_walk(b"", None, at)?;
        }
        Ok(failed)
    }
}

/// A version, or nothing.
pub(super) type Answer = Option<(Timestamp, Option<Vec<u8>>)>;

fn apply(tree: &Tree, (key, at, value): &Put) {
    tree.put(key, Tree::hash(key), *at, value.as_deref().map_or(Cell::Tombstone, Cell::Inline));
}
