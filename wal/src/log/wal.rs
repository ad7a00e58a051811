//! The log of a core: appending records.

use std::collections::VecDeque;

use crate::disk::{AlignedBuf, Disk, FileId, MailboxId, OpId};
use crate::{GroupId, LogId, LogIndex, Mono, Term};

use super::background::Background;
use super::buffer::FlushBuffer;
use super::error::Poison;
use super::format::{Fragment, RECORD_HEADER_BYTES, RecordHeader, RecordType};
use super::group::{GroupState, Groups, HardState, References};
use super::head::Head;
use super::ids::{BlockNumber, Epoch, HomeEpoch, Incarnation, Position};
use super::options::Options;

/// A record is not split when less than this of it would fit.
const FRAGMENT_BYTES_MIN: usize = 256;

/// An entry to be appended. The log does not look at `kind` and `data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRef<'a> {
    /// Its index: the one after the last of its group, or a lower one, which removes the entries from there on.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// What the owner says it is.
    pub kind: u8,
    /// Its contents.
    pub data: &'a [u8],
}

/// The log of a core. See the [module page](super) for how it is used.
pub struct Wal {
    pub(super) disk: Disk,
    pub(super) mailbox: MailboxId,
    pub(super) id: LogId,
    pub(super) dir: String,
    pub(super) options: Options,
    pub(super) incarnation: Incarnation,
    /// As it stands on the disk.
    pub(super) head: Head,
    /// Damage was accepted; the summaries of all groups begin at this block, and end at this position.
    pub(super) accepting: Option<(BlockNumber, Position)>,

    pub(super) groups: Groups,
    pub(super) references: References,

    /// Segments that are needed, by epoch.
    pub(super) segments: VecDeque<Segment>,
    /// Whether the last of them was started by this incarnation.
    pub(super) current: bool,
    pub(super) next_epoch: Epoch,
    /// The block that the open buffer starts with, or the next one.
    pub(super) next_block: BlockNumber,
    /// Every segment below is not needed, durably: goes into block headers.
    pub(super) oldest: Epoch,
    /// Segments below this epoch will not be needed once this position is stable.
    pub(super) dropping: Option<(Epoch, Position)>,
    /// Segments that may be used again once a flush that tells so is stable.
    pub(super) retiring: VecDeque<(Segment, BlockNumber)>,
    /// Segments from this epoch on hold damage that nobody has accepted.
    pub(super) pinned: Option<Epoch>,

    pub(super) appended: Position,
    pub(super) stable: Position,
    pub(super) stable_block: BlockNumber,
    pub(super) open: Option<Open>,
    pub(super) closed: VecDeque<Closed>,
    pub(super) flights: VecDeque<Flight>,
    pub(super) spare_buffers: Vec<AlignedBuf>,

    /// Groups with records since the last marker.
    pub(super) touched: Vec<GroupId>,
    pub(super) marker_since: BlockNumber,
    /// Whether the last flush is a marker (or nothing was appended at all).
    pub(super) marked: bool,
    pub(super) idle_since: Option<Mono>,
    /// Smoothed nanoseconds between turns that append, and the last such turn.
    pub(super) gap_nanos: u64,
    pub(super) last_append: Mono,
    pub(super) now: Mono,

    pub(super) background: Background,
    pub(super) poison: Option<Poison>,
    pub(super) metrics: super::metrics::Metrics,
}

/// A use of a segment file.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub epoch: Epoch,
    pub base: BlockNumber,
    pub blocks: u64,
    /// `None` until its first flush is submitted.
    pub file: Option<SegmentFile>,
}

/// A segment file, open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentFile {
    pub file: FileId,
    /// The number in its name.
    pub number: u32,
    pub blocks: u64,
}

impl SegmentFile {
    pub fn path(dir: &str, number: u32) -> String {
        format!("{dir}/segment-{number:08}")
    }
}

/// The flush that records are appended to.
pub(super) struct Open {
    pub buffer: FlushBuffer,
    pub epoch: Epoch,
    /// The first turn that saw it with a record in it.
    pub since: Option<Mono>,
}

