//! What the leader of a group sees to by itself: who owns what, how old reads may be, what the tables hold, and, for the
//! clock group, the ceiling.

use pinion_wal::Mono;

use super::Groups;
use crate::clock::Stored;
use crate::group::Standing;
use crate::layout::GroupSpec;
use crate::{
    BatchBuilder, CATALOG_GROUP, CLOCK_GROUP, Control, FIRST_DATA_GROUP, GroupId, Key, Kind, Origin, RangeId,
    Stamp, Timestamp,
};

/// The key of the catalog row that holds the layout.
const LAYOUT_KEY: &[u8] = b"layout";

/// What is left to do for one group.
#[derive(Debug)]
pub(super) struct Duties {
    set_up: SetUp,
    safe_point: SafePoint,
    safe_point_ms: u64,
}

/// What a group must have in its log before it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SetUp {
    /// It must know the slots it owns.
    Own,
    /// The catalog must hold the layout as it is now.
    Catalog,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SafePoint {
    /// Nothing was written since the last one.
    Idle,
    /// What was published at `since`: the next safe point.
    Marked { at: Timestamp, since: Mono },
}

impl Duties {
    pub fn new(group: GroupId, safe_point_ms: u64) -> Self {
        let set_up = match group {
            CATALOG_GROUP => SetUp::Catalog,
            CLOCK_GROUP => SetUp::Done,
            _ => SetUp::Own,
        };
        Self { set_up, safe_point: SafePoint::Idle, safe_point_ms }
    }

    pub fn is_set_up(&self) -> bool {
        self.set_up == SetUp::Done
    }

    pub fn next_deadline(&self) -> Option<Mono> {
        match self.safe_point {
            SafePoint::Idle => None,
            SafePoint::Marked { since, .. } => Some(since.plus_millis(self.safe_point_ms)),
        }
    }
}

impl Groups {
    /// Does what is due for a group that leads.
    pub(super) fn perform_duties(&mut self, at: usize) {
        let member = &mut self.members[at];
        if !member.group.leads_ready() || member.group.id == CLOCK_GROUP || self.wal.writable().is_err() {
            return;
        }
        let id = member.group.id;
        let state = member.group.machine.apply.state();
        if member.duties.set_up == SetUp::Own && !state.owned().is_empty() {
            member.duties.set_up = SetUp::Done;
        }
        match member.duties.set_up {
            SetUp::Own if member.group.busy_bytes() == 0 => {
                if let Some(spec) = self.layout.groups.iter().find(|spec| spec.id == id).cloned() {
                    self.propose_control(at, &own(&spec));
                }
            }
            SetUp::Catalog => {
                let layout = self.layout.to_bytes();
                let row = Control::PutRow { key: Key::new(LAYOUT_KEY), value: &layout };
                if self.propose_control(at, &row) {
                    self.members[at].duties.set_up = SetUp::Done;
                }
            }
            SetUp::Own => {}
            SetUp::Done => {
                self.move_safe_point(at);
                if id >= FIRST_DATA_GROUP {
                    self.reap(at);
                }
            }
        }
    }

    fn move_safe_point(&mut self, at: usize) {
        let now = self.now.mono;
        let member = &mut self.members[at];
        let published = member.group.machine.apply.published();
        let written = member.group.take_written();
        match member.duties.safe_point {
            SafePoint::Idle if written => {
                member.duties.safe_point = SafePoint::Marked { at: published, since: now };
            }
            SafePoint::Marked { since, .. } if now < since.plus_millis(member.duties.safe_point_ms) => {
                member.group.put_back_written(written);
            }
            SafePoint::Marked { at: mark, .. } => {
                let proposed = self.propose_control(at, &Control::SafePoint { at: mark.0 });
                let member = &mut self.members[at];
                member.duties.safe_point = match (proposed, written) {
                    (true, true) => SafePoint::Marked { at: published, since: now },
                    (true, false) => SafePoint::Idle,
                    // Tried again when it is due again, not at once for ever.
                    (false, _) => SafePoint::Marked { at: mark, since: now },
                };
                member.group.put_back_written(written && !proposed);
            }
            SafePoint::Idle => {}
        }
    }

    /// Proposes a control under a timestamp of its own. Answers whether it was proposed.
    pub(super) fn propose_control(&mut self, at: usize, control: &Control<'_>) -> bool {
        let moment = super::moment(&self.options, &self.word, self.now.mono, None);
        let group = &mut self.members[at].group;
        let Some((base, time_ms)) = group.stamps_for_control(&moment) else { return false };
        group.propose_control(control, base, time_ms)
    }

