//! Where replies arrive: it knows who waits for each, and keeps their order.
//!
//! Groups of this core answer here through [`Replies`]; replies for connections of other cores are put into one
//! message per core, replies of other cores are delivered from theirs.
//!
//! ```text
//! group -> reply(to) -> other core: message
//!                    -> flight -> waiter -> gathering -> connection's ring -> out
//! ```

use pinion_shard::{CoreId, Replies, Reply, ReplyError, ReplyTo};

use super::flight::{Flights, Waiter};
use super::gathering::{Gatherings, Step};
use crate::command::{CommandId, encode};
use crate::conn::{Conns, Passed, Place, UNSENT_BYTES_CROWDED};
use crate::ledger::{Budgets, Lease, Transit};
use crate::message;
use crate::metrics::Counters;
use crate::planted;
use crate::resp::Encoder;
use crate::slow::{self, Slow};
use crate::stages::{STAGE_COUNT, Stage, Stages, Trail};
use crate::tally::Tally;
use crate::{ConnId, Outbox};

/// Memory that an awaited reply may take: its place, its flight, the read of the disk behind it.
const AWAITED_BYTES: usize = 2 << 10;
/// An array is encoded in memory that is kept for the next one, up to so many bytes.
const SCRATCH_BYTES_MAX: usize = 256 << 10;
/// Replies that may be awaited on any core.
const AWAITED_MIN: usize = 1 << 10;

/// Replies up to this length are never refused: an error would be no shorter.
const SHORT_REPLY_BYTES: usize = 256;
/// Reports up to this length are not refused to who takes what is sent: they tell why others are.
const SHORT_REPORT_BYTES: usize = 16 << 10;

fn refuse(encoder: &mut Encoder<'_>) {
    // The words are the same for every command.
    const ANY: CommandId = CommandId::named("ping").expect("the table has it");
    encode(ANY, Reply::Error(ReplyError::Overloaded), encoder);
}

/// A page that a gathering needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextPage {
    /// The gathering.
    pub gathering: u32,
    /// Its part, which names the group.
    pub part: u32,
    /// Where the page begins.
    pub cursor: u64,
}

/// An array or page of which parts are still to come, back to back.
struct Open {
    flight: u32,
    index: u32,
    waiter: Waiter,
    head: HeadKind,
    next: u32,
    len: u32,
    /// Value bytes so far.
    bytes: usize,
    /// Why the whole is refused, if it is: an element failed, or the values exceed the budget.
    refused: Option<ReplyError>,
}

#[derive(Clone, Copy)]
enum HeadKind {
    Array,
    Page { cursor: u64 },
}

/// Replies to one sibling core.
#[derive(Default)]
struct Outgoing {
    message: Vec<u8>,
    /// The trails of its flights that passed here, by flight.
    trails: Vec<Trail>,
    /// Flights that were answered in this turn.
    answered: Vec<u32>,
    /// How many of them are marked.
    marked: usize,
}

/// A reply that has left towards its client in this turn.
struct Left {
    conn: ConnId,
    passed: Passed,
    /// Bytes of its arguments among the sketches of the turn.
    sketch_bytes: usize,
}

/// Where the durations of replies are recorded.
pub struct Record<'a> {
    /// By stage.
    pub stages: &'a mut Stages,
    /// The slowest of them.
    pub slow: &'a mut Slow,
    /// Ticks of a microsecond.
    pub ticks_per_micro: u64,
    /// Wall time, in milliseconds since 1970.
    pub wall_ms: u64,
}

/// See the module page.
pub struct Desk {
    core: CoreId,
    /// The connections of this core.
    pub conns: Conns,
    /// The flights of this core.
    pub flights: Flights,
    /// Replies in the making.
    pub gatherings: Gatherings,
    /// Gatherings whose last part came and that somebody else must encode.
    pub reports: Vec<u32>,
    /// Pages to be asked for.
    pub next_pages: Vec<NextPage>,
    /// What was counted.
    pub counters: Counters,
    /// The same by command.
    pub tally: Tally,
    open: Option<Open>,
    scratch: Vec<u8>,
    passed: Vec<Left>,
    /// The arguments of what passed, back to back.
    sketches: Vec<u8>,
    /// Flights of this core that were answered and not marked yet.
    answered: Vec<u32>,
    /// Flights whose writes were found committed since then, and are not answered.
    committed: Vec<(CoreId, u32)>,
    /// Connections to which something happened in this turn.
    listed: Vec<ConnId>,
    outgoing: Vec<Outgoing>,
    /// Reply bytes that clients have not taken, over all connections.
    unsent_bytes: usize,
    /// Bytes of elements in gatherings.
    gathered_bytes: usize,
    send_buffers: Lease,
    /// Whether replies had used up what could be leased for them when the last turn ended.
    full: bool,
    /// Whether a reply was refused for replies that clients do not take.
    pressed: bool,
    /// Replies to and from sibling cores that were not read yet.
    pub transit: Transit,
}

