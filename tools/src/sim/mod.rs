//! The simulator: whole nodes in one thread on virtual time, faults drawn from a seed, histories judged.
//!
//! A seed draws its world (cores, delays, workload, disk faults) and then lives through several lives of one node: it is
//! opened from what its disk kept, checked, loaded by simulated clients, and crashes, perhaps already while it recovers;
//! of what was not synced a drawn pattern survives. Cores are paused, the wall clock jumps, the disk is full for a while
//! (`disturb`). In the end faults cease, and every promise is checked again; then the disk is damaged, and what is read
//! must be right or refused (`damage`).
//!
//! What is judged: every client knows its own keys exactly, also within a pipeline and over every crash
//! ([`session`]); shared registers and counters must be linearizable over all lives ([`linear`]); every command is
//! answered within a bound. One seed decides everything: its event hash is the same in every process.

mod counts;
mod damage;
mod disturb;
mod life;
pub mod linear;
mod node;
pub mod session;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::Hasher;

use pinion_core::host::Machine;
use pinion_core::host::sim::{SimHost, World};
use pinion_wal::disk::sim::{Faults, PATTERNS, SimDisk};

pub use counts::{Counts, EVERY_KIND};
use disturb::{Disturbances, WallClock};
use life::{Ending, Life};
pub use node::RealNode;
use session::{Histories, Mix, Session};

/// Opens a node on a simulated disk: the seam between the simulator and what it simulates.
pub trait Opener {
    /// The machine of a core.
    type Machine: Machine;

    /// Opens a node of `cores` cores, recovery included.
    fn open(&mut self, disk: SimDisk, cores: u16, seed: u64, world: World) -> Opening<Self::Machine>;
}

/// How an opening ended.
pub enum Opening<M> {
    /// The node runs.
    Ready(Box<SimHost<M>>),
    /// It refused, with a reason: a fault of the disk hit the recovery.
    Refused(Box<SimDisk>, String),
    /// The disk halted in between, as it was told to.
    Halted(Box<SimDisk>),
    /// It never came to serve, and did not say why: no honest end, whatever the disk did.
    Silent(String),
}

/// What a seed draws before it begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// Lives of the node, the last one without faults.
    pub lives: u32,
    /// Clients.
    pub clients: usize,
    /// Commands per client and life.
    pub commands: u32,
    /// Delays and pieces.
    pub world: World,
    /// The mix of commands.
    pub mix: Mix,
    /// Faults of the disk under load.
    pub faults: Faults,
    /// Pauses, jumps of the clock and full disks in each life but the last.
    pub disturbances: Disturbances,
}

impl Plan {
    /// What `seed` draws. Some seeds draw no disk faults.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut some = |chance: u32, most: u32| if rng.u32(0..100) < chance { rng.u32(1..=most) } else { 0 };
        let faults = Faults {
            slow_ppm: some(40, 20_000),
            write_error_ppm: some(15, 3_000),
            sync_error_ppm: some(15, 20_000),
            short_ppm: some(10, 2_000),
            read_error_ppm: some(10, 2_000),
            flipped_read_ppm: some(10, 2_000),
            ..Faults::default()
        };
        let mix = Mix {
            shared: 10 + some(60, 40),
            counters: some(50, 20),
            expiring: some(50, 10),
            several: some(50, 60),
            value_bytes_max: if some(30, 1) == 0 { 300 } else { 60_000 },
        };
        let world = World {
            network_micros_max: u64::from(50 + some(50, 5_000)),
            mesh_micros_max: u64::from(20 + some(50, 2_000)),
            receive_bytes_max: if some(50, 1) == 0 { 16 << 10 } else { 64 },
            ..World::default()
        };
        let (lives, clients) = (rng.u32(2..=5), rng.usize(1..=6));
        let commands = rng.u32(20..200);
        let mut some = |chance: u32, most: u32| if rng.u32(0..100) < chance { rng.u32(1..=most) } else { 0 };
        let disturbances = Disturbances { pauses: some(40, 3), jumps: some(30, 3), fills: some(25, 2) };
        Self { seed, lives, clients, commands, world, mix, faults, disturbances }
    }

    /// Whether reads may fail that would succeed when tried again.
    fn reads_may_fail(&self) -> bool {
        self.faults.read_error_ppm + self.faults.short_ppm + self.faults.flipped_read_ppm > 0
    }
}

/// What a seed came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Seeds run.
    pub seeds: u64,
    /// Lives lived.
    pub lives: u64,
    /// Crashes while recovering.
    pub crashes_in_recovery: u64,
    /// Lives that a fault of the disk ended: the node said so and stopped.
    pub poisoned: u64,
    /// Openings that were refused because of a fault.
    pub refused: u64,
    /// Replies judged.
    pub judged: u64,
    /// Writes refused.
    pub writes_refused: u64,
    /// Operations in linearizability checks.
    pub checked: u64,
    /// What was done to the nodes, by kind.
    pub done: Counts,
    /// The hash of everything that happened.
    pub event_hash: u64,
}