    /// Lets the oracle follow its group, and proposes the ceilings it asks for.
    pub(super) fn oversee_clock(&mut self) {
        let Some(at) = self.position_of(CLOCK_GROUP) else { return };
        let Some(oracle) = self.oracle.as_mut() else { return };
        let group = &mut self.members[at].group;
        let state = group.machine.apply.state();
        let stored = Stored { ceiling: state.ceiling, time_ms: state.ceiling_time_ms };
        if !group.may_read(self.now.mono) {
            oracle.step_down();
            return;
        }
        if !oracle.leads() {
            oracle.lead(self.now, stored);
        } else if oracle.stored() != Some(stored) {
            oracle.applied(stored, true, self.now.mono);
        }
        self.read_time();
        let Some(oracle) = self.oracle.as_mut() else { return };
        let group = &mut self.members[at].group;
        if self.wal.writable().is_err() {
            return;
        }
        let Some(due) = oracle.turn(self.now, group.lease.end()) else { return };
        let ceiling = Control::Ceiling { ceiling: due.ceiling.0, time_ms: due.time_ms };
        if group.propose_control(&ceiling, due.ceiling, due.proposed_ms()) {
            self.mark(at);
        } else {
            oracle.proposal_lost();
        }
    }

    /// Seals memtables that are large or hold the log back, and tells the log what the tables hold.
    pub(super) fn oversee_space(&mut self) {
        for at in 0..self.members.len() {
            let member = &mut self.members[at];
            let flushed = member.group.machine.apply.tree().flushed();
            if flushed.index > member.flushed {
                member.flushed = flushed.index;
                self.wal.append_first(member.group.id, flushed.index.next(), flushed.term);
            } else if !member.is_sealing() && member.group.machine.apply.tree().should_seal() {
                self.request_seal(at);
            }
        }
        self.seal_the_largest();
        let holders = self.wal.needs_truncation();
        let mut stuck = !holders.is_empty();
        for group in holders {
            let Some(at) = self.position_of(group) else { continue };
            if self.members[at].group.standing == Standing::Sound {
                stuck = false;
                self.request_seal(at);
            }
        }
        // Who does not apply does not truncate: its entries are copied out of the oldest segment. That fills one segment at
        // most, and one that others filled must have come before: however much it holds, copying never feeds itself.
        let started = self.wal.metrics().segments_started;
        if stuck && started >= self.rewrote_at + 2 {
            self.rewrote_at = started;
            self.wal.rewrite_oldest();
        }
    }

    /// Seals the largest active memtable while those that are not on their way to tables take half of the budget: the
    /// other half is for what is on its way, and for what comes meanwhile.
    fn seal_the_largest(&mut self) {
        let grow = self.members.iter().enumerate().filter(|(_, member)| !member.is_sealing());
        let sizes = grow.map(|(at, member)| (member.group.machine.apply.tree().active_bytes(), at));
        let (sum, largest) =
            sizes.fold((0, (0, 0)), |(sum, largest), size| (sum + size.0, largest.max(size)));
        if sum >= self.engine.memtable_bytes_max() / 2 {
            self.request_seal(largest.1);
        }
    }

    /// Asks every group to flush its memtable, at its next entry boundary.
    pub fn flush(&mut self) {
        for at in 0..self.members.len() {
            self.request_seal(at);
        }
    }

    pub(super) fn request_seal(&mut self, at: usize) {
        let member = &mut self.members[at];
        let apply = &member.group.machine.apply;
        // Within an entry there may be rows to write out although none was applied whole.
        let something = apply.applied().0 > apply.tree().flushed().index || apply.tree().active_bytes() > 0;
        if !member.is_sealing() && something {
            member.group.machine.apply.request_seal();
            self.mark(at);
        }
    }
}

const fn own(spec: &GroupSpec) -> Control<'static> {
    Control::Own {
        range: spec.id.0 as u64,
        version: 1,
        first_slot: spec.slots.start,
        last_slot: spec.slots.end - 1,
    }
}

/// A batch of one control, stamped.
pub(crate) fn control_batch(control: &Control<'_>, group: GroupId, base: Timestamp, time_ms: u64) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    builder.push_control(control);
    let mut batch = builder.finish(Kind::Control, Origin::default());
    batch.stamp(&Stamp { base, time_ms, range: RangeId(u64::from(group.0)), range_version: 1 });
    batch.into_bytes()
}
