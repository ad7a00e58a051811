//! A real server under load, killed with SIGKILL at random moments and started again, sometimes on other cores.
//!
//! After each start every key is compared with what the clients know (see [`model`]): an acknowledged write must be
//! there; a write without an outcome may be there or not, whole; nothing else may be; what a reader saw must not vanish;
//! and what was found missing once must not come back. `kill -9` keeps the page cache: what a missing sync would lose
//! only a power failure shows, and the simulated disk stands for that.
#![expect(clippy::disallowed_methods, reason = "a tool beside the server: threads and clocks are its own")]

pub mod model;
mod writer;

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use crate::client::Client;
use crate::process::{Running, Server, free_port, sibling_program};
use writer::{Ended, Observer, PATIENCE, Tally, Writer};

/// A stop that was asked for must end within this time.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// A start, recovery included, must end within this time.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// The torture, as flags.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// How often the server is killed
    #[arg(long, default_value_t = 200)]
    pub kills: u32,
    /// The server program; by default `pinion` beside this program
    #[arg(long)]
    pub server: Option<PathBuf>,
    /// Where the server keeps its data; must be absent or empty, and is left as it is at the end
    #[arg(long)]
    pub data_dir: PathBuf,
    /// Seed of every choice; which moment a kill hits is left to the machine
    #[arg(long, env = "PINION_SEED", default_value_t = 1)]
    pub seed: u64,
    /// Cores a life may run on; repeated, one is chosen for each life
    #[arg(long, default_values = ["0", "0,1"])]
    pub cores: Vec<String>,
    /// Threads that write
    #[arg(long, default_value_t = 3)]
    pub writers: usize,
    /// Longest life under load, in milliseconds
    #[arg(long, default_value_t = 400)]
    pub life_ms_max: u64,
    /// Further arguments for the server; repeated
    #[arg(long = "server-argument", allow_hyphen_values = true)]
    pub server_arguments: Vec<String>,
}

/// What was done, or what broke.
#[derive(Clone, Debug, Default)]
pub struct Report {
    seed: u64,
    kills: u32,
    kills_in_start: u32,
    stops: u32,
    checks: u64,
    tally: Tally,
    took: Duration,
    /// The slowest start, recovery included.
    start_max: Duration,
    /// The most memory that a server had resident when it was ended.
    resident_kib_max: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed={} kills={} kills_in_start={} stops={} checks={} acknowledged={} unknown={} refused={} try_again={} \
             loading={} reads={} start_ms_max={} resident_kib_max={} seconds={:.1} lost=0",
            self.seed,
            self.kills,
            self.kills_in_start,
            self.stops,
            self.checks,
            self.tally.acknowledged,
            self.tally.unknown,
            self.tally.refused,
            self.tally.try_again,
            self.tally.loading,
            self.tally.reads,
            self.start_max.as_millis(),
            self.resident_kib_max,
            self.took.as_secs_f64()
        )
    }
}

/// Kills the server `kills` times and checks it after each start.
///
/// # Errors
/// A sentence that says which promise was broken in which life, or why the torture could not go on.
pub fn run(options: &Options) -> Result<Report, String> {
    let mut torture = Torture::new(options)?;
    let begun = Instant::now();
    let mut life = 0;
    while torture.report.kills < options.kills {
        life += 1;
        torture.live().map_err(|what| format!("seed {}, life {life}: {what}", options.seed))?;
    }
    torture.last_check().map_err(|what| format!("seed {}, last check: {what}", options.seed))?;
    for writer in &torture.writers {
        torture.report.tally.acknowledged += writer.tally.acknowledged;
        torture.report.tally.unknown += writer.tally.unknown;
        torture.report.tally.refused += writer.tally.refused;
        torture.report.tally.try_again += writer.tally.try_again;
        torture.report.tally.loading += writer.tally.loading;
        torture.report.tally.reads += writer.tally.reads;
    }
    if torture.report.tally.acknowledged < u64::from(options.kills) {
        let acknowledged = torture.report.tally.acknowledged;
        return Err(format!("only {acknowledged} writes were acknowledged: the load proves nothing"));
    }
    torture.report.took = begun.elapsed();
    Ok(torture.report)
}

struct Torture<'a> {
    options: &'a Options,
    server: Server,
    writers: Vec<Writer>,
    rng: fastrand::Rng,
    report: Report,
}

