//! The entries of a group that Raft may still ask for, in memory: the `Storage` that [`crate::node`] gives to `raft`.
//!
//! An entry is pinned here from the moment it is appended until it is persisted, applied and covered by tables: Raft
//! can fetch what it is about to apply only synchronously, so nothing it may apply is ever missing.
//!
//! `prev.index < first <= applied + 1 <= last + 1`; entries are contiguous and their terms never fall.

use std::collections::VecDeque;

use pinion_wal::{LogIndex, Term};
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

/// The point below which entries are gone: the last one that was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogPoint {
    /// Its index; 0 before the first entry.
    pub index: LogIndex,
    /// Its term; 0 before the first entry.
    pub term: Term,
}

/// Entries, hard state and configuration of one group, as Raft sees them.
pub struct EntryCache {
    configuration: ConfState,
    hard_state: HardState,
    prev: LogPoint,
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl EntryCache {
    /// A cache whose entries follow `prev`.
    #[must_use]
    pub const fn new(configuration: ConfState, hard_state: HardState, prev: LogPoint) -> Self {
        Self { configuration, hard_state, prev, entries: VecDeque::new(), bytes: 0 }
    }

    /// Adds entries; those that stand at their indexes or behind them are replaced.
    ///
    /// # Panics
    /// When the first one leaves a gap or lies at or below the dropped prefix: entries there were applied.
    pub fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(
            first.index > self.prev.index.0 && first.index <= self.last().index.0 + 1,
            "entry {} does not continue {}..={}",
            first.index,
            self.prev.index.next(),
            self.last().index
        );
        while self.last().index.0 >= first.index {
            let gone = self.entries.pop_back().expect("the last entry lies behind the prefix");
            self.bytes -= gone.data.len();
        }
        for entry in entries {
            self.bytes += entry.data.len();
            self.entries.push_back(entry.clone());
        }
        debug_assert!(self.is_sound());
    }

    /// Forgets entries up to and including `to`.
    ///
    /// # Panics
    /// When `to` was never appended.
    pub fn drop_to(&mut self, to: LogIndex) {
        assert!(
            to <= self.last().index,
            "entry {to} was never appended: the last one is {}",
            self.last().index
        );
        while self.prev.index < to {
            let gone = self.entries.pop_front().expect("`to` is at most the last entry");
            self.bytes -= gone.data.len();
            self.prev = LogPoint { index: LogIndex(gone.index), term: Term(gone.term) };
        }
    }

    /// The last entry, or the dropped one before it when none is left.
    #[must_use]
    pub fn last(&self) -> LogPoint {
        let of = |entry: &Entry| LogPoint { index: LogIndex(entry.index), term: Term(entry.term) };
        self.entries.back().map_or(self.prev, of)
    }

    /// The last dropped entry.
    #[must_use]
    pub const fn prev(&self) -> LogPoint {
        self.prev
    }

    /// The term of an entry that is here (or just dropped).
    #[must_use]
    pub fn term_of(&self, index: LogIndex) -> Option<Term> {
        if index == self.prev.index {
            return Some(self.prev.term);
        }
        self.at(index.0).map(|entry| Term(entry.term))
    }

    /// Bytes of payload held.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Notes the hard state that was handed out to be persisted.
    pub fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    /// Notes the configuration that an applied entry brought.
    pub fn set_configuration(&mut self, configuration: ConfState) {
        self.configuration = configuration;
    }

    fn at(&self, index: u64) -> Option<&Entry> {
        let offset = index.checked_sub(self.prev.index.0 + 1)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    fn is_sound(&self) -> bool {
        let points = std::iter::once((self.prev.index.0, self.prev.term.0))
            .chain(self.entries.iter().map(|e| (e.index, e.term)));
        let mut before: Option<(u64, u64)> = None;
        for (index, term) in points {
            if before.is_some_and(|(i, t)| index != i + 1 || term < t) {
                return false;
            }
            before = Some((index, term));
        }
        true
    }
}

impl Storage for EntryCache {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.configuration.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.prev.index.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        let limit = max_size.into().unwrap_or(u64::MAX);
        let mut total = 0_u64;
        let mut out = Vec::with_capacity(usize::try_from(high.saturating_sub(low)).unwrap_or(0).min(64));
        for index in low..high {
            let entry = self.at(index).ok_or(raft::Error::Store(StorageError::Unavailable))?;
            total += entry.data.len() as u64 + 64;
            if total > limit && !out.is_empty() {
                break;
            }
            out.push(entry.clone());
        }
        Ok(out)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index < self.prev.index.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        self.term_of(LogIndex(index)).map(|term| term.0).ok_or(raft::Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.prev.index.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last().index.0)
    }

    fn snapshot(&self, _request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        // A snapshot is a checkpoint of files, streamed beside Raft: there is never one to hand out at once.
        Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, data: bytes::Bytes::from_static(b"payload"), ..Entry::default() }
    }

    fn cache() -> EntryCache {
        let prev = LogPoint { index: LogIndex(4), term: Term(1) };
        EntryCache::new(ConfState::default(), HardState::default(), prev)
    }

    #[test]
    fn entries_follow_the_prefix_and_a_new_term_replaces_the_suffix() {
        let mut cache = cache();
        cache.append(&[entry(5, 1), entry(6, 1), entry(7, 1)]);
        cache.append(&[entry(6, 2)]);
        assert_eq!(cache.last(), LogPoint { index: LogIndex(6), term: Term(2) });
        assert_eq!(cache.bytes(), 14);
        let got = cache.entries(5, 7, None, GetEntriesContext::empty(false)).unwrap();
        assert_eq!(got.iter().map(|e| (e.index, e.term)).collect::<Vec<_>>(), [(5, 1), (6, 2)]);
        assert_eq!(cache.entries(5, 7, Some(1), GetEntriesContext::empty(false)).unwrap().len(), 1);
        assert_eq!(cache.term(4).unwrap(), 1);
    }

    #[test]
    fn a_dropped_prefix_keeps_its_last_term_and_answers_compacted() {
        let mut cache = cache();
        cache.append(&[entry(5, 1), entry(6, 3), entry(7, 3)]);
        cache.drop_to(LogIndex(6));
        assert_eq!((cache.first_index().unwrap(), cache.last_index().unwrap()), (7, 7));
        assert_eq!(cache.term(6).unwrap(), 3);
        assert!(matches!(cache.term(5), Err(raft::Error::Store(StorageError::Compacted))));
        assert!(matches!(cache.term(8), Err(raft::Error::Store(StorageError::Unavailable))));
        let compacted = cache.entries(6, 8, None, GetEntriesContext::empty(false));
        assert!(matches!(compacted, Err(raft::Error::Store(StorageError::Compacted))));
    }

    #[test]
    #[should_panic(expected = "does not continue")]
    fn a_gap_is_refused() {
        cache().append(&[entry(6, 1)]);
    }
}
