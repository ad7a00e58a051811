//! What the log knows about a group: enough to say which segments it needs, nothing of its entries' contents.
//!
//! ```text
//! first <= last + 1          entries first..=last are in the log
//! commit may lie beyond last only until the entries up to it are appended
//! runs are sorted by their first index and cover first..=last without gaps
//! ```

use std::collections::BTreeMap;

use crate::{GroupId, LogIndex, Term};

use super::error::Damage;
use super::format::{u32_at, u64_at};
use super::ids::{Epoch, HomeEpoch};
use super::wal::SegmentFile;

/// What a replica must remember of elections: its term, its vote in it (0: none) and how far it knows the log to be
/// committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The term.
    pub term: Term,
    /// The replica voted for in the term; 0 is none.
    pub vote: u64,
    /// The highest index known to be committed.
    pub commit: LogIndex,
}

/// Consecutive entries whose records start in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub first: u64,
    pub epoch: Epoch,
}

/// Where records were lost, to be written into summaries until a person accepts the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LossMark {
    /// The number in the name of the segment file, or [`NO_FILE`].
    pub file: u32,
    pub offset: u64,
    pub expected: u32,
    pub found: u32,
}

/// Damage that is in no segment in particular: one is missing.
pub(super) const NO_FILE: u32 = u32::MAX;