impl Desk {
    /// The desk of `core`, one of `cores`. Above what can be leased for send buffers, replies with values become errors.
    #[must_use]
    pub fn new(core: CoreId, cores: u16, budgets: &Budgets) -> Self {
        let awaited_max = (budgets.proposals.lease().bytes() / AWAITED_BYTES).max(AWAITED_MIN);
        Self {
            core,
            conns: Conns::default(),
            flights: Flights::new(awaited_max),
            gatherings: Gatherings::default(),
            reports: Vec::new(),
            next_pages: Vec::new(),
            counters: Counters::default(),
            tally: Tally::default(),
            open: None,
            scratch: Vec::new(),
            passed: Vec::new(),
            sketches: Vec::new(),
            answered: Vec::new(),
            committed: Vec::new(),
            listed: Vec::new(),
            outgoing: (0..cores).map(|_| Outgoing::default()).collect(),
            unsent_bytes: 0,
            gathered_bytes: 0,
            send_buffers: budgets.send_buffers.lease(),
            full: false,
            pressed: false,
            transit: budgets.transit.clone(),
        }
    }

    /// Lists a connection, so that it is settled at the end of the turn.
    pub fn list(&mut self, conn: ConnId) {
        if let Some(connection) = self.conns.get_mut(conn)
            && !std::mem::replace(&mut connection.listed, true)
        {
            self.listed.push(conn);
        }
    }

