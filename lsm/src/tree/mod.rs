//! A tree: the versioned rows of one group.

mod cursor;
mod jobs;
mod open;
mod output;

use std::cell::{Cell as StdCell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use pinion_wal::LogIndex;
use pinion_wal::disk::DiskError;

pub use cursor::{Cursor, KeyRange, Row};

use crate::boundary::Boundary;
use crate::cell::{Cell, OwnedCell};
use crate::engine::EngineShared;
use crate::error::{OpenError, ReadError};
use crate::gate::Gate;
use crate::hash::hash_of;
use crate::ids::{Timestamp, TreeId};
use crate::manifest::{LEVELS, Manifest, State};
use crate::memtable::Memtable;
use crate::metrics::{TreeMetrics, Work};
use crate::table::Look;
use crate::version::{TablePlace, Version};

/// The versioned rows of one group, with one writer. Clones share it; it stays on its thread.
///
/// The versions of a key must be put in the order of their timestamps.
#[derive(Clone)]
pub struct Tree {
    pub(crate) shared: Rc<TreeShared>,
}

pub(crate) struct TreeShared {
    id: TreeId,
    engine: Rc<EngineShared>,
    memtables: RefCell<Memtables>,
    version: RefCell<Rc<Version>>,
    flushed: RefCell<Boundary>,
    safe_point: StdCell<Timestamp>,
    /// Versions at or below the timestamp are dead under the prefix, once the safe point has passed it.
    drop_below: RefCell<Option<(Bytes, Timestamp)>>,
    /// Taken while an edit is being written, by whoever is inside `editing`; gone once the engine is poisoned.
    manifest: RefCell<Option<Manifest>>,
    editing: Gate,
    state: RefCell<State>,
    next_number: StdCell<u64>,
    flushing: StdCell<bool>,
    /// What stands in the way of the flush: it pauses before it tries again.
    paused: RefCell<Option<DiskError>>,
    compacting: StdCell<bool>,
    /// The last key of the last compaction of each level.
    compacted: RefCell<[Vec<u8>; LEVELS]>,
    work: StdCell<Work>,
    trouble: RefCell<Option<DiskError>>,
}

#[derive(Clone)]
struct Memtables {
    active: Rc<Memtable>,
    /// Newest first.
    sealed: VecDeque<(Rc<Memtable>, Boundary)>,
}

/// What a point read found without the disk.
#[derive(Debug)]
pub enum Get<R> {
    /// The newest visible version, as the callback saw it; a tombstone is a version too.
    Found(R),
    /// No version is visible.
    Absent,
    /// Tables must be read: await [`Tree::read`].
    OnDisk(Probe),
}

/// What becomes of the sealed memtables of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlushState {
    /// There are none.
    Idle,
    /// They are on their way to tables, with nothing in the way.
    Underway,
    /// The disk is in the way. It is tried again when [`Engine::tick`](crate::Engine::tick) says that it is time.
    Paused(DiskError),
    /// The engine is poisoned: they never reach the disk.
    Over,
}

/// How far [`Tree::prefetch_next`] has come with a key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hint(Step);

/// What is asked for next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Active,
    Sealed,
    Filter,
    /// A block of one of the tables that may hold the key.
    Block(TablePlace, usize),
    /// A row of it.
    Row(TablePlace, usize),
    Done,
}

/// A point read that needs the disk, pinned to the tables that the tree had when it began.
#[derive(Debug)]
pub struct Probe {
    key: Bytes,
    hash: u64,
    at: Timestamp,
    version: Rc<Version>,
}

impl Probe {
    /// The read of another key of the same tables at the same timestamp.
    #[must_use]
    pub fn of(&self, key: &[u8], hash: u64) -> Self {
        Self { key: Bytes::copy_from_slice(key), hash, at: self.at, version: self.version.clone() }
    }
}