/// A flush that waits to be submitted.
pub(super) struct Closed {
    pub buffer: FlushBuffer,
    pub epoch: Epoch,
    pub start: BlockNumber,
    pub last: Position,
}

/// A flush in flight.
pub(super) struct Flight {
    pub op: OpId,
    pub end: BlockNumber,
    pub last: Position,
    pub done: bool,
    /// Bytes of its buffer, while the kernel has it.
    pub bytes: usize,
}

/// Appending. Nothing here waits or allocates (but for the first record of a group, and once per segment); nothing is
/// written before [`Wal::flush`].
impl Wal {
    /// Appends entries of a group in the order of their indexes, and the highest index known to be committed. An entry
    /// at an index that exists removes the entries from there on.
    ///
    /// # Panics
    /// When an index leaves a gap, or lies below the first index of the group.
    pub fn append_entries(&mut self, group: GroupId, commit: LogIndex, entries: &[EntryRef<'_>]) -> Position {
        for entry in entries {
            let mut header = self.next_header(group, RecordType::Entry);
            header.kind = entry.kind;
            header.index = entry.index;
            header.term = entry.term;
            let (known, first, last) = self
                .groups
                .get(&group)
                .map_or((LogIndex(0), 1, 0), |state| (state.hard_state.commit, state.first, state.last));
            header.commit = commit.max(known);
            assert!(
                first <= entry.index.0 && entry.index.0 <= last + 1,
                "entry {} of group {group} does not follow {first}..={last}",
                entry.index,
            );
            let epoch = self.put(header, entry.data);
            let (state, references) = self.state(group);
            state.appended(entry.index.0, entry.term, epoch, references);
            state.hard_state.commit = header.commit;
            self.finish(group, header.sequence);
        }
        self.appended
    }

    /// Appends the hard state of a group. Its commit index never goes back.
    pub fn append_hard_state(&mut self, group: GroupId, hard_state: HardState) -> Position {
        let mut header = self.next_header(group, RecordType::HardState);
        let known = self.groups.get(&group).map_or(LogIndex(0), |state| state.hard_state.commit);
        let commit = hard_state.commit.max(known);
        header.term = hard_state.term;
        header.commit = commit;
        self.put(header, &hard_state.vote.to_le_bytes());
        self.state(group).0.hard_state = HardState { commit, ..hard_state };
        self.finish(group, header.sequence)
    }

    /// Tells that entries below `first` are not needed any more, and the term of the entry before it. When `first` lies
    /// beyond the last entry the log of the group goes on there.
    pub fn append_first(&mut self, group: GroupId, first: LogIndex, prev_term: Term) -> Position {
        let mut header = self.next_header(group, RecordType::First);
        header.index = first;
        header.term = prev_term;
        self.put(header, &[]);
        let (state, references) = self.state(group);
        state.set_first(first.0, prev_term, references);
        self.finish(group, header.sequence)
    }

    /// Begins to bring a group to this log, at a home epoch above all it had. Its entries from `first` on follow by
    /// [`Wal::append_entries`], then [`Wal::adopted`]: only from there on is this log its home.
    ///
    /// # Panics
    /// When the group lives here already, at this home epoch or a higher one.
    pub fn adopt(
        &mut self,
        group: GroupId,
        home: HomeEpoch,
        hard_state: HardState,
        first: LogIndex,
        prev_term: Term,
    ) -> Position {
        if let Some(old) = self.groups.get(&group) {
            assert!(old.home < home, "group {group} lives here at home epoch {}", old.home);
        }
        let state = GroupState {
            sequence: 0,
            home,
            hard_state,
            first: first.0,
            prev_term,
            last: first.0 - 1,
            last_term: prev_term,
            adopting: true,
            ..GroupState::default()
        };
        let body = state.encode_summary();
        let mut header = RecordHeader::new(RecordType::Adopt, group, 1, home);
        header.index = LogIndex(first.0 - 1);
        header.term = hard_state.term;
        header.commit = hard_state.commit;
        self.put(header, &body);
        if let Some(mut old) = self.groups.insert(group, state) {
            old.forget_runs(&mut self.references);
        }
        self.finish(group, header.sequence)
    }

    /// Ends what [`Wal::adopt`] began. When the answered position is stable the old home may [release](Wal::release) it.
    pub fn adopted(&mut self, group: GroupId) -> Position {
        let header = self.next_header(group, RecordType::Adopted);
        self.put(header, &[]);
        self.state(group).0.adopting = false;
        self.finish(group, header.sequence)
    }

    /// Removes a group that lives elsewhere now, or nowhere.
    pub fn release(&mut self, group: GroupId) -> Position {
        let header = self.next_header(group, RecordType::Release);
        self.put(header, &[]);
        if let Some(mut state) = self.groups.remove(&group) {
            state.forget_runs(&mut self.references);
        }
        self.appended
    }

    /// A person accepts that records of the group are lost: it is served again with what is left. The owner logs who
    /// and when.
    pub fn accept_loss(&mut self, group: GroupId) -> Position {
        let header = self.next_header(group, RecordType::AcceptLoss);
        self.put(header, &[]);
        self.state(group).0.loss = None;
        if self.head.damage.is_none() && self.groups.values().all(|state| state.loss.is_none()) {
            self.pinned = None;
        }
        self.finish(group, header.sequence)
    }

    /// Appends a copy of an entry that stands in an older segment.
    pub(super) fn append_again(&mut self, group: GroupId, entry: &EntryRef<'_>) {
        let mut header = self.next_header(group, RecordType::EntryAgain);
        header.kind = entry.kind;
        header.index = entry.index;
        header.term = entry.term;
        header.commit = self.groups.get(&group).expect("a laggard is known").hard_state.commit;
        let epoch = self.put(header, entry.data);
        let (state, references) = self.state(group);
        state.moved(entry.index.0, epoch, references);
        self.finish(group, header.sequence);
    }

    fn next_header(&mut self, group: GroupId, record: RecordType) -> RecordHeader {
        let (sequence, home) =
            self.groups.get(&group).map_or((0, HomeEpoch(0)), |state| (state.sequence, state.home));
        RecordHeader::new(record, group, sequence.wrapping_add(1), home)
    }

    /// The state of a group after its record was put, and not before: the record may have started a segment, and its
    /// summaries tell what was before the record.
    fn state(&mut self, group: GroupId) -> (&mut GroupState, &mut References) {
        (self.groups.entry(group).or_default(), &mut self.references)
    }

    fn finish(&mut self, group: GroupId, sequence: u32) -> Position {
        let state = self.groups.entry(group).or_default();
        state.sequence = sequence;
        if !state.touched {
            state.touched = true;
            self.touched.push(group);
        }
        self.marked = false;
        self.appended
    }

    /// Appends one record, in as many fragments as need be. Answers the segment in which it starts.
    fn put(&mut self, mut header: RecordHeader, body: &[u8]) -> Epoch {
        let mut left = body;
        let mut start = None;
        loop {
            // The summaries of a new segment may fill the buffer that was opened for them.
            while self.open.is_none() {
                self.open_buffer();
            }
            let open = self.open.as_mut().expect("opened above");
            let room = open.buffer.room();
            let whole = RECORD_HEADER_BYTES + left.len();
            if room < whole && room < RECORD_HEADER_BYTES + FRAGMENT_BYTES_MIN {
                self.close_buffer();
                continue;
            }
            let (piece, rest) = left.split_at(left.len().min(room - RECORD_HEADER_BYTES));
            header.fragment = match (start.is_none(), rest.is_empty()) {
                (true, true) => Fragment::Full,
                (true, false) => Fragment::First,
                (false, false) => Fragment::Middle,
                (false, true) => Fragment::Last,
            };
            header.bytes = u32::try_from(piece.len()).expect("flush_bytes_max fits 32 bits");
            open.buffer.put(&header.encode());
            open.buffer.put(piece);
            let epoch = *start.get_or_insert(open.epoch);
            let half_full = open.buffer.len() * 2 >= self.options.flush_bytes_max;
            left = rest;
            if left.is_empty() {
                self.appended.0 += 1;
                if half_full {
                    self.close_buffer();
                }
                return epoch;
            }
        }
    }

    pub(super) fn open_buffer(&mut self) {
        if self.open.is_some() {
            return;
        }
        let flush_blocks = (self.options.flush_bytes_max / crate::disk::BLOCK_BYTES) as u64;
        let worth = flush_blocks.min(self.options.segment_blocks() / 16).max(1);
        let rotate = !self.current || self.blocks_left() < worth;
        if rotate {
            self.segments.push_back(Segment {
                epoch: self.next_epoch,
                base: self.next_block,
                blocks: self.options.segment_blocks(),
                file: None,
            });
            self.current = true;
            self.next_epoch.0 += 1;
            self.metrics.segments_started += 1;
        }
        let epoch = self.segments.back().expect("a segment is current").epoch;
        let blocks = usize::try_from(self.blocks_left().min(flush_blocks)).expect("a flush fits memory");
        let buf =
            self.spare_buffers.pop().unwrap_or_else(|| AlignedBuf::zeroed(self.options.flush_bytes_max));
        self.open = Some(Open { buffer: FlushBuffer::new(buf, blocks), epoch, since: None });
        if rotate {
            self.put_summaries();
        }
    }

    /// Blocks of the current segment from the open buffer on.
    pub(super) fn blocks_left(&self) -> u64 {
        match self.segments.back() {
            Some(segment) if self.current => segment.base.0 + segment.blocks - self.next_block.0,
            _ => 0,
        }
    }

    /// Every segment starts with the state of every group, so that older ones are needed for entries only, and a hard
    /// state stands in two segments.
    fn put_summaries(&mut self) {
        let room = self.options.segment_bytes / 2;
        let bytes = (self.groups.len() * (RECORD_HEADER_BYTES + super::group::SUMMARY_BYTES)) as u64;
        assert!(bytes <= room, "the states of {} groups do not fit half a segment", self.groups.len());
        let groups: Vec<GroupId> = self.groups.keys().copied().collect();
        for &group in &groups {
            let state = &self.groups[&group];
            let mut header = RecordHeader::new(RecordType::Summary, group, state.sequence, state.home);
            header.index = LogIndex(state.last);
            header.term = state.hard_state.term;
            header.commit = state.hard_state.commit;
            let body = state.encode_summary();
            self.put(header, &body);
        }
        let count = u32::try_from(groups.len()).expect("group ids have 32 bits");
        let header = RecordHeader::new(RecordType::SummaryEnd, GroupId(0), count, HomeEpoch(0));
        self.put(header, &[]);
    }

    /// Appends the marker of an idle log: which groups had records since the marker before, and where that was.
    pub(super) fn put_marker(&mut self) {
        self.open_buffer();
        let touched = std::mem::take(&mut self.touched);
        for &group in &touched {
            // A group that was released since has no state: the release itself is its last record.
            let Some(state) = self.groups.get_mut(&group) else { continue };
            state.touched = false;
            let header = RecordHeader::new(RecordType::Seen, group, state.sequence, state.home);
            self.put(header, &[]);
        }
        self.touched = touched;
        self.touched.clear();
        let mut header = RecordHeader::new(RecordType::Marker, GroupId(0), 0, HomeEpoch(0));
        header.index = LogIndex(self.marker_since.0);
        self.put(header, &[]);
        self.close_buffer();
        self.marker_since = self.next_block;
        self.marked = true;
        self.metrics.markers += 1;
    }

    /// Ends the open flush; it is submitted when it is its turn.
    pub(super) fn close_buffer(&mut self) {
        let Some(open) = self.open.take() else { return };
        assert!(open.buffer.len() > 0, "a flush holds at least one record");
        let blocks = open.buffer.blocks() as u64;
        let start = self.next_block;
        self.next_block = start.plus(blocks);
        self.closed.push_back(Closed { buffer: open.buffer, epoch: open.epoch, start, last: self.appended });
    }
}
