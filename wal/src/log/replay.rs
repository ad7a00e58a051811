//! From records to groups, and which groups lost what.
//!
//! After damage a group is *in doubt*. A later record of it with the number that follows its last one, or a summary or
//! marker that tells this last number, proves that it lost nothing; another number proves that it did. A group still in
//! doubt at the end counts as one that lost records: nobody may say that nothing was acknowledged.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{GroupId, LogIndex, Term};

use super::error::Damage;
use super::format::{RecordType, u64_at};
use super::group::{GroupState, HardState, LossMark, NO_FILE, References};
use super::ids::{BlockNumber, Epoch, HomeEpoch};
use super::records::Record;

/// An entry as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its index.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// What the owner said it is.
    pub kind: u8,
    /// Its contents.
    pub data: Bytes,
}

/// A group as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredGroup {
    /// How often it has moved between logs.
    pub home_epoch: HomeEpoch,
    /// Its hard state; the commit index is at most that of the last entry.
    pub hard_state: HardState,
    /// The highest index that is known to be committed and is in the log.
    pub commit: LogIndex,
    /// The index of the first entry.
    pub first: LogIndex,
    /// The term of the entry before it.
    pub prev_term: Term,
    /// The entries from `first` on, without gaps.
    pub entries: Vec<Entry>,
    /// Records that may have been acknowledged are lost: the group must not be served from this log, nor vote or
    /// acknowledge as the replica it was, until a person accepts the loss.
    pub lost: Option<Damage>,
}

struct Replayed {
    state: GroupState,
    /// From `state.first` on.
    slots: Vec<Option<(Entry, Epoch)>>,
    /// Damages up to this one are known not to concern it.
    cleared: usize,
    lost: Option<usize>,
    summary: u64,
}

#[derive(Default)]
pub(super) struct Replay {
    dir: String,
    groups: BTreeMap<GroupId, Replayed>,
    /// Every damage and the block at which it begins.
    damages: Vec<(LossMark, BlockNumber)>,
    /// Damage below was accepted: it is not told, and leaves no doubt.
    accepted: BlockNumber,
    /// The first block of the flush that is replayed.
    at: BlockNumber,
    summaries: u64,
    /// The segment whose summaries are read.
    list: Epoch,
}

/// What replay leaves: states for the log, groups for its owner.
pub(super) struct Outcome {
    pub states: BTreeMap<GroupId, GroupState>,
    pub references: References,
    pub groups: BTreeMap<GroupId, RecoveredGroup>,
    pub damages: Vec<LossMark>,
}

impl Replay {
    pub fn new(dir: &str, accepted: BlockNumber) -> Self {
        Self { dir: dir.to_owned(), summaries: 1, accepted, ..Self::default() }
    }

    pub fn damage(&mut self, damage: LossMark, start: BlockNumber) {
        self.damages.push((damage, start));
    }

    /// The records that follow stand in the flush that begins at this block.
    pub fn at(&mut self, start: BlockNumber) {
        self.at = start;
    }

    pub fn record(&mut self, record: Record) {
        let header = record.header;
        if record.body.is_none() && !self.damages.is_empty() {
            return self.beginning_lost(&record);
        }
        match header.record {
            RecordType::Summary => self.summary(&record),
            RecordType::SummaryEnd => self.summary_end(&record),
            RecordType::Marker => self.marker(BlockNumber(header.index.0)),
            RecordType::Seen => drop(self.known(header.group, header.sequence, 0)),
            RecordType::Adopt => self.adopt(&record),
            RecordType::Release => drop(self.groups.remove(&header.group)),
            _ => self.of_group(record),
        }
    }

    /// The group, after its doubts were settled by a record with this number; `step` is 1 if the record itself counts.
    fn known(&mut self, group: GroupId, sequence: u32, step: u32) -> Option<&mut Replayed> {
        let known = self.groups.get(&group).map_or(0, |replayed| replayed.state.sequence);
        let expected = known.wrapping_add(step);
        if sequence != expected && self.damages.is_empty() {
            // No block is missing, yet a record is: whatever did that, it concerns this group alone.
            let damage = LossMark { file: NO_FILE, offset: 0, expected, found: sequence };
            self.damages.push((damage, self.at));
            self.groups.values_mut().for_each(|replayed| replayed.cleared = 1);
        }
        let fresh = || Replayed {
            state: GroupState::default(),
            slots: Vec::new(),
            cleared: 0,
            lost: None,
            summary: 0,
        };
        let replayed = self.groups.entry(group).or_insert_with(fresh);
        if sequence != expected && replayed.lost.is_none() {
            replayed.lost = Some(self.damages.len() - 1);
        }
        replayed.cleared = self.damages.len();
        replayed.state.sequence = sequence;
        Some(replayed)
    }