impl Tree {
    pub(crate) async fn open(
        id: TreeId,
        engine: Rc<EngineShared>,
        first: LogIndex,
    ) -> Result<Self, OpenError> {
        let opened = open::open(&engine.disk, &engine.cache, id, first).await?;
        let active = Rc::new(Memtable::new(engine.cache.slab()));
        let shared = TreeShared {
            id,
            engine,
            memtables: RefCell::new(Memtables { active, sealed: VecDeque::new() }),
            version: RefCell::new(Rc::new(opened.version)),
            flushed: RefCell::new(opened.state.boundary.clone()),
            safe_point: StdCell::new(Timestamp::ZERO),
            drop_below: RefCell::default(),
            manifest: RefCell::new(Some(opened.manifest)),
            editing: Gate::default(),
            next_number: StdCell::new(opened.state.next_number),
            state: RefCell::new(opened.state),
            flushing: StdCell::new(false),
            paused: RefCell::default(),
            compacting: StdCell::new(false),
            compacted: RefCell::default(),
            work: StdCell::default(),
            trouble: RefCell::default(),
        };
        Ok(Self { shared: Rc::new(shared) })
    }

    /// The number of this tree.
    #[must_use]
    pub fn id(&self) -> TreeId {
        self.shared.id
    }

    /// The hash that goes with a key in every call.
    #[inline]
    #[must_use]
    pub fn hash(key: &[u8]) -> u64 {
        hash_of(key)
    }

    /// Adds a version to the active memtable. `hash` is [`Tree::hash`] of the key. Never fails: ask [`Tree::room`]
    /// before admitting work.
    ///
    /// # Panics
    /// When the key has a version above `at` in the active memtable, or within a callback of [`Tree::get`].
    #[inline]
    pub fn put(&self, key: &[u8], hash: u64, at: Timestamp, cell: Cell<'_>) {
        debug_assert_eq!(hash, hash_of(key));
        self.shared.memtables.borrow().active.put(key, hash, at, cell);
    }

    /// Asks for the memory that [`Tree::prefetch_entry`] will look at: the first step for a batch of keys.
    #[inline]
    pub fn prefetch_slot(&self, hash: u64) {
        self.shared.memtables.borrow().active.prefetch_slot(hash);
    }

