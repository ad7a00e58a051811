//! Crash points, failing operations and damage, checked against a model. Behind the cargo feature `harness`.
//!
//! A scripted [`Workload`] feeds a tree from a log that loses nothing. [`crash_points`] stops the disk after every
//! operation, keeps of what was not synced what a [`Pattern`] says, recovers (and crashes again within the recovery),
//! and checks: the tree opens; its boundary is one that was sealed, and not before one that was called durable; its
//! tables hold exactly the rows up to the boundary; after replay every row is there, at every timestamp from the safe
//! point on. [`failing_operations`] lets the n-th operation fail, once or for ever. [`flipped_bytes`] damages every
//! byte of every file.

mod model;
mod random;
mod workload;
mod world;

use pinion_wal::disk::sim::{Faults, Image, PATTERNS, Pattern};

pub use random::{RandomRun, random_operations};
pub use workload::{WORKLOADS, Workload};

use model::Model;
use world::{Stop, TREE, World, ensure};

const CACHE_BYTES: usize = 256 << 10;

/// What was tried, and the first thing that went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Cases tried: a crash point under one pattern, a failing operation, a flipped byte.
    pub cases: u64,
    /// The first failure, with what replays it.
    pub failure: Option<String>,
}

impl Report {
    fn fail(&mut self, what: String) {
        self.failure.get_or_insert(what);
    }
}

fn fresh(seed: u64, faults: Faults) -> World {
    World::new(Image::default(), seed, faults, CACHE_BYTES)
}

/// Opens a fresh tree and runs the script until it ends or the disk stops it.
fn run(world: &mut World, workload: Workload, seed: u64) -> Result<(), Stop> {
    match world.open()? {
        Ok(()) => workload.run(world, seed),
        Err(_) => Err(Stop::Halted),
    }
}

/// Every `stride`-th crash point of a script, under every pattern.
#[must_use]
pub fn crash_points(workload: Workload, seed: u64, stride: u64) -> Report {
    let mut report = Report::default();
    let mut whole = fresh(seed, Faults::default());
    if let Err(stop) = run(&mut whole, workload, seed) {
        report.fail(format!("{workload:?} seed {seed} without a crash: {stop:?}"));
        return report;
    }
    let points = whole.sim.completed();
    for point in (seed % stride..=points).step_by(usize::try_from(stride).expect("a small stride")) {
        let mut world = fresh(seed, Faults::default());
        world.sim.halt_after(Some(point));
        if let Err(Stop::Wrong(what)) = run(&mut world, workload, seed) {
            report.fail(format!("{workload:?} seed {seed} before crash point {point}: {what}"));
            return report;
        }
        for pattern in PATTERNS {
            report.cases += 1;
            if let Err(what) = recover(&world, pattern, seed ^ point) {
                report.fail(format!(
                    "{workload:?} seed {seed} crash point {point} pattern {pattern:?}: {what}"
                ));
                return report;
            }
        }
    }
    report
}

/// Recovers from what a crash leaves, crashing again within the recovery first.
fn recover(crashed: &World, pattern: Pattern, seed: u64) -> Result<(), String> {
    let mut image = crashed.sim.crashed(pattern, seed);
    let mut again = reopened(image.clone(), crashed, seed);
    again.sim.halt_after(Some(seed % 12));
    match again.open() {
        Err(Stop::Wrong(what)) => return Err(format!("crashed again after {}: {what}", seed % 12)),
        Ok(Err(error)) => return Err(format!("crashed again after {}: {error}", seed % 12)),
        Ok(Ok(())) | Err(Stop::Halted) => image = again.sim.crashed(pattern, seed ^ 1),
    }
    check_recovered(image, crashed, seed)
}

fn reopened(image: Image, before: &World, seed: u64) -> World {
    let mut world = World::new(image, seed, Faults::default(), CACHE_BYTES);
    world.model = before.model.clone();
    world.durable = before.durable;
    world
}

