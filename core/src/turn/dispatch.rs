//! One command: where it goes, or its answer at once.

use pinion_shard::{Command, List, Read};

use super::Core;
use super::flight::Waiter;
use super::gathering::{Elements, Gathering, Random, Shape, random_page};
use super::owner::Owner;
use crate::ConnId;
use crate::command::{
    Action, CommandError, CommandId, Crossing, Keyed, KeyedKind, crossing, lookup, resolve,
};
use crate::conn::Place;
use crate::planted;
use crate::resp::Request;
use crate::route::{Route, argument_bytes, key_of_read, key_of_write};
use crate::tally::Label;

/// What the parser does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// The next command.
    Next,
    /// This command again, when everything that the connection is owed has left.
    Wait,
}

/// Rows that one slice of DBSIZE or KEYS looks at.
pub(super) const PAGE_ROWS: u32 = 4096;
/// Lists of up to so many items need no allocation.
const INLINE_ITEMS: usize = 32;

/// What a request is counted for that is refused by its arguments.
#[cold]
fn refused(error: &CommandError<'_>, request: &Request<'_>) -> Label {
    let known = |command| Label::of(command, request);
    match error {
        CommandError::UnknownCommand(_)
        | CommandError::Later(_)
        | CommandError::UnknownSubcommand(_)
        | CommandError::Http => Label::NONE,
        CommandError::Arity(_) | CommandError::NoAuth => {
            lookup(request.name()).map_or(Label::NONE, known).rejected()
        }
        _ => lookup(request.name()).map_or(Label::NONE, known),
    }
}

impl<O: Owner> Core<O> {
    pub(super) fn dispatch(&mut self, conn: ConnId, request: Request<'_>) -> Flow {
        let Some(connection) = self.desk.conns.get_mut(conn) else { return Flow::Next };
        match resolve(request, connection.session.client.authenticated) {
            Ok((command, action)) => {
                connection.session.last_command = Some(command);
                connection.ring.begin(Label::of(command, &request));
                if self.live.latency_tracking {
                    connection.ring.sketch(command, &request);
                }
                self.act(conn, command, action, request)
            }
            Err(error) => {
                let label = refused(&error, &request);
                connection.ring.begin(label);
                if self.live.latency_tracking
                    && !label.is_rejected()
                    && let Some(command) = lookup(request.name())
                {
                    connection.ring.sketch(command, &request);
                }
                self.refuse(conn, &error);
                Flow::Next
            }
        }
    }

    fn act(&mut self, conn: ConnId, command: CommandId, action: Action<'_>, request: Request<'_>) -> Flow {
        match action {
            Action::Write(write) => {
                let route = match key_of_write(&write) {
                    Some(key) => self.routes.of_key(&key),
                    None => unreachable!("a write that the parser answers has one key"),
                };
                let waiter = self.take_place(conn, command);
                self.write(conn, route, &write, waiter);
            }
            Action::Read(read) => {
                let route = match key_of_read(&read) {
                    Some(key) => self.routes.of_key(&key),
                    None => unreachable!("a read that the parser answers has one key"),
                };
                let waiter = self.take_place(conn, command);
                self.read(conn, route, &read, waiter);
            }
            Action::Keyed(keyed) => self.keyed(conn, command, &keyed),
            Action::Scan { cursor, count, pattern, kind } => {
                let slot = pinion_shard::ScanPosition(cursor).slot();
                if slot.0 >= pinion_shard::SLOT_COUNT {
                    // Redis answers whatever cursor it is given: beyond the last key there is nothing.
                    let flight = self.own_flight();
                    self.answer_here(conn, flight, |encoder| {
                        encoder.array(2);
                        encoder.bulk(b"0");
                        encoder.array(0);
                    });
                    return Flow::Next;
                }
                let route = self.routes.of_slot(slot);
                let shape = Shape::Scan { next_range: self.routes.cursor_after(slot) };
                let gathering = self.gather(conn, command, shape, 1);
                let read = Read::Scan { cursor, count, pattern, kind };
                self.read(conn, route, &read, Waiter::Part { gathering, part: 0 });
            }
            Action::DbSize => self.pages(conn, command, Shape::Count),
            Action::Keys { pattern, kind } => {
                self.pages(conn, command, Shape::Keys { pattern: pattern.to_vec(), kind });
            }
            Action::RandomKey => self.random_key(conn, command),
            Action::FlushAll => self.flush_all(conn, command),
            Action::Cluster(ask) => self.cluster(conn, command, ask, request),
            Action::Local(local) => return self.local(conn, local, request),
            Action::Report(report) => self.report(conn, command, report, request),
            Action::Chore(chore) => self.chore(conn, command, chore),
        }
        Flow::Next
    }

