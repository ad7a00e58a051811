//! Running workloads against the simulated disk and trying crashes and faults.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::model::Model;
use super::script::{Script, Step};
use super::{Plan, Report, Workload};
use crate::disk::sim::{Faults, Image, Pattern, SimDisk};
use crate::disk::{Disk, Driver, run_until};
use crate::{GroupId, LogId, Mono, OpenError, Options, Recovered, Wal, rehome};

const LOG: LogId = LogId(0);
/// Steps without progress after which a workload counts as stuck.
const STUCK: usize = 100_000;

/// A disk that tries crashes after every completed operation.
struct Observed {
    sim: SimDisk,
    models: Rc<RefCell<Models>>,
    patterns: Vec<Pattern>,
    every: u64,
    name: String,
    report: Rc<RefCell<Report>>,
}

/// What must be found: one log, or the groups of several logs wherever they are.
enum Models {
    One(Model),
    Several(Model),
    /// Nothing is promised yet.
    None,
}

impl Driver for Observed {
    fn drive(&mut self, disk: &Disk) -> usize {
        let completed = Driver::drive(&mut self.sim, disk);
        if completed > 0 && self.sim.completed().is_multiple_of(self.every) {
            self.try_crashes();
        }
        completed
    }
}

impl Observed {
    fn try_crashes(&self) {
        let mut report = self.report.borrow_mut();
        report.points += 1;
        for (number, pattern) in self.patterns.iter().enumerate() {
            report.crashes += 1;
            let seed = self.sim.completed() * 8 + number as u64;
            let image = self.sim.crashed(*pattern, seed);
            let found = match &*self.models.borrow() {
                Models::One(model) => check_one(&image, model, seed, &mut report),
                Models::Several(model) => check_several(&image, model, seed, &mut report),
                Models::None => Ok(()),
            };
            if let Err(what) = found {
                let at = self.sim.completed();
                let failure = format!("{} operation {at} {pattern:?}: {what}", self.name);
                report.failures.push(failure);
            }
        }
    }
}

fn sim(image: Image, seed: u64) -> SimDisk {
    SimDisk::from_image(image, seed, Faults::default())
}

/// Opens the log of an image.
fn open(image: Image, seed: u64) -> Result<(Disk, SimDisk, Wal, Recovered), OpenError> {
    let (disk, mut sim) = (Disk::new(), sim(image, seed));
    let opened = run_until(&disk, &mut sim, None, Wal::open(&disk, LOG, Options::tiny()));
    let (wal, recovered) = opened.expect("an open without faults ends")?;
    Ok((disk, sim, wal, recovered))
}

fn check_one(image: &Image, model: &Model, seed: u64, report: &mut Report) -> Result<(), String> {
    let (disk, mut sim, mut wal, recovered) = open(image.clone(), seed).map_err(|error| error.to_string())?;
    model.compare(&recovered)?;
    // Crash inside the recovery, once per point, at a place that moves.
    if seed.is_multiple_of(8) {
        let (disk, mut sim) = (Disk::new(), self::sim(image.clone(), seed));
        sim.halt_after(Some(1 + seed / 8 % 24));
        drop(run_until(&disk, &mut sim, None, Wal::open(&disk, LOG, Options::tiny())));
        report.crashes += 1;
        let pattern = crate::disk::sim::PATTERNS[usize::try_from(seed / 8 % 5).expect("below five")];
        let again = sim.crashed(pattern, seed);
        let (.., recovered) = open(again, seed).map_err(|error| format!("after a second crash: {error}"))?;
        model.compare(&recovered).map_err(|what| format!("after a second crash: {what}"))?;
    }
    // Go on and open once more: nothing that was cut comes back.
    let mut next = Model::recovered(&recovered);
    let mut script = Script::new(Workload::Append, seed);
    for _ in 0..2 {
        script.append(&mut wal, &mut next);
    }
    run_until(&disk, &mut sim, None, wal.settle()).expect("ends").map_err(|error| error.to_string())?;
    next.acknowledge(wal.stable());
    let image = sim.crashed(Pattern::Nothing, seed);
    let (.., recovered) = open(image, seed).map_err(|error| format!("after going on: {error}"))?;
    next.compare(&recovered).map_err(|what| format!("after going on: {what}"))
}

