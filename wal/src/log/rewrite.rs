//! Copying forward what laggards still need of the oldest segment, so that it can be dropped.

use std::collections::{BTreeMap, VecDeque};

use crate::GroupId;
use crate::disk::{Disk, DiskError};

use super::background::Outcome;
use super::format::RecordType;
use super::ids::Epoch;
use super::records::{Assembler, Record};
use super::replay::Entry;
use super::wal::{EntryRef, Segment, Wal};
use super::{read, scan};

/// Bytes of entries copied forward in one turn.
const REWRITE_BYTES: usize = 256 << 10;

/// Entries of the oldest segment that were needed when it was read.
pub(super) struct Laggards {
    epoch: Epoch,
    entries: VecDeque<(GroupId, Entry)>,
}

impl Wal {
    /// Has the entries that are still needed of the oldest segment copied forward in the background, so that it can be
    /// dropped: for groups that will not truncate soon. Nothing happens while the oldest segment is the current one.
    pub fn rewrite_oldest(&mut self) {
        self.background.rewrite_wanted = true;
    }

    /// Starts reading; answers whether it did. What is wanted stays wanted until the oldest segment is stable whole.
    pub(super) fn start_rewrite(&mut self) -> bool {
        let (Some(oldest), Some(second)) = (self.segments.front(), self.segments.get(1)) else {
            self.background.rewrite_wanted = false;
            return false;
        };
        if self.stable_block < second.base || self.background.laggards.is_some() {
            return false;
        }
        self.background.rewrite_wanted = false;
        if self.references.oldest() != Some(oldest.epoch) || self.pinned.is_some() {
            return false;
        }
        let mut wanted: BTreeMap<GroupId, Vec<(u64, u64)>> = BTreeMap::new();
        for (group, state) in &self.groups {
            for (index, run) in state.runs.iter().enumerate().filter(|(_, run)| run.epoch == oldest.epoch) {
                let end = state.runs.get(index + 1).map_or(state.last + 1, |next| next.first);
                wanted.entry(*group).or_default().push((run.first, end));
            }
        }
        let segments: Vec<Segment> = self.segments.iter().take(64).cloned().collect();
        let reader = Reader { disk: self.disk.clone(), log: self.id, segments, wanted };
        self.background.start(async move { reader.read().await.map(Outcome::Read) });
        self.background.reads = true;
        true
    }

    /// Appends again what is still needed and still stands only where it was read: at most [`REWRITE_BYTES`] at a time,
    /// and nothing while flushes wait.
    pub(super) fn rewrite_some(&mut self) {
        let Some(mut laggards) = self.background.laggards.take() else { return };
        let mut bytes = 0;
        while bytes < REWRITE_BYTES && self.closed.is_empty() {
            let Some((group, entry)) = laggards.entries.pop_front() else { return };
            let at = self.groups.get(&group).and_then(|state| state.epoch_of(entry.index.0));
            if at != Some(laggards.epoch) {
                continue;
            }
            bytes += entry.data.len();
            let entry =
                EntryRef { index: entry.index, term: entry.term, kind: entry.kind, data: &entry.data };
            self.append_again(group, &entry);
            self.metrics.entries_rewritten += 1;
        }
        self.background.laggards = Some(laggards);
    }
}

struct Reader {
    disk: Disk,
    log: crate::LogId,
    /// The oldest, and those after it: a record may end there.
    segments: Vec<Segment>,
    wanted: BTreeMap<GroupId, Vec<(u64, u64)>>,
}

impl Reader {
    async fn read(self) -> Result<Laggards, DiskError> {
        let epoch = self.segments[0].epoch;
        let mut entries: BTreeMap<(GroupId, u64), Entry> = BTreeMap::new();
        let mut assembler = Assembler::default();
        for segment in &self.segments {
            let Some(file) = segment.file else { break };
            let scanned = read::read_segment(&self.disk, file).await?;
            for (slot, blocks, bytes) in scan::flushes_of(self.log, segment, &scanned) {
                let payload = scanned.payload(slot, blocks, bytes);
                let fed = assembler.feed(&payload, segment.epoch, |record| {
                    let (group, index) = (record.header.group, record.header.index.0);
                    if record.header.record == RecordType::Entry {
                        // What it replaced may stand in the same segment.
                        while let Some((&at, _)) = entries.range((group, index)..=(group, u64::MAX)).next() {
                            entries.remove(&at);
                        }
                    }
                    if record.epoch == epoch
                        && self.wants(&record)
                        && let Some(entry) = super::replay::entry_of(&record)
                    {
                        entries.insert((group, index), entry);
                    }
                });
                if fed.is_err() {
                    break;
                }
                if segment.epoch != epoch && !assembler.is_partial() {
                    break;
                }
            }
            if !assembler.is_partial() {
                break;
            }
        }
        let entries = entries.into_iter().map(|((group, _), entry)| (group, entry)).collect();
        Ok(Laggards { epoch, entries })
    }

    fn wants(&self, record: &Record) -> bool {
        let index = record.header.index.0;
        super::replay::is_entry(record)
            && self
                .wanted
                .get(&record.header.group)
                .is_some_and(|ranges| ranges.iter().any(|(first, end)| (*first..*end).contains(&index)))
    }
}