impl LossMark {
    /// What a person is told of it.
    pub fn damage(&self, dir: &str) -> Damage {
        let Self { file, offset, expected, found } = *self;
        let file = if file == NO_FILE { dir.to_owned() } else { SegmentFile::path(dir, file) };
        Damage { file, offset, expected, found }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GroupState {
    pub sequence: u32,
    pub home: HomeEpoch,
    pub hard_state: HardState,
    pub first: u64,
    pub prev_term: Term,
    pub last: u64,
    pub last_term: Term,
    pub runs: Vec<Run>,
    /// Between `Adopt` and `Adopted`: the group does not live here yet.
    pub adopting: bool,
    pub loss: Option<LossMark>,
    /// Whether a record was appended since the last marker.
    pub touched: bool,
}

impl Default for GroupState {
    fn default() -> Self {
        Self {
            sequence: 0,
            home: HomeEpoch(0),
            hard_state: HardState::default(),
            first: 1,
            prev_term: Term(0),
            last: 0,
            last_term: Term(0),
            runs: Vec::new(),
            adopting: false,
            loss: None,
            touched: false,
        }
    }
}

/// How many runs of entries each segment holds.
#[derive(Clone, Debug, Default)]
pub(super) struct References(BTreeMap<Epoch, u32>);

impl References {
    pub fn add(&mut self, epoch: Epoch) {
        *self.0.entry(epoch).or_default() += 1;
    }

    pub fn remove(&mut self, epoch: Epoch) {
        let count = self.0.get_mut(&epoch).expect("a run is counted while it lives");
        *count -= 1;
        if *count == 0 {
            self.0.remove(&epoch);
        }
    }

    pub fn oldest(&self) -> Option<Epoch> {
        self.0.keys().next().copied()
    }
}

pub(super) const SUMMARY_BYTES: usize = 64;

impl GroupState {
    /// An entry was appended at `index`, its record starting in segment `epoch`.
    pub fn appended(&mut self, index: u64, term: Term, epoch: Epoch, references: &mut References) {
        assert!(
            self.first <= index && index <= self.last + 1,
            "entry {index} does not follow {}..={}",
            self.first,
            self.last
        );
        while self.runs.last().is_some_and(|run| run.first >= index) {
            references.remove(self.runs.pop().expect("seen above").epoch);
        }
        if self.runs.last().is_none_or(|run| run.epoch != epoch) {
            self.runs.push(Run { first: index, epoch });
            references.add(epoch);
        }
        self.last = index;
        self.last_term = term;
    }

    /// Entries below `first` are not needed any more.
    pub fn set_first(&mut self, first: u64, prev_term: Term, references: &mut References) {
        if first < self.first {
            return;
        }
        self.first = first;
        self.prev_term = prev_term;
        if first > self.last {
            self.last = first - 1;
            self.last_term = prev_term;
            self.forget_runs(references);
            return;
        }
        let keep = self.runs.partition_point(|run| run.first <= first) - 1;
        for run in self.runs.drain(..keep) {
            references.remove(run.epoch);
        }
        self.runs[0].first = first;
    }

    pub fn forget_runs(&mut self, references: &mut References) {
        for run in self.runs.drain(..) {
            references.remove(run.epoch);
        }
    }

    /// How many entries are in the log.
    pub fn entries(&self) -> usize {
        usize::try_from(self.last + 1 - self.first).expect("entries fit memory")
    }

    /// The segment in which the record of the entry at `index` starts.
    pub fn epoch_of(&self, index: u64) -> Option<Epoch> {
        if index < self.first || index > self.last {
            return None;
        }
        let run = self.runs.partition_point(|run| run.first <= index).checked_sub(1)?;
        Some(self.runs[run].epoch)
    }

    /// A copy of the entry at `index` was appended in segment `epoch`.
    pub fn moved(&mut self, index: u64, epoch: Epoch, references: &mut References) {
        let at = self.runs.partition_point(|run| run.first <= index) - 1;
        let old = self.runs[at];
        let end = self.runs.get(at + 1).map_or(self.last + 1, |next| next.first);
        let mut parts = Vec::with_capacity(3);
        if old.first < index {
            parts.push(old);
        }
        let joins = old.first == index && at > 0 && self.runs[at - 1].epoch == epoch;
        if !joins {
            parts.push(Run { first: index, epoch });
        }
        if index + 1 < end {
            parts.push(Run { first: index + 1, epoch: old.epoch });
        }
        for run in &parts {
            references.add(run.epoch);
        }
        self.runs.splice(at..=at, parts);
        references.remove(old.epoch);
    }

    /// Asserts what the module page says.
    pub fn check(&self) {
        assert!(self.first <= self.last + 1);
        assert!(self.runs.windows(2).all(|pair| pair[0].first < pair[1].first));
        assert_eq!(self.runs.first().map(|run| run.first), (self.first <= self.last).then_some(self.first));
        assert!(self.runs.last().is_none_or(|run| run.first <= self.last));
    }

    /// The body of a summary; what the record header holds is not repeated.
    pub fn encode_summary(&self) -> [u8; SUMMARY_BYTES] {
        let mut to = [0; SUMMARY_BYTES];
        to[0..8].copy_from_slice(&self.hard_state.vote.to_le_bytes());
        to[8..16].copy_from_slice(&self.first.to_le_bytes());
        to[16..24].copy_from_slice(&self.prev_term.0.to_le_bytes());
        to[24..32].copy_from_slice(&self.last_term.0.to_le_bytes());
        to[32] = u8::from(self.adopting) | u8::from(self.loss.is_some()) << 1;
        if let Some(loss) = &self.loss {
            to[36..40].copy_from_slice(&loss.file.to_le_bytes());
            to[40..48].copy_from_slice(&loss.offset.to_le_bytes());
            to[48..52].copy_from_slice(&loss.expected.to_le_bytes());
            to[52..56].copy_from_slice(&loss.found.to_le_bytes());
        }
        to
    }

    /// The state that a summary tells, without runs. `None` if it is too short.
    pub fn decode_summary(header: &super::format::RecordHeader, body: &[u8]) -> Option<Self> {
        if body.len() < SUMMARY_BYTES {
            return None;
        }
        Some(Self {
            sequence: header.sequence,
            home: header.home,
            hard_state: HardState { term: header.term, vote: u64_at(body, 0), commit: header.commit },
            first: u64_at(body, 8),
            prev_term: Term(u64_at(body, 16)),
            last: header.index.0,
            last_term: Term(u64_at(body, 24)),
            runs: Vec::new(),
            adopting: body[32] & 1 != 0,
            loss: (body[32] & 2 != 0).then(|| LossMark {
                file: u32_at(body, 36),
                offset: u64_at(body, 40),
                expected: u32_at(body, 48),
                found: u32_at(body, 52),
            }),
            touched: false,
        })
    }
}

/// The groups of a log, by id.
pub(super) type Groups = BTreeMap<GroupId, GroupState>;