/// The groups of all logs, each from the log with its highest home epoch, whatever that is.
fn check_several(image: &Image, model: &Model, seed: u64, _report: &mut Report) -> Result<(), String> {
    let (disk, mut sim) = (Disk::new(), sim(image.clone(), seed));
    let all = run_until(&disk, &mut sim, None, open_all(&disk)).expect("ends").map_err(|e| e.to_string())?;
    compare_homeless(model, &all)?;
    // Doing it again cures the interruption.
    let (disk, mut sim) = (Disk::new(), self::sim(image.clone(), seed));
    let again = async {
        rehome(&disk, &Options::tiny(), &[LogId(0), LogId(1)], |group| LogId(group.0 % 2)).await?;
        open_all(&disk).await
    };
    let all = run_until(&disk, &mut sim, None, again).expect("ends").map_err(|e| e.to_string())?;
    compare_homeless(model, &all)?;
    for (log, recovered) in &all {
        if recovered.groups.keys().any(|group| group.0 % 2 != log.0) {
            return Err(format!("log {log} still holds {:?}", recovered.groups.keys()));
        }
    }
    Ok(())
}

async fn open_all(disk: &Disk) -> Result<BTreeMap<LogId, Recovered>, OpenError> {
    let mut all = BTreeMap::new();
    for log in crate::log::logs(disk).await? {
        let (wal, recovered) = Wal::open(disk, log, Options::tiny()).await?;
        wal.close().await?;
        all.insert(log, recovered);
    }
    Ok(all)
}

fn compare_homeless(model: &Model, all: &BTreeMap<LogId, Recovered>) -> Result<(), String> {
    let mut merged = Recovered::default();
    for recovered in all.values() {
        merged.damage.extend(recovered.damage.iter().cloned());
        for (id, group) in &recovered.groups {
            let newer = merged.groups.get(id).is_none_or(|other| other.home_epoch < group.home_epoch);
            if newer {
                merged.groups.insert(*id, group.clone());
            }
        }
    }
    let mut model = model.clone();
    for (id, group) in &mut model.durable {
        // How often it has moved is not part of what is compared.
        group.home = merged.groups.get(id).map_or(group.home, |found| found.home_epoch);
    }
    model.compare(&merged)
}

/// Runs the workloads of a plan, crashing after every operation.
#[must_use]
pub fn run(plan: &Plan) -> Report {
    let mut total = Report::default();
    for seed in plan.first_seed..plan.first_seed + plan.seeds {
        let report = Rc::new(RefCell::new(Report::default()));
        if plan.workload == Workload::Rehome {
            run_rehome(plan, seed, &report);
        } else {
            run_seed(plan, seed, &report);
        }
        total.add(&report.borrow());
    }
    total
}

fn observed(plan: &Plan, seed: u64, image: Image, models: Models, report: &Rc<RefCell<Report>>) -> Observed {
    Observed {
        sim: sim(image, seed),
        models: Rc::new(RefCell::new(models)),
        patterns: plan.patterns.clone(),
        every: plan.every,
        name: format!("{:?} seed {seed}", plan.workload),
        report: report.clone(),
    }
}

fn run_seed(plan: &Plan, seed: u64, report: &Rc<RefCell<Report>>) {
    let mut script = Script::new(plan.workload, seed);
    let mut image = Image::default();
    let mut model = Model::default();
    let mut steps = plan.steps;
    for life in 0.. {
        let mut driver = observed(plan, seed + life, image, Models::One(model), report);
        let Some(next) = live(&mut driver, &mut script, &mut steps) else { return };
        let pattern = plan.patterns[usize::try_from(life).unwrap_or(0) % plan.patterns.len()];
        image = driver.sim.crashed(pattern, seed);
        model = next;
        let (_, _, _, recovered) = match open(image.clone(), seed) {
            Ok(opened) => opened,
            Err(error) => return report.borrow_mut().failures.push(error.to_string()),
        };
        if let Err(what) = model.compare(&recovered) {
            return report.borrow_mut().failures.push(format!("{} reopened: {what}", driver.name));
        }
        model = Model::recovered(&recovered);
    }
}

