//! The block cache of a core: data blocks and the metas of tables, under one budget of bytes.
//!
//! Replacement is S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi: "FIFO queues are all you need for cache eviction", SOSP 2023):
//! new blocks enter a small queue of a tenth of the budget; those used again move to the main queue; those not used
//! leave, and if they come back soon after (a ghost remembers their names) they enter the main queue at once. A scan
//! passes through the small queue and pushes nothing out of the main one. Metas (index and filter of a table) enter the
//! main queue at the highest count, and stay while a block of their table is cached.
//!
//! A hit costs no lookup: what is cached hangs where it is used ([`Held`]), blocks at their meta and metas at their
//! table. The cache itself keeps the books, and takes away what has to go.
//!
//! Invariants: the bytes of all entries are at most the budget, save what a single insertion could not make room for
//! (then it is not cached); something is held exactly as long as the cache has an entry for it.

use std::cell::{Cell as StdCell, Ref, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use rustc_hash::FxHashSet;

use crate::gate::Throttle;
use crate::slab::{Slab, prefetch};
use crate::table::block::Block;
use crate::table::{Meta, Table};

/// A place for something cached, where it is used.
#[derive(Debug)]
pub(crate) struct Held<T> {
    item: RefCell<Option<Rc<T>>>,
    /// Where its bytes begin, for nothing but to ask for them ahead.
    bytes_at: StdCell<*const u8>,
    /// The entry in the books, if there is one.
    entry: StdCell<u32>,
    uses: StdCell<u8>,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self {
            item: RefCell::new(None),
            bytes_at: StdCell::new(std::ptr::null()),
            entry: StdCell::new(0),
            uses: StdCell::new(0),
        }
    }
}

impl<T> Held<T> {
    /// What is held, used once more. Nothing may enter the cache while it is borrowed.
    #[inline]
    pub fn used(&self) -> Option<Ref<'_, Rc<T>>> {
        let item = self.peek()?;
        if self.uses.get() < USES_MAX {
            self.uses.set(self.uses.get() + 1);
        }
        Some(item)
    }

    /// What is held, to look at it only.
    #[inline]
    pub fn peek(&self) -> Option<Ref<'_, Rc<T>>> {
        Ref::filter_map(self.item.borrow(), Option::as_ref).ok()
    }

    /// Asks for what is held and for the front of its bytes.
    #[inline]
    pub fn prefetch(&self) {
        if let Some(item) = self.peek() {
            prefetch(Rc::as_ptr(&item).cast());
            let bytes = self.bytes_at.get();
            (0..2).for_each(|line| prefetch(bytes.wrapping_add(line * 64)));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.item.borrow().is_none()
    }

    fn put(&self, item: Rc<T>, bytes_at: *const u8, entry: u32, uses: u8) {
        self.bytes_at.set(bytes_at);
        self.item.replace(Some(item));
        self.entry.set(entry);
        self.uses.set(uses);
    }
}

/// Bytes of an entry besides its contents: slot, queue, allocations.
const ENTRY_BYTES: usize = 160;
/// Reads of the disk that are in flight hold at most this part of the budget, in bytes of their blocks …
const READ_PART: usize = 16;
/// … but always so many.
const READ_BYTES_MIN: usize = 1 << 20;
/// Uses that are counted.
const USES_MAX: u8 = 3;

/// The memory of a core's rows: the slab of memtables and blocks, and the cache. Clones share it.
#[derive(Clone)]
pub struct Cache {
    slab: Slab,
    inner: Rc<RefCell<Inner>>,
    hits: Rc<StdCell<u64>>,
    reads: Throttle,
}

/// Figures of a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheMetrics {
    /// The budget in bytes.
    pub budget_bytes: usize,
    /// Bytes held, overhead included.
    pub used_bytes: usize,
    /// Blocks and metas held.
    pub entries: usize,
    /// Blocks that were found.
    pub hits: u64,
    /// Blocks that were inserted after a read from the disk.
    pub inserted: u64,
    /// Entries that were pushed out.
    pub evicted: u64,
}

#[derive(Default)]
struct Inner {
    budget: usize,
    used: usize,
    small_used: usize,
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    small: VecDeque<Ticket>,
    main: VecDeque<Ticket>,
    ghosts: VecDeque<u64>,
    ghost_names: FxHashSet<u64>,
    live: usize,
    next_stamp: u64,
    inserted: u64,
    evicted: u64,
}

/// An entry in a queue; stale when the slot holds another stamp.
#[derive(Clone, Copy)]
struct Ticket {
    slot: u32,
    stamp: u64,
}

struct Entry {
    item: Item,
    name: u64,
    bytes: usize,
    stamp: u64,
    in_small: bool,
}