impl Report {
    /// Adds what another seed came to.
    pub fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.lives += other.lives;
        self.crashes_in_recovery += other.crashes_in_recovery;
        self.poisoned += other.poisoned;
        self.refused += other.refused;
        self.judged += other.judged;
        self.writes_refused += other.writes_refused;
        self.checked += other.checked;
        self.done.join(&other.done);
        self.mix(other.event_hash);
    }

    fn mix(&mut self, hash: u64) {
        let mut hasher = rustc_hash::FxHasher::default();
        hasher.write_u64(self.event_hash);
        hasher.write_u64(hash);
        self.event_hash = hasher.finish();
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seeds={} lives={} crashes_in_recovery={} poisoned={} openings_refused={} replies_judged={} \
             writes_refused={} operations_checked={} {} event_hash={:016x}",
            self.seeds,
            self.lives,
            self.crashes_in_recovery,
            self.poisoned,
            self.refused,
            self.judged,
            self.writes_refused,
            self.checked,
            self.done,
            self.event_hash
        )
    }
}

/// Runs one seed.
///
/// # Errors
/// A sentence that says which promise was broken, in which life.
pub fn run<O: Opener>(opener: &mut O, plan: &Plan) -> Result<Report, String> {
    let mut run = Run::new(plan);
    let mut disk = SimDisk::new(plan.seed, Faults::default());
    for life in 1..=plan.lives {
        let last = life == plan.lives;
        disk = run
            .live(opener, disk, last)
            .map_err(|what| format!("seed {}, life {life}: {what}", plan.seed))?;
    }
    for (kind, count) in disk.injected() {
        run.report.done.add(kind, *count);
    }
    run.damage(opener, &disk).map_err(|what| format!("seed {}, damage: {what}", plan.seed))?;
    run.judge().map_err(|what| format!("seed {}, histories: {what}", plan.seed))?;
    Ok(run.report)
}

/// Openings of one life after which a refusal is a failure: by then no fault is left.
const OPENINGS_MAX: u32 = 8;

struct Run<'a> {
    plan: &'a Plan,
    rng: fastrand::Rng,
    sessions: Vec<Session>,
    histories: Histories,
    clock: WallClock,
    report: Report,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan) -> Self {
        let sessions = (0..plan.clients).map(|number| Session::new(number, plan.seed)).collect();
        let rng = fastrand::Rng::with_seed(plan.seed.wrapping_add(0x5EED));
        let report = Report { seeds: 1, ..Report::default() };
        Self { plan, rng, sessions, histories: Histories::default(), clock: WallClock::default(), report }
    }

    /// One life; answers the disk as the next one finds it.
    fn live<O: Opener>(&mut self, opener: &mut O, disk: SimDisk, last: bool) -> Result<SimDisk, String> {
        let host = self.open(opener, disk, last)?;
        self.report.lives += 1;
        let life = Life::new(self.plan, host, self.clock);
        let ended = life.run(&mut self.sessions, &mut self.histories, &mut self.rng, last)?;
        self.report.mix(ended.event_hash);
        self.report.done.join(&ended.counts);
        self.clock = ended.clock;
        self.report.poisoned += u64::from(ended.ending == Ending::Poisoned);
        self.sessions.iter_mut().for_each(Session::lose);
        Ok(self.crash(ended.disk))
    }

    fn crash(&mut self, mut disk: SimDisk) -> SimDisk {
        let pattern = PATTERNS[self.rng.usize(..PATTERNS.len())];
        // The disk keeps its clock: time goes on over all lives.
        disk.crash(pattern);
        disk.set_faults(Faults::default());
        disk
    }

    /// Opens the node; it may crash and be hit by faults in between, but not for ever.
    fn open<O: Opener>(
        &mut self,
        opener: &mut O,
        mut disk: SimDisk,
        last: bool,
    ) -> Result<SimHost<O::Machine>, String> {
        for attempt in 1..=OPENINGS_MAX {
            let calm = last || attempt == OPENINGS_MAX;
            let crash_after =
                (!calm && self.rng.u32(0..4) == 0).then(|| disk.completed() + self.rng.u64(0..80));
            disk.halt_after(crash_after);
            // A flipped bit in the log is damage for good: recovery meets none, it is damaged on purpose in the end.
            let faults = Faults { flipped_read_ppm: 0, ..self.plan.faults.clone() };
            disk.set_faults(if calm { Faults::default() } else { faults });
            let cores = self.rng.u16(1..=2);
            let seed = self.rng.u64(..);
            self.clock.start();
            match opener.open(disk, cores, seed, self.world()) {
                Opening::Ready(mut host) => {
                    if let Some(disk) = host.disk_mut() {
                        disk.halt_after(None);
                        disk.set_faults(if last { Faults::default() } else { self.plan.faults.clone() });
                    }
                    return Ok(*host);
                }
                Opening::Refused(_, why) if calm => return Err(format!("the node does not open: {why}")),
                Opening::Refused(refused, _) => {
                    self.report.refused += 1;
                    disk = self.crash(*refused);
                }
                Opening::Silent(why) => return Err(why),
                Opening::Halted(halted) => {
                    self.report.crashes_in_recovery += 1;
                    disk = self.crash(*halted);
                }
            }
        }
        Err("the node does not open without faults".into())
    }

    /// The world with its wall clock as it was set.
    fn world(&self) -> World {
        let world = self.plan.world;
        World { wall_ms: world.wall_ms.saturating_add_signed(self.clock.set_ms), ..world }
    }

    fn judge(&mut self) -> Result<(), String> {
        for session in &self.sessions {
            self.report.judged += session.judged;
            self.report.writes_refused += session.refused;
        }
        for (key, history) in self.histories.registers.iter().enumerate() {
            linear::check_register(history).map_err(|what| format!("shared:{key}: {what}"))?;
            self.report.checked += history.len() as u64;
        }
        Ok(())
    }
}