/// One life of a log. Answers the model if it is to be crashed and opened again.
fn live(driver: &mut Observed, script: &mut Script, steps: &mut usize) -> Option<Model> {
    let (disk, models) = (Disk::new(), driver.models.clone());
    let opened = run_until(&disk, driver, None, Wal::open(&disk, LOG, Options::tiny()));
    let Ok(Ok((mut wal, _))) = opened else {
        driver.report.borrow_mut().failures.push(format!("{}: cannot be opened", driver.name));
        return None;
    };
    let mut now = Mono(1);
    while *steps > 0 {
        *steps -= 1;
        let step = match &mut *models.borrow_mut() {
            Models::One(model) => script.step(&mut wal, model),
            _ => unreachable!("one log"),
        };
        let mut operations = match step {
            Step::Appended => 0,
            Step::Flush { idle, operations } => {
                now = now.plus_micros(if idle { 3_000 } else { 5 });
                wal.flush(now, idle);
                operations
            }
            Step::Settle => STUCK,
            Step::Rewrite => {
                wal.rewrite_oldest();
                0
            }
            Step::Reopen => return take(&models),
        };
        while operations > 0 {
            operations -= 1;
            if operations > STUCK / 2 {
                now = now.plus_micros(30);
                wal.flush(now, true);
                if wal.stable() == wal.appended() {
                    break;
                }
            }
            let moved = driver.drive(&disk);
            let Ok(stable) = wal.poll(now) else {
                let what = format!("{}: poisoned without a fault", driver.name);
                driver.report.borrow_mut().failures.push(what);
                return None;
            };
            if let Models::One(model) = &mut *models.borrow_mut() {
                model.acknowledge(stable);
            }
            if moved == 0 && operations < STUCK / 2 {
                break;
            }
        }
        wal.check();
    }
    let mut report = driver.report.borrow_mut();
    report.recycled += wal.metrics().segments_recycled;
    report.rewritten += wal.metrics().entries_rewritten;
    None
}

fn take(models: &Rc<RefCell<Models>>) -> Option<Model> {
    match std::mem::replace(&mut *models.borrow_mut(), Models::None) {
        Models::One(model) | Models::Several(model) => Some(model),
        Models::None => None,
    }
}

/// Fills log 0, then moves half of the groups to log 1, everything to log 0, and half of it again.
fn run_rehome(plan: &Plan, seed: u64, report: &Rc<RefCell<Report>>) {
    let mut driver = observed(plan, seed, Image::default(), Models::None, report);
    let (disk, mut model) = (Disk::new(), Model::default());
    let filled = async {
        let (mut wal, _) = Wal::open(&disk, LOG, Options::tiny()).await?;
        let mut script = Script::new(Workload::Recycle, seed);
        for _ in 0..plan.steps {
            script.append(&mut wal, &mut model);
            if wal.buffered_bytes() > 40_000 {
                wal.settle().await?;
            }
        }
        wal.settle().await?;
        model.acknowledge(wal.stable());
        wal.close().await.map_err(OpenError::from)
    };
    run_until(&disk, &mut driver.sim, None, filled).expect("ends").expect("no faults");
    *driver.models.borrow_mut() = Models::Several(model);
    let options = Options::tiny();
    let both = |group: GroupId| LogId(group.0 % 2);
    for round in 0..3 {
        let moved = if round == 1 {
            run_until(&disk, &mut driver, None, rehome(&disk, &options, &[LOG], |_| LOG))
        } else {
            run_until(&disk, &mut driver, None, rehome(&disk, &options, &[LOG, LogId(1)], both))
        };
        if !matches!(moved, Ok(Ok(_))) {
            report.borrow_mut().failures.push(format!("{} round {round}: {moved:?}", driver.name));
            return;
        }
    }
}

