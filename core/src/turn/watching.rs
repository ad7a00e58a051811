//! What held the core up, how long the disk takes, and PINION LATENCY, which tells all that is measured.
//!
//! `PINION LATENCY [family …]` answers, per core, names and values in turn: `"core"`, `"moment_ns"` (on the clock of the
//! node), `"requests"`, `"input_bytes"`, `"output_bytes"`, `"syncing_ns"` (how long the oldest durable operation in flight
//! has taken so far), `"series"` and `"untaken"`. A series is `[name, count, sum, max, [value, count, …]]`, values in
//! nanoseconds; [`series`](crate::series) has the names. Everything counts from the start, or from `PINION STAGES RESET`:
//! what came between two looks is the difference. `untaken` has the clients that have taken nothing for longest: `[number,
//! address, name, bytes, nanoseconds]`.

use std::rc::Rc;

use pinion_wal::disk::{SYNC_KINDS, SyncKind, SyncTimes};

use super::Core;
use super::owner::Owner;
use crate::Inbox;
use crate::conn::Phase;
use crate::resp::Encoder;
use crate::series::{Name, Sample, Series, TOTAL, Untaken};
use crate::spread::Spread;
use crate::stalls::{CLASSES, PHASE_COUNT, Stall};

/// Clients of a core that a sample tells of.
const UNTAKEN_MAX: usize = 8;

/// How long durable operations of this core took, in ticks.
#[derive(Default)]
pub(super) struct Syncs {
    times: Option<Rc<SyncTimes>>,
    by_kind: [Spread; SYNC_KINDS.len()],
}

impl Syncs {
    const fn of(&self, kind: SyncKind) -> &Spread {
        &self.by_kind[kind as usize]
    }
}

impl<O: Owner> Core<O> {
    /// Tells how long the durable operations took that `times` measures: those of this core.
    #[must_use]
    pub fn timing_syncs(mut self, times: Rc<SyncTimes>) -> Self {
        self.syncs.times = Some(times);
        self
    }

    /// Takes what the host and the disk were about since the last turn.
    pub(super) fn note_away(&mut self, inbox: &mut Inbox) {
        let Self { stalls, syncs, ticks, .. } = self;
        let per_micro = ticks.per_micro();
        for (class, ticks) in inbox.away().take() {
            stalls.note(class, ticks, per_micro);
        }
        let Syncs { times, by_kind } = syncs;
        if let Some(times) = times {
            times.take(|kind, ticks| {
                by_kind[kind as usize].record(ticks);
                stalls.note(Stall::Disk, ticks, per_micro);
            });
        }
    }

    /// Notes when the phases of a turn ended, after when it began.
    pub(super) fn note_stall(&mut self, marks: [u64; PHASE_COUNT + 1]) {
        if marks[0] == 0 {
            // Nobody wanted it when the turn began.
            return;
        }
        let whole = marks[PHASE_COUNT].saturating_sub(marks[0]);
        let longest = (0..PHASE_COUNT).max_by_key(|&phase| marks[phase + 1].saturating_sub(marks[phase]));
        let stalled = self.stalls.note(CLASSES[longest.unwrap_or(0)], whole, self.ticks.per_micro());
        self.desk.counters.turns_stalled += u64::from(stalled);
    }

    pub(super) fn forget_durations(&mut self) {
        self.stages.reset();
        self.stalls.reset();
        self.syncs.by_kind = Default::default();
        self.unsent.reset();
        self.desk.tally.reset_spreads();
    }