    /// A record ends here whose beginning was in a damaged place; a summary between the two cleared its group too early.
    fn beginning_lost(&mut self, record: &Record) {
        let damage = self.damages.len() - 1;
        let Some(replayed) = self.known(record.header.group, record.header.sequence, 1) else { return };
        replayed.lost.get_or_insert(damage);
        if is_entry(record) {
            replayed.entry(record.clone());
        }
    }

    fn of_group(&mut self, record: Record) {
        let header = record.header;
        let Some(replayed) = self.known(header.group, header.sequence, 1) else { return };
        let state = &mut replayed.state;
        let index = header.index.0;
        match header.record {
            RecordType::Entry => {
                state.hard_state.commit = state.hard_state.commit.max(header.commit);
                replayed.entry(record);
            }
            RecordType::EntryAgain => {
                let Some(at) = index.checked_sub(state.first) else { return };
                let Some(slot) = usize::try_from(at).ok().and_then(|at| replayed.slots.get_mut(at)) else {
                    return;
                };
                if let Some(entry) = entry_of(&record) {
                    *slot = Some((entry, record.epoch));
                }
            }
            RecordType::HardState => {
                let vote =
                    record.body.as_ref().filter(|body| body.len() >= 8).map_or(0, |body| u64_at(body, 0));
                state.hard_state = HardState { term: header.term, vote, commit: header.commit };
            }
            RecordType::First => replayed.set_first(index, header.term),
            RecordType::Adopted => state.adopting = false,
            RecordType::AcceptLoss => {
                state.loss = None;
                replayed.lost = None;
                replayed.cut_at_hole();
            }
            _ => {}
        }
    }

    fn adopt(&mut self, record: &Record) {
        let Some(state) = record.state() else { return };
        let cleared = self.damages.len();
        let replayed = Replayed { state, slots: Vec::new(), cleared, lost: None, summary: 0 };
        self.groups.insert(record.header.group, replayed);
    }

    fn summary(&mut self, record: &Record) {
        let group = record.header.group;
        let Some(told) = record.state() else { return };
        self.in_list(record.epoch);
        let known = self.groups.contains_key(&group);
        if known || self.summaries > 1 {
            let summaries = self.summaries;
            let Some(replayed) = self.known(group, told.sequence, 0) else { return };
            replayed.summary = summaries;
            if replayed.lost.is_none() {
                // The commit index may be lower than records before a cut said: what they spoke of was cut.
                replayed.state.hard_state = told.hard_state;
                replayed.state.loss = told.loss;
            } else {
                replayed.follow(&told);
            }
            return;
        }
        let slots = vec![None; told.entries()];
        let (cleared, summary) = (self.damages.len(), self.summaries);
        self.groups.insert(group, Replayed { state: told, slots, cleared, lost: None, summary });
    }

    /// Each segment has a list of its own; the end of the one before may be damaged.
    fn in_list(&mut self, epoch: Epoch) {
        if self.list != epoch {
            self.list = epoch;
            self.groups.values_mut().for_each(|replayed| replayed.summary = 0);
        }
    }

    /// The summaries before it are the complete list, if there are as many as it says.
    fn summary_end(&mut self, record: &Record) {
        self.in_list(record.epoch);
        let count = record.header.sequence;
        let summaries = self.summaries;
        let named = self.groups.values().filter(|replayed| replayed.summary == summaries).count();
        let complete = named == count as usize;
        // A group that is named nowhere may stand in a place that is damaged: what is known of it stays, in doubt.
        self.groups
            .retain(|_, replayed| !complete || replayed.summary == summaries || replayed.lost.is_some());
        for replayed in self.groups.values_mut().filter(|replayed| complete || replayed.summary == summaries)
        {
            replayed.cleared = self.damages.len();
        }
        self.summaries += 1;
        for replayed in self.groups.values_mut() {
            replayed.summary = 0;
        }
    }

    /// Groups that are not named before the marker had no record since block `since`.
    fn marker(&mut self, since: BlockNumber) {
        let Some(before) = self.damages.iter().position(|(_, start)| *start >= since) else { return };
        for replayed in self.groups.values_mut() {
            if replayed.cleared >= before {
                replayed.cleared = self.damages.len();
            }
        }
    }

