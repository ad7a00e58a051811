//! A node on a simulated disk, crashed at every operation (feature `harness`).
//!
//! [`SimNode`] runs the groups of all cores of a node in one thread on virtual time. [`run`] gives it a scripted load,
//! stops its disk after every possible number of operations, lets a pattern decide what survives, opens the directory
//! again, and compares every row with the model: all acknowledged batches are there, in order and once, and of the others
//! a prefix.

mod load;
mod node;

use pinion_wal::disk::sim::{Faults, Image, Pattern, SimDisk};

pub use load::{Acknowledged, Load};
pub use node::{SimNode, SimOptions, StartError};

/// What to crash.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Its name, for reports.
    pub name: &'static str,
    /// Cores of the run that crashes, then of each run after it.
    pub cores: Vec<u16>,
    /// Data groups.
    pub groups: u32,
    /// Batches to submit in the run that crashes.
    pub batches: u32,
    /// Whether the disk also stops within the recovery after the first crash.
    pub crash_in_recovery: bool,
}

/// A memtable of so many bytes goes to tables: small ones empty the log, large ones leave everything to its replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemtableBytes(pub usize);

const SMALL: MemtableBytes = MemtableBytes(8 << 10);

impl Workload {
    fn options(&self, cores: u16, seed: u64, memtable: MemtableBytes) -> SimOptions {
        let mut options = SimOptions { cores, ..SimOptions::small(self.groups, seed) };
        options.rows.memtable_bytes_seal = memtable.0;
        options
    }
}

/// What a run of the harness did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Crashes.
    pub points: u64,
    /// Batches that were acknowledged before one.
    pub acknowledged: u64,
    /// Operations that were made to fail.
    pub failures: u64,
}

impl std::ops::AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        self.points += other.points;
        self.acknowledged += other.acknowledged;
        self.failures += other.failures;
    }
}

/// Crashes `workload` at every `step`-th disk operation with each of `patterns`.
///
/// # Errors
/// The first broken promise: what was lost, and the seed, operation and pattern that show it.
pub fn run(workload: &Workload, seed: u64, patterns: &[Pattern], step: u64) -> Result<Report, String> {
    let mut report = Report::default();
    for &pattern in patterns {
        let mut halt = step;
        loop {
            let at = format!("{} seed {seed} operation {halt} {pattern:?}", workload.name);
            let (image, load, ended) = until_halt(workload, seed, halt, pattern)?;
            report.points += 1;
            report.acknowledged += load.acknowledged_count();
            report.points +=
                recover(workload, seed ^ halt, SMALL, image, &load).map_err(|e| format!("{at}: {e}"))?;
            if ended {
                break;
            }
            halt += step;
        }
    }
    Ok(report)
}

/// Crashes the move of groups from `cores[0]` to `cores[1]` cores at every `step`-th disk operation, opens what is left
/// with either number, and compares.
///
/// # Errors
/// The first broken promise.
pub fn crash_moves(
    workload: &Workload,
    memtable: MemtableBytes,
    seed: u64,
    patterns: &[Pattern],
    step: u64,
) -> Result<Report, String> {
    let mut report = Report::default();
    let (from, to) = (workload.cores[0], workload.cores[1]);
    let options = |cores| workload.options(cores, seed, memtable);
    let mut load = Load::new(seed, workload.groups);
    let sim = SimDisk::new(seed, Faults::default());
    let mut node = SimNode::start(sim, options(from)).map_err(|refused| refused.1.to_string())?;
    if !load.drive(&mut node, workload.batches) {
        return Err("the load did not end".into());
    }
    report.acknowledged = load.acknowledged_count();
    let full = node.into_disk().crashed(Pattern::Everything, seed);
    for &pattern in patterns {
        for halt in (1_u64..).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
            let at = format!("{} seed {seed} operation {halt} of the move {pattern:?}", workload.name);
            let mut sim = SimDisk::from_image(full.clone(), seed ^ halt, Faults::default());
            sim.halt_after(Some(halt));
            let (sim, ended) = match SimNode::start(sim, options(to)) {
                Ok(node) => (node.into_disk(), true),
                Err(refused) => match *refused {
                    (sim, StartError::Stalled) => (sim, false),
                    (_, error) => return Err(format!("{at}: the move failed: {error}")),
                },
            };
            report.points += 1;
            let image = sim.crashed(pattern, seed ^ halt.wrapping_mul(31));
            // Either number of cores may be tried next.
            let cores = if halt % 2 == 0 { vec![from, to] } else { vec![to, from] };
            let next = Workload { cores, ..workload.clone() };
            report.points +=
                recover(&next, seed ^ halt, memtable, image, &load).map_err(|e| format!("{at}: {e}"))?;
            if ended {
                break;
            }
        }
    }
    Ok(report)
}

