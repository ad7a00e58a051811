//! Answers about the server itself: stages and INFO of all cores, CLIENT INFO.
//!
//! Each core is asked through the mesh and answers in its next turn; the core of the connection puts the answers
//! together. `PINION STAGES` answers, per core, an array of `[stage, "count", n, "sum_ns", n, "p50_ns", n, "p99_ns", n,
//! "p999_ns", n, "max_ns", n]`, the nine stages in their order and then `total`, which is their exact sum. `PINION FLUSH`
//! answers when every core has been asked to flush its memtables; they are flushed when INFO shows none of their bytes.

use std::io::Write as _;

use super::Core;
use super::gathering::{Report as Kind, Shape};
use super::owner::Owner;
use super::slowness::Slowness;
use crate::ConnId;
use crate::chore;
use crate::command::{CommandId, Report};
use crate::info::{self, Seen};
use crate::message::{self, Subject};
use crate::metrics::Counters;
use crate::resp::{Encoder, Protocol, Request};
use crate::slow;
use crate::stages::{STAGES, StageFigures};
use crate::stalls::{CLASSES, PHASE_COUNT};
use crate::tally::Tally;

/// Numbers of one stage in an answer.
const FIGURES: [&str; 6] = ["count", "sum_ns", "p50_ns", "p99_ns", "p999_ns", "max_ns"];

const fn numbers(figures: &StageFigures) -> [u64; FIGURES.len()] {
    let StageFigures { count, sum_nanos, p50_nanos, p99_nanos, p999_nanos, max_nanos } = *figures;
    [count, sum_nanos, p50_nanos, p99_nanos, p999_nanos, max_nanos]
}

impl<O: Owner> Core<O> {
    pub(super) fn report(&mut self, conn: ConnId, command: CommandId, report: Report, request: Request<'_>) {
        let (kind, subject) = match report {
            Report::Stages => (Kind::Stages, Subject::Stages),
            Report::StagesReset => (Kind::Done, Subject::ResetStages),
            Report::Flush => (Kind::Done, Subject::Flush),
            Report::Save { says } => (Kind::Said(says), Subject::Flush),
            Report::ResetStatistics => (Kind::Done, Subject::ResetStatistics),
            Report::Info => {
                let sections: Vec<Vec<u8>> = request.args(1).map(<[u8]>::to_ascii_lowercase).collect();
                let subject =
                    if info::needs_commands(&sections) { Subject::Tally } else { Subject::Counters };
                (Kind::Info(sections), subject)
            }
            Report::SlowlogGet { count } => (Kind::Slowness(Slowness::Log { count }), Subject::SlowLog),
            Report::SlowlogLen => (Kind::Slowness(Slowness::Len), Subject::SlowLog),
            Report::SlowlogReset => (Kind::Done, Subject::ResetSlowLog),
            Report::Slowest { count } => (Kind::Slowness(Slowness::Slowest { count }), Subject::Slowest),
            Report::SlowestReset => (Kind::Done, Subject::ResetSlowest),
            Report::Latency => {
                let families = request.args(2).map(<[u8]>::to_ascii_lowercase).collect();
                (Kind::Latency(families), Subject::Latency)
            }
            Report::ClientInfo => return self.client_info(conn),
        };
        let gathering = self.gather_cores(conn, command, kind);
        let own = u32::from(self.id.0);
        let mut answer = self.spare.take();
        self.describe(subject, &mut answer);
        self.desk.deliver_answer(gathering, own, &answer);
        self.spare.give(answer);
        for core in (0..self.departures.len() as u16).filter(|&core| core != self.id.0) {
            self.questions.push((core, gathering, subject));
        }
    }

    /// Has something carried out beside the cores.
    pub(super) fn chore(&mut self, conn: ConnId, command: CommandId, chore: chore::Chore) {
        let gathering = self.gather(conn, command, Shape::Cores(Kind::Chore), 1);
        self.chores.push((gathering, chore));
    }

    /// Sends the questions of this turn.
    pub(super) fn ask(&mut self, outbox: &mut crate::Outbox) {
        for (ticket, chore) in self.chores.drain(..) {
            outbox.chore(ticket, chore);
        }
        for (core, gathering, subject) in self.questions.drain(..) {
            let mut question = outbox.buffer();
            message::put_question(&mut question, gathering, u32::from(core), subject);
            outbox.message(crate::CoreId(core), question);
        }
    }

    /// Appends what this core knows about a subject.
    pub(super) fn describe(&mut self, subject: Subject, out: &mut Vec<u8>) {
        match subject {
            Subject::Stages => {
                let per_micro = self.ticks.per_micro();
                let figures = STAGES.iter().map(|&stage| self.stages.figures(stage, per_micro));
                for figures in figures.chain([self.stages.whole(per_micro)]) {
                    numbers(&figures).iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
                }
            }
            Subject::ResetStages => self.forget_durations(),
            Subject::Latency => self.sample().write(out),
            Subject::Flush => self.owner.flush(),
            Subject::ResetStatistics => {
                self.counted_before = self.counters();
                self.desk.tally.reset();
            }
            Subject::SlowLog => slow::write(self.slow.log(), out),
            Subject::ResetSlowLog => self.slow.reset_log(),
            Subject::Slowest => slow::write(self.slow.slowest(), out),
            Subject::ResetSlowest => self.slow.reset_slowest(),
            Subject::Counters | Subject::Tally => {
                self.counters().since(&self.counted_before).write(out);
                self.desk.tally.write(subject == Subject::Tally, out);
            }
        }
    }

