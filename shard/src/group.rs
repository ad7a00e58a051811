//! One group: the replica of its log, its state machine, and what waits on both.
//!
//! A batch is stamped and proposed in the turn that saw it, together with the others of that turn; its entry is applied
//! when it is stable and committed; its replies leave then. A read is answered at the newest published timestamp once
//! the leader has applied an entry of its own term and holds the lease.
//!
//! | invariant | requirement |
//! |---|---|
//! | a stamp lies above every timestamp that was proposed or served | T2, T13 |
//! | nothing is served before an entry of the own term is applied | L2 |
//! | `applied <= committed <= last`, and only stable entries are applied | D1 |

mod machine;
#[cfg(test)]
mod tests;
mod waiting;

use std::collections::VecDeque;

use bytes::Bytes;
use pinion_wal::{GroupId, LogIndex, Mono, Term};

use crate::clock::{NoTime, Word};
use crate::groups::control_batch;
use crate::lease::Lease;
use crate::load::Load;
use crate::node::{Node, NotLeader};
use crate::read::Prepared;
use crate::{BatchBuf, Control, RangeId, Replies, Reply, ReplyError, ReplyTo, Stamp, Timestamp, planted};

pub(crate) use machine::{Late, Machine};
pub use waiting::After;
use waiting::{BatchNumber, Place, Point, Wait, WaitingReads};

/// How a group stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It serves, or will as soon as it leads and has applied an entry of its own term.
    Sound,
    /// Acknowledged records of its log are damaged and no peer can repair them: it refuses to serve.
    Damaged(String),
    /// An entry cannot be executed: this replica has stopped.
    Halted(String),
}

/// A batch that waits to be proposed.
struct Pending {
    number: BatchNumber,
    batch: BatchBuf,
    since: Mono,
}

/// An entry that is on its way.
struct Proposed {
    index: LogIndex,
    /// Of the payload.
    bytes: usize,
    /// By which its commands judge expiry.
    time_ms: u64,
}

/// What the groups of a core share in a turn.
pub(crate) struct Moment<'a> {
    pub mono: Mono,
    pub word: &'a Word,
    pub entry_bytes_max: usize,
    pub wait_ms_max: u64,
    /// Why writes are refused now, if they are.
    pub refuse: Option<ReplyError>,
}

/// See the module page.
pub(crate) struct Group {
    pub id: GroupId,
    pub node: Node,
    pub machine: Machine,
    pub standing: Standing,
    pub lease: Lease,
    /// What clients asked of its range.
    pub load: Load,
    /// Proposed and not applied.
    proposed: VecDeque<Proposed>,
    pending: VecDeque<Pending>,
    waiting: WaitingReads,
    /// The number that the next batch gets.
    next_batch: BatchNumber,
    /// The last batch that came was refused instead of getting a number.
    turned_away: bool,
    pending_bytes: usize,
    proposed_bytes: usize,
    /// The first entry of the term that this replica leads.
    own_entry: Option<LogIndex>,
    /// Where the last batch went that is not pending.
    last_place: Place,
    /// The highest timestamp proposed, here or by a predecessor.
    last_stamp: Timestamp,
    /// The highest time proposed, here or by a predecessor.
    last_time_ms: u64,
    /// The highest timestamp at which a read was served.
    served: Timestamp,
    /// The highest time by which a read judged expiry.
    served_time_ms: u64,
    /// Whether clients wrote since the safe point was last looked at.
    written: bool,
    client_entries: u64,
    /// The term that was last seen, to notice a change of leadership.
    led_term: Option<Term>,
}

impl Group {
    pub fn new(id: GroupId, node: Node, machine: Machine) -> Self {
        let state = machine.apply.state();
        let (last_stamp, last_time_ms) = (state.last, state.time_ms);
        Self {
            id,
            node,
            machine,
            standing: Standing::Sound,
            lease: Lease::default(),
            load: Load::default(),
            proposed: VecDeque::new(),
            pending: VecDeque::new(),
            waiting: WaitingReads::default(),
            next_batch: BatchNumber(1),
            turned_away: false,
            pending_bytes: 0,
            proposed_bytes: 0,
            own_entry: None,
            last_place: Place::Refused { before: None },
            last_stamp,
            last_time_ms,
            served: Timestamp::ZERO,
            served_time_ms: 0,
            written: false,
            client_entries: 0,
            led_term: None,
        }
    }

    /// Bytes that wait or are in flight: what the budget of proposals counts.
    pub fn busy_bytes(&self) -> usize {
        self.pending_bytes + self.proposed_bytes + self.waiting.bytes()
    }

