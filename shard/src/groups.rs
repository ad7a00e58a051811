//! The groups of a core: one log and one engine under all of them.
//!
//! A turn of the groups: [`Groups::begin`] takes what the disk has completed, applies and answers it; then come the
//! batches and reads of the turn; [`Groups::turn`] proposes the batches and logs all entries of all groups in one
//! append.
//!
//! | invariant | requirement |
//! |---|---|
//! | an entry is reported to Raft as persisted only when the log's stable prefix covers it | D1, D2 |
//! | after a failed write or sync nothing is acknowledged and no timestamp issued | D2 |
//! | the log of a group is dropped only below what its tables hold durably | D1 |

mod duties;
mod error;
mod open;
mod options;
mod reap;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use pinion_lsm::{Engine, FlushState};
use pinion_wal::disk::Cause;
use pinion_wal::task::Spawner;
use pinion_wal::{EntryRef, HardState, Mono, Position, Wal};
use raft::eraftpb::EntryType;

use crate::apply::{Committed, Halt, HaltCause};
use crate::clock::{Oracle, Word};
use crate::group::{After, Group, Late, Moment, Standing};
use crate::layout::Layout;
use crate::limits::APPLY_COMMANDS_MAX;
use crate::load::RangeLoad;
use crate::node::Ready;
use crate::planted;
use crate::read::Prepared;
use crate::{
    BatchBuf, BatchError, CLOCK_GROUP, CoreId, FIRST_DATA_GROUP, GroupId, LogIndex, Now, Read, Replies,
    Reply, ReplyError, ReplyTo, Term, Timestamp,
};

use duties::Duties;
pub(crate) use duties::control_batch;
pub use error::{OpenError, Stopped};
pub use open::Setup;
pub(crate) use open::fresh;
pub use options::Options;

/// A Ready of a group whose records are in the log, not stable yet.
struct Flight {
    position: Position,
    member: usize,
    ready: u64,
}

/// A group and what its core knows of it.
struct Member {
    group: Group,
    /// It has something to do in this turn.
    dirty: bool,
    /// Readys in flight.
    flights: usize,
    /// Up to here the log was told that tables hold everything.
    flushed: LogIndex,
    duties: Duties,
    sweep: reap::Sweep,
}

impl Member {
    /// Whether the memtable was asked to be sealed, or one is on its way to tables.
    fn is_sealing(&self) -> bool {
        let apply = &self.group.machine.apply;
        apply.is_sealing() || apply.tree().flush_state() != FlushState::Idle
    }

    /// When the group has to see to something by itself, if its core can write. Only what can be done is due: a deadline
    /// that has passed and stays would be a turn without end.
    fn next_duty(&self, time_ms: u64) -> Option<Mono> {
        if !self.group.leads_ready() || !self.duties.is_set_up() {
            return None;
        }
        let sweeps = self.group.id >= FIRST_DATA_GROUP;
        let sweep = sweeps.then(|| self.sweep.next_deadline(self.group.client_entries(), time_ms)).flatten();
        [self.duties.next_deadline(), sweep].into_iter().flatten().min()
    }
}

/// All groups of one core. See the module page.
pub struct Groups {
    core: CoreId,
    layout: Rc<Layout>,
    wal: Wal,
    engine: Engine,
    spawner: Spawner,
    /// By group id.
    members: Vec<Member>,
    /// Groups of this core whose rows cannot be opened, and why: they refuse to serve, and hold their part of the log.
    closed: BTreeMap<GroupId, Standing>,
    dirty: Vec<usize>,
    flights: VecDeque<Flight>,
    word: Arc<Word>,
    oracle: Option<Oracle>,
    now: Now,
    /// The newest oracle time this core was granted.
    time_ms: u64,
    late: Late,
    stopped: Option<Stopped>,
    /// In the order in which they halted.
    halted: Vec<GroupId>,
    /// Segments that the log had started when its oldest one was copied forward.
    rewrote_at: u64,
    options: Options,
}

