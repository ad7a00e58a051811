//! The block cache of a core: data blocks and the metas of tables, under one budget of bytes.
//!
//! Replacement is S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi: "FIFO queues are all you need for cache eviction", SOSP 2023):
//! new blocks enter a small queue of a tenth of the budget; those used again move to the main queue; those not used
//! leave, and if they come back soon after (a ghost remembers their names) they enter the main queue at once. A scan
//! passes through the small queue and pushes nothing out of the main one. Metas (index and filter of a table) enter the
//! main queue at the highest count, and stay while a block of their table is cached.
//!
//! A hit costs no lookup by hash: the meta of a table knows the slot of each block.
//!
//! Invariants: the bytes of all entries are at most the budget, save what a single insertion could not make room for
//! (then it is not cached); a slot named by a table or meta holds its entry.

use std::cell::{Cell as StdCell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use rustc_hash::FxHashSet;

use crate::slab::Slab;
use crate::table::block::Block;
use crate::table::{Meta, Table};

/// Where an entry lies; zero is nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SlotId(u32);

/// Bytes of an entry besides its contents: slot, queue, allocations.
const ENTRY_BYTES: usize = 160;
/// Uses that are counted.
const USES_MAX: u8 = 3;

/// The memory of a core's rows: the slab of memtables and blocks, and the cache. Clones share it.
#[derive(Clone)]
pub struct Cache {
    slab: Slab,
    inner: Rc<RefCell<Inner>>,
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
    hits: StdCell<u64>,
}

/// An entry in a queue; stale when the slot holds another stamp.
#[derive(Clone, Copy)]
struct Ticket {
    slot: u32,
    stamp: u64,
}

struct Entry {
    item: Item,
    table: Weak<Table>,
    name: u64,
    bytes: usize,
    stamp: u64,
    uses: StdCell<u8>,
    in_small: bool,
}

enum Item {
    Block { block: Rc<Block>, meta: Weak<Meta>, number: usize },
    Meta(Rc<Meta>),
}

impl Cache {
    /// A cache of at most `bytes` bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let inner = Inner { budget: bytes, ..Inner::default() };
        Self { slab: Slab::new(), inner: Rc::new(RefCell::new(inner)) }
    }

    /// Changes the budget, so that bytes can be leased between cores; what no longer fits is pushed out.
    pub fn resize(&self, bytes: usize) {
        let mut inner = self.inner.borrow_mut();
        inner.budget = bytes;
        inner.make_room(0);
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
            hits: inner.hits.get(),
            inserted: inner.inserted,
            evicted: inner.evicted,
        }
    }

    #[inline]
    pub(crate) fn block(&self, slot: SlotId) -> Option<Rc<Block>> {
        let inner = self.inner.borrow();
        match &inner.used_entry(slot)?.item {
            Item::Block { block, .. } => {
                inner.hits.set(inner.hits.get() + 1);
                Some(block.clone())
            }
            Item::Meta(_) => unreachable!("a block's slot holds a block"),
        }
    }

    /// Asks for the row of a block that `hash` points to.
    #[inline]
    pub(crate) fn prefetch(&self, slot: SlotId, hash: u64) {
        let inner = self.inner.borrow();
        if let Some(Entry { item: Item::Block { block, .. }, .. }) = inner.entry(slot) {
            block.prefetch(hash);
        }
    }

    #[inline]
    pub(crate) fn meta(&self, slot: SlotId) -> Option<Rc<Meta>> {
        match &self.inner.borrow().used_entry(slot)?.item {
            Item::Meta(meta) => Some(meta.clone()),
            Item::Block { .. } => unreachable!("a meta's slot holds a meta"),
        }
    }

    /// Caches a meta, unless another one of this table was faster; answers the one to be used.
    pub(crate) fn insert_meta(&self, table: &Rc<Table>, meta: Rc<Meta>) -> Rc<Meta> {
        if let Some(meta) = self.meta(table.meta_slot().get()) {
            return meta;
        }
        let bytes = meta.memory_bytes() + ENTRY_BYTES;
        let name = name_of(table, usize::MAX);
        let slot = self.inner.borrow_mut().insert(Item::Meta(meta.clone()), table, name, bytes);
        table.meta_slot().set(slot);
        meta
    }

    /// Caches a block, if its meta is cached, it is not cached yet and there is room.
    pub(crate) fn insert_block(&self, table: &Rc<Table>, meta: &Rc<Meta>, number: usize, block: &Rc<Block>) {
        let cached = self.meta(table.meta_slot().get()).is_some_and(|cached| Rc::ptr_eq(&cached, meta));
        if !cached || meta.slots[number].get() != SlotId::default() {
            return;
        }
        let bytes = block.memory_bytes() + ENTRY_BYTES;
        let item = Item::Block { block: block.clone(), meta: Rc::downgrade(meta), number };
        // Counted before there is room for it, so that making room does not push out its meta.
        meta.cached_blocks.set(meta.cached_blocks.get() + 1);
        let slot = self.inner.borrow_mut().insert(item, table, name_of(table, number), bytes);
        meta.slots[number].set(slot);
        if slot == SlotId::default() {
            meta.cached_blocks.set(meta.cached_blocks.get() - 1);
        }
    }

    /// Drops the entries of a table that goes away.
    pub(crate) fn forget(&self, table: &Table) {
        let Some(meta) = self.meta(table.meta_slot().get()) else { return };
        let mut inner = self.inner.borrow_mut();
        let slots = meta.slots.iter().map(StdCell::get).chain([table.meta_slot().get()]);
        for slot in slots.filter(|&slot| slot != SlotId::default()) {
            inner.remove(slot.0 - 1);
        }
        inner.sweep();
    }
}