    /// Answers a command that is refused.
    pub(super) fn refuse(&mut self, conn: ConnId, error: &CommandError<'_>) {
        if matches!(error, CommandError::Http) {
            return self.drain(conn);
        }
        let flight = self.own_flight();
        self.answer_here(conn, flight, |encoder| error.encode(encoder));
    }

    /// Answers a command in its order, from this core.
    pub(super) fn answer_here(
        &mut self,
        conn: ConnId,
        flight: u32,
        encode: impl FnOnce(&mut crate::resp::Encoder<'_>),
    ) {
        let start = self.start_ticks(conn);
        self.desk.answer_here(conn, start, flight, encode);
    }

    /// When the last byte of a connection's newest input was read.
    pub(super) fn start_ticks(&self, conn: ConnId) -> u64 {
        self.desk.conns.get(conn).map_or(0, |connection| connection.input_ticks)
    }

    /// A place in the order of a connection's replies.
    fn place(&mut self, conn: ConnId) -> Place {
        let connection = self.desk.conns.get_mut(conn).expect("a command comes from a connection");
        connection.ring.take_place(connection.input_ticks)
    }

    fn take_place(&mut self, conn: ConnId, command: CommandId) -> Waiter {
        Waiter::Conn { conn, place: self.place(conn), command }
    }

    pub(super) fn gather(&mut self, conn: ConnId, command: CommandId, shape: Shape, parts: usize) -> u32 {
        let place = self.place(conn);
        let protocol = self.desk.conns.get(conn).map_or_else(Default::default, |conn| conn.protocol());
        let parts = u32::try_from(parts).expect("groups are few");
        self.desk.gatherings.insert(Gathering::new(conn, place, command, protocol, shape, parts))
    }

    pub(super) fn gather_cores(
        &mut self,
        conn: ConnId,
        command: CommandId,
        report: super::gathering::Report,
    ) -> u32 {
        self.gather(conn, command, Shape::Cores(report), self.departures.len())
    }

    fn write(&mut self, conn: ConnId, route: Route, command: &Command<'_>, waiter: Waiter) {
        self.desk.counters.writes += 1;
        let written = self.departures[usize::from(route.core.0)].write(
            route.group,
            command,
            argument_bytes(command),
            waiter,
            &mut self.desk.flights,
            &mut self.spare,
        );
        if let Some(connection) = self.desk.conns.get_mut(conn) {
            connection.wrote(route.group, self.turn, written.flight, written.position);
        }
    }

    pub(super) fn read(&mut self, conn: ConnId, route: Route, read: &Read<'_>, waiter: Waiter) {
        self.desk.counters.reads += 1;
        let Some(connection) = self.desk.conns.get(conn) else { return };
        let after = match connection.read_after(route.group, self.turn) {
            _ if planted::is("read-forgets-own-write") => crate::conn::After::Nothing,
            after => after,
        };
        let departure = &mut self.departures[usize::from(route.core.0)];
        departure.read(route.group, read, after, waiter, &mut self.desk.flights);
    }

    fn keyed(&mut self, conn: ConnId, command: CommandId, keyed: &Keyed<'_>) {
        let groups = self.routes.groups().len();
        let slot = match crossing(keyed, groups) {
            Ok(Crossing::One(slot)) => Some(slot),
            Ok(Crossing::Many) if groups == 1 => Some(pinion_shard::Slot(0)),
            Ok(Crossing::Many) => None,
            Err(error) => return self.refuse(conn, &error),
        };
        let Some(slot) = slot else { return self.split(conn, command, keyed) };
        let route = self.routes.of_slot(slot);
        let waiter = self.take_place(conn, command);
        self.with_items(keyed, 0..keyed.len(), |core, items| core.part(conn, route, keyed, items, waiter));
    }

    /// Sends the keys of each group to it, and puts the replies together.
    fn split(&mut self, conn: ConnId, command: CommandId, keyed: &Keyed<'_>) {
        let mut parts: Vec<(Route, Vec<u32>)> = Vec::new();
        for (index, key) in (0..).zip(keyed.keys()) {
            let route = self.routes.of_key(&key);
            match parts.iter_mut().find(|(known, _)| *known == route) {
                Some((_, indices)) => indices.push(index),
                None => parts.push((route, vec![index])),
            }
        }
        if let [(route, _)] = parts[..] {
            let waiter = self.take_place(conn, command);
            return self.with_items(keyed, 0..keyed.len(), |core, items| {
                core.part(conn, route, keyed, items, waiter);
            });
        }
        let shape = match keyed.kind {
            KeyedKind::MGet => {
                let positions = parts.iter().map(|(_, indices)| indices.clone()).collect();
                Shape::Elements(Elements::new(keyed.len(), positions))
            }
            _ => Shape::Sum,
        };
        let gathering = self.gather(conn, command, shape, parts.len());
        for (part, (route, indices)) in (0..).zip(parts) {
            let waiter = Waiter::Part { gathering, part };
            let indices = indices.into_iter().map(|index| index as usize);
            self.with_items(keyed, indices, |core, items| core.part(conn, route, keyed, items, waiter));
        }
    }

    fn with_items<'a>(
        &mut self,
        keyed: &Keyed<'a>,
        indices: impl Iterator<Item = usize>,
        act: impl FnOnce(&mut Self, List<'_>),
    ) {
        let mut inline: [&[u8]; INLINE_ITEMS] = [&[]; INLINE_ITEMS];
        if keyed.len() * keyed.kind.step() > INLINE_ITEMS {
            let items: Vec<&'a [u8]> = indices.flat_map(|index| keyed.items(index)).collect();
            return act(self, List::new(&items));
        }
        let mut count = 0;
        for item in indices.flat_map(|index| keyed.items(index)) {
            inline[count] = item;
            count += 1;
        }
        act(self, List::new(&inline[..count]));
    }

    fn part(&mut self, conn: ConnId, route: Route, keyed: &Keyed<'_>, items: List<'_>, waiter: Waiter) {
        match (keyed.write(items), keyed.read(items)) {
            (Some(write), _) => self.write(conn, route, &write, waiter),
            (_, Some(read)) => self.read(conn, route, &read, waiter),
            (None, None) => unreachable!("it is the one or the other"),
        }
    }

    /// Asks every group for its first page.
    fn pages(&mut self, conn: ConnId, command: CommandId, shape: Shape) {
        let pattern = match &shape {
            Shape::Keys { pattern, kind } => Some((pattern.clone(), *kind)),
            _ => None,
        };
        let routes = self.routes.groups().to_vec();
        let gathering = self.gather(conn, command, shape, routes.len());
        for (part, route) in (0..).zip(routes) {
            let read = match &pattern {
                Some((pattern, kind)) => Read::Scan { cursor: 0, count: PAGE_ROWS, pattern, kind: *kind },
                None => Read::DbSize { cursor: 0, count: PAGE_ROWS },
            };
            self.read(conn, route, &read, Waiter::Part { gathering, part });
        }
    }

    /// Asks every group for the keys behind a place drawn in it.
    fn random_key(&mut self, conn: ConnId, command: CommandId) {
        let routes = self.routes.groups().to_vec();
        let random = Random::new(routes.len(), self.random.u64(..));
        let gathering = self.gather(conn, command, Shape::Random(random), routes.len());
        for (part, route) in (0..).zip(routes) {
            let slots = self.routes.slots_of(part as usize);
            let place = u64::from(self.random.u16(slots)) << 48 | self.random.u64(..1 << 48);
            self.read(conn, route, &random_page(place), Waiter::Part { gathering, part });
        }
    }

    /// Asks for the pages that gatherings go on with.
    pub(super) fn ask_next_pages(&mut self) {
        for page in std::mem::take(&mut self.desk.next_pages) {
            let route = self.routes.groups()[page.part as usize];
            let conn = self.desk.gatherings.get_mut(page.gathering).conn;
            let waiter = Waiter::Part { gathering: page.gathering, part: page.part };
            // A connection that is gone asks no more, but its gathering ends only with its last page.
            let after = match self.desk.conns.get(conn) {
                Some(connection) => connection.read_after(route.group, self.turn),
                None => crate::conn::After::Nothing,
            };
            let departure = &mut self.departures[usize::from(route.core.0)];
            let gathering = self.desk.gatherings.get_mut(page.gathering);
            let read = gathering.page(page.cursor, PAGE_ROWS);
            departure.read(route.group, &read, after, waiter, &mut self.desk.flights);
        }
    }

    fn flush_all(&mut self, conn: ConnId, command: CommandId) {
        let routes = self.routes.groups().to_vec();
        let gathering = self.gather(conn, command, Shape::AllOk, routes.len());
        for (part, route) in (0..).zip(routes) {
            self.write(conn, route, &Command::FlushAll, Waiter::Part { gathering, part });
        }
    }
}