impl Groups {
    /// Begins a turn: takes what the disk has completed, applies what became stable, answers it. Call it before the
    /// batches and reads of a turn are handed over: they are judged by this `now`.
    pub fn begin(&mut self, now: Now, out: &mut impl Replies) {
        assert!(now.mono >= self.now.mono, "time never goes back");
        self.now = now;
        self.read_time();
        self.engine.tick(now.mono);
        self.collect_stable();
        self.settle(out);
        self.late.deliver(out);
    }

    /// Takes a batch for a group of this core. It is proposed in [`Groups::turn`], and refused there when it must be.
    pub fn submit(&mut self, group: GroupId, batch: BatchBuf, out: &mut impl Replies) {
        let Some(at) = self.position_of(group) else {
            return crate::group::refuse(&batch, self.absence(group), out);
        };
        let refuse = self.stopped.as_ref().map(|_| ReplyError::Poisoned);
        let full = self.proposal_bytes() + batch.as_bytes().len() > self.options.proposal_bytes_max
            && !planted::is("admission-without-bound");
        let member = &mut self.members[at];
        let error = refuse.or(full.then_some(ReplyError::Overloaded));
        match error {
            Some(error) => {
                member.group.turn_away();
                crate::group::refuse(&batch, error, out);
            }
            None => member.group.submit(batch, self.now.mono),
        }
        self.mark(at);
    }

    /// Whether a batch of so many bytes would be taken for `group` now.
    #[must_use]
    pub fn has_room(&self, group: GroupId, bytes: usize) -> bool {
        self.member(group).is_some() && self.proposal_bytes() + bytes <= self.options.proposal_bytes_max
    }

    /// Bytes of batches and waiting reads of all groups that wait or are in flight.
    #[must_use]
    pub fn proposal_bytes(&self) -> usize {
        self.members.iter().map(|member| member.group.busy_bytes()).sum()
    }

    /// Changes how many they may be, so that bytes can be leased between cores.
    pub const fn set_proposal_bytes_max(&mut self, bytes: usize) {
        self.options.proposal_bytes_max = bytes;
    }