    /// The counters, with what is held at this moment.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let owner = self.owner.report();
        let [commands_per_second, input_bytes_per_second, output_bytes_per_second] =
            self.pace.per_second(self.now.mono, self.paced());
        Counters {
            connections: self.desk.conns.len() as u64,
            unsent_bytes: self.desk.unsent_bytes() as u64,
            memtable_bytes: owner.memtable_bytes,
            cache_bytes: owner.cache_bytes,
            log_bytes: owner.log_bytes,
            proposal_bytes: owner.proposal_bytes,
            groups: owner.groups,
            groups_damaged: owner.groups_damaged,
            groups_halted: owner.groups_halted,
            tables_damaged: owner.tables_damaged,
            cores_without_space: u64::from(owner.no_space),
            keyspace_hits: owner.lookups.0,
            keyspace_misses: owner.lookups.1,
            commands_per_second,
            input_bytes_per_second,
            output_bytes_per_second,
            ..self.desk.counters
        }
    }

    /// Encodes the reports whose last answer came.
    pub(super) fn finish_reports(&mut self) {
        for gathering in std::mem::take(&mut self.desk.reports) {
            let whole = self.desk.gatherings.get_mut(gathering);
            let conn = whole.conn;
            let Some((kind, answers)) = whole.report() else { continue };
            let protocol = self.desk.conns.get(conn).map_or(Protocol::Resp2, |conn| conn.protocol());
            let mut encoded = Vec::new();
            let mut encoder = Encoder::new(&mut encoded, protocol);
            match kind {
                Kind::Done => encoder.ok(),
                Kind::Said(words) => encoder.simple(words),
                Kind::Chore => match chore::read_answer(&answers[0]) {
                    Ok(()) => encoder.ok(),
                    Err(why) => encoder.error(format!("ERR {why}").as_bytes()),
                },
                Kind::Stages => encode_stages(&answers, &mut encoder),
                Kind::Latency(families) => self.encode_samples(&families, &answers, &mut encoder),
                Kind::Slowness(kind) => self.encode_slowness(kind, &answers, &mut encoder),
                Kind::Info(sections) => encoder.verbatim(self.info(&answers, &sections).as_bytes()),
            }
            let flight = self.own_flight();
            self.desk.flights.hold(flight);
            self.desk.finish_report(gathering, flight, &encoded);
        }
    }

    fn info(&self, answers: &[Vec<u8>], sections: &[Vec<u8>]) -> String {
        let (mut counters, mut tally) = (Counters::default(), Tally::default());
        for answer in answers {
            let (numbers, commands) = answer.split_at(Counters::COUNT * 8);
            counters.add(numbers);
            tally.add(commands);
        }
        let phases = CLASSES[..PHASE_COUNT].iter();
        let stalls: Vec<String> =
            phases.map(|&phase| format!("{}={}", phase.name(), self.stalls.of(phase).count())).collect();
        let ticks_per_micro = self.ticks.per_micro();
        let seen = Seen { counters: &counters, tally: &tally, ticks_per_micro, stalls: &stalls.join(",") };
        info::render(&seen, &self.settings, self.now, sections)
    }

    fn client_info(&mut self, conn: ConnId) {
        let Some(connection) = self.desk.conns.get(conn) else { return };
        let now_ms = self.now.mono.0 / 1_000_000;
        let session = &connection.session;
        let mut line = Vec::new();
        let name = String::from_utf8_lossy(&session.client.name).into_owned();
        let command = session.last_command.map_or("NULL", |command| command.spec().name);
        writeln!(
            line,
            "id={} addr={} laddr={} fd={} name={name} age={} idle={} flags=N db=0 sub=0 psub=0 ssub=0 multi=-1 qbuf={} \
             qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem={} tot-mem={} events=r cmd={command} \
             user=default redir=-1 resp={}",
            session.client.id,
            session.peer,
            session.local,
            connection.id.slot,
            now_ms.saturating_sub(session.since_ms) / 1_000,
            now_ms.saturating_sub(session.active_ms) / 1_000,
            connection.input.len(),
            connection.reply_bytes(),
            connection.input.capacity() + connection.reply_bytes(),
            session.client.protocol.number(),
        )
        .expect("writing to memory does not fail");
        let flight = self.own_flight();
        self.answer_here(conn, flight, |encoder| encoder.verbatim(&line));
    }
}

fn encode_stages(answers: &[Vec<u8>], encoder: &mut Encoder<'_>) {
    encoder.array(answers.len());
    for answer in answers {
        encoder.array(STAGES.len() + 1);
        let names = STAGES.iter().map(|stage| stage.name()).chain(["total"]);
        for (name, figures) in names.zip(answer.chunks_exact(FIGURES.len() * 8)) {
            encoder.array(1 + 2 * FIGURES.len());
            encoder.bulk(name.as_bytes());
            for (label, number) in FIGURES.iter().zip(figures.chunks_exact(8)) {
                encoder.bulk(label.as_bytes());
                let number = u64::from_le_bytes(number.try_into().expect("chunks of eight"));
                encoder.integer(i64::try_from(number).unwrap_or(i64::MAX));
            }
        }
    }
}
