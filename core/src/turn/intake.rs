//! Phases 1 and 2: what happened, and what the received bytes ask for.

use pinion_shard::CoreId;
use pinion_wal::Mono;

use super::Core;
use super::dispatch::Flow;
use super::local::Face;
use super::owner::Owner;
use crate::command::Client;
use crate::conn::{Connection, Phase, Session};
use crate::message::{self, Item, Message};
use crate::resp::limits::Limits;
use crate::resp::{Arguments, Next};
use crate::tally::Label;
use crate::{ConnId, Event, Inbox, Outbox, ReceiveEnd};

/// Incomplete input that a connection may always hold, whatever the others hold, if there are few of them: all of them
/// together have the budget.
const INPUT_FLOOR_BYTES: usize = 64 << 10;
/// Numbers of clients are given out so that cores never give the same: the core, then a count.
const CLIENTS_PER_CORE: u64 = 1 << 40;

impl<O: Owner> Core<O> {
    pub(super) fn take_in(&mut self, inbox: &Inbox, outbox: &mut Outbox) {
        let received_ticks = match inbox.received_at_ticks() {
            0 => self.begun_ticks,
            ticks => ticks.min(self.begun_ticks),
        };
        for index in 0..inbox.len() {
            match inbox.event(index) {
                Event::Message { from, chunk } => {
                    self.message(CoreId(from.0), inbox.bytes(chunk), outbox);
                }
                Event::Received { conn, chunk } => self.received(conn, inbox.bytes(chunk), received_ticks),
                Event::Accepted { conn, peer, local } => {
                    self.next_client += 1;
                    let client_id = self.next_client + CLIENTS_PER_CORE * u64::from(self.id.0);
                    let face = Face { settings: &self.settings, live: &self.live, wall_ms: self.now.wall_ms };
                    let client = Client::new(client_id, &face);
                    let session = Session::new(client, peer, local, self.now.mono.0 / 1_000_000);
                    self.desk.conns.insert(Connection::new(conn, session));
                    self.desk.counters.connections_received += 1;
                    if self.stopping.is_some() {
                        self.drain(conn);
                    }
                }
                Event::Sent { conn, bytes } => {
                    if let Some(connection) = self.desk.conns.get_mut(conn) {
                        if self.live.latency_tracking {
                            let nanos = self.now.mono.nanos_since(connection.taken_at);
                            self.unsent.record(nanos.saturating_mul(self.ticks.per_micro()) / 1_000);
                        }
                        connection.unsent_bytes = connection.unsent_bytes.saturating_sub(bytes);
                        connection.taken_at = self.now.mono;
                        self.desk.sent(bytes);
                        self.desk.list(conn);
                    }
                }
                Event::ReceiveEnded { conn, end: ReceiveEnd::Eof } => {
                    if let Some(connection) = self.desk.conns.get_mut(conn) {
                        connection.ended = true;
                        self.desk.list(conn);
                    }
                }
                Event::ReceiveEnded { conn, .. } => self.break_off(conn),
                Event::Broken { conn, idle } => {
                    self.desk.counters.clients_cut += u64::from(idle);
                    self.break_off(conn);
                }
                Event::Closed { conn } => self.forget(conn),
                Event::ChoreDone { ticket, chunk } => {
                    self.desk.deliver_answer(ticket, 0, inbox.bytes(chunk));
                }
                Event::Stop => self.begin_stop(),
            }
        }
        self.take_in_backlog();
        self.ask_next_pages();
    }

    fn message(&mut self, from: CoreId, bytes: &[u8], outbox: &mut Outbox) {
        match Message::open(bytes) {
            Message::Requests(items) => self.carry_out_foreign(from, items),
            Message::Replies(items) => {
                for item in items {
                    match item {
                        Item::Reply { flight, index, reply } => self.desk.deliver(flight, index, reply),
                        Item::Trail { flight, trail } => {
                            self.desk.flights.get_mut(flight).trail.merge(&trail)
                        }
                        Item::Read { .. } | Item::Batch { .. } => unreachable!("replies hold no request"),
                    }
                }
                self.desk.transit.arrive(bytes.len());
            }
            Message::Question { gathering, part, subject } => {
                let mut answer = outbox.buffer();
                message::begin_answer(&mut answer, gathering, part);
                self.describe(subject, &mut answer);
                outbox.message(crate::CoreId(from.0), answer);
            }
            Message::Quiet => self.quiet_cores += 1,
            Message::Answer { gathering, part, bytes } => self.desk.deliver_answer(gathering, part, bytes),
        }
    }

    fn received(&mut self, conn: ConnId, bytes: &[u8], ticks: u64) {
        self.desk.counters.input_bytes += bytes.len() as u64;
        let Some(connection) = self.desk.conns.get_mut(conn) else { return };
        if connection.phase != Phase::Open {
            return;
        }
        connection.input_ticks = ticks;
        connection.session.active_ms = self.now.mono.0 / 1_000_000;
        if !connection.input.is_empty() {
            connection.input.extend_from_slice(bytes);
            self.desk.counters.input_held_bytes += bytes.len() as u64;
            return self.take_in_held(conn);
        }
        let consumed = self.parse(conn, bytes);
        let rest = &bytes[consumed..];
        if let Some(connection) = self.desk.conns.get_mut(conn)
            && connection.phase == Phase::Open
            && !rest.is_empty()
        {
            // An incomplete command is copied once: there is room for all of it from the beginning.
            let whole = if connection.input_need > rest.len() { connection.input_need } else { rest.len() };
            connection.input.reserve(whole.min(2 * INPUT_FLOOR_BYTES + rest.len()));
            connection.input.extend_from_slice(rest);
            self.desk.counters.input_held_bytes += rest.len() as u64;
            self.bound_input(conn);
        }
    }