fn name_of(table: &Table, number: usize) -> u64 {
    let origin = table.info.origin;
    let file = (u64::from(origin.tree.0) << 40 ^ origin.number.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (file ^ number as u64).wrapping_mul(0xff51_afd7_ed55_8ccd)
}

impl Inner {
    #[inline]
    fn entry(&self, slot: SlotId) -> Option<&Entry> {
        let entry = self.entries.get((slot.0 as usize).checked_sub(1)?)?.as_ref();
        Some(entry.expect("a named slot holds its entry"))
    }

    #[inline]
    fn used_entry(&self, slot: SlotId) -> Option<&Entry> {
        let entry = self.entry(slot)?;
        if entry.uses.get() < USES_MAX {
            entry.uses.set(entry.uses.get() + 1);
        }
        Some(entry)
    }

    fn insert(&mut self, item: Item, table: &Rc<Table>, name: u64, bytes: usize) -> SlotId {
        self.make_room(bytes);
        if self.used + bytes > self.budget {
            return SlotId::default();
        }
        self.next_stamp += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            u32::try_from(self.entries.len() - 1).expect("entries of a cache")
        });
        let is_meta = matches!(item, Item::Meta(_));
        let in_small = !is_meta && !self.ghost_names.remove(&name);
        let stamp = self.next_stamp;
        let uses = StdCell::new(if is_meta { USES_MAX } else { 0 });
        let ticket = Ticket { slot, stamp };
        let table = Rc::downgrade(table);
        self.entries[slot as usize] = Some(Entry { item, table, name, bytes, stamp, uses, in_small });
        if in_small {
            self.small.push_back(ticket);
            self.small_used += bytes;
        } else {
            self.main.push_back(ticket);
        }
        self.used += bytes;
        self.live += 1;
        self.inserted += 1;
        SlotId(slot + 1)
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
        if entry.uses.replace(0) > 0 {
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
        let uses = entry.uses.get();
        let stays = match &entry.item {
            Item::Meta(meta) => meta.cached_blocks.get() > 0,
            Item::Block { .. } => false,
        };
        if uses > 0 || stays {
            entry.uses.set(uses.saturating_sub(1));
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
        match entry.item {
            Item::Meta(_) => {
                if let Some(table) = entry.table.upgrade() {
                    table.meta_slot().set(SlotId::default());
                }
            }
            Item::Block { meta, number, .. } => {
                if let Some(meta) = meta.upgrade() {
                    meta.slots[number].set(SlotId::default());
                    meta.cached_blocks.set(meta.cached_blocks.get() - 1);
                }
            }
        }
    }
}
