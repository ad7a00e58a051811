//! What each command cost: counted per command (or subcommand), by the core of the connection.
//!
//! The number of labels is that of the table of commands; a code of an error is the server's own word, and beyond
//! [`CODES_MAX`] of them they share [`OTHER`]. A command has figures from its first reply on: about 32 KiB, and 2.3 KiB for
//! each stage that any of its requests took time in.

mod label;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hdrhistogram::Histogram;

pub use label::Label;

use crate::spread::Spread;
use crate::stages::{STAGE_COUNT, TICKS_MAX, histogram};

/// Codes of errors that are told apart.
const CODES_MAX: usize = 128;
/// What all others are counted as.
const OTHER: &str = "OTHER";
/// The percentiles that INFO shows.
const PERCENTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// The figures of one command.
#[derive(Clone)]
pub struct Row {
    /// Commands that were carried out, those that failed included.
    pub calls: u64,
    /// Those that failed.
    pub failed: u64,
    /// Commands that were refused before anything was done.
    pub rejected: u64,
    /// From the last byte read to the send submitted, summed, in ticks.
    pub whole_ticks: u64,
    /// The same by stage. They sum to `whole_ticks`.
    pub stage_ticks: [u64; STAGE_COUNT],
    /// The whole of each, in ticks.
    histogram: Histogram<u64>,
    /// By stage, those that took any time; then the whole.
    spreads: [Spread; STAGE_COUNT + 1],
}

impl Row {
    fn new() -> Self {
        Self {
            calls: 0,
            failed: 0,
            rejected: 0,
            whole_ticks: 0,
            stage_ticks: [0; STAGE_COUNT],
            histogram: histogram(),
            spreads: Default::default(),
        }
    }

    /// Duration that `share` of the commands do not exceed, in ticks.
    #[must_use]
    pub fn quantile_ticks(&self, share: f64) -> u64 {
        self.histogram.value_at_quantile(share)
    }

    /// The whole of each command that was carried out, in ticks.
    #[must_use]
    pub const fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }

    /// Durations of the stages of those that they took any time, and then of the whole, in ticks.
    #[must_use]
    pub const fn spreads(&self) -> &[Spread; STAGE_COUNT + 1] {
        &self.spreads
    }

    /// The numbers that are simply added.
    fn sums(&mut self) -> impl Iterator<Item = &mut u64> {
        let Self { calls, failed, rejected, whole_ticks, stage_ticks, .. } = self;
        [calls, failed, rejected, whole_ticks].into_iter().chain(stage_ticks)
    }
}

/// Commands and errors that a core counted, or a sum over cores.
#[derive(Default)]
pub struct Tally {
    /// By label.
    rows: Vec<Option<Box<Row>>>,
    codes: BTreeMap<String, u64>,
}

impl Tally {
    /// Counts `count` replies to commands of one label that passed the stages together.
    pub fn record(&mut self, label: Label, failed: bool, durations: &[u64; STAGE_COUNT], count: u64) {
        self.count(label, failed, count);
        let Some(place) = label.place().filter(|_| !label.is_rejected()) else { return };
        let row = self.row(place);
        let whole: u64 = durations.iter().sum();
        row.whole_ticks += whole * count;
        for (sum, ticks) in row.stage_ticks.iter_mut().zip(durations) {
            *sum += ticks * count;
        }
        row.histogram.saturating_record_n(whole.min(TICKS_MAX), count);
        for (spread, &ticks) in row.spreads.iter_mut().zip(durations.iter().chain([&whole])) {
            if ticks > 0 {
                spread.record_n(ticks, count);
            }
        }
    }

    /// Forgets how long stages took.
    pub fn reset_spreads(&mut self) {
        self.rows.iter_mut().flatten().for_each(|row| row.spreads = Default::default());
    }

    /// Counts replies whose durations were not recorded.
    pub fn count(&mut self, label: Label, failed: bool, count: u64) {
        let Some(place) = label.place() else { return };
        let row = self.row(place);
        if label.is_rejected() {
            row.rejected += count;
        } else {
            row.calls += count;
            row.failed += if failed { count } else { 0 };
        }
    }

