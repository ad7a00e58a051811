//! A tree: the versioned rows of one group.

mod cursor;

use std::cell::{Cell as StdCell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;

pub use cursor::{Cursor, KeyRange, Row};

use crate::boundary::Boundary;
use crate::cell::{Cell, OwnedCell};
use crate::engine::EngineShared;
use crate::error::ReadError;
use crate::hash::hash_of;
use crate::ids::{Timestamp, TreeId};
use crate::memtable::Memtable;

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
    flushed: RefCell<Boundary>,
    safe_point: StdCell<Timestamp>,
    /// Versions at or below the timestamp are dead under the prefix, once the safe point has passed it.
    drop_below: RefCell<Option<(Bytes, Timestamp)>>,
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

/// A point read that needs the disk, pinned to what the tree held when it began.
#[derive(Debug)]
pub struct Probe {
    key: Bytes,
    hash: u64,
    at: Timestamp,
}

impl Tree {
    pub(crate) fn fresh(id: TreeId, engine: Rc<EngineShared>) -> Self {
        let active = Rc::new(Memtable::new(engine.cache.slab()));
        let shared = TreeShared {
            id,
            engine,
            memtables: RefCell::new(Memtables { active, sealed: VecDeque::new() }),
            flushed: RefCell::default(),
            safe_point: StdCell::new(Timestamp::ZERO),
            drop_below: RefCell::default(),
        };
        Self { shared: Rc::new(shared) }
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
        self.shared.memtables.borrow().active.prefetch_entry(hash);
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
        Get::Absent
    }

    /// Finishes a point read with the disk.
    ///
    /// # Errors
    /// When the disk fails or a block is damaged: this read has no answer.
    pub async fn read(&self, probe: Probe) -> Result<Option<(Timestamp, OwnedCell)>, ReadError> {
        match self.get(&probe.key, probe.hash, probe.at, |at, cell| (at, cell.to_owned())) {
            Get::Found(found) => Ok(Some(found)),
            Get::Absent | Get::OnDisk(_) => Ok(None),
        }
    }

    /// A cursor over the versions of `range` that are visible at `at`. It sees the tree as it is now, and rows that are
    /// put later at or before `at`, which there are none of if `at` was published.
    #[must_use]
    pub fn cursor(&self, range: KeyRange<'_>, at: Timestamp) -> Cursor {
        let memtables = self.shared.memtables.borrow();
        let sealed = memtables.sealed.iter().map(|(sealed, _)| sealed.clone());
        Cursor::new(std::iter::once(memtables.active.clone()).chain(sealed), range, at)
    }

    /// Ends the active memtable at an entry boundary: it holds exactly the rows after the previous boundary up to
    /// `boundary`.
    ///
    /// # Panics
    /// When `boundary` lies before the previous one.
    pub fn seal(&self, boundary: Boundary) {
        let memtables = &mut *self.shared.memtables.borrow_mut();
        let previous = memtables.sealed.front().map_or(self.shared.flushed.borrow().index, |(_, b)| b.index);
        assert!(boundary.index >= previous, "sealed at {} after {previous}", boundary.index);
        let active = Rc::new(Memtable::new(self.shared.engine.cache.slab()));
        let sealed = std::mem::replace(&mut memtables.active, active);
        memtables.sealed.push_front((sealed, boundary));
    }

    /// How far the tables reach, durably: the log up to here may be dropped.
    #[must_use]
    pub fn flushed(&self) -> Boundary {
        self.shared.flushed.borrow().clone()
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

    /// Whether more rows may be admitted.
    #[must_use]
    pub fn room(&self) -> bool {
        self.shared.engine.memtable_bytes() < self.shared.engine.options.memtable_bytes_max
    }

    /// Moves the safe point up: no read below it will come, so versions that only such reads could see may go.
    pub fn set_safe_point(&self, at: Timestamp) {
        self.shared.safe_point.set(self.shared.safe_point.get().max(at));
    }

    /// Declares the versions at or below `at` of keys that start with `prefix` dead, once the safe point has passed
    /// `at`: a compaction may drop them. Readers must judge them themselves: the tree does not hide them.
    pub fn set_drop_below(&self, prefix: &[u8], at: Timestamp) {
        *self.shared.drop_below.borrow_mut() = Some((Bytes::copy_from_slice(prefix), at));
    }
}

impl TreeShared {
    pub fn memtable_bytes(&self) -> usize {
        let memtables = self.memtables.borrow();
        memtables.active.bytes() + memtables.sealed.iter().map(|(sealed, _)| sealed.bytes()).sum::<usize>()
    }
}
