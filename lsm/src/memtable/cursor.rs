//! Walking a memtable in key order, both ways, while it is written to.

use std::rc::Rc;

use super::Memtable;
use super::arena::Ref;
use super::order::Spot;
use crate::cell::Cell;
use crate::ids::Timestamp;

/// A place in the key order of a memtable: at a key, or at none.
///
/// New keys may arrive between two calls: the cursor remembers the entry it stands on, which never moves, and finds
/// its spot again.
pub(crate) struct MemtableCursor {
    table: Rc<Memtable>,
    /// The first version of the key under the cursor; none when it stands at no key.
    anchor: Ref,
    spot: Option<Spot>,
    stamp: u64,
}

/// The versions of a key that are still to be walked.
pub(crate) struct Versions {
    next: Ref,
    last: Option<Timestamp>,
}

impl MemtableCursor {
    /// A cursor at no key.
    pub const fn new(table: Rc<Memtable>) -> Self {
        Self { table, anchor: Ref::NONE, spot: None, stamp: 0 }
    }

    /// Moves to the first key at or after `key`.
    pub fn seek(&mut self, key: &[u8]) {
        let spot = {
            let inner = self.table.inner.borrow();
            inner.order.seek(key, &inner.arena)
        };
        self.settle(Some(spot));
    }

    /// Moves to the last key before `key`, or to the last of all.
    pub fn seek_before(&mut self, key: Option<&[u8]>) {
        let spot = {
            let inner = self.table.inner.borrow();
            let after = key.map_or_else(|| inner.order.end(), |key| inner.order.seek(key, &inner.arena));
            inner.order.previous(after)
        };
        self.settle(spot);
    }

    /// Moves to the next key.
    pub fn next(&mut self) {
        let Some(spot) = self.current_spot() else { return };
        let next = self.table.inner.borrow().order.next(spot);
        self.settle(Some(next));
    }

    /// Moves to the previous key.
    pub fn previous(&mut self) {
        let Some(spot) = self.current_spot() else { return };
        let previous = self.table.inner.borrow().order.previous(spot);
        self.settle(previous);
    }

    /// Copies the key under the cursor; answers whether there is one.
    pub fn copy_key(&self, into: &mut Vec<u8>) -> bool {
        into.clear();
        if self.anchor == Ref::NONE {
            return false;
        }
        into.extend_from_slice(self.table.inner.borrow().arena.entry(self.anchor).key());
        true
    }

    /// Gives `with` the newest version at or before `at` of the key under the cursor.
    pub fn visible<R>(&self, at: Timestamp, with: impl FnOnce(Timestamp, Cell<'_>) -> R) -> Option<R> {
        if self.anchor == Ref::NONE {
            return None;
        }
        let inner = self.table.inner.borrow();
        let entry = inner.visible(inner.arena.entry(self.anchor).newest(), at)?;
        Some(with(entry.at(), entry.cell()))
    }

    /// All versions of the key under the cursor, newest first.
    pub fn versions(&self) -> Versions {
        let inner = self.table.inner.borrow();
        let next = match self.anchor {
            Ref::NONE => Ref::NONE,
            anchor => inner.arena.entry(anchor).newest(),
        };
        Versions { next, last: None }
    }

    /// Gives `each` the next of these versions, until it says that it has enough; of equal timestamps only the last put.
    /// Answers whether there may be more.
    pub fn walk(&self, versions: &mut Versions, mut each: impl FnMut(Timestamp, Cell<'_>) -> bool) -> bool {
        let inner = self.table.inner.borrow();
        while versions.next != Ref::NONE {
            let entry = inner.arena.entry(versions.next);
            let is_new = versions.last.replace(entry.at()) != Some(entry.at());
            versions.next = entry.older();
            if is_new && !each(entry.at(), entry.cell()) {
                return true;
            }
        }
        false
    }

    fn current_spot(&self) -> Option<Spot> {
        if self.anchor == Ref::NONE {
            return None;
        }
        let inner = self.table.inner.borrow();
        if inner.stamp == self.stamp {
            return self.spot;
        }
        Some(inner.order.seek(inner.arena.entry(self.anchor).key(), &inner.arena))
    }

    fn settle(&mut self, spot: Option<Spot>) {
        let inner = self.table.inner.borrow();
        self.anchor = spot.and_then(|spot| inner.order.at(spot)).unwrap_or(Ref::NONE);
        self.spot = spot;
        self.stamp = inner.stamp;
    }
}