    /// Parses what a connection holds, as far as it may.
    fn take_in_held(&mut self, conn: ConnId) {
        let Some(connection) = self.desk.conns.get_mut(conn) else { return };
        if connection.input.len() < connection.input_need {
            return self.bound_input(conn);
        }
        let mut input = std::mem::take(&mut connection.input);
        let consumed = self.parse(conn, &input);
        let Some(connection) = self.desk.conns.get_mut(conn) else { return };
        if connection.phase == Phase::Open {
            self.desk.counters.input_held_bytes -= consumed as u64;
            input.drain(..consumed);
            if input.is_empty() && input.capacity() > INPUT_FLOOR_BYTES {
                input = Vec::new();
            }
            connection.input = input;
            self.bound_input(conn);
        } else {
            self.desk.counters.input_held_bytes -= input.len() as u64;
        }
    }

    /// Ends a connection whose incomplete command does not fit the budget of the core.
    fn bound_input(&mut self, conn: ConnId) {
        let held = self.desk.counters.input_held_bytes as usize;
        let share = self.leases.partial_commands.bytes() / self.desk.conns.len().max(1);
        let Some(connection) = self.desk.conns.get_mut(conn) else { return };
        let incomplete = connection.input_need > 0 && !connection.stalled;
        if !incomplete
            || connection.input.len() <= share.min(INPUT_FLOOR_BYTES)
            || self.leases.partial_commands.reach(held)
        {
            return;
        }
        connection.ring.begin(Label::NONE);
        self.desk.counters.inputs_refused += 1;
        let (flight, start) = (self.own_flight(), self.begun_ticks);
        self.desk.answer_here(conn, start, flight, |encoder| {
            encoder.error(b"OVERLOADED The memory for incomplete commands is used up: try again later");
        });
        self.drain(conn);
    }

    /// Parses commands and dispatches each. Answers how many bytes are done with.
    fn parse(&mut self, conn: ConnId, bytes: &[u8]) -> usize {
        let mut arguments = std::mem::take(&mut self.arguments);
        let consumed = self.parse_with(conn, bytes, &mut arguments);
        self.arguments = arguments;
        consumed
    }

    fn parse_with(&mut self, conn: ConnId, bytes: &[u8], arguments: &mut Arguments) -> usize {
        let mut at = 0;
        loop {
            let crowded = self.desk.is_crowded();
            let Some(connection) = self.desk.conns.get_mut(conn) else { return bytes.len() };
            if connection.phase != Phase::Open {
                return bytes.len();
            }
            if at == bytes.len() {
                connection.input_need = 0;
                return at;
            }
            if !connection.may_parse(crowded) {
                return self.stall(conn, at);
            }
            let limits = Limits {
                authenticated: connection.session.client.authenticated,
                bulk_bytes_max: self.settings.value_bytes_max,
            };
            match connection.parser.next(&bytes[at..], arguments, &limits) {
                Next::Request { request, consumed } => match self.dispatch(conn, request) {
                    Flow::Next => at += consumed,
                    Flow::Wait => {
                        if let Some(connection) = self.desk.conns.get_mut(conn) {
                            connection.barrier = true;
                        }
                        return self.stall(conn, at);
                    }
                },
                Next::Incomplete { consumed, need } => {
                    connection.input_need = need;
                    return at + consumed;
                }
                Next::Broken { error } => {
                    connection.ring.begin(Label::NONE);
                    let (flight, start) = (self.own_flight(), self.begun_ticks);
                    self.desk.answer_here(conn, start, flight, |encoder| encoder.protocol_error(error));
                    self.drain(conn);
                    return bytes.len();
                }
            }
        }
    }

    /// Leaves the rest of a connection's input for a later turn.
    fn stall(&mut self, conn: ConnId, consumed: usize) -> usize {
        if let Some(connection) = self.desk.conns.get_mut(conn) {
            connection.input_need = 0;
            if !std::mem::replace(&mut connection.stalled, true) {
                self.backlog.push(conn);
            }
        }
        self.desk.list(conn);
        consumed
    }

    /// Goes on with connections that had to wait.
    fn take_in_backlog(&mut self) {
        let waiting = std::mem::take(&mut self.backlog);
        for conn in waiting {
            let crowded = self.desk.is_crowded();
            let Some(connection) = self.desk.conns.get_mut(conn) else { continue };
            if connection.phase != Phase::Open {
                continue;
            }
            if !connection.may_go_on(crowded) {
                self.backlog.push(conn);
                continue;
            }
            connection.stalled = false;
            connection.barrier = false;
            self.desk.list(conn);
            self.take_in_held(conn);
        }
    }

    /// Nothing more of a connection is parsed; what is owed is answered, then it is closed.
    pub(super) fn drain(&mut self, conn: ConnId) {
        let Some(connection) = self.desk.conns.get_mut(conn) else { return };
        if connection.phase == Phase::Open {
            connection.phase = Phase::Draining;
            self.desk.counters.input_held_bytes -= connection.input.len() as u64;
            connection.input = Vec::new();
            connection.input_need = 0;
        }
        self.desk.list(conn);
    }

    /// A connection failed: nothing can be answered any more.
    pub(super) fn break_off(&mut self, conn: ConnId) {
        self.drain(conn);
        self.desk.abandon(conn);
    }

    fn forget(&mut self, conn: ConnId) {
        self.break_off(conn);
        if let Some(connection) = self.desk.conns.remove(conn) {
            self.desk.sent(connection.unsent_bytes);
        }
    }

    fn begin_stop(&mut self) {
        self.stopping.get_or_insert(Mono(self.now.mono.0));
        let all: Vec<ConnId> = self.desk.conns.iter().map(|connection| connection.id).collect();
        for conn in all {
            self.drain(conn);
        }
    }
}
