//! The requests that took longest, with their whole stage record.
//!
//! A core keeps the [`SLOWEST_MAX`] slowest since they were last forgotten, and the newest of those above a threshold, for
//! SLOWLOG. Both are bounded: a record takes [`sketch::BYTES_MAX`] bytes of arguments at most, and about 300 more.

pub mod sketch;

use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;

use crate::stages::STAGE_COUNT;
use crate::tally::Label;

/// Requests of a core that are kept as its slowest.
pub const SLOWEST_MAX: usize = 1_024;
/// Requests that SLOWLOG keeps, at most.
pub const LOG_MAX: usize = 4_096;

/// One request, as it was when its reply left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number among those of all cores; no two have the same.
    pub id: u64,
    /// The core of its connection.
    pub core: u16,
    /// Wall time when its reply left, in milliseconds since 1970.
    pub wall_ms: u64,
    /// Its command.
    pub label: Label,
    /// How long it was in each stage, in nanoseconds.
    pub stage_nanos: [u64; STAGE_COUNT],
    /// Its arguments, shortened, as [`sketch::write`] wrote them.
    pub sketch: Vec<u8>,
    /// The address of its client, if the connection still stood.
    pub peer: Option<SocketAddr>,
    /// The name of its client.
    pub name: Vec<u8>,
}

impl Record {
    /// From the last byte read to the send submitted, in nanoseconds: the sum of its stages.
    #[must_use]
    pub fn whole_nanos(&self) -> u64 {
        self.stage_nanos.iter().sum()
    }

    fn write(&self, out: &mut Vec<u8>) {
        let peer = self.peer.map_or_else(String::new, |peer| peer.to_string());
        let numbers = [self.id, u64::from(self.core), self.wall_ms, self.label.code()];
        for number in numbers.iter().chain(&self.stage_nanos) {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for bytes in [&self.sketch[..], peer.as_bytes(), &self.name] {
            out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            out.extend_from_slice(bytes);
        }
    }

    fn read(bytes: &mut &[u8]) -> Self {
        let (id, core, wall_ms) = (number(bytes), number(bytes) as u16, number(bytes));
        let label = Label::from_code(number(bytes));
        let stage_nanos = std::array::from_fn(|_| number(bytes));
        let (sketch, peer, name) = (part(bytes), part(bytes), part(bytes));
        let peer = str::from_utf8(&peer).ok().and_then(|peer| peer.parse().ok());
        Self { id, core, wall_ms, label, stage_nanos, sketch, peer, name }
    }
}

fn number(bytes: &mut &[u8]) -> u64 {
    let (number, rest) = bytes.split_first_chunk().expect("records of another version");
    *bytes = rest;
    u64::from_le_bytes(*number)
}

fn part(bytes: &mut &[u8]) -> Vec<u8> {
    let len = number(bytes) as usize;
    let (part, rest) = bytes.split_at(len);
    *bytes = rest;
    part.to_vec()
}

/// Appends records, for a sibling core.
pub fn write<'a>(records: impl Iterator<Item = &'a Record>, out: &mut Vec<u8>) {
    records.for_each(|record| record.write(out));
}

/// What [`write`] wrote, on any number of cores.
///
/// # Panics
/// When it did not.
#[must_use]
pub fn read(answers: &[Vec<u8>]) -> Vec<Record> {
    let mut records = Vec::new();
    for answer in answers {
        let mut bytes = &answer[..];
        while !bytes.is_empty() {
            records.push(Record::read(&mut bytes));
        }
    }
    records
}

/// What a core keeps. See the module page.
pub struct Slow {
    /// What SLOWLOG keeps, oldest first.
    log: VecDeque<Rc<Record>>,
    log_max: usize,
    /// Requests that take longer than this stand in the log, in nanoseconds; `None`: none do.
    log_above_nanos: Option<u64>,
    /// The slowest, by their time; `Rc` since the log may have the same.
    slowest: BTreeSet<BySlowness>,
    slowest_max: usize,
    seen: u64,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct BySlowness(u64, Reverse<u64>, RecordOf);

/// A record takes no part in the order: its time and its number decide.
struct RecordOf(Rc<Record>);

impl PartialEq for RecordOf {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for RecordOf {}
impl PartialOrd for RecordOf {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for RecordOf {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl Slow {
    /// Nothing kept. Requests above `log_above_micros` stand in the log (negative: none), the newest `log_max` of them.
    #[must_use]
    pub fn new(log_above_micros: i64, log_max: usize) -> Self {
        Self {
            log: VecDeque::new(),
            log_max: log_max.min(LOG_MAX),
            log_above_nanos: u64::try_from(log_above_micros).ok().map(|micros| micros.saturating_mul(1_000)),
            slowest: BTreeSet::new(),
            slowest_max: SLOWEST_MAX,
            seen: 0,
        }
    }

    /// Changes what stands in the log; the oldest that are too many are dropped.
    pub fn set_log(&mut self, above_micros: i64, max: usize) {
        self.log_max = max.min(LOG_MAX);
        self.log_above_nanos = u64::try_from(above_micros).ok().map(|micros| micros.saturating_mul(1_000));
        let beyond = self.log.len().saturating_sub(self.log_max);
        self.log.drain(..beyond);
    }

