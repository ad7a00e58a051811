//! Seeded workloads: which record comes next, and when it is flushed.

use bytes::Bytes;

use super::Workload;
use super::model::{Model, ModelGroup, Op};
use crate::{Entry, EntryRef, GroupId, HardState, LogIndex, Position, Term, Wal};

const GROUPS: u32 = 5;
/// A group that never truncates, in workloads that rewrite.
const LAGGARD: GroupId = GroupId(1);

/// What to do next.
pub(super) enum Step {
    /// A record was appended.
    Appended,
    /// Flush, and let so many operations complete.
    Flush { idle: bool, operations: usize },
    /// Let everything become stable.
    Settle,
    /// Have the oldest segment rewritten.
    Rewrite,
    /// Crash and open again.
    Reopen,
}

pub(super) struct Script {
    rng: fastrand::Rng,
    workload: Workload,
    /// Entries appended; makes every entry different.
    count: u64,
}

impl Script {
    pub fn new(workload: Workload, seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed), workload, count: 0 }
    }

    /// Appends a record, or says what else to do.
    pub fn step(&mut self, wal: &mut Wal, model: &mut Model) -> Step {
        match self.rng.u32(..100) {
            0..60 => {
                self.append(wal, model);
                Step::Appended
            }
            60..90 => Step::Flush { idle: self.rng.bool(), operations: self.rng.usize(0..4) },
            90..93 => Step::Settle,
            93..96 if matches!(self.workload, Workload::Rewrite | Workload::Reopen) => Step::Rewrite,
            96..98 if self.workload == Workload::Reopen => Step::Reopen,
            _ => Step::Flush { idle: true, operations: 8 },
        }
    }

    pub fn append(&mut self, wal: &mut Wal, model: &mut Model) {
        let group = GroupId(1 + self.rng.u32(..GROUPS));
        let state = model.latest.get(&group).cloned().unwrap_or_default();
        match self.rng.u32(..100) {
            0..75 => self.entries(group, &state, wal, model),
            75..85 => self.hard_state(group, &state, wal, model),
            _ => self.first(group, &state, wal, model),
        }
    }

    fn entries(&mut self, group: GroupId, state: &ModelGroup, wal: &mut Wal, model: &mut Model) {
        let mut index = state.last() + 1;
        let mut term = state.hard_state.term;
        if self.rng.u32(..8) == 0 && !state.entries.is_empty() {
            // Nothing that is committed is ever replaced.
            let lowest = state.first.max(state.hard_state.commit.0 + 1).min(index);
            index = self.rng.u64(lowest..=index);
            term.0 += 1;
        }
        let commit = LogIndex((index - 1).saturating_sub(self.rng.u64(0..5)));
        let count = if self.rng.u32(..4) == 0 { self.rng.u64(2..5) } else { 1 };
        let entries: Vec<Entry> = (0..count)
            .map(|offset| Entry {
                index: LogIndex(index + offset),
                term,
                kind: self.rng.u8(..3),
                data: self.data(),
            })
            .collect();
        let refs: Vec<EntryRef<'_>> = entries
            .iter()
            .map(|e| EntryRef { index: e.index, term: e.term, kind: e.kind, data: &e.data })
            .collect();
        let position = wal.append_entries(group, commit, &refs);
        for entry in entries {
            model.append(position, Op::Entry { group, entry, commit });
        }
    }

    /// Bytes of an entry: mostly short, at times longer than a flush.
    fn data(&mut self) -> Bytes {
        let len = match self.rng.u32(..20) {
            0 => self.rng.usize(8_000..40_000),
            1..6 => self.rng.usize(1_000..6_000),
            _ => self.rng.usize(0..300),
        };
        self.count += 1;
        let mut data = vec![0; len];
        let mut bytes = fastrand::Rng::with_seed(self.count);
        data.fill_with(|| bytes.u8(..));
        Bytes::from(data)
    }

    fn hard_state(&mut self, group: GroupId, state: &ModelGroup, wal: &mut Wal, model: &mut Model) {
        let term = Term(state.hard_state.term.0 + self.rng.u64(0..2));
        let commit =
            LogIndex(self.rng.u64(state.hard_state.commit.0..=state.last().max(state.hard_state.commit.0)));
        let hard_state = HardState { term, vote: self.rng.u64(0..4), commit };
        let position = wal.append_hard_state(group, hard_state);
        model.append(position, Op::HardState { group, hard_state });
    }

    fn first(&mut self, group: GroupId, state: &ModelGroup, wal: &mut Wal, model: &mut Model) {
        let laggard = group == LAGGARD && matches!(self.workload, Workload::Rewrite | Workload::Reopen);
        if self.workload == Workload::Append || laggard && self.rng.u32(..10) != 0 {
            return;
        }
        let jump = if self.rng.u32(..20) == 0 { 7 } else { 0 };
        let first = if self.rng.bool() {
            state.last() + 1 + jump
        } else {
            self.rng.u64(state.first..=state.last() + 1)
        };
        let before =
            first.checked_sub(state.first + 1).and_then(|at| state.entries.get(usize::try_from(at).ok()?));
        let prev_term = before.map_or(state.prev_term, |(term, ..)| *term);
        let first = LogIndex(first);
        let position: Position = wal.append_first(group, first, prev_term);
        model.append(position, Op::First { group, first, prev_term });
    }
}