    /// Whether anything waits for a later turn of this group.
    pub fn is_waiting(&self) -> bool {
        !self.pending.is_empty() || !self.waiting.is_empty()
    }

    /// When something of this group has waited too long.
    pub fn wait_deadline(&self, wait_ms_max: u64) -> Option<Mono> {
        let batch = self.pending.front().map(|pending| pending.since);
        let oldest = [batch, self.waiting.oldest()].into_iter().flatten().min()?;
        Some(oldest.plus_millis(wait_ms_max))
    }

    /// Whether this replica is sound, leads and has applied an entry of its own term, so that it may serve under a lease.
    pub fn leads_ready(&self) -> bool {
        self.standing == Standing::Sound
            && self.own_entry.is_some_and(|own| self.machine.applied().index >= own)
    }

    /// Whether entries wait to be applied. A replica that has stopped applies none.
    pub fn is_applying(&self) -> bool {
        self.standing == Standing::Sound && !self.machine.apply.is_idle()
    }

    /// Whether reads may be answered at `now`.
    pub fn may_read(&self, now: Mono) -> bool {
        let early = self.standing == Standing::Sound && planted::is("read-before-own-entry");
        (self.leads_ready() || early) && self.lease.holds(now)
    }

    /// The oracle's time by which a read that comes now judges expiry. It is that of the oldest entry that is not applied
    /// if there is one: what a read has seen expired, no later command finds. And no entry is stamped below it.
    pub fn read_time(&mut self, time_ms: u64) -> u64 {
        let newest = time_ms.max(self.machine.apply.state().time_ms).max(self.served_time_ms);
        let time_ms = self.proposed.front().map_or(newest, |oldest| oldest.time_ms);
        self.served_time_ms = self.served_time_ms.max(time_ms);
        time_ms
    }

    /// From now on nothing is stamped at or below `at`.
    pub fn raise_served(&mut self, at: Timestamp) {
        self.served = self.served.max(at);
    }

    /// Notices that leadership was won or lost.
    pub fn notice_leadership(&mut self) -> bool {
        let leads = self.node.is_leader().then(|| self.node.term());
        if leads == self.led_term {
            return false;
        }
        self.led_term = leads;
        match leads {
            Some(term) => {
                self.lease.lead(term, self.node.is_only_voter());
                // Raft appends an empty entry when it wins: the first one of the term.
                self.own_entry = Some(self.node.last().index);
            }
            None => {
                self.lease.step_down();
                self.own_entry = None;
            }
        }
        true
    }

    /// Takes a batch. It is proposed in [`Group::propose`].
    pub fn submit(&mut self, batch: BatchBuf, since: Mono) {
        let number = self.next_batch;
        self.next_batch.0 += 1;
        self.turned_away = false;
        self.load.writes += u64::from(batch.count());
        self.load.written_bytes += batch.as_bytes().len() as u64;
        self.pending_bytes += batch.as_bytes().len();
        self.pending.push_back(Pending { number, batch, since });
    }

    /// Notices that a batch was refused before it came here: a read that follows it has no place within a batch.
    pub const fn turn_away(&mut self) {
        self.turned_away = true;
    }

    /// Answers a read now, or keeps it until what it waits for has happened.
    pub fn read(
        &mut self,
        read: &Prepared<'_>,
        to: ReplyTo,
        after: After,
        now: Mono,
        time_ms: u64,
        out: &mut impl Replies,
    ) {
        self.load.reads += 1;
        if let Some(error) = self.standing_error() {
            return out.reply(to, Reply::Error(error));
        }
        let waits = after != After::Nothing && !(self.pending.is_empty() && self.proposed.is_empty());
        if !waits && self.may_read(now) {
            return self.read_at(read, to, self.machine.apply.published(), time_ms, out);
        }
        let position = match after {
            After::Batch { position } if waits && !self.turned_away => Some(position),
            _ => None,
        };
        let batch = BatchNumber(self.next_batch.0 - 1);
        let time_ms = self.read_time(time_ms);
        let placed = self.pending.is_empty().then(|| self.last_place.not_before(time_ms));
        self.waiting.push(read.read(), to, Wait { batch, position, placed }, now);
    }

    /// Stamps and proposes what waits, as few entries as the limit allows. Refuses what has waited too long.
    pub fn propose(&mut self, moment: &Moment<'_>, out: &mut impl Replies) {
        if self.pending.is_empty() {
            return;
        }
        if let Some(error) = self.standing_error().or(moment.refuse) {
            return self.refuse_pending(Mono(u64::MAX), error, out);
        }
        while !self.pending.is_empty() && self.leads_ready() {
            if self.propose_one(moment).is_err() {
                break;
            }
        }
        self.refuse_overdue(moment, ReplyError::TryAgain, out);
    }

