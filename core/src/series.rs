//! Durations by name, as cores tell them to each other and to who asks: each with its buckets, so that whoever looks twice
//! knows the percentiles of what came between.
//!
//! | name | of which durations |
//! |---|---|
//! | `stage/NAME` | of a stage, of every request; `stage/total`: of all stages |
//! | `command/COMMAND/NAME` | of a stage, of the requests of a command that it took any time; `total` of all of them |
//! | `stall/CLASS` | of what held the core up |
//! | `sync/KIND` | of durable writes, of syncs of files and directories, from submission to completion |
//! | `client/unsent` | in which a client took nothing of what it was sent, up to when it did |

use std::fmt;

use pinion_wal::disk::SyncKind;

use crate::spread::Spread;
use crate::stages::{STAGE_COUNT, STAGES};
use crate::stalls::Stall;
use crate::tally::Label;

/// What is measured by a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// A stage of all requests; the one behind the last is all of them.
    Stage(usize),
    /// A stage of a command, likewise.
    Command(Label, usize),
    /// What held the core up.
    Stall(Stall),
    /// Durable operations.
    Sync(SyncKind),
    /// Clients that take nothing.
    Unsent,
}

fn stage_name(stage: usize) -> &'static str {
    STAGES.get(stage).map_or("total", |stage| stage.name())
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Stage(stage) => write!(f, "stage/{}", stage_name(stage)),
            Self::Command(label, stage) => write!(f, "command/{}/{}", label.name(), stage_name(stage)),
            Self::Stall(class) => write!(f, "stall/{}", class.name()),
            Self::Sync(kind) => write!(f, "sync/{}", kind.name()),
            Self::Unsent => f.write_str("client/unsent"),
        }
    }
}

/// What names begin with.
pub const FAMILIES: [&str; 5] = ["stage", "command", "stall", "sync", "client"];

/// The stage behind the last.
pub const TOTAL: usize = STAGE_COUNT;

/// Durations under one name, in ticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// Of what.
    pub name: String,
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
    /// The longest.
    pub max: u64,
    /// Values and how many durations are about as long, by rising value.
    pub buckets: Vec<(u64, u64)>,
}

impl Series {
    /// That of a spread.
    #[must_use]
    pub fn of(name: Name, spread: &Spread) -> Self {
        let (count, sum, max) = (spread.count(), spread.sum(), spread.max());
        Self { name: name.to_string(), count, sum, max, buckets: spread.buckets().collect() }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut put = |number: u64| out.extend_from_slice(&number.to_le_bytes());
        [self.count, self.sum, self.max, self.buckets.len() as u64].into_iter().for_each(&mut put);
        for &(value, count) in &self.buckets {
            put(value);
            put(count);
        }
        write_text(self.name.as_bytes(), out);
    }

    fn read(bytes: &mut &[u8]) -> Self {
        let (count, sum, max, len) = (number(bytes), number(bytes), number(bytes), number(bytes));
        let buckets = (0..len).map(|_| (number(bytes), number(bytes))).collect();
        let name = String::from_utf8_lossy(&text(bytes)).into_owned();
        Self { name, count, sum, max, buckets }
    }
}

/// A client that does not take what it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untaken {
    /// Its number.
    pub id: u64,
    /// Bytes that it was sent and did not take.
    pub bytes: u64,
    /// For how long it has taken nothing, in nanoseconds.
    pub nanos: u64,
    /// Its address.
    pub peer: String,
    /// Its name.
    pub name: Vec<u8>,
}

/// What one core measured, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// The core.
    pub core: u64,
    /// The moment on the clock of the node, in nanoseconds.
    pub moment_nanos: u64,
    /// Replies so far.
    pub requests: u64,
    /// Bytes received so far.
    pub input_bytes: u64,
    /// Bytes sent so far.
    pub output_bytes: u64,
    /// How long the oldest durable operation in flight has taken by now, in ticks.
    pub syncing: u64,
    /// Every name of which something was measured.
    pub series: Vec<Series>,
    /// The clients that have taken nothing for longest, longest first.
    pub untaken: Vec<Untaken>,
}