/// Where what an entry stands for is held; gone when its table is.
enum Item {
    Block { meta: Weak<Meta>, number: usize },
    Meta(Weak<Table>),
}

impl Cache {
    /// A cache of at most `bytes` bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let inner = Inner { budget: bytes, ..Inner::default() };
        let (hits, reads) = (Rc::default(), Throttle::new(read_bytes_max(bytes)));
        Self { slab: Slab::new(), inner: Rc::new(RefCell::new(inner)), hits, reads }
    }

    /// Changes the budget, so that bytes can be leased between cores; what no longer fits is pushed out.
    pub fn resize(&self, bytes: usize) {
        let mut inner = self.inner.borrow_mut();
        let before = std::mem::replace(&mut inner.budget, bytes);
        inner.make_room(0);
        self.slab.change_kept_bytes(before, bytes);
        drop(inner);
        self.reads.set_bytes_max(read_bytes_max(bytes));
    }

    /// What bounds the reads in flight.
    pub(crate) const fn reads(&self) -> &Throttle {
        &self.reads
    }

    /// The slab that memtables and blocks share.
    #[must_use]
    pub const fn slab(&self) -> &Slab {
        &self.slab
    }

    /// Figures.
    #[must_use]
    pub fn metrics(&self) -> CacheMetrics {
        let inner = self.inner.borrow();
        CacheMetrics {
            budget_bytes: inner.budget,
            used_bytes: inner.used,
            entries: inner.live,
            hits: self.hits.get(),
            inserted: inner.inserted,
            evicted: inner.evicted,
        }
    }

    /// Counts a block that was found.
    #[inline]
    pub(crate) fn hit(&self) {
        self.hits.set(self.hits.get() + 1);
    }

    /// Caches a meta, unless another one of this table was faster; answers the one to be used.
    pub(crate) fn insert_meta(&self, table: &Rc<Table>, meta: Rc<Meta>) -> Rc<Meta> {
        if let Some(meta) = table.held_meta().used() {
            return meta.clone();
        }
        let bytes = meta.memory_bytes() + ENTRY_BYTES;
        let item = Item::Meta(Rc::downgrade(table));
        let entry = self.inner.borrow_mut().insert(item, name_of(table, usize::MAX), bytes);
        if let Some(entry) = entry {
            table.held_meta().put(meta.clone(), std::ptr::null(), entry, USES_MAX);
        }
        meta
    }

    /// Caches a block, if its meta is cached, it is not cached yet and there is room.
    pub(crate) fn insert_block(&self, table: &Rc<Table>, meta: &Rc<Meta>, number: usize, block: &Rc<Block>) {
        let cached = table.held_meta().used().is_some_and(|cached| Rc::ptr_eq(&cached, meta));
        if !cached || !meta.blocks[number].is_empty() {
            return;
        }
        let bytes = block.memory_bytes() + ENTRY_BYTES;
        let item = Item::Block { meta: Rc::downgrade(meta), number };
        // Counted before there is room for it, so that making room does not push out its meta.
        meta.cached_blocks.set(meta.cached_blocks.get() + 1);
        let entry = self.inner.borrow_mut().insert(item, name_of(table, number), bytes);
        match entry {
            Some(entry) => meta.blocks[number].put(block.clone(), block.bytes_at(), entry, 0),
            None => meta.cached_blocks.set(meta.cached_blocks.get() - 1),
        }
    }

    /// Drops the entries of a table that goes away.
    pub(crate) fn forget(&self, table: &Table) {
        let Some(meta) = table.held_meta().item.take() else { return };
        let mut inner = self.inner.borrow_mut();
        let blocks = meta.blocks.iter().filter(|held| !held.is_empty()).map(|held| held.entry.get());
        for entry in blocks.chain([table.held_meta().entry.get()]) {
            inner.remove(entry);
        }
        inner.sweep();
    }
}

fn read_bytes_max(budget_bytes: usize) -> usize {
    (budget_bytes / READ_PART).max(READ_BYTES_MIN)
}