    /// Whether a request of so many nanoseconds is to be kept.
    #[inline]
    #[must_use]
    pub fn wants(&self, nanos: u64) -> bool {
        self.is_logged(nanos) || self.is_among_slowest(nanos)
    }

    /// As the oracle decides it: a request of just the threshold is logged.
    fn is_logged(&self, nanos: u64) -> bool {
        self.log_max > 0 && self.log_above_nanos.is_some_and(|above| nanos >= above)
    }

    fn is_among_slowest(&self, nanos: u64) -> bool {
        self.slowest.len() < self.slowest_max || self.slowest.first().is_some_and(|least| nanos > least.0)
    }

    /// The number of the next record, on core `core` of `cores`.
    pub fn next_id(&mut self, core: u16, cores: u16) -> u64 {
        let id = self.seen * u64::from(cores) + u64::from(core);
        self.seen += 1;
        id
    }

    /// Keeps a record, wherever it belongs.
    pub fn keep(&mut self, record: Record) {
        let (nanos, id, record) = (record.whole_nanos(), record.id, Rc::new(record));
        if self.is_logged(nanos) {
            if self.log.len() == self.log_max {
                self.log.pop_front();
            }
            self.log.push_back(record.clone());
        }
        if self.is_among_slowest(nanos) {
            self.slowest.insert(BySlowness(nanos, Reverse(id), RecordOf(record)));
            if self.slowest.len() > self.slowest_max {
                self.slowest.pop_first();
            }
        }
    }

    /// What SLOWLOG keeps, newest first.
    pub fn log(&self) -> impl Iterator<Item = &Record> {
        self.log.iter().rev().map(|record| &**record)
    }

    /// The slowest, slowest first.
    pub fn slowest(&self) -> impl Iterator<Item = &Record> {
        self.slowest.iter().rev().map(|entry| &*entry.2.0)
    }

    /// Forgets the log.
    pub fn reset_log(&mut self) {
        self.log.clear();
    }

    /// Forgets the slowest.
    pub fn reset_slowest(&mut self) {
        self.slowest.clear();
    }
}

/// Puts what several cores logged in order, newest first, and keeps what one core would.
#[must_use]
pub fn newest(mut records: Vec<Record>, count: usize) -> Vec<Record> {
    records.sort_by_key(|record| Reverse((record.wall_ms, record.id)));
    records.truncate(count);
    records
}

/// Puts the slowest of several cores in order, slowest first, and keeps `count` of them.
#[must_use]
pub fn slowest(mut records: Vec<Record>, count: usize) -> Vec<Record> {
    records.sort_by_key(|record| (Reverse(record.whole_nanos()), record.id));
    records.truncate(count);
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: u64, nanos: u64) -> Record {
        let mut stage_nanos = [0; STAGE_COUNT];
        stage_nanos[id as usize % STAGE_COUNT] = nanos;
        Record {
            id,
            core: (id % 3) as u16,
            wall_ms: 1_000 + id,
            label: Label::NONE,
            stage_nanos,
            sketch: vec![7; id as usize % 5],
            peer: id.is_multiple_of(2).then(|| "[::1]:7000".parse().expect("an address")),
            name: b"name"[..id as usize % 5].to_vec(),
        }
    }

    #[test]
    fn the_slowest_and_the_newest_above_the_threshold_are_kept() {
        let mut rng = fastrand::Rng::with_seed(5);
        let mut slow = Slow { slowest_max: 10, ..Slow::new(50, 7) };
        let mut all = Vec::new();
        for _ in 0..2_000 {
            let record = record(slow.next_id(1, 3), rng.u64(..100_000));
            if slow.wants(record.whole_nanos()) {
                slow.keep(record.clone());
            }
            all.push(record);
        }
        let kept: Vec<u64> = slow.slowest().map(Record::whole_nanos).collect();
        let model: Vec<u64> = slowest(all.clone(), 10).iter().map(Record::whole_nanos).collect();
        assert_eq!(kept, model);
        let above = all.into_iter().filter(|record| record.whole_nanos() >= 50_000).collect();
        assert!(slow.log().cloned().eq(newest(above, 7)));
        slow.reset_log();
        slow.reset_slowest();
        assert_eq!((slow.log().count(), slow.slowest().count()), (0, 0));
    }

    #[test]
    fn a_negative_threshold_or_no_room_logs_nothing() {
        for (above, max) in [(-1, 128), (0, 0)] {
            let mut slow = Slow::new(above, max);
            slow.keep(record(1, 1 << 40));
            assert_eq!((slow.log().count(), slow.slowest().count()), (0, 1), "{above} {max}");
        }
        assert!(Slow::new(i64::MAX, usize::MAX).log_max == LOG_MAX);
    }

    #[test]
    fn records_reach_a_sibling_as_they_were() {
        let records: Vec<Record> = (0..20).map(|id| record(id, id * 7)).collect();
        let answers: Vec<Vec<u8>> = records
            .chunks(6)
            .map(|of_core| {
                let mut bytes = Vec::new();
                write(of_core.iter(), &mut bytes);
                bytes
            })
            .collect();
        assert_eq!(read(&answers), records);
    }
}