    /// Refuses what has waited too long.
    pub fn refuse_overdue(&mut self, moment: &Moment<'_>, error: ReplyError, out: &mut impl Replies) {
        let limit = Mono(moment.mono.0.saturating_sub(moment.wait_ms_max * 1_000_000));
        self.refuse_pending(limit, error, out);
    }

    /// Stamps what waits, up to the limit of an entry, and proposes it.
    fn propose_one(&mut self, moment: &Moment<'_>) -> Result<(), Unready> {
        // What is stamped is taken out of the queue: it must not be refused after that.
        if !self.node.is_leader() {
            return Err(Unready);
        }
        let mut bytes = 0;
        let mut commands = 0;
        let mut batches = 0;
        for pending in &self.pending {
            let more = pending.batch.as_bytes().len();
            if batches > 0 && bytes + more > moment.entry_bytes_max {
                break;
            }
            bytes += more;
            commands += u64::from(pending.batch.count());
            batches += 1;
        }
        let (base, time_ms) = self.take_stamps(moment, commands)?;
        let index = self.node.last().index.next();
        let mut next = base;
        let range = RangeId(u64::from(self.id.0));
        for pending in self.pending.iter_mut().take(batches) {
            pending.batch.stamp(&Stamp { base: next, time_ms, range, range_version: 1 });
            let count = u64::from(pending.batch.count());
            let last = Point { index, at: Timestamp(next.0 + count - 1), time_ms };
            self.last_place = Place::Entry { base: next, last };
            self.waiting.place(pending.number, self.last_place);
            next = next.plus(count);
        }
        self.written = true;
        self.client_entries += 1;
        let entry = self.concatenate(batches, bytes);
        self.propose_entry(entry, next, time_ms)?;
        Ok(())
    }

    /// Takes timestamps above everything proposed or served here.
    fn take_stamps(&self, moment: &Moment<'_>, count: u64) -> Result<(Timestamp, u64), Unready> {
        let floor = self.last_stamp.max(self.served);
        // What was taken at or below the floor is discarded and fetched anew: the word has moved past it then.
        for _ in 0..2 {
            let issued = moment.word.take(count, moment.mono)?;
            if issued.base > floor || planted::is("stamp-below-served") {
                let floor_ms = self.last_time_ms.max(self.served_time_ms);
                return Ok((issued.base, issued.time_ms.max(floor_ms)));
            }
        }
        Err(Unready)
    }

    /// Proposes bytes whose stamps end before `next`.
    pub fn propose_entry(
        &mut self,
        entry: Bytes,
        next: Timestamp,
        time_ms: u64,
    ) -> Result<LogIndex, NotLeader> {
        assert!(time_ms >= self.served_time_ms, "a read has seen expired what this would find");
        let bytes = entry.len();
        let index = self.node.propose(entry)?;
        self.proposed.push_back(Proposed { index, bytes, time_ms });
        self.proposed_bytes += bytes;
        self.last_stamp = Timestamp(next.0 - 1);
        self.last_time_ms = time_ms;
        Ok(index)
    }

    fn concatenate(&mut self, batches: usize, bytes: usize) -> Bytes {
        self.pending_bytes -= bytes;
        if batches == 1 {
            let only = self.pending.pop_front().expect("counted above");
            return only.batch.into_bytes().into();
        }
        let mut entry = Vec::with_capacity(bytes);
        for pending in self.pending.drain(..batches) {
            entry.extend_from_slice(pending.batch.as_bytes());
        }
        entry.into()
    }

    /// Refuses batches that came before `limit`.
    pub fn refuse_pending(&mut self, limit: Mono, error: ReplyError, out: &mut impl Replies) {
        while self.pending.front().is_some_and(|pending| pending.since < limit) {
            let Some(Pending { number, batch, .. }) = self.pending.pop_front() else { return };
            self.pending_bytes -= batch.as_bytes().len();
            refuse(&batch, error, out);
            self.last_place = self.last_place.refused_after().not_before(self.served_time_ms);
            self.waiting.place(number, self.last_place);
        }
    }

    /// A timestamp for a control of the leader itself.
    pub fn stamps_for_control(&self, moment: &Moment<'_>) -> Option<(Timestamp, u64)> {
        if !self.leads_ready() {
            return None;
        }
        self.take_stamps(moment, 1).ok()
    }