impl<'a> Torture<'a> {
    fn new(options: &'a Options) -> Result<Self, String> {
        let dir = &options.data_dir;
        let occupied = std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
        if occupied {
            return Err(format!("{} is not empty: give a directory of its own", dir.display()));
        }
        if options.writers == 0 || options.cores.is_empty() {
            return Err("at least one writer and one choice of cores are needed".into());
        }
        std::fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let server = Server {
            program: options.server.clone().unwrap_or_else(|| sibling_program("pinion")),
            data_dir: dir.clone(),
            port: 0,
            arguments: options.server_arguments.clone(),
        };
        let writers = (0..options.writers).map(|number| Writer::new(number, options.seed)).collect();
        let report = Report { seed: options.seed, ..Report::default() };
        Ok(Self { options, server, writers, rng: fastrand::Rng::with_seed(options.seed), report })
    }

    /// One life: start (perhaps killed within it), check, load, death.
    fn live(&mut self) -> Result<(), String> {
        if self.report.checks > 0 && self.rng.u32(0..5) == 0 {
            self.kill_while_starting()?;
        }
        let running = self.start_and_check()?;
        self.load_and_end(running)
    }

    fn start(&mut self) -> Result<Running, String> {
        let cores = self.rng.choice(&self.options.cores).expect("checked in new").clone();
        // The kernel frees the sockets of a killed ring some time after the process has ended: each start has its own.
        self.server.port = free_port().map_err(|e| format!("no free port: {e}"))?;
        self.server.start(&cores).map_err(|e| e.to_string())
    }

    fn start_and_check(&mut self) -> Result<Running, String> {
        let begun = Instant::now();
        let mut running = self.start()?;
        running.wait_until_ready(START_PATIENCE).map_err(|e| format!("the server did not start: {e}"))?;
        self.report.start_max = self.report.start_max.max(begun.elapsed());
        self.check()?;
        Ok(running)
    }

    fn kill_while_starting(&mut self) -> Result<(), String> {
        let running = self.start()?;
        let micros = self.rng.u64(0..40_000);
        std::thread::sleep(Duration::from_micros(micros));
        running.kill().map_err(|e| format!("killed while starting: {e}"))?;
        self.report.kills += 1;
        self.report.kills_in_start += 1;
        Ok(())
    }

    fn check(&mut self) -> Result<(), String> {
        let mut client =
            Client::connect(("127.0.0.1", self.server.port), PATIENCE).map_err(|e| e.to_string())?;
        for writer in &mut self.writers {
            writer.verify(&mut client).map_err(|ended| match ended {
                Ended::Broken(broken) => broken.0,
                Ended::Disconnected => "the server closed the connection of the check".into(),
            })?;
        }
        self.report.checks += 1;
        Ok(())
    }

    fn load_and_end(&mut self, running: Running) -> Result<(), String> {
        let port = self.server.port;
        let life = Duration::from_micros(self.rng.u64(0..=self.options.life_ms_max * 1_000));
        let gently = self.rng.u32(0..10) == 0;
        let mut observer = Observer::new(self.writers.len(), self.rng.u64(..));
        let (ended, stopped) = std::thread::scope(|scope| {
            let seen = scope.spawn(|| observer.live(port));
            let loads: Vec<_> =
                self.writers.iter_mut().map(|writer| scope.spawn(move || writer.live(port))).collect();
            std::thread::sleep(life);
            self.report.resident_kib_max = self.report.resident_kib_max.max(running.resident_kib_max());
            let stopped = if gently {
                running.stop(STOP_PATIENCE).map_err(|e| e.to_string()).and_then(|status| {
                    if status.success() { Ok(()) } else { Err(format!("stopped with {status}")) }
                })
            } else {
                running.kill().map_err(|e| e.to_string())
            };
            let mut ended: Vec<Ended> =
                loads.into_iter().map(|load| load.join().expect("a writer panics on nothing")).collect();
            ended.push(seen.join().expect("an observer panics on nothing"));
            (ended, stopped)
        });
        for ended in ended {
            if let Ended::Broken(broken) = ended {
                return Err(broken.0);
            }
        }
        stopped?;
        self.report.tally.reads += observer.reads;
        observer.tell(&mut self.writers);
        if gently {
            self.report.stops += 1;
        } else {
            self.report.kills += 1;
        }
        Ok(())
    }

    fn last_check(&mut self) -> Result<(), String> {
        let running = self.start_and_check()?;
        match running.stop(STOP_PATIENCE) {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("stopped with {status}")),
            Err(error) => Err(error.to_string()),
        }
    }
}
