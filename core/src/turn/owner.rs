//! What the turn asks of the groups of its core.

use pinion_shard::{
    After, BatchBuf, GroupId, Groups, Prepared, RangeLoad, Read, Replies, ReplyError, ReplyTo, Standing,
};
use pinion_wal::Mono;

use crate::host::Now;
use crate::message::ReadAfter;

/// The groups of one core. Everything asynchronous in it answers through `out` in a later turn.
pub trait Owner {
    /// A read whose key is encoded and whose first memory is on its way.
    type Prepared<'a>;

    /// Begins a turn: what the disk completed is applied and answered.
    fn begin(&mut self, now: Now, out: &mut impl Replies);

    /// Takes a batch of writes; each of its commands is answered once.
    fn submit(&mut self, group: GroupId, batch: BatchBuf, out: &mut impl Replies);

    /// Prepares a read. `None` when the group does not live here, or cannot be asked.
    fn prepare<'a>(&self, group: GroupId, read: Read<'a>) -> Option<Self::Prepared<'a>>;

    /// What is answered to a read that could not be prepared.
    fn absence(&self, group: GroupId) -> ReplyError;

    /// Asks for the next memory that a read needs; answers whether it needs more.
    fn touch(&self, group: GroupId, read: &mut Self::Prepared<'_>) -> bool;

    /// Carries out a read, now or later; it is answered once. `after` speaks of the group's last batch.
    fn read(
        &mut self,
        group: GroupId,
        read: &Self::Prepared<'_>,
        to: ReplyTo,
        after: ReadAfter,
        out: &mut impl Replies,
    );

    /// Ends a turn: what was submitted is proposed and logged.
    fn turn(&mut self, now: Now, out: &mut impl Replies);

    /// When the next turn must be at the latest.
    fn next_deadline(&self) -> Option<Mono>;

    /// Whether everything submitted is answered and stable.
    fn is_idle(&self) -> bool;

    /// Why this core must not go on, if so: what happened, to what, and what to do.
    fn poisoned(&self) -> Option<String>;

    /// Asks every group to flush its memtable.
    fn flush(&mut self);

    /// What is held of the budgets that cores lease.
    fn held(&self) -> Held;

    /// Unflushed rows may take so many bytes from now on.
    fn set_memtable_bytes_max(&mut self, bytes: usize);

    /// Cached blocks may take so many bytes from now on.
    fn set_cache_bytes_max(&mut self, bytes: usize);

    /// Writes that wait or are in flight may take so many bytes from now on.
    fn set_proposal_bytes_max(&mut self, bytes: usize);

    /// What the groups say about themselves, for INFO.
    fn report(&self) -> OwnerReport;

    /// What was asked of the ranges of this core.
    fn loads(&self) -> Vec<RangeLoad>;
}

impl Owner for Groups {
    type Prepared<'a> = Prepared<'a>;

    fn begin(&mut self, now: Now, out: &mut impl Replies) {
        Self::begin(self, of_shard(now), out);
    }

    fn submit(&mut self, group: GroupId, batch: BatchBuf, out: &mut impl Replies) {
        Self::submit(self, group, batch, out);
    }

    fn prepare<'a>(&self, group: GroupId, read: Read<'a>) -> Option<Prepared<'a>> {
        Self::prepare(self, group, read)
    }

    fn absence(&self, group: GroupId) -> ReplyError {
        Self::absence(self, group)
    }

    fn touch(&self, group: GroupId, read: &mut Prepared<'_>) -> bool {
        Self::touch(self, group, read)
    }

    fn read(
        &mut self,
        group: GroupId,
        read: &Prepared<'_>,
        to: ReplyTo,
        after: ReadAfter,
        out: &mut impl Replies,
    ) {
        let after = match after {
            ReadAfter::Nothing => After::Nothing,
            ReadAfter::Proposed => After::Proposed,
            ReadAfter::Batch(position) => After::Batch { position },
        };
        self.read_prepared(group, read, to, after, out);
    }

    fn turn(&mut self, now: Now, out: &mut impl Replies) {
        Self::turn(self, of_shard(now), out);
    }

    fn next_deadline(&self) -> Option<Mono> {
        Self::next_deadline(self)
    }

    fn is_idle(&self) -> bool {
        Self::is_idle(self)
    }

    fn poisoned(&self) -> Option<String> {
        self.stopped().map(ToString::to_string)
    }

    fn flush(&mut self) {
        Self::flush(self);
    }

    fn held(&self) -> Held {
        Held {
            memtable_bytes: self.engine().memtable_bytes(),
            cache_bytes: self.engine().cache().metrics().used_bytes,
            proposal_bytes: self.proposal_bytes(),
        }
    }

    fn set_memtable_bytes_max(&mut self, bytes: usize) {
        self.engine().set_memtable_bytes_max(bytes);
    }

    fn set_cache_bytes_max(&mut self, bytes: usize) {
        self.engine().cache().resize(bytes);
    }

    fn set_proposal_bytes_max(&mut self, bytes: usize) {
        Self::set_proposal_bytes_max(self, bytes);
    }

    fn loads(&self) -> Vec<RangeLoad> {
        Self::loads(self).collect()
    }

    fn report(&self) -> OwnerReport {
        let held = Owner::held(self);
        let count = |stands: fn(&Standing) -> bool| {
            self.ids().filter(|&id| self.standing(id).is_some_and(stands)).count() as u64
        };
        OwnerReport {
            memtable_bytes: held.memtable_bytes as u64,
            cache_bytes: held.cache_bytes as u64,
            proposal_bytes: held.proposal_bytes as u64,
            log_bytes: self.log().retained_bytes(),
            groups: self.ids().count() as u64,
            groups_damaged: count(|standing| matches!(standing, Standing::Damaged(_))),
            groups_halted: count(|standing| matches!(standing, Standing::Halted(_))),
            tables_damaged: self.damaged_tables() as u64,
            no_space: self.log().writable().is_err(),
            lookups: self.lookups(),
        }
    }
}

const fn of_shard(now: Now) -> pinion_shard::Now {
    pinion_shard::Now { mono: now.mono, wall_ms: now.wall_ms }
}

/// What the groups of a core hold of the budgets that cores lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Bytes of unflushed rows.
    pub memtable_bytes: usize,
    /// Bytes of cached blocks, filters and indexes of tables.
    pub cache_bytes: usize,
    /// Bytes of writes that wait or are in flight.
    pub proposal_bytes: usize,
}

/// What the groups of a core say about themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnerReport {
    /// Bytes of unflushed rows.
    pub memtable_bytes: u64,
    /// Bytes of cached blocks.
    pub cache_bytes: u64,
    /// Bytes of the log that are still needed.
    pub log_bytes: u64,
    /// Bytes of proposals that are not applied.
    pub proposal_bytes: u64,
    /// Groups of this core.
    pub groups: u64,
    /// Those of them that lost records and refuse to serve.
    pub groups_damaged: u64,
    /// Those of them that cannot execute an entry and refuse to serve.
    pub groups_halted: u64,
    /// Tables in which damage was found.
    pub tables_damaged: u64,
    /// Whether writes are refused because the disk is full.
    pub no_space: bool,
    /// Keys that reads found, and keys that they did not find.
    pub lookups: (u64, u64),
}