fn name_of(table: &Table, number: usize) -> u64 {
    let origin = table.info.origin;
    let file = (u64::from(origin.tree.0) << 40 ^ origin.number.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (file ^ number as u64).wrapping_mul(0xff51_afd7_ed55_8ccd)
}

impl Inner {
    /// The number of the new entry, if there is room for it.
    fn insert(&mut self, item: Item, name: u64, bytes: usize) -> Option<u32> {
        self.make_room(bytes);
        if self.used + bytes > self.budget {
            return None;
        }
        self.next_stamp += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            u32::try_from(self.entries.len() - 1).expect("entries of a cache")
        });
        let is_meta = matches!(item, Item::Meta(_));
        let in_small = !is_meta && !self.ghost_names.remove(&name);
        let stamp = self.next_stamp;
        let ticket = Ticket { slot, stamp };
        self.entries[slot as usize] = Some(Entry { item, name, bytes, stamp, in_small });
        if in_small {
            self.small.push_back(ticket);
            self.small_used += bytes;
        } else {
            self.main.push_back(ticket);
        }
        self.used += bytes;
        self.live += 1;
        self.inserted += 1;
        Some(slot)
    }

    /// Pushes out until `bytes` more fit, or nothing may go.
    fn make_room(&mut self, bytes: usize) {
        // Every entry is looked at a few times at most: each look takes one use away, or moves it on.
        let mut looks = (self.small.len() + self.main.len()) * (USES_MAX as usize + 2);
        while self.used + bytes > self.budget && looks > 0 {
            looks -= 1;
            let from_small = self.small_used > self.budget / 10 || self.main.is_empty();
            if from_small && !self.small.is_empty() { self.leave_small() } else { self.turn_main() }
        }
    }

    fn current(&mut self, ticket: Ticket) -> Option<&mut Entry> {
        self.entries[ticket.slot as usize].as_mut().filter(|entry| entry.stamp == ticket.stamp)
    }

    fn leave_small(&mut self) {
        let Some(ticket) = self.small.pop_front() else { return };
        let Some(entry) = self.current(ticket) else { return };
        let bytes = entry.bytes;
        if entry.item.take_uses() > 0 {
            entry.in_small = false;
            self.main.push_back(ticket);
            self.small_used -= bytes;
        } else {
            let name = entry.name;
            self.evict(ticket.slot);
            self.remember(name);
        }
    }

    fn turn_main(&mut self) {
        let Some(ticket) = self.main.pop_front() else { return };
        let Some(entry) = self.current(ticket) else { return };
        if entry.item.stays() {
            self.main.push_back(ticket);
        } else {
            self.evict(ticket.slot);
        }
    }

    /// Ghosts are as many as entries.
    fn remember(&mut self, name: u64) {
        if self.ghost_names.insert(name) {
            self.ghosts.push_back(name);
        }
        while self.ghosts.len() > self.live.max(16) {
            let oldest = self.ghosts.pop_front().expect("longer than 16");
            self.ghost_names.remove(&oldest);
        }
    }

    /// Drops stale tickets before they outnumber the entries.
    fn sweep(&mut self) {
        if self.small.len() + self.main.len() > 2 * self.live + 1024 {
            let entries = &self.entries;
            let fresh = |ticket: &Ticket| {
                entries[ticket.slot as usize].as_ref().is_some_and(|entry| entry.stamp == ticket.stamp)
            };
            self.small.retain(fresh);
            self.main.retain(fresh);
        }
    }

    fn evict(&mut self, slot: u32) {
        self.evicted += 1;
        self.remove(slot);
    }

    fn remove(&mut self, slot: u32) {
        let entry = self.entries[slot as usize].take().expect("removed once");
        self.used -= entry.bytes;
        self.live -= 1;
        if entry.in_small {
            self.small_used -= entry.bytes;
        }
        self.free.push(slot);
        entry.item.let_go();
    }
}

impl Item {
    /// The uses since it was asked last.
    fn take_uses(&self) -> u8 {
        match self {
            Self::Block { meta, number } => {
                meta.upgrade().map_or(0, |meta| meta.blocks[*number].uses.replace(0))
            }
            Self::Meta(table) => table.upgrade().map_or(0, |table| table.held_meta().uses.replace(0)),
        }
    }

    /// Whether it has earned another round, which costs it one use.
    fn stays(&self) -> bool {
        let spend = |uses: &StdCell<u8>| uses.replace(uses.get().saturating_sub(1)) > 0;
        match self {
            Self::Block { meta, number } => {
                meta.upgrade().is_some_and(|meta| spend(&meta.blocks[*number].uses))
            }
            Self::Meta(table) => table.upgrade().is_some_and(|table| {
                let has_blocks = table.held_meta().peek().is_some_and(|meta| meta.cached_blocks.get() > 0);
                spend(&table.held_meta().uses) || has_blocks
            }),
        }
    }

    /// Frees what is held. Where the table is going away, so is everything it holds.
    fn let_go(self) {
        match self {
            Self::Block { meta, number } => {
                if let Some(meta) = meta.upgrade() {
                    drop(meta.blocks[number].item.take());
                    meta.cached_blocks.set(meta.cached_blocks.get() - 1);
                }
            }
            Self::Meta(table) => {
                if let Some(table) = table.upgrade() {
                    drop(table.held_meta().item.take());
                }
            }
        }
    }
}
