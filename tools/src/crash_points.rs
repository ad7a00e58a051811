//! The crash points of every layer: scripted workloads of the log, the rows and the groups, crashed at disk operations,
//! with operations that fail and bytes that flip.
//!
//! The harnesses live beside what they break; this drives them round by round, each with its own seed, until the asked
//! number of cases is reached.

use clap::Args;
use pinion_wal::crash::{Plan, WORKLOADS};
use pinion_wal::disk::sim::PATTERNS;

/// How much to break, as flags.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Crashes to recover from, each under one pattern of what survived, in all layers together
    #[arg(long, default_value_t = 20_000)]
    pub points: u64,
    /// Operations that fail, once or for ever
    #[arg(long, default_value_t = 2_000)]
    pub failures: u64,
    /// Bytes that are flipped
    #[arg(long, default_value_t = 5_000)]
    pub flips: u64,
    /// Seed of the first round
    #[arg(long, env = "PINION_SEED", default_value_t = 1)]
    pub first_seed: u64,
}

/// Steps of a workload of the log.
const LOG_STEPS: usize = 30;
/// Every so many operations of the longer workloads a crash is tried; which ones depends on the seed.
const STRIDE: u64 = 7;

/// What was tried, by layer.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    log: u64,
    rows: u64,
    groups: u64,
}

impl Tally {
    const fn all(self) -> u64 {
        self.log + self.rows + self.groups
    }
}

/// Breaks as much as asked for and answers what was tried.
///
/// # Errors
/// The first broken promise, with the seed that shows it.
pub fn run(options: &Options) -> Result<String, String> {
    let (mut crashes, mut failures, mut flips) = (Tally::default(), Tally::default(), Tally::default());
    let mut seed = options.first_seed;
    while crashes.all() < options.points || failures.all() < options.failures || flips.all() < options.flips {
        if crashes.all() < options.points {
            crash_all(seed, &mut crashes)?;
        }
        if failures.all() < options.failures {
            fail_all(seed, &mut failures)?;
        }
        if flips.all() < options.flips {
            flip_all(seed, &mut flips)?;
        }
        seed += 1;
    }
    Ok(format!(
        "first_seed={} rounds={} crashes={} (log {}, rows {}, groups {}) failures={} (log {}, rows {}, groups {}) \
         flips={} (log {}, rows {}) broken=0",
        options.first_seed,
        seed - options.first_seed,
        crashes.all(),
        crashes.log,
        crashes.rows,
        crashes.groups,
        failures.all(),
        failures.log,
        failures.rows,
        failures.groups,
        flips.all(),
        flips.log,
        flips.rows
    ))
}

fn log_plan(workload: pinion_wal::crash::Workload, seed: u64, every: u64) -> Plan {
    Plan { every, ..Plan::new(workload, seed, 1, LOG_STEPS) }
}

fn sound(report: &pinion_wal::crash::Report) -> Result<(), String> {
    report.failures.first().map_or(Ok(()), |failure| Err(format!("log: {failure}")))
}

fn crash_all(seed: u64, tally: &mut Tally) -> Result<(), String> {
    for workload in WORKLOADS {
        let report = pinion_wal::crash::run(&log_plan(workload, seed, 1));
        sound(&report)?;
        tally.log += report.crashes;
    }
    for workload in pinion_lsm::harness::WORKLOADS {
        let report = pinion_lsm::harness::crash_points(workload, seed, STRIDE);
        report.failure.map_or(Ok(()), |failure| Err(format!("rows: {failure}")))?;
        tally.rows += report.cases;
    }
    for workload in node_workloads() {
        let report = pinion_shard::crash::run(&workload, seed, &PATTERNS, 5 * STRIDE + seed % STRIDE);
        tally.groups += report.map_err(|failure| format!("groups: {failure}"))?.points;
    }
    Ok(())
}

fn fail_all(seed: u64, tally: &mut Tally) -> Result<(), String> {
    for for_ever in [false, true] {
        for workload in WORKLOADS {
            let report = pinion_wal::crash::fail_nth(&log_plan(workload, seed, 3), for_ever);
            sound(&report)?;
            tally.log += report.injections;
        }
        for workload in node_workloads() {
            let report =
                pinion_shard::crash::fail_each(&workload, seed, for_ever, 5 * STRIDE + seed % STRIDE);
            tally.groups += report.map_err(|failure| format!("groups: {failure}"))?.failures;
        }
    }
    for workload in pinion_lsm::harness::WORKLOADS {
        let report = pinion_lsm::harness::failing_operations(workload, seed, STRIDE);
        report.failure.map_or(Ok(()), |failure| Err(format!("rows: {failure}")))?;
        tally.rows += report.cases;
    }
    Ok(())
}

fn flip_all(seed: u64, tally: &mut Tally) -> Result<(), String> {
    for workload in WORKLOADS {
        let report = pinion_wal::crash::flip(&log_plan(workload, seed, 997));
        sound(&report)?;
        tally.log += report.injections;
    }
    for workload in pinion_lsm::harness::WORKLOADS {
        let report = pinion_lsm::harness::flipped_bytes(workload, seed, 97);
        report.failure.map_or(Ok(()), |failure| Err(format!("rows: {failure}")))?;
        tally.rows += report.cases;
    }
    Ok(())
}

/// Nodes that keep, win and lose a core between their lives.
fn node_workloads() -> Vec<pinion_shard::crash::Workload> {
    let workload = |name, cores: &[u16], crash_in_recovery| pinion_shard::crash::Workload {
        name,
        cores: cores.to_vec(),
        groups: 3,
        batches: 30,
        crash_in_recovery,
    };
    vec![
        workload("one core", &[1, 1], false),
        workload("one core, then two", &[1, 2], true),
        workload("two cores, then one", &[2, 1], true),
    ]
}
