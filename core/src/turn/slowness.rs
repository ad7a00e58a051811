//! Answers about the requests that took longest: SLOWLOG and PINION SLOWEST.
//!
//! `PINION SLOWEST [count]` answers, slowest first, an array per request: `["id", n, "time_ms", n, "core", n, "command",
//! name, "client", address, "name", name, "arguments", [argument, …], "stages_ns", [stage, n, …, "total", n]]`, the nine
//! stages in their order and then `total`, which is their exact sum.

use super::Core;
use super::owner::Owner;
use crate::resp::Encoder;
use crate::slow::{self, Record, sketch};
use crate::stages::STAGES;

/// What is made of the slow requests of all cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slowness {
    /// SLOWLOG GET.
    Log {
        /// Entries, at most.
        count: usize,
    },
    /// SLOWLOG LEN.
    Len,
    /// PINION SLOWEST.
    Slowest {
        /// Requests, at most.
        count: usize,
    },
}

impl<O: Owner> Core<O> {
    pub(super) fn encode_slowness(&self, kind: Slowness, answers: &[Vec<u8>], encoder: &mut Encoder<'_>) {
        let records = slow::read(answers);
        let log_max = self.live.slowlog_max;
        match kind {
            // Together the cores keep as many as one would.
            Slowness::Len => encoder.integer(records.len().min(log_max) as i64),
            Slowness::Log { count } => {
                let newest = slow::newest(records, count.min(log_max));
                encoder.array(newest.len());
                newest.iter().for_each(|record| encode_logged(record, encoder));
            }
            Slowness::Slowest { count } => {
                let slowest = slow::slowest(records, count);
                encoder.array(slowest.len());
                slowest.iter().for_each(|record| encode_whole(record, encoder));
            }
        }
    }
}

fn peer(record: &Record) -> String {
    record.peer.map_or_else(String::new, |peer| peer.to_string())
}

fn encode_arguments(record: &Record, encoder: &mut Encoder<'_>) {
    let arguments = sketch::show(&record.sketch);
    encoder.array(arguments.len());
    arguments.iter().for_each(|argument| encoder.bulk(argument));
}

fn encode_logged(record: &Record, encoder: &mut Encoder<'_>) {
    encoder.array(6);
    encoder.integer(record.id as i64);
    encoder.integer((record.wall_ms / 1_000) as i64);
    encoder.integer((record.whole_nanos() / 1_000) as i64);
    encode_arguments(record, encoder);
    encoder.bulk(peer(record).as_bytes());
    encoder.bulk(&record.name);
}

fn encode_whole(record: &Record, encoder: &mut Encoder<'_>) {
    encoder.array(16);
    for (name, number) in [("id", record.id), ("time_ms", record.wall_ms), ("core", u64::from(record.core))] {
        encoder.bulk(name.as_bytes());
        encoder.integer(number as i64);
    }
    let peer = peer(record);
    let texts =
        [("command", record.label.name().as_bytes()), ("client", peer.as_bytes()), ("name", &record.name)];
    for (name, text) in texts {
        encoder.bulk(name.as_bytes());
        encoder.bulk(text);
    }
    encoder.bulk(b"arguments");
    encode_arguments(record, encoder);
    encoder.bulk(b"stages_ns");
    encoder.array(2 * (STAGES.len() + 1));
    for (stage, nanos) in STAGES.iter().zip(record.stage_nanos) {
        encoder.bulk(stage.name().as_bytes());
        encoder.integer(nanos as i64);
    }
    encoder.bulk(b"total");
    encoder.integer(record.whole_nanos() as i64);
}