    /// Counts an error by the code that its text, without the dash, begins with.
    #[cold]
    pub fn error(&mut self, text: &[u8]) {
        let end = text.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(text.len());
        let code = str::from_utf8(&text[..end]).expect("letters are text");
        self.add_code(code, 1);
    }

    fn add_code(&mut self, code: &str, count: u64) {
        if let Some(known) = self.codes.get_mut(code) {
            *known += count;
        } else {
            let code = if self.codes.len() < CODES_MAX { code } else { OTHER };
            *self.codes.entry(code.to_owned()).or_default() += count;
        }
    }

    fn row(&mut self, place: usize) -> &mut Row {
        if self.rows.len() <= place {
            self.rows.resize_with(place + 1, || None);
        }
        self.rows[place].get_or_insert_with(|| Box::new(Row::new()))
    }

    /// The commands that were seen, in the order of the table.
    pub fn rows(&self) -> impl Iterator<Item = (Label, &Row)> {
        self.rows.iter().enumerate().filter_map(|(place, row)| Some((Label::at(place), row.as_deref()?)))
    }

    /// Errors by code, in the order of the codes.
    pub fn codes(&self) -> impl Iterator<Item = (&str, u64)> {
        self.codes.iter().map(|(code, count)| (code.as_str(), *count))
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Appends everything to `out`, for a sibling core; without `commands` the errors only.
    pub fn write(&mut self, commands: bool, out: &mut Vec<u8>) {
        let mut put = |number: u64| out.extend_from_slice(&number.to_le_bytes());
        let rows = if commands { &mut self.rows[..] } else { &mut [] };
        put(rows.iter().flatten().count() as u64);
        for (place, row) in rows.iter_mut().enumerate() {
            let Some(row) = row else { continue };
            put(place as u64);
            row.sums().for_each(|number| put(*number));
            put(row.histogram.iter_recorded().count() as u64);
            for bucket in row.histogram.iter_recorded() {
                put(bucket.value_iterated_to());
                put(bucket.count_at_value());
            }
        }
        for (code, count) in &self.codes {
            out.extend_from_slice(&count.to_le_bytes());
            out.extend_from_slice(&(code.len() as u64).to_le_bytes());
            out.extend_from_slice(code.as_bytes());
        }
    }

    /// Adds what a core wrote.
    ///
    /// # Panics
    /// When the bytes were not written by [`Tally::write`].
    pub fn add(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        for _ in 0..take(&mut bytes) {
            let row = self.row(take(&mut bytes) as usize);
            row.sums().for_each(|number| *number += take(&mut bytes));
            for _ in 0..take(&mut bytes) {
                let (ticks, count) = (take(&mut bytes), take(&mut bytes));
                row.histogram.saturating_record_n(ticks.min(TICKS_MAX), count);
            }
        }
        while !bytes.is_empty() {
            let (count, len) = (take(&mut bytes), take(&mut bytes) as usize);
            let (code, rest) = bytes.split_at(len);
            self.add_code(str::from_utf8(code).expect("codes are letters"), count);
            bytes = rest;
        }
    }

    /// The lines of INFO commandstats.
    ///
    /// `usec` is the time that commands spent in the server, the wait for the log included: the oracle counts its one
    /// thread's time of execution.
    #[must_use]
    pub fn command_lines(&self, ticks_per_micro: u64) -> String {
        let mut text = String::new();
        for (label, row) in self.rows() {
            let micros = row.whole_ticks / ticks_per_micro.max(1);
            let each = if row.calls == 0 { 0.0 } else { micros as f64 / row.calls as f64 };
            let _ = write!(
                text,
                "cmdstat_{}:calls={},usec={micros},usec_per_call={each:.2},rejected_calls={},failed_calls={}\r\n",
                label.name(),
                row.calls,
                row.rejected,
                row.failed
            );
        }
        text
    }

    /// The lines of INFO latencystats.
    #[must_use]
    pub fn latency_lines(&self, ticks_per_micro: u64) -> String {
        let mut text = String::new();
        for (label, row) in self.rows().filter(|(_, row)| !row.histogram.is_empty()) {
            let _ = write!(text, "latency_percentiles_usec_{}:", label.name());
            for (index, (name, share)) in PERCENTILES.iter().enumerate() {
                let micros = row.quantile_ticks(*share) as f64 / ticks_per_micro.max(1) as f64;
                let _ = write!(text, "{}{name}={micros:.3}", if index == 0 { "" } else { "," });
            }
            text.push_str("\r\n");
        }
        text
    }

    /// The lines of INFO errorstats.
    #[must_use]
    pub fn error_lines(&self) -> String {
        self.codes().map(|(code, count)| format!("errorstat_{code}:count={count}\r\n")).collect()
    }
}

fn take(bytes: &mut &[u8]) -> u64 {
    let (number, rest) = bytes.split_first_chunk().expect("a tally of another version");
    *bytes = rest;
    u64::from_le_bytes(*number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::lookup;

    fn label(name: &str) -> Label {
        Label::of_command(lookup(name.as_bytes()).expect("it is in the table"))
    }

    fn durations(apply: u64) -> [u64; STAGE_COUNT] {
        [1, 0, 0, 0, 0, 0, 0, apply, 2]
    }

    #[test]
    fn a_tally_of_cores_is_that_of_one_core_that_saw_everything() {
        let mut rng = fastrand::Rng::with_seed(9);
        let (mut one, mut cores) = (Tally::default(), [Tally::default(), Tally::default()]);
        for _ in 0..5_000 {
            let label = label(["get", "set", "del", "mget"][rng.usize(..4)]);
            let label = if rng.u8(..9) == 0 { label.rejected() } else { label };
            let (failed, ticks) = (rng.bool(), durations(1 << rng.u32(..30)));
            let core = rng.usize(..2);
            for tally in [&mut one, &mut cores[core]] {
                tally.record(label, failed, &ticks, 3);
                if failed {
                    tally.error(b"WRONGTYPE Operation");
                }
            }
        }
        let mut sum = Tally::default();
        for core in &mut cores {
            let mut bytes = Vec::new();
            core.write(true, &mut bytes);
            sum.add(&bytes);
        }
        assert_eq!(sum.rows().count(), 4);
        assert_eq!(sum.command_lines(1_000), one.command_lines(1_000));
        assert_eq!(sum.latency_lines(1_000), one.latency_lines(1_000));
        assert_eq!(sum.error_lines(), one.error_lines());
        for (_, row) in sum.rows() {
            assert_eq!(row.stage_ticks.iter().sum::<u64>(), row.whole_ticks);
        }
    }

    #[test]
    fn lines_have_the_form_that_dashboards_read() {
        let mut tally = Tally::default();
        tally.record(label("get"), false, &durations(1_997), 1);
        tally.record(label("get"), true, &durations(3_997), 1);
        tally.record(label("get").rejected(), true, &durations(0), 1);
        tally.record(Label::NONE, true, &durations(7), 1);
        tally.error(b"ERR unknown command\r\n");
        let line = "cmdstat_get:calls=2,usec=6,usec_per_call=3.00,rejected_calls=1,failed_calls=1\r\n";
        assert_eq!(tally.command_lines(1_000), line);
        let latency = tally.latency_lines(1_000);
        assert!(latency.starts_with("latency_percentiles_usec_get:p50=2.0"), "{latency}");
        assert_eq!(tally.error_lines(), "errorstat_ERR:count=1\r\n");
    }

    /// Codes beyond the bound share one label.
    #[test]
    fn codes_of_errors_are_bounded() {
        let mut tally = Tally::default();
        for number in 0..1_000u32 {
            let letters = [number / 100, number / 10 % 10, number % 10].map(|digit| b'A' + digit as u8);
            tally.error(&letters);
        }
        assert_eq!(tally.codes().count(), CODES_MAX + 1);
        let other = tally.codes().find(|(code, _)| *code == OTHER).expect("the bucket of all others");
        assert_eq!(other.1, 1_000 - CODES_MAX as u64);
    }
}