    pub fn finish(mut self, oldest: Epoch) -> Outcome {
        let mut references = References::default();
        let mut states = BTreeMap::new();
        let mut groups = BTreeMap::new();
        let mut accepted = self.accepted;
        if accepted.0 > 0 && crate::planted::is("acceptance-for-ever") {
            accepted = BlockNumber(u64::MAX);
        }
        let told =
            |damages: &[(LossMark, BlockNumber)]| damages.iter().rposition(|(_, start)| *start >= accepted);
        for (group, mut replayed) in std::mem::take(&mut self.groups) {
            if replayed.lost.is_none()
                && let Some(last) = told(&self.damages).filter(|last| replayed.cleared <= *last)
            {
                replayed.lost = Some(last);
            }
            let hole = replayed.slots.iter().position(Option::is_none);
            if let (Some(hole), None) = (hole, replayed.lost) {
                let expected = (replayed.state.first + hole as u64) as u32;
                let damage = LossMark { file: NO_FILE, offset: 0, expected, found: 0 };
                self.damages.push((damage, self.at));
                replayed.lost = Some(self.damages.len() - 1);
            }
            if replayed.state.adopting && replayed.lost.is_none() {
                continue;
            }
            let (state, recovered) = self.split(replayed, oldest, &mut references);
            groups.insert(group, recovered);
            states.insert(group, state);
        }
        let told = self.damages.into_iter().filter(|(_, start)| *start >= accepted);
        let damages = told.map(|(damage, _)| damage).collect();
        Outcome { states, references, groups, damages }
    }

    fn split(
        &self,
        replayed: Replayed,
        oldest: Epoch,
        references: &mut References,
    ) -> (GroupState, RecoveredGroup) {
        let Replayed { mut state, slots, lost, .. } = replayed;
        if let Some(lost) = lost {
            state.loss = Some(self.damages[lost].0);
        }
        let lost = state.loss.map(|mark| mark.damage(&self.dir));
        let first = state.first;
        state.runs.clear();
        state.last = first - 1;
        state.last_term = state.prev_term;
        let mut entries = Vec::with_capacity(slots.len());
        for slot in slots {
            // Behind a hole nothing can be used.
            let Some((entry, epoch)) = slot else { break };
            state.appended(entry.index.0, entry.term, epoch.max(oldest), references);
            entries.push(entry);
        }
        let commit = state.hard_state.commit.min(LogIndex(state.last));
        state.hard_state.commit = commit;
        let recovered = RecoveredGroup {
            home_epoch: state.home,
            hard_state: state.hard_state,
            commit,
            first: LogIndex(first),
            prev_term: state.prev_term,
            entries,
            lost,
        };
        (state, recovered)
    }
}

impl Record {
    fn state(&self) -> Option<GroupState> {
        GroupState::decode_summary(&self.header, self.body.as_ref()?)
    }
}

impl Replayed {
    fn entry(&mut self, record: Record) {
        let index = record.header.index.0;
        let Some(at) = index.checked_sub(self.state.first) else { return };
        let at = usize::try_from(at).expect("entries fit memory");
        if at > self.slots.len() {
            // Entries before it are lost; without them it is of no use.
            return;
        }
        self.slots.truncate(at);
        self.state.last = index;
        self.state.last_term = record.header.term;
        // An entry without its beginning was dropped, as records further on tell.
        self.slots.push(entry_of(&record).map(|entry| (entry, record.epoch)));
    }

    /// Takes over what a summary tells of a group that lost records.
    fn follow(&mut self, told: &GroupState) {
        self.state.hard_state = told.hard_state;
        self.state.home = told.home;
        self.set_first(told.first, told.prev_term);
        if self.state.first == told.first {
            self.slots.resize(told.entries(), None);
        }
    }

    fn cut_at_hole(&mut self) {
        if let Some(hole) = self.slots.iter().position(Option::is_none) {
            self.slots.truncate(hole);
        }
        let last = self.slots.last().and_then(Option::as_ref);
        self.state.last = last.map_or(self.state.first - 1, |(entry, _)| entry.index.0);
        self.state.last_term = last.map_or(self.state.prev_term, |(entry, _)| entry.term);
    }

    fn set_first(&mut self, first: u64, prev_term: Term) {
        if first < self.state.first {
            return;
        }
        let gone = usize::try_from(first - self.state.first).unwrap_or(usize::MAX);
        self.slots.drain(..gone.min(self.slots.len()));
        self.state.first = first;
        self.state.prev_term = prev_term;
        if self.slots.is_empty() {
            self.state.last = first - 1;
            self.state.last_term = prev_term;
        }
    }
}

pub(super) fn is_entry(record: &Record) -> bool {
    matches!(record.header.record, RecordType::Entry | RecordType::EntryAgain)
}

pub(super) fn entry_of(record: &Record) -> Option<Entry> {
    Some(Entry {
        index: record.header.index,
        term: record.header.term,
        kind: record.header.kind,
        data: record.body.clone()?,
    })
}