/// Lets the `nth` operation fail, once or for ever, for every `step`-th `nth` until the load ends before it.
///
/// # Errors
/// The first broken promise.
pub fn fail_each(workload: &Workload, seed: u64, for_ever: bool, step: u64) -> Result<Report, String> {
    let mut report = Report::default();
    for nth in (1..).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
        let at = format!("{} seed {seed} operation {nth} fails (for ever: {for_ever})", workload.name);
        let faults = Faults::default().fail_nth(nth, for_ever);
        let sim = SimDisk::new(seed, faults);
        let mut load = Load::new(seed, workload.groups);
        let options = workload.options(workload.cores[0], seed, SMALL);
        let (sim, ended) = match SimNode::start(sim, options) {
            Ok(mut node) => {
                let ended = load.drive(&mut node, workload.batches);
                (node.into_disk(), ended)
            }
            Err(refused) => (refused.0, false),
        };
        let reached = sim.completed() >= nth;
        report.failures += u64::from(reached);
        report.acknowledged += load.acknowledged_count();
        let image = sim.crashed(Pattern::RandomHalf, seed ^ nth);
        recover(workload, seed ^ nth, SMALL, image, &load).map_err(|e| format!("{at}: {e}"))?;
        if ended && !reached {
            break;
        }
    }
    Ok(report)
}

/// Runs the load until the disk stops; answers what the crash left, and whether the load had ended before.
fn until_halt(
    workload: &Workload,
    seed: u64,
    halt: u64,
    pattern: Pattern,
) -> Result<(Image, Load, bool), String> {
    let mut sim = SimDisk::new(seed, Faults::default());
    sim.halt_after(Some(halt));
    let mut load = Load::new(seed, workload.groups);
    let options = workload.options(workload.cores[0], seed, SMALL);
    let (sim, ended) = match SimNode::start(sim, options) {
        Ok(mut node) => {
            let ended = load.drive(&mut node, workload.batches);
            node.check();
            (node.into_disk(), ended)
        }
        Err(refused) => match *refused {
            (sim, StartError::Stalled) => (sim, false),
            (_, error) => return Err(format!("the first start failed: {error}")),
        },
    };
    Ok((sim.crashed(pattern, seed ^ halt.wrapping_mul(31)), load, ended))
}

/// Opens what a crash left, with each number of cores in turn, and compares. Answers how often it crashed again.
fn recover(
    workload: &Workload,
    seed: u64,
    memtable: MemtableBytes,
    image: Image,
    load: &Load,
) -> Result<u64, String> {
    let mut image = image;
    let mut crashes = 0;
    if workload.crash_in_recovery {
        let mut sim = SimDisk::from_image(image, seed, Faults::default());
        sim.halt_after(Some(1 + seed % 97));
        let cores = *workload.cores.last().unwrap_or(&1);
        let options = workload.options(cores, seed, memtable);
        let sim = match SimNode::start(sim, options) {
            Ok(mut node) => {
                node.run_ready();
                node.into_disk()
            }
            Err(refused) => match *refused {
                (sim, StartError::Stalled) => sim,
                (_, error) => return Err(format!("recovery refused: {error}")),
            },
        };
        image = sim.crashed(Pattern::RandomHalf, seed);
        crashes += 1;
    }
    let mut digests = None;
    for (run, &cores) in workload.cores.iter().enumerate() {
        let sim = SimDisk::from_image(image, seed + run as u64, Faults::default());
        let lanes = [8, 1, 4, 2][run % 4];
        let options = SimOptions { lanes, ..workload.options(cores, seed, memtable) };
        let mut node =
            SimNode::start(sim, options).map_err(|refused| format!("recovery refused: {}", refused.1))?;
        if !node.run_ready() {
            return Err(format!("not ready on {cores} cores: {}", node.describe()));
        }
        load.verify(&mut node)?;
        node.check();
        let now = node.digests();
        if digests.as_ref().is_some_and(|before| *before != now) {
            return Err(format!(
                "digests differ on {cores} cores and {lanes} lanes: {digests:?} and {now:?}"
            ));
        }
        digests = Some(now);
        image = node.into_disk().crashed(Pattern::Nothing, seed);
    }
    Ok(crashes)
}