    /// Encodes the key of a read and asks for the first memory it needs. Prepare all reads of a turn, touch all until
    /// none needs more, then read all. `None` when the group does not live here: [`Groups::absence`] says why.
    #[must_use]
    pub fn prepare<'a>(&self, group: GroupId, read: Read<'a>) -> Option<Prepared<'a>> {
        self.member(group).map(|member| member.group.machine.apply.prepare(read))
    }

    /// What is answered for a group that cannot be asked: it lives elsewhere, or its rows cannot be opened.
    #[must_use]
    pub fn absence(&self, group: GroupId) -> ReplyError {
        if self.closed.contains_key(&group) { ReplyError::Damaged } else { ReplyError::TryAgain }
    }

    /// Asks for the next memory that a read needs; answers whether it needs more.
    pub fn touch(&self, group: GroupId, read: &mut Prepared<'_>) -> bool {
        self.member(group).is_some_and(|member| member.group.machine.apply.touch(read))
    }

    /// Answers a prepared read: now, or in a later turn when it must wait for a write (`after`) or for the disk.
    pub fn read_prepared(
        &mut self,
        group: GroupId,
        read: &Prepared<'_>,
        to: ReplyTo,
        after: After,
        out: &mut impl Replies,
    ) {
        let Some(at) = self.position_of(group) else {
            return out.reply(to, Reply::Error(self.absence(group)));
        };
        if self.stopped.is_some() {
            return out.reply(to, Reply::Error(ReplyError::Poisoned));
        }
        let (now, time_ms) = (self.now.mono, self.time_ms);
        let member = &mut self.members[at];
        member.group.read(read, to, after, now, time_ms, out);
        if member.group.is_waiting() {
            self.mark(at);
        }
    }

    /// Answers a read, as [`Groups::read_prepared`].
    pub fn read(
        &mut self,
        group: GroupId,
        read: &Read<'_>,
        to: ReplyTo,
        after: After,
        out: &mut impl Replies,
    ) {
        match self.prepare(group, *read) {
            Some(prepared) => self.read_prepared(group, &prepared, to, after, out),
            None => out.reply(to, Reply::Error(self.absence(group))),
        }
    }

    /// Answers a prepared read at a timestamp that the oracle issued: once everything proposed so far is applied. Nothing
    /// is written at or below `at` any more from now on, so the same read gives the same answer for ever.
    pub fn read_at(
        &mut self,
        group: GroupId,
        read: &Prepared<'_>,
        at: Timestamp,
        to: ReplyTo,
        out: &mut impl Replies,
    ) {
        if let Some(position) = self.position_of(group) {
            self.members[position].group.raise_served(at);
        }
        self.read_prepared(group, read, to, After::Proposed, out);
    }

    /// Ends a turn: proposes what was submitted, appends the records of all groups to the log, and sends them to the
    /// disk.
    pub fn turn(&mut self, now: Now, out: &mut impl Replies) {
        if now.mono > self.now.mono {
            self.begin(now, out);
        }
        if self.stopped.is_some() {
            return self.refuse_everything(out);
        }
        let writable = self.wal.writable().is_ok();
        for at in 0..self.members.len() {
            let member = &self.members[at];
            let due = writable && member.next_duty(self.time_ms).is_some_and(|due| due <= self.now.mono);
            if due || member.group.is_waiting() || !member.duties.is_set_up() {
                self.mark(at);
            }
        }
        self.oversee_clock();
        self.settle(out);
        self.oversee_space();
        self.wal.flush(self.now.mono, true);
        self.collect_stable();
        self.settle(out);
        self.late.deliver(out);
    }

    /// Why this core has stopped, if it has: the process must say so and exit.
    #[must_use]
    pub const fn stopped(&self) -> Option<&Stopped> {
        self.stopped.as_ref()
    }

    /// Whether every group leads and serves, or refuses for good: then clients may come. Without a clock they come to read.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let timeless = self.word.is_forsaken();
        self.stopped.is_some()
            || self.members.iter().all(|member| {
                let group = &member.group;
                let is_set_up = timeless || member.duties.is_set_up();
                group.standing != Standing::Sound || (group.may_read(self.now.mono) && is_set_up)
            })
    }

    /// When [`Groups::turn`] has something to do, if nothing else happens.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        if self.stopped.is_some() {
            return None;
        }
        let writable = self.wal.writable().is_ok();
        let waits = self.members.iter().flat_map(|member| {
            let duty = member.next_duty(self.time_ms).filter(|_| writable);
            [member.group.wait_deadline(self.options.wait_ms_max), duty]
        });
        // A renewal that was due and did not happen is tried again, not at once for ever.
        let soon = self.now.mono.plus_millis(1);
        let oracle = self.oracle.as_ref().filter(|_| writable).and_then(Oracle::next_deadline);
        let oracle = oracle.map(|due| due.max(soon));
        // Memory is freed by tasks, which tell nobody.
        let freed = self.members.iter().any(|member| member.group.machine.apply.waits_for_room())
            && self
                .members
                .iter()
                .any(|member| member.group.machine.apply.tree().flush_state() == FlushState::Underway);
        let starved = freed.then_some(soon);
        // A row may have been read by a task that ran after the last look at what waits for it.
        let stirred = self.members.iter().any(|member| member.group.machine.apply.is_stirred());
        let late = (stirred || !self.late.is_empty() || !self.dirty.is_empty()).then_some(self.now.mono);
        waits
            .chain([starved, oracle, self.wal.next_deadline(), self.engine.next_deadline(), late])
            .flatten()
            .min()
    }

    /// The groups of this core: those that were opened by id, then the others.
    pub fn ids(&self) -> impl Iterator<Item = GroupId> {
        self.members.iter().map(|member| member.group.id).chain(self.closed.keys().copied())
    }

    /// How a group stands.
    #[must_use]
    pub fn standing(&self, group: GroupId) -> Option<&Standing> {
        self.member(group).map(|member| &member.group.standing).or_else(|| self.closed.get(&group))
    }

    /// What clients asked of the ranges of this core, by group.
    pub fn loads(&self) -> impl Iterator<Item = RangeLoad> {
        let ranges = self.layout.groups.iter();
        ranges.filter_map(|spec| {
            let load = self.member(spec.id)?.group.load;
            Some(RangeLoad { group: spec.id, slots: spec.slots.clone(), load })
        })
    }

    /// The groups that halted since they were opened, in the order in which they did: they refuse to serve.
    #[must_use]
    pub fn halted(&self) -> &[GroupId] {
        &self.halted
    }

    /// The state machine of a group.
    #[must_use]
    pub fn machine(&self, group: GroupId) -> Option<&crate::apply::Apply> {
        self.member(group).map(|member| &member.group.machine.apply)
    }

    /// Tables of all groups in which damage was found.
    #[must_use]
    pub fn damaged_tables(&self) -> usize {
        self.members.iter().map(|member| member.group.machine.apply.tree().metrics().damaged_tables).sum()
    }

    /// Keys that reads of all groups looked for: how many they found, and how many not.
    #[must_use]
    pub fn lookups(&self) -> (u64, u64) {
        let counts = self.members.iter().map(|member| member.group.machine.apply.lookups().counts());
        counts.fold((0, 0), |sum, (hits, misses)| (sum.0 + hits, sum.1 + misses))
    }

    /// The layout of the node.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The core these groups live on.
    #[must_use]
    pub const fn core(&self) -> CoreId {
        self.core
    }

    /// The oracle's time as this core knows it, in milliseconds since 1970.
    #[must_use]
    pub const fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// How far the wall clock is ahead of the oracle's time, in milliseconds; `None` on cores without the oracle.
    #[must_use]
    pub fn clock_gap_ms(&self) -> Option<i64> {
        self.oracle.as_ref().map(Oracle::gap_ms)
    }

    /// The timestamp word of the node.
    #[must_use]
    pub fn word(&self) -> &Word {
        &self.word
    }

    /// The log.
    #[must_use]
    pub const fn log(&self) -> &Wal {
        &self.wal
    }

    /// The engine of the rows.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whether nothing is in flight or waits: everything submitted is answered.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.flights.is_empty()
            && self.dirty.is_empty()
            && self.late.is_empty()
            && self.members.iter().all(|m| m.group.busy_bytes() == 0 && !m.group.is_applying())
    }

    /// Executes the invariants of every group.
    ///
    /// # Panics
    /// When one is broken.
    pub fn check(&self) {
        for member in &self.members {
            if member.group.standing == Standing::Sound {
                member.group.check();
            }
        }
    }

    fn position_of(&self, group: GroupId) -> Option<usize> {
        self.members.binary_search_by_key(&group, |member| member.group.id).ok()
    }

    fn member(&self, group: GroupId) -> Option<&Member> {
        self.position_of(group).map(|at| &self.members[at])
    }

    fn mark(&mut self, at: usize) {
        if !std::mem::replace(&mut self.members[at].dirty, true) {
            self.dirty.push(at);
        }
    }

    fn read_time(&mut self) {
        if let Some(time_ms) = self.word.time_ms(self.now.mono) {
            self.time_ms = self.time_ms.max(time_ms);
        }
    }

    /// Reports to Raft what has become stable.
    fn collect_stable(&mut self) {
        if self.stopped.is_some() {
            return;
        }
        let stable = match self.wal.poll(self.now.mono) {
            Ok(stable) => stable,
            Err(poison) => return self.stop(Stopped::Log(poison)),
        };
        if let Some(poison) = self.engine.poisoned() {
            return self.stop(Stopped::Rows(poison));
        }
        while self.flights.front().is_some_and(|flight| flight.position <= stable) {
            let Some(flight) = self.flights.pop_front() else { break };
            let member = &mut self.members[flight.member];
            member.flights -= 1;
            member.group.node.persisted(flight.ready);
            self.mark(flight.member);
        }
        for at in 0..self.members.len() {
            if self.members[at].group.is_applying() {
                self.mark(at);
            }
        }
    }

    /// Lets every group that has something to do go on.
    fn settle(&mut self, out: &mut impl Replies) {
        let mut dirty = std::mem::take(&mut self.dirty);
        // By id, whatever the order in which they were marked.
        dirty.sort_unstable();
        for at in dirty.drain(..) {
            self.members[at].dirty = false;
            if self.stopped.is_none() {
                self.advance(at, out);
            }
        }
        if self.dirty.is_empty() {
            self.dirty = dirty;
        }
    }

    /// Proposes, logs, applies and answers for one group.
    fn advance(&mut self, at: usize, out: &mut impl Replies) {
        if self.members[at].group.standing != Standing::Sound {
            let moment = moment(&self.options, &self.word, self.now.mono, None);
            let group = &mut self.members[at].group;
            group.propose(&moment, out);
            group.publish(&moment, self.time_ms, out);
            return self.abandon(at, out);
        }
        self.apply(at, out);
        if self.members[at].group.standing != Standing::Sound {
            return;
        }
        self.perform_duties(at);
        let refuse = self.refusal(at);
        let moment = moment(&self.options, &self.word, self.now.mono, refuse);
        let member = &mut self.members[at];
        if refuse.is_some() || member.group.machine.apply.tree().room() {
            member.group.propose(&moment, out);
        } else {
            member.group.refuse_overdue(&moment, ReplyError::Overloaded, out);
            // Level 0 may be what is full: another small table would not help it.
            if self.engine.memtable_bytes() >= self.engine.memtable_bytes_max() {
                self.request_seal(at);
            }
        }
        self.apply(at, out);
        let moment = self::moment(&self.options, &self.word, self.now.mono, refuse);
        self.members[at].group.publish(&moment, self.time_ms, out);
    }

    /// Why writes of a group are refused now: there is no clock, or the log, or the tables of the group, find no space on the
    /// disk, or its tables are damaged.
    fn refusal(&self, at: usize) -> Option<ReplyError> {
        if self.word.is_forsaken() {
            return Some(ReplyError::NoClock);
        }
        if self.wal.writable().is_err() {
            return Some(ReplyError::NoSpace);
        }
        let tree = self.members[at].group.machine.apply.tree();
        if tree.room() {
            return None;
        }
        if tree.is_held_up_by_damage() {
            return Some(ReplyError::TablesDamaged);
        }
        let full = tree.metrics().trouble.is_some_and(|error| error.cause == Cause::NoSpace);
        full.then_some(ReplyError::NoSpace)
    }

    /// Takes what Raft has ready: logs the entries, applies what is committed.
    fn apply(&mut self, at: usize, out: &mut impl Replies) {
        loop {
            let mut progressed = false;
            while let Some(ready) = self.members[at].group.node.ready() {
                progressed = true;
                self.log_ready(at, &ready);
                if let Err(halt) = self.commit(at, ready) {
                    return self.halt(at, halt.to_string(), out);
                }
            }
            let group = &mut self.members[at].group;
            group.notice_leadership();
            let before = group.machine.applied().index;
            let more = match group.machine.apply.run(APPLY_COMMANDS_MAX, out) {
                Ok(more) => more,
                Err(halt) => return self.halt(at, halt.to_string(), out),
            };
            let applied = group.machine.applied().index;
            if applied > before {
                group.node.applied(applied);
                if group.node.is_only_voter() {
                    // No follower will ask for what is applied.
                    group.node.drop_to(applied);
                }
                progressed = true;
            }
            if more {
                // In the next turn: what an entry writes takes time.
                self.mark(at);
            }
            if !progressed {
                return;
            }
        }
    }

    fn log_ready(&mut self, at: usize, ready: &Ready) {
        let member = &mut self.members[at];
        let id = member.group.id;
        let mut position = None;
        let commit = member.group.node.committed();
        if let Some(hard_state) = &ready.hard_state {
            let hard_state = HardState { term: Term(hard_state.term), vote: hard_state.vote, commit };
            if !planted::is("vote-not-persisted") {
                position = Some(self.wal.append_hard_state(id, hard_state));
            }
        }
        if !ready.entries.is_empty() {
            let entries: Vec<EntryRef<'_>> = ready
                .entries
                .iter()
                .map(|entry| EntryRef {
                    index: LogIndex(entry.index),
                    term: Term(entry.term),
                    kind: entry.entry_type as u8,
                    data: &entry.data,
                })
                .collect();
            position = Some(self.wal.append_entries(id, commit, &entries));
        }
        match position {
            _ if planted::is("report-before-stable") => member.group.node.persisted(ready.number),
            None if member.flights == 0 => member.group.node.persisted(ready.number),
            position => {
                let position = position.unwrap_or_else(|| self.wal.appended());
                member.flights += 1;
                self.flights.push_back(Flight { position, member: at, ready: ready.number });
            }
        }
    }

    /// Hands what is committed to the pipeline. What it cannot take halts it; what follows is then owed an answer only.
    fn commit(&mut self, at: usize, ready: Ready) -> Result<(), Halt> {
        let apply = &mut self.members[at].group.machine.apply;
        let mut taken = Ok(());
        for entry in ready.committed {
            let (index, term) = (LogIndex(entry.index), Term(entry.term));
            if entry.entry_type != EntryType::EntryNormal {
                let found = (entry.entry_type as u8).into();
                let unknown = BatchError::Unknown { field: "entry kind", found };
                apply.halt(Halt { index, cause: HaltCause::Batch(unknown) });
            }
            taken = apply.submit(Committed { index, term, data: entry.data, answer: true });
        }
        taken
    }

    fn halt(&mut self, at: usize, text: String, out: &mut impl Replies) {
        let group = &mut self.members[at].group;
        assert_eq!(group.standing, Standing::Sound, "a group halts once");
        self.halted.push(group.id);
        group.standing = Standing::Halted(text);
        // Nobody reads it any more, and the others of the core need the room.
        group.machine.forget_rows();
        group.lease.step_down();
        if group.id == CLOCK_GROUP {
            self.word.forsake();
        }
        self.abandon(at, out);
        self.mark(at);
    }

    /// Answers what a halted group has in flight: what is committed by now, and in later turns what will be.
    fn abandon(&mut self, at: usize, out: &mut impl Replies) {
        if self.members[at].group.machine.apply.halted().is_none() {
            return;
        }
        while let Some(ready) = self.members[at].group.node.ready() {
            self.log_ready(at, &ready);
            // The pipeline has halted: whatever is handed to it is answered below.
            drop(self.commit(at, ready));
        }
        self.members[at].group.abandon(out);
    }

    /// A failed write or sync: nothing is acknowledged any more, and no timestamp issued.
    fn stop(&mut self, why: Stopped) {
        if let Some(oracle) = &mut self.oracle {
            oracle.step_down();
        }
        for member in &mut self.members {
            member.group.lease.step_down();
        }
        self.stopped = Some(why);
    }

    fn refuse_everything(&mut self, out: &mut impl Replies) {
        for member in &mut self.members {
            member.group.refuse_pending(Mono(u64::MAX), ReplyError::Poisoned, out);
            member.group.refuse_waiting(ReplyError::Poisoned, out);
        }
    }
}

fn moment<'a>(options: &Options, word: &'a Word, mono: Mono, refuse: Option<ReplyError>) -> Moment<'a> {
    Moment { mono, word, entry_bytes_max: options.entry_bytes_max, wait_ms_max: options.wait_ms_max, refuse }
}
