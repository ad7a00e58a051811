//! The owner's side of a request: reads in windows, so that their memory accesses overlap, and batches.

use pinion_shard::{BatchBuf, CoreId, GroupId, Kind, Origin, Read, Replies, Reply, ReplyTo};

use super::Core;
use super::depart::OpenBatch;
use super::owner::Owner;
use crate::message::{Item, Items, ReadAfter};
use crate::planted;
use crate::stages::Stage;

/// How long a core that a planted bug keeps busy is so, in each turn with requests, in microseconds.
const KEPT_BUSY_MICROS: u64 = 20_000;
/// Reads that are prefetched together.
const WINDOW: usize = 16;

#[derive(Clone, Copy)]
struct Waiting<'a> {
    group: GroupId,
    to: ReplyTo,
    after: ReadAfter,
    read: Read<'a>,
}

/// Reads in the order of their arrival, up to a window of them.
#[derive(Default)]
struct Window<'a> {
    reads: [Option<Waiting<'a>>; WINDOW],
    len: usize,
}

impl<O: Owner> Core<O> {
    /// Carries out the requests of a sibling core.
    pub(super) fn carry_out_foreign(&mut self, from: CoreId, items: Items<'_>) {
        let begun = self.counter();
        let first = self.foreign.len();
        self.carry_out(from, items, begun);
        let ended = self.counter();
        for &(core, flight, _) in &self.foreign[first..] {
            self.desk.mark_foreign(core, flight, Stage::Admit, ended);
        }
        self.desk.mark_answered(ended, ended);
    }

    /// Carries out what this core asked of itself in this turn.
    pub(super) fn carry_out_own(&mut self, parsed: u64) {
        let mut departure = std::mem::take(&mut self.departures[usize::from(self.id.0)]);
        if departure.is_empty() {
            return self.put_back(departure);
        }
        for flight in departure.flights() {
            self.desk.flights.get_mut(flight).trail.mark(Stage::Route, parsed);
        }
        if planted::is("core-kept-busy") && self.id.0 + 1 == self.settings.cores {
            let end = parsed + KEPT_BUSY_MICROS * self.ticks.per_micro();
            while self.ticks.now() < end {}
        }
        self.carry_out(self.id, Items::of(&departure.reads), parsed);
        let read_flight = departure.read_flight.take();
        let mut batches = std::mem::take(&mut departure.batches);
        for batch in &mut batches {
            self.submit_own(batch);
        }
        let ended = self.counter();
        let flights = read_flight.into_iter().chain(batches.iter().map(|batch| batch.flight));
        for flight in flights {
            self.desk.flights.get_mut(flight).trail.mark(Stage::Admit, ended);
        }
        for batch in batches.drain(..) {
            self.foreign.push((self.id, batch.flight, true));
            self.spare.give(batch.after);
        }
        departure.batches = batches;
        departure.reads.clear();
        self.desk.mark_answered(ended, ended);
        self.put_back(departure);
    }

    fn put_back(&mut self, departure: super::Departure) {
        self.departures[usize::from(self.id.0)] = departure;
    }

    fn submit_own(&mut self, batch: &mut OpenBatch) {
        let builder = std::mem::replace(&mut batch.builder, pinion_shard::BatchBuilder::reuse(Vec::new()));
        let origin = Origin { node: self.settings.node, core: self.id, slot: batch.flight };
        self.desk.counters.batches += 1;
        self.owner.submit(batch.group, builder.finish(Kind::Commands, origin), &mut self.desk);
        let after = std::mem::take(&mut batch.after);
        self.carry_out(self.id, Items::of(&after), 0);
        batch.after = after;
    }

    fn carry_out(&mut self, from: CoreId, items: Items<'_>, begun: u64) {
        let mut window = Window::default();
        for item in items {
            match item {
                Item::Read { group, flight, index, after, read } => {
                    self.note_foreign(from, flight, false, begun);
                    let to = ReplyTo { core: from, slot: flight, index };
                    window.reads[window.len] = Some(Waiting { group, to, after, read });
                    window.len += 1;
                    if window.len == WINDOW {
                        self.read_window(&mut window);
                    }
                }
                Item::Batch { group, bytes } => {
                    self.read_window(&mut window);
                    let batch = BatchBuf::from_bytes(bytes.to_vec()).expect("a sibling core encoded it");
                    self.note_foreign(from, batch.origin().slot, true, begun);
                    self.desk.counters.batches += 1;
                    self.owner.submit(group, batch, &mut self.desk);
                }
                Item::Trail { .. } | Item::Reply { .. } => unreachable!("a request holds no reply"),
            }
        }
        self.read_window(&mut window);
    }

    /// Reads of a window: all keys are encoded, then all memory is asked for in rounds, then all are answered.
    fn read_window(&mut self, window: &mut Window<'_>) {
        let reads = &window.reads[..window.len];
        let mut prepared: [Option<O::Prepared<'_>>; WINDOW] = std::array::from_fn(|_| None);
        for (waiting, prepared) in reads.iter().flatten().zip(&mut prepared) {
            *prepared = self.owner.prepare(waiting.group, waiting.read);
        }
        let mut round = || {
            let reads = reads.iter().flatten().zip(&mut prepared);
            let more =
                reads.filter_map(|(waiting, read)| Some(self.owner.touch(waiting.group, read.as_mut()?)));
            more.fold(false, |any, more| any | more)
        };
        while round() {}
        for (waiting, prepared) in reads.iter().flatten().zip(&prepared) {
            let Waiting { group, to, after, .. } = *waiting;
            match prepared {
                Some(prepared) => self.owner.read(group, prepared, to, after, &mut self.desk),
                None => self.desk.reply(to, Reply::Error(self.owner.absence(group))),
            }
        }
        window.len = 0;
    }

    /// Notes a flight of another core when it is seen for the first time in this turn.
    fn note_foreign(&mut self, from: CoreId, flight: u32, writes: bool, begun: u64) {
        if from == self.id || self.foreign.iter().any(|&(core, seen, _)| (core, seen) == (from, flight)) {
            return;
        }
        self.foreign.push((from, flight, writes));
        self.desk.begin_foreign(from, flight);
        self.desk.mark_foreign(from, flight, Stage::Route, begun);
    }

    /// Notes that the batches of this turn were handed to Raft and to the log.
    pub(super) fn mark_proposed(&mut self, ticks: u64) {
        for (core, flight, _) in self.foreign.drain(..).filter(|(_, _, writes)| *writes) {
            if core == self.id {
                self.desk.flights.get_mut(flight).trail.mark(Stage::Propose, ticks);
            } else {
                self.desk.mark_foreign(core, flight, Stage::Propose, ticks);
            }
        }
    }
}