    /// What this core has measured.
    #[must_use]
    pub fn sample(&self) -> Sample {
        let counters = &self.desk.counters;
        let mut series: Vec<Series> = (0..=TOTAL).map(|stage| self.stages.series(stage)).collect();
        let mut put = |name, spread: &Spread| {
            if spread.count() > 0 {
                series.push(Series::of(name, spread));
            }
        };
        for (label, row) in self.desk.tally.rows() {
            row.spreads().iter().enumerate().for_each(|(at, spread)| put(Name::Command(label, at), spread));
        }
        CLASSES.iter().for_each(|&class| put(Name::Stall(class), self.stalls.of(class)));
        SYNC_KINDS.iter().for_each(|&kind| put(Name::Sync(kind), self.syncs.of(kind)));
        put(Name::Unsent, &self.unsent);
        Sample {
            core: u64::from(self.id.0),
            moment_nanos: self.now.mono.0,
            requests: counters.commands,
            input_bytes: counters.input_bytes,
            output_bytes: counters.output_bytes,
            syncing: self.syncs.times.as_ref().map_or(0, |times| times.oldest()),
            series,
            untaken: self.untaken(),
        }
    }

    fn untaken(&self) -> Vec<Untaken> {
        let owed = |conn: &&crate::conn::Connection| conn.unsent_bytes > 0 && conn.phase != Phase::Closing;
        let mut clients: Vec<_> = self.desk.conns.iter().filter(owed).collect();
        clients.sort_by_key(|conn| (conn.taken_at, conn.session.client.id));
        clients.truncate(UNTAKEN_MAX);
        let told = clients.into_iter().map(|conn| Untaken {
            id: conn.session.client.id,
            bytes: conn.unsent_bytes as u64,
            nanos: self.now.mono.nanos_since(conn.taken_at),
            peer: conn.session.peer.to_string(),
            name: conn.session.client.name.clone(),
        });
        told.collect()
    }

    pub(super) fn encode_samples(
        &self,
        families: &[Vec<u8>],
        answers: &[Vec<u8>],
        encoder: &mut Encoder<'_>,
    ) {
        let per_micro = u128::from(self.ticks.per_micro().max(1));
        let nanos = |ticks: u64| u64::try_from(u128::from(ticks) * 1_000 / per_micro).unwrap_or(u64::MAX);
        encoder.array(answers.len());
        for answer in answers {
            encode_sample(&Sample::read(answer), families, &nanos, encoder);
        }
    }
}

fn integer(number: u64, encoder: &mut Encoder<'_>) {
    encoder.integer(i64::try_from(number).unwrap_or(i64::MAX));
}

fn encode_sample(
    sample: &Sample,
    families: &[Vec<u8>],
    nanos: &dyn Fn(u64) -> u64,
    encoder: &mut Encoder<'_>,
) {
    let numbers = [
        ("core", sample.core),
        ("moment_ns", sample.moment_nanos),
        ("requests", sample.requests),
        ("input_bytes", sample.input_bytes),
        ("output_bytes", sample.output_bytes),
        ("syncing_ns", nanos(sample.syncing)),
    ];
    encoder.array(2 * (numbers.len() + 2));
    for (name, number) in numbers {
        encoder.bulk(name.as_bytes());
        integer(number, encoder);
    }
    let family = |series: &&Series| {
        let family = series.name.split('/').next().unwrap_or_default();
        families.is_empty() || families.iter().any(|asked| asked == family.as_bytes())
    };
    encoder.bulk(b"series");
    encoder.array(sample.series.iter().filter(family).count());
    for series in sample.series.iter().filter(family) {
        encoder.array(5);
        encoder.bulk(series.name.as_bytes());
        integer(series.count, encoder);
        integer(nanos(series.sum), encoder);
        integer(nanos(series.max), encoder);
        encoder.array(2 * series.buckets.len());
        for &(value, count) in &series.buckets {
            integer(nanos(value), encoder);
            integer(count, encoder);
        }
    }
    encoder.bulk(b"untaken");
    encoder.array(sample.untaken.len());
    for client in &sample.untaken {
        encoder.array(5);
        integer(client.id, encoder);
        encoder.bulk(client.peer.as_bytes());
        encoder.bulk(&client.name);
        integer(client.bytes, encoder);
        integer(client.nanos, encoder);
    }
}