impl Sample {
    /// Appends it, for a sibling core.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut put = |number: u64| out.extend_from_slice(&number.to_le_bytes());
        let counts = [self.input_bytes, self.output_bytes, self.syncing, self.series.len() as u64];
        [self.core, self.moment_nanos, self.requests].into_iter().chain(counts).for_each(&mut put);
        self.series.iter().for_each(|series| series.write(out));
        for client in &self.untaken {
            for number in [client.id, client.bytes, client.nanos] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            write_text(client.peer.as_bytes(), out);
            write_text(&client.name, out);
        }
    }

    /// What [`Sample::write`] wrote.
    ///
    /// # Panics
    /// When it did not.
    #[must_use]
    pub fn read(mut bytes: &[u8]) -> Self {
        let bytes = &mut bytes;
        let [core, moment_nanos, requests, input_bytes, output_bytes, syncing, len] =
            std::array::from_fn(|_| number(bytes));
        let series = (0..len).map(|_| Series::read(bytes)).collect();
        let mut untaken = Vec::new();
        while !bytes.is_empty() {
            let (id, bytes_left, nanos) = (number(bytes), number(bytes), number(bytes));
            let peer = String::from_utf8_lossy(&text(bytes)).into_owned();
            untaken.push(Untaken { id, bytes: bytes_left, nanos, peer, name: text(bytes) });
        }
        Self { core, moment_nanos, requests, input_bytes, output_bytes, syncing, series, untaken }
    }
}

fn write_text(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text);
}

fn number(bytes: &mut &[u8]) -> u64 {
    let (number, rest) = bytes.split_first_chunk().expect("a sample of another version");
    *bytes = rest;
    u64::from_le_bytes(*number)
}

fn text(bytes: &mut &[u8]) -> Vec<u8> {
    let len = number(bytes) as usize;
    let (text, rest) = bytes.split_at(len);
    *bytes = rest;
    text.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::lookup;

    #[test]
    fn names_tell_what_is_measured() {
        let get = Label::of_command(lookup(b"get").expect("it is in the table"));
        let names = [
            Name::Stage(0),
            Name::Stage(TOTAL),
            Name::Command(get, 7),
            Name::Stall(Stall::Preempted),
            Name::Sync(SyncKind::File),
            Name::Unsent,
        ];
        let expected = [
            "stage/parse",
            "stage/total",
            "command/get/apply",
            "stall/preempted",
            "sync/file",
            "client/unsent",
        ];
        assert_eq!(names.map(|name| name.to_string()), expected);
        let of_family = |name: &&str| FAMILIES.contains(&name.split('/').next().unwrap_or_default());
        assert!(expected.iter().all(of_family));
    }

    #[test]
    fn a_sample_reaches_a_sibling_as_it_was() {
        let mut spread = Spread::default();
        [5, 5, 900, 1 << 30].into_iter().for_each(|value| spread.record(value));
        let untaken = (0..2).map(|id| Untaken {
            id,
            bytes: 100 + id,
            nanos: 7,
            peer: "127.0.0.1:7".into(),
            name: b"joe"[..id as usize].to_vec(),
        });
        let sample = Sample {
            core: 1,
            moment_nanos: 2,
            requests: 3,
            input_bytes: 4,
            output_bytes: 5,
            syncing: 6,
            series: vec![Series::of(Name::Unsent, &spread), Series::of(Name::Stage(1), &Spread::default())],
            untaken: untaken.collect(),
        };
        let mut bytes = Vec::new();
        sample.write(&mut bytes);
        assert_eq!(Sample::read(&bytes), sample);
        assert_eq!(sample.series[0].buckets.iter().map(|(_, count)| count).sum::<u64>(), 4);
    }
}