fn check_recovered(image: Image, before: &World, seed: u64) -> Result<(), String> {
    let mut world = reopened(image, before, seed);
    let checked = (|| {
        if let Err(error) = world.open()? {
            return Err(Stop::Wrong(format!("refused to open: {error}")));
        }
        world.check_all()?;
        // It goes on: one more flush, one more recovery.
        world.put(vec![(b"after".to_vec(), before.model.now().plus(1), Some(b"crash".to_vec()))]);
        world.seal();
        world.settle()?;
        let last = world.model.last_index();
        ensure(world.tree().flushed() == Model::boundary(last), || {
            "the flush after recovery is lost".into()
        })?;
        ensure(!world.check_all()?, || "a read failed".into())?;
        let tree = world.tree();
        let verified = world.wait(async move { tree.verify().await })?;
        ensure(verified.is_ok(), || format!("{verified:?}"))
    })();
    match checked {
        Ok(()) => Ok(()),
        Err(Stop::Wrong(what)) => Err(what),
        Err(Stop::Halted) => Err("recovery waits for ever".into()),
    }
}

/// Every `stride`-th operation of a script fails, once or from then on; then the process stops, loses what was not
/// synced, and recovers on a disk that works.
#[must_use]
pub fn failing_operations(workload: Workload, seed: u64, stride: u64) -> Report {
    let mut report = Report::default();
    let mut whole = fresh(seed, Faults::default());
    if let Err(stop) = run(&mut whole, workload, seed) {
        report.fail(format!("{workload:?} seed {seed} without a fault: {stop:?}"));
        return report;
    }
    let count = whole.sim.completed();
    for nth in (1 + seed % stride..=count).step_by(usize::try_from(stride).expect("a small stride")) {
        for for_ever in [false, true] {
            report.cases += 1;
            let what = fail_one(workload, seed, nth, for_ever);
            if let Err(what) = what {
                report.fail(format!(
                    "{workload:?} seed {seed} operation {nth} fails, for ever {for_ever}: {what}"
                ));
                return report;
            }
        }
    }
    report
}

fn fail_one(workload: Workload, seed: u64, nth: u64, for_ever: bool) -> Result<(), String> {
    let mut world = fresh(seed, Faults::default().fail_nth(nth, for_ever));
    // A disk that fails for ever lets retries go on for ever.
    world.sim.halt_after(Some(3_000));
    if let Err(Stop::Wrong(what)) = run(&mut world, workload, seed) {
        return Err(what);
    }
    for pattern in [Pattern::Nothing, Pattern::RandomHalf] {
        check_recovered(world.sim.crashed(pattern, seed ^ nth), &world, seed)?;
    }
    Ok(())
}

/// Every `stride`-th byte of every file of a finished script is flipped in turn. Each must be found: by the open, or by
/// a verification, and no read may give a wrong value.
#[must_use]
pub fn flipped_bytes(workload: Workload, seed: u64, stride: u64) -> Report {
    let mut report = Report::default();
    let mut whole = fresh(seed, Faults::default());
    if let Err(stop) = run(&mut whole, workload, seed) {
        report.fail(format!("{workload:?} seed {seed} without damage: {stop:?}"));
        return report;
    }
    while whole.step() {}
    let image = whole.sim.crashed(Pattern::Everything, seed);
    for (path, bytes) in image.paths() {
        for at in (seed % stride..bytes).step_by(usize::try_from(stride).expect("a small stride")) {
            report.cases += 1;
            let mut damaged = image.clone();
            damaged.flip(&path, at, (at % 8) as u8);
            if let Err(what) = find_damage(damaged, &whole, seed) {
                report.fail(format!("{workload:?} seed {seed} {path} byte {at} flipped: {what}"));
                return report;
            }
        }
    }
    report
}

fn find_damage(image: Image, before: &World, seed: u64) -> Result<(), String> {
    let mut world = reopened(image, before, seed);
    match world.open() {
        Ok(Err(_)) => return Ok(()),
        Ok(Ok(())) => {}
        Err(Stop::Wrong(what)) => return Err(what),
        Err(Stop::Halted) => return Err("the open waits for ever".into()),
    }
    let tree = world.tree();
    match world.wait(async move { tree.verify().await }) {
        Ok(Err(_)) => Ok(()),
        Ok(Ok(())) => Err("nobody noticed".into()),
        Err(_) => Err("the verification waits for ever".into()),
    }
}

/// The directory of the tree under test.
#[must_use]
pub fn tree_dir() -> String {
    crate::format::tree_dir(TREE)
}
