//! What the log should hold: a list of records and the state after each prefix of it.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::{Entry, GroupId, HardState, HomeEpoch, LogIndex, Position, Recovered, RecoveredGroup, Term};

/// One record.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Entry { group: GroupId, entry: Entry, commit: LogIndex },
    HardState { group: GroupId, hard_state: HardState },
    First { group: GroupId, first: LogIndex, prev_term: Term },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ModelGroup {
    pub home: HomeEpoch,
    pub hard_state: HardState,
    pub first: u64,
    pub prev_term: Term,
    pub entries: VecDeque<(Term, u8, Bytes)>,
}

pub(super) type State = BTreeMap<GroupId, ModelGroup>;

/// The model of a log: what is acknowledged, and what may or may not be there after a crash.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub(super) durable: State,
    pub(super) pending: VecDeque<(Position, Op)>,
    /// With all that is pending.
    pub(super) latest: State,
}

impl Default for ModelGroup {
    fn default() -> Self {
        Self {
            home: HomeEpoch(0),
            hard_state: HardState::default(),
            first: 1,
            prev_term: Term(0),
            entries: VecDeque::new(),
        }
    }
}

impl ModelGroup {
    pub fn last(&self) -> u64 {
        self.first + self.entries.len() as u64 - 1
    }

    fn matches(&self, found: &RecoveredGroup) -> bool {
        let commit = self.hard_state.commit.min(LogIndex(self.last()));
        let entries = || {
            self.entries.iter().zip(&found.entries).enumerate().all(|(at, ((term, kind, data), entry))| {
                entry.index.0 == self.first + at as u64
                    && entry.term == *term
                    && entry.kind == *kind
                    && entry.data == *data
            })
        };
        found.home_epoch == self.home
            && found.hard_state == HardState { commit, ..self.hard_state }
            && found.commit == commit
            && found.first.0 == self.first
            && found.prev_term == self.prev_term
            && found.entries.len() == self.entries.len()
            && entries()
            && found.lost.is_none()
    }

    fn recovered(found: &RecoveredGroup) -> Self {
        Self {
            home: found.home_epoch,
            hard_state: found.hard_state,
            first: found.first.0,
            prev_term: found.prev_term,
            entries: found.entries.iter().map(|e| (e.term, e.kind, e.data.clone())).collect(),
        }
    }
}

impl Op {
    fn apply(&self, state: &mut State) {
        match self {
            Self::Entry { group, entry, commit } => {
                let group = state.entry(*group).or_default();
                let keep = usize::try_from(entry.index.0 - group.first).expect("small");
                group.entries.truncate(keep);
                group.entries.push_back((entry.term, entry.kind, entry.data.clone()));
                group.hard_state.commit = group.hard_state.commit.max(*commit);
            }
            Self::HardState { group, hard_state } => {
                let group = state.entry(*group).or_default();
                let commit = hard_state.commit.max(group.hard_state.commit);
                group.hard_state = HardState { commit, ..*hard_state };
            }
            Self::First { group, first, prev_term } => {
                let group = state.entry(*group).or_default();
                let gone = usize::try_from(first.0 - group.first).expect("small").min(group.entries.len());
                group.entries.drain(..gone);
                group.first = first.0;
                group.prev_term = *prev_term;
            }
        }
    }
}

impl Model {
    /// A model of what was recovered.
    #[must_use]
    pub fn recovered(recovered: &Recovered) -> Self {
        let groups = recovered.groups.iter().map(|(id, group)| (*id, ModelGroup::recovered(group)));
        let durable: State = groups.collect();
        Self { latest: durable.clone(), durable, pending: VecDeque::new() }
    }

    pub(super) fn append(&mut self, position: Position, op: Op) {
        op.apply(&mut self.latest);
        self.pending.push_back((position, op));
    }

    /// Everything up to `stable` is acknowledged.
    pub(super) fn acknowledge(&mut self, stable: Position) {
        while self.pending.front().is_some_and(|(position, _)| *position <= stable) {
            let (_, op) = self.pending.pop_front().expect("seen above");
            op.apply(&mut self.durable);
        }
    }

    /// Whether `recovered` is the state after the acknowledged records and some first part of the rest.
    pub fn compare(&self, recovered: &Recovered) -> Result<(), String> {
        if let Some(damage) = recovered.damage.first() {
            return Err(format!("damage reported where there is none: {damage}"));
        }
        let mut state = self.durable.clone();
        let mut pending = self.pending.iter();
        loop {
            if matches(&state, recovered) {
                return Ok(());
            }
            match pending.next() {
                Some((_, op)) => op.apply(&mut state),
                None => return Err(self.difference(recovered)),
            }
        }
    }

    fn difference(&self, recovered: &Recovered) -> String {
        for (id, group) in &self.durable {
            let last = group.last();
            match recovered.groups.get(id) {
                None => return format!("group {id} (acknowledged up to {last}) is gone"),
                Some(found) if !group.matches(found) => {
                    return format!(
                        "group {id} acknowledged {}..={last} {:?}, found {}..={} {:?} lost {:?} ({} records pending)",
                        group.first,
                        group.hard_state,
                        found.first,
                        found.first.0 + found.entries.len() as u64 - 1,
                        found.hard_state,
                        found.lost,
                        self.pending.len()
                    );
                }
                Some(_) => {}
            }
        }
        format!("no prefix of {} pending records gives {:?}", self.pending.len(), recovered.groups.keys())
    }
}

fn matches(state: &State, recovered: &Recovered) -> bool {
    state.len() == recovered.groups.len()
        && state
            .iter()
            .zip(&recovered.groups)
            .all(|((id, group), (found_id, found))| id == found_id && group.matches(found))
}