    /// Proposes a control at `base`. Answers whether it was proposed.
    pub fn propose_control(&mut self, control: &Control<'_>, base: Timestamp, time_ms: u64) -> bool {
        let time_ms = time_ms.max(self.last_time_ms).max(self.served_time_ms);
        let entry = control_batch(control, self.id, base, time_ms);
        self.propose_entry(entry.into(), base.plus(1), time_ms).is_ok()
    }

    /// Whether clients have written since the last call.
    pub const fn take_written(&mut self) -> bool {
        std::mem::replace(&mut self.written, false)
    }

    /// Entries of clients proposed so far.
    pub const fn client_entries(&self) -> u64 {
        self.client_entries
    }

    /// Undoes a [`Group::take_written`].
    pub const fn put_back_written(&mut self, written: bool) {
        self.written |= written;
    }

    /// Gives up every read that waits.
    pub fn refuse_waiting(&mut self, error: ReplyError, out: &mut impl Replies) {
        while let Some(to) = self.waiting.next_overdue(Mono(u64::MAX)) {
            out.reply(to, Reply::Error(error));
        }
        self.waiting.tidy();
    }

    /// Executes the invariants of the module page.
    ///
    /// # Panics
    /// When one is broken.
    pub fn check(&self) {
        self.node.check();
        let applied = self.machine.applied().index;
        assert!(applied <= self.node.committed(), "{applied} is applied and not committed");
        assert!(self.machine.apply.published() <= self.last_stamp.max(self.machine.apply.state().last));
        assert!(self.proposed.iter().map(|proposed| proposed.bytes).sum::<usize>() == self.proposed_bytes);
    }

    /// Counts off what was proposed, up to an entry.
    fn count_off(&mut self, last: LogIndex) {
        while let Some(proposed) = self.proposed.pop_front_if(|proposed| proposed.index <= last) {
            self.proposed_bytes -= proposed.bytes;
        }
    }

    /// Answers what a halted replica was handed and will not apply: it takes no part of the budget any more.
    pub fn abandon(&mut self, out: &mut impl Replies) {
        self.machine.apply.abandon(out);
        self.count_off(self.node.committed());
    }

    /// Answers what has been applied, and the reads that waited for it.
    pub fn publish(&mut self, moment: &Moment<'_>, time_ms: u64, out: &mut impl Replies) {
        let applied = self.machine.applied().index;
        self.count_off(applied);
        if self.waiting.is_empty() {
            return;
        }
        if self.may_read(moment.mono) {
            let time_ms = self.read_time(time_ms);
            while let Some(due) = self.waiting.next_due(applied) {
                let now = (self.machine.apply.published(), time_ms);
                let (at, time_ms) = due.point.map_or(now, |point| (point.at, point.time_ms));
                self.served = self.served.max(at);
                let prepared = self.machine.apply.prepare(due.read);
                self.machine.read(&prepared, at, time_ms, due.to, out);
            }
        }
        let error = self.standing_error();
        let limit = moment.mono.0.saturating_sub(moment.wait_ms_max * 1_000_000);
        let limit = if error.is_some() { u64::MAX } else { limit };
        while let Some(to) = self.waiting.next_overdue(Mono(limit)) {
            out.reply(to, Reply::Error(error.unwrap_or(ReplyError::TryAgain)));
        }
        self.waiting.tidy();
    }

    /// The error that this group answers everything with, if it does not serve.
    pub fn standing_error(&self) -> Option<ReplyError> {
        match self.standing {
            Standing::Sound => None,
            Standing::Damaged(_) => Some(ReplyError::Damaged),
            Standing::Halted(_) => Some(ReplyError::ReadOnly),
        }
    }

    fn read_at(
        &mut self,
        read: &Prepared<'_>,
        to: ReplyTo,
        at: Timestamp,
        time_ms: u64,
        out: &mut impl Replies,
    ) {
        self.served = self.served.max(at);
        let time_ms = self.read_time(time_ms);
        self.machine.read(read, at, time_ms, to, out);
    }
}

/// Nothing can be proposed now: there is no timestamp, or this replica does not lead.
struct Unready;

impl From<NoTime> for Unready {
    fn from(_: NoTime) -> Self {
        Self
    }
}

impl From<NotLeader> for Unready {
    fn from(_: NotLeader) -> Self {
        Self
    }
}

/// Answers every command of a batch with an error.
pub(crate) fn refuse(batch: &BatchBuf, error: ReplyError, out: &mut impl Replies) {
    let origin = batch.origin();
    for command in 0..batch.count() {
        out.reply(origin.reply_to(command), Reply::Error(error));
    }
}