    /// Asks for the memory that [`Tree::get`] will look at: the second step, after the first of the whole batch.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) {
        let _known = self.shared.memtables.borrow().active.prefetch_entry(hash);
    }

    /// Asks for the memory that [`Tree::put`] will look at: the second step of a batch of writes.
    #[inline]
    pub fn prefetch_put(&self, key: &[u8], hash: u64) {
        self.shared.memtables.borrow().active.prefetch_put(key, hash);
    }

    /// Asks for what [`Tree::get`] will look at next: the entry of a memtable, else filter, place, block and row of a table,
    /// one a call. Answers whether there is more to ask for; call it for a whole batch before the next round, after
    /// [`Tree::prefetch_slot`]. Should the tree change between two rounds, a hint is of no use, and does no harm.
    #[inline]
    pub fn prefetch_next(&self, key: &[u8], hash: u64, hint: &mut Hint) -> bool {
        hint.0 = match hint.0 {
            Step::Active => self.prefetch_active(key, hash),
            Step::Sealed => self.prefetch_sealed(key, hash),
            Step::Filter => {
                let version = self.shared.version.borrow();
                let mut places = version.places(key).filter_map(|place| {
                    Some(Step::Block(place, version.table_at(place)?.prefetch_place(key, hash)?))
                });
                places.next().unwrap_or(Step::Done)
            }
            Step::Block(place, number) => {
                if let Some(table) = self.shared.version.borrow().table_at(place) {
                    table.prefetch_block(number);
                }
                Step::Row(place, number)
            }
            Step::Row(place, number) => {
                if let Some(table) = self.shared.version.borrow().table_at(place) {
                    table.prefetch_row(number, hash);
                }
                Step::Done
            }
            Step::Done => Step::Done,
        };
        hint.0 != Step::Done
    }

    #[inline]
    fn prefetch_active(&self, key: &[u8], hash: u64) -> Step {
        let memtables = self.shared.memtables.borrow();
        if memtables.active.prefetch_entry(hash) {
            return Step::Done;
        }
        if memtables.sealed.is_empty() {
            return self.prefetch_filters(key, hash);
        }
        memtables.sealed.iter().for_each(|(sealed, _)| sealed.prefetch_slot(hash));
        Step::Sealed
    }

    fn prefetch_sealed(&self, key: &[u8], hash: u64) -> Step {
        let memtables = self.shared.memtables.borrow();
        if memtables.sealed.iter().any(|(sealed, _)| sealed.prefetch_entry(hash)) {
            return Step::Done;
        }
        self.prefetch_filters(key, hash)
    }

    #[inline]
    fn prefetch_filters(&self, key: &[u8], hash: u64) -> Step {
        let version = self.shared.version.borrow();
        version.candidates(key, Timestamp::MAX).for_each(|table| table.prefetch_filter(hash));
        Step::Filter
    }

    /// Gives `with` the newest version at or before `at`, if memory holds the answer. Allocates nothing unless the
    /// disk is needed. `with` must not write to the tree.
    #[inline]
    pub fn get<R>(
        &self,
        key: &[u8],
        hash: u64,
        at: Timestamp,
        with: impl FnOnce(Timestamp, Cell<'_>) -> R,
    ) -> Get<R> {
        let mut with = Some(with);
        let mut once =
            |at: Timestamp, cell: Cell<'_>| with.take().expect("one version is found once")(at, cell);
        let memtables = self.shared.memtables.borrow();
        if let Some(found) = memtables.active.get(key, hash, at, &mut once) {
            return Get::Found(found);
        }
        for (sealed, _) in &memtables.sealed {
            if let Some(found) = sealed.get(key, hash, at, &mut once) {
                return Get::Found(found);
            }
        }
        let version = self.shared.version.borrow();
        for table in version.candidates(key, at) {
            match table.look(key, hash, at, &mut once) {
                Look::Found(found) => return Get::Found(found),
                Look::Absent => {}
                Look::Wait => {
                    let (key, version) = (Bytes::copy_from_slice(key), version.clone());
                    return Get::OnDisk(Probe { key, hash, at, version });
                }
            }
        }
        Get::Absent
    }

    /// Finishes a point read with the disk. It sees the tree as it was when [`Tree::get`] answered the probe.
    ///
    /// # Errors
    /// When the disk fails or a block is damaged: this read has no answer.
    pub async fn read(&self, probe: Probe) -> Result<Option<(Timestamp, OwnedCell)>, ReadError> {
        let Probe { key, hash, at, version } = probe;
        for table in version.candidates(&key, at) {
            let found = table.get(&key, hash, at, |at, cell| (at, cell.to_owned())).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Reads every byte of every table and compares it with its checksum.
    ///
    /// # Errors
    /// The first damage found, or when the disk fails.
    pub async fn verify(&self) -> Result<(), ReadError> {
        let version = self.shared.version.borrow().clone();
        for (_, table) in version.tables() {
            table.verify(&self.shared.engine.spawner).await?;
        }
        Ok(())
    }

    /// A cursor over the versions of `range` that are visible at `at`. It sees the tree as it is now, and rows that are
    /// put later at or before `at`, which there are none of if `at` was published.
    #[must_use]
    pub fn cursor(&self, range: KeyRange<'_>, at: Timestamp) -> Cursor {
        let memtables = self.shared.memtables.borrow();
        let sealed = memtables.sealed.iter().map(|(sealed, _)| sealed.clone());
        let memtables = std::iter::once(memtables.active.clone()).chain(sealed);
        let spawner = self.shared.engine.spawner.clone();
        Cursor::new(memtables, self.shared.version.borrow().runs(), range, at, spawner)
    }

    /// Ends the active memtable at an entry boundary: it holds exactly the rows after the previous boundary up to
    /// `boundary`. Its flush then runs in the background, after those sealed before.
    ///
    /// # Panics
    /// When `boundary` lies before the previous one.
    pub fn seal(&self, boundary: Boundary) {
        let mut memtables = self.shared.memtables.borrow_mut();
        let previous = memtables.sealed.front().map_or(self.shared.flushed.borrow().index, |(_, b)| b.index);
        assert!(boundary.index >= previous, "sealed at {} after {previous}", boundary.index);
        let active = Rc::new(Memtable::new(self.shared.engine.cache.slab()));
        let sealed = std::mem::replace(&mut memtables.active, active);
        memtables.sealed.push_front((sealed, boundary));
        drop(memtables);
        self.shared.start_jobs();
    }

    /// Forgets the rows that were not sealed, and gives their memory back: for a tree whose owner has stopped. They are in its
    /// log, and nothing is sealed any more.
    pub fn forget_active(&self) {
        let active = Rc::new(Memtable::new(self.shared.engine.cache.slab()));
        self.shared.memtables.borrow_mut().active = active;
    }

    /// How far the tables reach, durably: the log up to here may be dropped.
    #[must_use]
    pub fn flushed(&self) -> Boundary {
        self.shared.flushed.borrow().clone()
    }

    /// Bytes of the active memtable.
    #[must_use]
    pub fn active_bytes(&self) -> usize {
        self.shared.memtables.borrow().active.bytes()
    }

    /// What becomes of the sealed memtables.
    #[must_use]
    pub fn flush_state(&self) -> FlushState {
        let shared = &self.shared;
        if shared.memtables.borrow().sealed.is_empty() {
            FlushState::Idle
        } else if shared.engine.is_poisoned() {
            FlushState::Over
        } else {
            shared.paused.borrow().clone().map_or(FlushState::Underway, FlushState::Paused)
        }
    }

    /// Bytes of this tree's memtables.
    #[must_use]
    pub fn memtable_bytes(&self) -> usize {
        self.shared.memtable_bytes()
    }

    /// Whether the active memtable has grown enough to be sealed at the next entry boundary.
    #[must_use]
    pub fn should_seal(&self) -> bool {
        self.shared.memtables.borrow().active.bytes() >= self.shared.engine.options.memtable_bytes_seal
    }

    /// Whether more rows may be admitted: the memtables of the engine are within their budget, and compaction keeps
    /// up with this tree.
    #[must_use]
    pub fn room(&self) -> bool {
        let engine = &self.shared.engine;
        engine.memtable_bytes() < engine.memtable_bytes_max.get()
            && self.shared.version.borrow().levels[0].len() < engine.options.level0_tables_max
    }

    /// Whether level 0 is full and stays so because damaged tables, which are left alone, stand in the way.
    #[must_use]
    pub fn is_held_up_by_damage(&self) -> bool {
        let version = self.shared.version.borrow();
        version.levels[0].len() >= self.shared.engine.options.level0_tables_max
            && !self.shared.compacting.get()
            && version.tables().any(|(_, table)| table.is_damaged())
    }

    /// Bytes that may be written by work that was admitted, before it must wait for memtables to reach the disk: an eighth
    /// of their budget lies beyond what [`Tree::room`] asks for.
    #[must_use]
    pub fn room_bytes(&self) -> usize {
        let engine = &self.shared.engine;
        let max = engine.memtable_bytes_max.get();
        (max + max / 8).saturating_sub(engine.memtable_bytes())
    }

    /// Figures.
    #[must_use]
    pub fn metrics(&self) -> TreeMetrics {
        let version = self.shared.version.borrow();
        let bytes =
            |level: &Vec<_>| level.iter().map(|table: &Rc<crate::table::Table>| table.info.bytes).sum();
        TreeMetrics {
            memtable_bytes: self.memtable_bytes(),
            sealed: self.shared.memtables.borrow().sealed.len(),
            level_tables: version.levels.iter().map(Vec::len).collect(),
            level_bytes: version.levels.iter().map(bytes).collect(),
            damaged_tables: version.tables().filter(|(_, table)| table.is_damaged()).count(),
            work: self.shared.work.get(),
            trouble: self.shared.trouble.borrow().clone(),
        }
    }

    /// Whether no memtable waits for its flush and no compaction is due.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let shared = &self.shared;
        !shared.flushing.get() && !shared.compacting.get() && shared.memtables.borrow().sealed.is_empty()
    }

    /// Moves the safe point up: no read below it will come, so versions that only such reads could see may go.
    pub fn set_safe_point(&self, at: Timestamp) {
        self.shared.safe_point.set(self.shared.safe_point.get().max(at));
        self.shared.bury();
    }

    /// Declares the versions at or below `at` of keys that start with `prefix` dead, once the safe point has passed
    /// `at`: a compaction may drop them, and tables without other versions go at once. Readers must judge them themselves:
    /// the tree does not hide them.
    pub fn set_drop_below(&self, prefix: &[u8], at: Timestamp) {
        *self.shared.drop_below.borrow_mut() = Some((Bytes::copy_from_slice(prefix), at));
        self.shared.bury();
    }
}

impl TreeShared {
    /// What stands in the way of the flush, while it pauses.
    pub fn paused(&self) -> Option<DiskError> {
        self.paused.borrow().clone()
    }

    pub fn memtable_bytes(&self) -> usize {
        let memtables = self.memtables.borrow();
        memtables.active.bytes() + memtables.sealed.iter().map(|(sealed, _)| sealed.bytes()).sum::<usize>()
    }
}
