//! What the turn asks of the groups of its core.

use pinion_shard::{BatchBuf, GroupId, Read, Replies, ReplyTo};
use pinion_wal::Mono;

use crate::host::Now;
use crate::message::ReadAfter;

/// The groups of one core. Everything asynchronous in it answers through `out` in a later turn.
pub trait Owner {
    /// Takes a batch of writes; each of its commands is answered once.
    fn submit(&mut self, group: GroupId, batch: BatchBuf, out: &mut impl Replies);

    /// Brings what a read will touch closer to the processor. `step` is 0, then 1 for the same reads.
    fn prefetch(&self, group: GroupId, read: &Read<'_>, step: u8);

    /// Carries out a read, now or later; it is answered once. `after` speaks of the group's last batch.
    fn read(
        &mut self,
        group: GroupId,
        read: &Read<'_>,
        to: ReplyTo,
        after: ReadAfter,
        out: &mut impl Replies,
    );

    /// Completions, the log, Raft, apply, replies, ticks. Once per turn.
    fn turn(&mut self, now: Now, out: &mut impl Replies);

    /// When the next turn must be at the latest.
    fn next_deadline(&self) -> Option<Mono>;

    /// Begins to stop: no write is taken any more. Answers whether everything is stable.
    fn stop(&mut self) -> bool;

    /// Why this core must not go on, if so: what happened, to what, and what to do.
    fn poisoned(&self) -> Option<String>;

    /// What the groups say about themselves, for INFO.
    fn report(&self) -> OwnerReport;
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
    /// Whether writes are refused because the disk is full.
    pub no_space: bool,
}