    /// The connections listed in this turn; the list is given back with [`Desk::listed_done`].
    pub fn take_listed(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.listed)
    }

    /// Gives the list back, empty.
    pub fn listed_done(&mut self, mut listed: Vec<ConnId>) {
        listed.clear();
        if self.listed.is_empty() {
            self.listed = listed;
        }
    }

    /// Reply bytes that clients have not taken.
    #[must_use]
    pub const fn unsent_bytes(&self) -> usize {
        self.unsent_bytes
    }

    /// Whether so much is owed to clients, or awaited by them, that each may ask for a little only.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.full || self.flights.is_crowded_with(self.gatherings.count())
    }

    /// Notes that a client took bytes, or that they were dropped.
    pub fn sent(&mut self, bytes: usize) {
        self.unsent_bytes = self.unsent_bytes.saturating_sub(bytes);
    }

    /// Leases what the replies of the moment need, and gives back what they do not. Call it at the end of a turn.
    pub fn follow_lease(&mut self) {
        let used = self.unsent_bytes + self.gathered_bytes;
        self.send_buffers.follow(used);
        self.full = !self.send_buffers.reach(used + 1);
    }

    /// Whether a reply of so many bytes may be made. One alone may, however large.
    fn admits(&mut self, bytes: usize) -> bool {
        let admitted =
            bytes == 0 || self.unsent_bytes == 0 || self.send_buffers.reach(self.unsent_bytes + bytes);
        // Without the replies of others there would be room.
        self.pressed |= !admitted;
        admitted
    }

    /// Whether replies of this core take from what siblings could use.
    #[must_use]
    pub const fn takes_from_siblings(&self) -> bool {
        self.send_buffers.is_above_floor()
    }

    /// Whether, since the last call, replies that clients do not take, here or on a sibling, kept others from theirs.
    pub fn take_pressure(&mut self) -> bool {
        self.full || std::mem::take(&mut self.pressed)
    }

    /// Delivers a reply, or a part of one, to its waiter.
    pub fn deliver(&mut self, flight: u32, index: u32, reply: Reply<'_>) {
        if let Some(open) = self.open.take() {
            return self.element(open, flight, index, reply);
        }
        let waiter = self.flights.answer(flight, index);
        if self.answered.last() != Some(&flight) {
            self.answered.push(flight);
        }
        let (head, len) = match (reply, waiter) {
            (Reply::Array(len), _) => (HeadKind::Array, len),
            (Reply::Page { cursor, count }, Waiter::Part { gathering, .. })
                if self.gatherings.get_mut(gathering).has_items() =>
            {
                (HeadKind::Page { cursor }, count)
            }
            _ => return self.finish(waiter, flight, reply),
        };
        self.begin(Open { flight, index, waiter, head, next: 0, len, bytes: 0, refused: None });
    }

    fn begin(&mut self, open: Open) {
        if let Waiter::Conn { conn, .. } = open.waiter
            && let Some(connection) = self.conns.get(conn)
        {
            self.scratch.clear();
            Encoder::new(&mut self.scratch, connection.protocol()).array(open.len as usize);
        }
        if open.len == 0 { self.close(&open) } else { self.open = Some(open) }
    }

    fn element(&mut self, mut open: Open, flight: u32, index: u32, reply: Reply<'_>) {
        assert!((open.flight, open.index) == (flight, index), "the parts of an array came apart");
        match reply {
            Reply::Error(error) => open.refused = open.refused.or(Some(error)),
            // What a gathering holds is counted with it.
            Reply::Bulk(bytes) if matches!(open.waiter, Waiter::Conn { .. }) => open.bytes += bytes.len(),
            _ => {}
        }
        let gathered_bytes = self.gathered_bytes + open.bytes;
        if !self.send_buffers.reach(self.unsent_bytes + gathered_bytes) {
            // An array that is too large by itself is nobody's fault.
            self.pressed |= gathered_bytes <= self.send_buffers.bytes_max();
            open.refused = open.refused.or(Some(ReplyError::Overloaded));
        }
        if open.refused.is_none() {
            self.encode_element(&open, reply);
        }
        open.next += 1;
        if open.next == open.len { self.close(&open) } else { self.open = Some(open) }
    }

    fn encode_element(&mut self, open: &Open, reply: Reply<'_>) {
        match open.waiter {
            Waiter::Conn { conn, command, .. } => {
                if let Some(connection) = self.conns.get(conn) {
                    encode(command, reply, &mut Encoder::new(&mut self.scratch, connection.protocol()));
                }
            }
            Waiter::Part { gathering, part } => {
                let gathering = self.gatherings.get_mut(gathering);
                let before = gathering.held_bytes();
                gathering.element(part, open.next, reply);
                self.gathered_bytes += gathering.held_bytes() - before;
            }
            Waiter::Answered => unreachable!("an answered waiter opens no array"),
        }
    }

    fn close(&mut self, open: &Open) {
        if let Some(error) = open.refused {
            self.scratch = Vec::new();
            self.counters.replies_refused += 1;
            return self.finish(open.waiter, open.flight, Reply::Error(error));
        }
        match open.waiter {
            Waiter::Conn { conn, place, command } => {
                let encoded = std::mem::take(&mut self.scratch);
                self.fill(conn, place, command, open.flight, encoded.len(), |encoder| encoder.raw(&encoded));
                if encoded.capacity() <= SCRATCH_BYTES_MAX {
                    self.scratch = encoded;
                }
            }
            Waiter::Part { .. } => {
                let head = match open.head {
                    HeadKind::Array => Reply::Array(open.len),
                    HeadKind::Page { cursor } => Reply::Page { cursor, count: open.len },
                };
                self.finish(open.waiter, open.flight, head);
            }
            Waiter::Answered => unreachable!("an answered waiter opens no array"),
        }
    }

    fn finish(&mut self, waiter: Waiter, flight: u32, reply: Reply<'_>) {
        match waiter {
            Waiter::Conn { conn, place, command } => {
                let bytes = match reply {
                    Reply::Bulk(bytes) => bytes.len(),
                    _ => 0,
                };
                self.fill(conn, place, command, flight, bytes, |encoder| encode(command, reply, encoder));
            }
            Waiter::Part { gathering, part } => {
                let step = self.gatherings.get_mut(gathering).part(part, reply);
                self.note_group_answered(gathering, flight);
                self.step(gathering, part, flight, step);
            }
            Waiter::Answered => unreachable!("an answered waiter is not answered again"),
        }
    }

    fn note_group_answered(&mut self, gathering: u32, flight: u32) {
        let conn = self.gatherings.get_mut(gathering).conn;
        if let Some(group) = self.flights.get(flight).writes
            && let Some(connection) = self.conns.get_mut(conn)
        {
            connection.write_answered(group);
        }
    }

    /// Takes the answer of a core to a question.
    pub fn deliver_answer(&mut self, gathering: u32, part: u32, bytes: &[u8]) {
        if self.gatherings.get_mut(gathering).answer(part, bytes) == Step::Whole {
            self.reports.push(gathering);
        }
    }

    fn step(&mut self, gathering: u32, part: u32, flight: u32, step: Step) {
        match step {
            Step::Wait => self.flights.release(flight),
            Step::NextPage(cursor) => {
                self.flights.release(flight);
                self.next_pages.push(NextPage { gathering, part, cursor });
            }
            Step::Whole => {
                let whole = self.gatherings.remove(gathering);
                self.gathered_bytes -= whole.held_bytes();
                self.fill_counted(whole.conn, whole.place, flight, |encoder| whole.encode(encoder));
            }
        }
    }

    fn fill(
        &mut self,
        conn: ConnId,
        place: Place,
        command: CommandId,
        flight: u32,
        value_bytes: usize,
        encode_reply: impl FnOnce(&mut Encoder<'_>),
    ) {
        if let Some(group) = self.flights.get(flight).writes
            && let Some(connection) = self.conns.get_mut(conn)
        {
            connection.write_answered(group);
        }
        if !self.admits(value_bytes) {
            self.counters.replies_refused += 1;
            let overloaded = Reply::Error(ReplyError::Overloaded);
            return self.fill_counted(conn, place, flight, |encoder| encode(command, overloaded, encoder));
        }
        self.fill_counted(conn, place, flight, encode_reply);
    }

    /// Fills a place of a connection and keeps count of the bytes; drops the reply when the connection is gone.
    fn fill_counted(
        &mut self,
        conn: ConnId,
        place: Place,
        flight: u32,
        encode_reply: impl FnOnce(&mut Encoder<'_>),
    ) {
        let connection = self.conns.get_mut(conn).filter(|connection| !connection.ring.is_abandoned());
        let Some(connection) = connection else { return self.flights.release(flight) };
        let protocol = connection.protocol();
        let before = connection.out.len() + connection.ring.early_bytes();
        let Self { passed: left, sketches, counters, tally, .. } = self;
        connection.ring.fill(
            place,
            flight,
            &mut connection.out,
            |out| {
                let at = out.len();
                encode_reply(&mut Encoder::new(out, protocol));
                if let Some((b'-', text)) = out[at..].split_first() {
                    counters.errors += 1;
                    tally.error(text);
                }
            },
            |passed, (front, back)| {
                sketches.extend_from_slice(front);
                sketches.extend_from_slice(back);
                left.push(Left { conn, passed, sketch_bytes: front.len() + back.len() });
            },
        );
        self.unsent_bytes += connection.out.len() + connection.ring.early_bytes() - before;
        if !std::mem::replace(&mut connection.listed, true) {
            self.listed.push(conn);
        }
    }

    /// As [`Desk::answer_here`], with a reply that was encoded elsewhere and may be large.
    pub fn answer_encoded(&mut self, conn: ConnId, start_ticks: u64, flight: u32, encoded: &[u8]) {
        if encoded.len() <= SHORT_REPLY_BYTES || self.admits(encoded.len()) {
            return self.answer_here(conn, start_ticks, flight, |encoder| encoder.raw(encoded));
        }
        self.counters.replies_refused += 1;
        self.answer_here(conn, start_ticks, flight, refuse);
    }

    /// Answers a command of a connection that needs no group, in its order.
    pub fn answer_here(
        &mut self,
        conn: ConnId,
        start_ticks: u64,
        flight: u32,
        encode_reply: impl FnOnce(&mut Encoder<'_>),
    ) {
        let Some(connection) = self.conns.get_mut(conn) else { return };
        if connection.ring.is_abandoned() {
            return;
        }
        let place = connection.ring.take_place(start_ticks);
        self.flights.hold(flight);
        self.fill_counted(conn, place, flight, encode_reply);
    }

    /// Fills the place of a report that was put together elsewhere.
    pub fn finish_report(&mut self, gathering: u32, flight: u32, encoded: &[u8]) {
        let whole = self.gatherings.remove(gathering);
        let taken = self
            .conns
            .get(whole.conn)
            .is_some_and(|connection| connection.reply_bytes() <= UNSENT_BYTES_CROWDED);
        let admitted = (taken && encoded.len() <= SHORT_REPORT_BYTES) || self.admits(encoded.len());
        self.counters.replies_refused += u64::from(!admitted);
        self.fill_counted(whole.conn, whole.place, flight, |encoder| {
            if admitted { encoder.raw(encoded) } else { refuse(encoder) }
        });
    }

    /// Ends a connection's ring: what is owed to it is dropped when it comes.
    pub fn abandon(&mut self, conn: ConnId) {
        let Some(connection) = self.conns.get_mut(conn) else { return };
        let bytes = connection.out.len() + connection.ring.early_bytes();
        connection.out = Vec::new();
        let flights = &mut self.flights;
        connection.ring.abandon(|left| flights.release(left.flight));
        self.sent(bytes);
    }

    /// Notes that a flight of another core passed a stage here.
    pub fn mark_foreign(&mut self, core: CoreId, flight: u32, stage: Stage, ticks: u64) {
        let trails = &mut self.outgoing[core.0 as usize].trails;
        if trails.len() <= flight as usize {
            trails.resize(flight as usize + 1, Trail::default());
        }
        trails[flight as usize].mark(stage, ticks);
    }

    /// Forgets how far an earlier flight in this slot came.
    pub fn begin_foreign(&mut self, core: CoreId, flight: u32) {
        if let Some(trail) = self.outgoing[core.0 as usize].trails.get_mut(flight as usize)
            && !planted::is("trail-of-another-flight")
        {
            *trail = Trail::default();
        }
    }

    /// Notes that what was answered since the last call was applied by `now`. What had been proposed was found persistent
    /// at `persisted`: a single voter is its own quorum and commits at once.
    pub fn mark_answered(&mut self, persisted: u64, now: u64) {
        for (core, flight) in self.committed.drain(..) {
            let trail = if core == self.core {
                Some(&mut self.flights.get_mut(flight).trail)
            } else {
                self.outgoing[core.0 as usize].trails.get_mut(flight as usize)
            };
            if let Some(trail) = trail {
                mark_persisted(trail, persisted);
            }
        }
        for flight in self.answered.drain(..) {
            mark_applied(&mut self.flights.get_mut(flight).trail, persisted, now);
        }
        for outgoing in &mut self.outgoing {
            for &flight in &outgoing.answered[outgoing.marked..] {
                if let Some(trail) = outgoing.trails.get_mut(flight as usize) {
                    mark_applied(trail, persisted, now);
                }
            }
            outgoing.marked = outgoing.answered.len();
        }
    }

    /// Sends the replies to sibling cores.
    pub fn send_replies(&mut self, outbox: &mut Outbox) {
        for (core, outgoing) in self.outgoing.iter_mut().enumerate() {
            if outgoing.message.is_empty() {
                continue;
            }
            let mut message = std::mem::take(&mut outgoing.message);
            outgoing.marked = 0;
            outgoing.answered.sort_unstable();
            outgoing.answered.dedup();
            for flight in outgoing.answered.drain(..) {
                if let Some(trail) = outgoing.trails.get(flight as usize) {
                    message::put_trail(&mut message, flight, trail);
                }
            }
            self.transit.depart(message.len());
            outbox.message(crate::CoreId(core as u16), message);
        }
    }

    /// Records every reply that left in this turn, whose send was submitted at `end`; without `record` counts it only.
    pub fn record(&mut self, mut record: Option<Record<'_>>, end: u64) {
        let mut passed = std::mem::take(&mut self.passed);
        let (mut rest, mut sketch_at) = (passed.as_slice(), 0);
        while let Some(first) = rest.first().map(|left| left.passed) {
            let run = rest.iter().take_while(|next| next.passed == first).count();
            // What came while nothing was recorded has no beginning.
            if let Some(record) = record.as_mut().filter(|_| first.start_ticks > 0) {
                let trail = self.flights.get(first.flight).trail;
                let durations = record.stages.record(&trail, first.start_ticks, end, run as u64);
                self.tally.record(first.label, first.failed, &durations, run as u64);
                let whole = nanos(durations.iter().sum(), record.ticks_per_micro);
                if record.slow.wants(whole) && !first.label.is_rejected() {
                    self.keep(&rest[..run], sketch_at, &durations, record);
                }
            } else {
                self.tally.count(first.label, first.failed, run as u64);
            }
            for _ in 0..run {
                self.flights.release(first.flight);
            }
            sketch_at += rest[..run].iter().map(|left| left.sketch_bytes).sum::<usize>();
            rest = &rest[run..];
        }
        self.counters.commands += passed.len() as u64;
        passed.clear();
        self.passed = passed;
        self.sketches.clear();
        self.sketches.shrink_to(SCRATCH_BYTES_MAX);
    }

    /// Keeps requests that passed together and took long.
    #[cold]
    fn keep(
        &self,
        run: &[Left],
        mut sketch_at: usize,
        durations: &[u64; STAGE_COUNT],
        record: &mut Record<'_>,
    ) {
        let stage_nanos = stage_nanos(durations, record.ticks_per_micro);
        let cores = self.outgoing.len() as u16;
        for left in run {
            let session = self.conns.get(left.conn).map(|connection| &connection.session);
            let id = record.slow.next_id(self.core.0, cores);
            record.slow.keep(slow::Record {
                id,
                core: self.core.0,
                wall_ms: record.wall_ms,
                label: left.passed.label,
                stage_nanos,
                sketch: self.sketches[sketch_at..][..left.sketch_bytes].to_vec(),
                peer: session.map(|session| session.peer),
                name: session.map(|session| session.client.name.clone()).unwrap_or_default(),
            });
            sketch_at += left.sketch_bytes;
        }
    }

    /// What must hold.
    ///
    /// # Panics
    /// When it does not.
    pub fn check(&self) {
        assert!(self.open.is_none(), "an array lacks elements");
        self.flights.check();
        self.conns.iter().for_each(crate::conn::Connection::check);
        let held: usize =
            self.conns.iter().map(|conn| conn.unsent_bytes + conn.out.len() + conn.ring.early_bytes()).sum();
        assert_eq!(held, self.unsent_bytes, "reply bytes are counted wrongly");
        assert_eq!(self.gatherings.held_bytes(), self.gathered_bytes, "gathered bytes are counted wrongly");
    }
}

fn nanos(ticks: u64, ticks_per_micro: u64) -> u64 {
    ticks.saturating_mul(1_000) / ticks_per_micro.max(1)
}

/// Durations in nanoseconds, rounded so that their sum is that of the whole, rounded.
fn stage_nanos(durations: &[u64; STAGE_COUNT], ticks_per_micro: u64) -> [u64; STAGE_COUNT] {
    let (mut until, mut before) = (0, 0);
    durations.map(|ticks| {
        until += ticks;
        let now = nanos(until, ticks_per_micro);
        now - std::mem::replace(&mut before, now)
    })
}

/// Once, for what was proposed: later parts of a flight that is answered bit by bit were persistent with the first.
fn mark_persisted(trail: &mut Trail, persisted: u64) {
    if trail.marks()[Stage::Propose as usize] != 0 && trail.marks()[Stage::Persist as usize] == 0 {
        trail.mark(Stage::Persist, persisted);
    }
}

fn mark_applied(trail: &mut Trail, persisted: u64, now: u64) {
    mark_persisted(trail, persisted);
    trail.mark(Stage::Apply, now);
}

impl Replies for Desk {
    fn reply(&mut self, to: ReplyTo, reply: Reply<'_>) {
        if to.core == self.core {
            return self.deliver(to.slot, to.index, reply);
        }
        let outgoing = &mut self.outgoing[to.core.0 as usize];
        if outgoing.message.is_empty() {
            message::begin_replies(&mut outgoing.message);
        }
        if outgoing.answered.last() != Some(&to.slot) {
            outgoing.answered.push(to.slot);
        }
        // Values under way between cores are bounded; the rest becomes an error, which refuses a whole array.
        let reply = match reply {
            Reply::Bulk(bytes) if !self.transit.has_room(outgoing.message.len(), bytes.len()) => {
                Reply::Error(ReplyError::Overloaded)
            }
            reply => reply,
        };
        message::put_reply(&mut outgoing.message, to.slot, to.index, reply);
    }

    fn committed(&mut self, core: CoreId, slot: u32) {
        self.committed.push((core, slot));
    }
}