/// Runs the workloads of a plan once per operation, with that operation failing, once or from then on. Nothing may be
/// acknowledged that is not found after the crash that follows.
#[must_use]
pub fn fail_nth(plan: &Plan, for_ever: bool) -> Report {
    let mut report = Report::default();
    for seed in plan.first_seed..plan.first_seed + plan.seeds {
        for nth in (1..).step_by(usize::try_from(plan.every).expect("small")) {
            report.injections += 1;
            let (model, sim) = faulty_life(plan, seed, nth, for_ever);
            for (number, pattern) in plan.patterns.iter().enumerate() {
                report.crashes += 1;
                let image = sim.crashed(*pattern, nth * 8 + number as u64);
                let found = match open(image, seed) {
                    Err(error) => Err(error.to_string()),
                    Ok((.., recovered)) => model.compare(&recovered),
                };
                if let Err(what) = found {
                    let name =
                        format!("{:?} seed {seed}, operation {nth} failed, {pattern:?}", plan.workload);
                    report.failures.push(format!("{name}: {what}"));
                }
            }
            if sim.completed() < nth {
                break;
            }
        }
    }
    report
}

/// Runs a workload until the log is poisoned or the workload ends.
fn faulty_life(plan: &Plan, seed: u64, nth: u64, for_ever: bool) -> (Model, SimDisk) {
    let faults = Faults::default().fail_nth(nth, for_ever);
    let (disk, mut sim) = (Disk::new(), SimDisk::new(seed, faults));
    let mut model = Model::default();
    let opened = run_until(&disk, &mut sim, None, Wal::open(&disk, LOG, Options::tiny()));
    let Ok(Ok((mut wal, _))) = opened else { return (model, sim) };
    let mut script = Script::new(plan.workload, seed);
    let mut now = Mono(1);
    for _ in 0..plan.steps {
        let operations = match script.step(&mut wal, &mut model) {
            Step::Flush { operations, .. } => operations,
            Step::Settle => 50,
            _ => 0,
        };
        for _ in 0..=operations {
            now = now.plus_micros(2_000);
            wal.flush(now, true);
            Driver::drive(&mut sim, &disk);
            match wal.poll(now) {
                Ok(stable) => model.acknowledge(stable),
                Err(_) => return (model, sim),
            }
        }
    }
    (model, sim)
}

/// Runs the workloads of a plan to their end, then flips every `every`-th byte of every file in turn. After each flip
/// the log must refuse to open, or report damage, or hold exactly what was acknowledged: never anything else. So must it
/// at the open after that.
#[must_use]
pub fn flip(plan: &Plan) -> Report {
    let mut report = Report::default();
    for seed in plan.first_seed..plan.first_seed + plan.seeds {
        let (_, sim) = faulty_life(plan, seed, u64::MAX, false);
        let image = sim.crashed(Pattern::Everything, seed);
        let (.., before) = open(image.clone(), seed).expect("an undamaged log opens");
        for (path, bytes) in image.paths() {
            let every = usize::try_from(plan.every).expect("small");
            for offset in (seed % plan.every..bytes).step_by(every) {
                report.injections += 1;
                let mut damaged = image.clone();
                damaged.flip(&path, offset, u8::try_from(offset % 8).expect("below eight"));
                let found = match open(damaged, seed) {
                    Err(_) => Ok(()),
                    Ok((_, sim, _, recovered)) => judge_damaged(&before, &recovered)
                        .and_then(|()| judge_next_open(&before, sim.crashed(Pattern::Nothing, seed), seed)),
                };
                if let Err(what) = found {
                    report.failures.push(format!("seed {seed}, byte {offset} of {path} flipped: {what}"));
                }
            }
        }
    }
    report
}

/// Nothing was appended since the damage was told: it must be told again.
fn judge_next_open(before: &Recovered, image: Image, seed: u64) -> Result<(), String> {
    let (.., recovered) = open(image, seed).map_err(|error| format!("the next open: {error}"))?;
    judge_damaged(before, &recovered).map_err(|what| format!("the next open: {what}"))
}

/// Groups that lost nothing must be as they were; others must say so.
fn judge_damaged(before: &Recovered, after: &Recovered) -> Result<(), String> {
    for (id, group) in &before.groups {
        match after.groups.get(id) {
            Some(found) if found.lost.is_some() || found == group => {}
            Some(found) => {
                let (had, has) = (group.entries.len(), found.entries.len());
                return Err(format!("group {id} changed in silence, it had {had} entries and has {has}"));
            }
            None if after.damage.is_empty() => return Err(format!("group {id} is gone in silence")),
            None => {}
        }
    }
    Ok(())
}
