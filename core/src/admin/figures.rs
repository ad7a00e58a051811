//! What a core tells about itself, in plain numbers.

use hdrhistogram::Histogram;
use pinion_shard::RangeLoad;

use crate::metrics::Counters;
use crate::stages::STAGE_COUNT;
use crate::stalls::CLASS_COUNT;

/// The upper bounds of the buckets of a [`Distribution`], in microseconds. What is longer is in one more.
pub const BOUNDS_MICROS: [u64; 19] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// Durations, counted in buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// Durations up to each of [`BOUNDS_MICROS`] and above the one before; then those above all.
    pub counts: [u64; BOUNDS_MICROS.len() + 1],
    /// Their sum, in nanoseconds.
    pub sum_nanos: u64,
}

impl Distribution {
    /// What a histogram of ticks has counted. Exact to the histogram's own resolution (a hundredth).
    #[must_use]
    pub fn of(histogram: &Histogram<u64>, sum_ticks: u64, ticks_per_micro: u64) -> Self {
        let ticks_per_micro = ticks_per_micro.max(1);
        let mut counts = [0; BOUNDS_MICROS.len() + 1];
        let (mut at, mut total) = (0, 0);
        for recorded in histogram.iter_recorded() {
            let micros_before = recorded.value_iterated_to().saturating_sub(1) / ticks_per_micro;
            while at < BOUNDS_MICROS.len() && micros_before >= BOUNDS_MICROS[at] {
                at += 1;
            }
            counts[at] += recorded.count_at_value();
            total += recorded.count_at_value();
        }
        debug_assert_eq!(total, histogram.len());
        let sum_nanos = (u128::from(sum_ticks) * 1_000 / u128::from(ticks_per_micro)) as u64;
        Self { counts, sum_nanos }
    }

    /// How many durations there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds those of another core.
    pub fn add(&mut self, other: &Self) {
        self.sum_nanos += other.sum_nanos;
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
    }
}

/// What one command cost on one core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandFigures {
    /// Its name; that of a subcommand is `client|id`.
    pub name: &'static str,
    /// Commands carried out, those that failed included.
    pub calls: u64,
    /// Those that failed.
    pub failed: u64,
    /// Commands refused before anything was done.
    pub rejected: u64,
    /// How long they took, from the last byte read to the send submitted.
    pub durations: Distribution,
}

/// What one core counted since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoreFigures {
    /// Whether it was asked to stop.
    pub stopping: bool,
    /// Its counters.
    pub counters: Counters,
    /// Its stages, in their order.
    pub stages: [Distribution; STAGE_COUNT],
    /// The whole path of its requests.
    pub whole: Distribution,
    /// Its commands, in the order of the table.
    pub commands: Vec<CommandFigures>,
    /// Its errors, by code.
    pub codes: Vec<(String, u64)>,
    /// What was asked of the ranges that live on it.
    pub ranges: Vec<RangeLoad>,
    /// What held it up, by class.
    pub stalls: [u64; CLASS_COUNT],
}
