//! The crash-point harness of the log: short seeded workloads on the simulated disk, crashed at every disk operation.
//!
//! After every completed operation, for every [`Pattern`], what a crash would leave is recovered and compared with the
//! model: the groups must stand exactly as after some prefix of the appended records, and every acknowledged record
//! must be in it. Then more is appended and the log is opened once more (what was cut must not come back), and some
//! recoveries are crashed themselves.
//!
//! [`run`] crashes, [`fail_nth`] lets the n-th operation fail, [`flip`] flips bytes. Each answers what it did and what
//! it found; a seed and its workload decide everything.

mod drive;
mod model;
mod script;

use std::fmt;

use crate::disk::sim::Pattern;

pub use drive::{fail_nth, flip, run};
pub use model::Model;

/// What a workload is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Appends of all sizes to several groups, overwritten suffixes, hard states.
    Append,
    /// As before, and segments that fill, are truncated and used again.
    Recycle,
    /// As before, with a group that never truncates and is rewritten forward.
    Rewrite,
    /// As before, with crashes and further opens in between.
    Reopen,
    /// Groups that move from one log to two and back, interrupted anywhere.
    Rehome,
}

/// All workloads.
pub const WORKLOADS: [Workload; 5] =
    [Workload::Append, Workload::Recycle, Workload::Rewrite, Workload::Reopen, Workload::Rehome];

/// How much to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the workload is made of.
    pub workload: Workload,
    /// The first seed.
    pub first_seed: u64,
    /// How many seeds.
    pub seeds: u64,
    /// Steps of a workload.
    pub steps: usize,
    /// What survives a crash.
    pub patterns: Vec<Pattern>,
    /// Crash every so many operations (1: all of them).
    pub every: u64,
}

impl Plan {
    /// Every operation, all patterns.
    #[must_use]
    pub fn new(workload: Workload, first_seed: u64, seeds: u64, steps: usize) -> Self {
        let patterns = crate::disk::sim::PATTERNS.to_vec();
        Self { workload, first_seed, seeds, steps, patterns, every: 1 }
    }
}

/// What was done, and what was wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Disk operations after which a crash was tried.
    pub points: u64,
    /// Crashes recovered from: points times patterns, and crashes inside recoveries.
    pub crashes: u64,
    /// Operations that failed, or bytes that were flipped.
    pub injections: u64,
    /// Segments that were used again, rewritten entries and cuts: the harness saw what it is for.
    pub recycled: u64,
    /// Entries that were rewritten forward.
    pub rewritten: u64,
    /// What was wrong, each with its seed and place. Empty is good.
    pub failures: Vec<String>,
}

impl Report {
    /// Adds another report.
    pub fn add(&mut self, other: &Self) {
        self.points += other.points;
        self.crashes += other.crashes;
        self.injections += other.injections;
        self.recycled += other.recycled;
        self.rewritten += other.rewritten;
        self.failures.extend(other.failures.iter().cloned());
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} points, {} crashes, {} injections, {} segments recycled, {} entries rewritten, {} failures",
            self.points,
            self.crashes,
            self.injections,
            self.recycled,
            self.rewritten,
            self.failures.len()
        )?;
        for failure in self.failures.iter().take(10) {
            write!(f, "\n  {failure}")?;
        }
        Ok(())
    }
}
