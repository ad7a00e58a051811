//! The log on the host of production: each group appends its next entry when the one before is stable.
#![expect(clippy::disallowed_methods, reason = "measures a recovery by the wall of the process")]

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use clap::Args;
use hdrhistogram::Histogram;
use pinion_core::host::uring::{Cores, Opening, Plan, UringOptions, bind};
use pinion_core::host::{Machine, Now};
use pinion_core::{Exit, Inbox, Outbox};
use pinion_wal::{EntryRef, GroupId, LogId, LogIndex, Mono, Options as LogOptions, Position, Term, Wal};

/// The load, as flags.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// An empty directory on the disk to be measured
    #[arg(long)]
    pub dir: PathBuf,
    /// Groups that append
    #[arg(long, default_value_t = 1)]
    pub groups: u32,
    /// Bytes of an entry
    #[arg(long, default_value_t = 256)]
    pub entry_bytes: usize,
    /// Seconds of measurement
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
    /// Seconds of the same load before it: segments are made, and from then on used again
    #[arg(long, default_value_t = 0.5)]
    pub warm_up_seconds: f64,
    /// CPU of the core
    #[arg(long, default_value_t = 0)]
    pub cpu: usize,
}

/// The recovery, as flags.
#[derive(Clone, Debug, Args)]
pub struct RecoveryOptions {
    /// The directory of an earlier run
    #[arg(long)]
    pub dir: PathBuf,
    /// CPU of the core
    #[arg(long, default_value_t = 0)]
    pub cpu: usize,
}

/// Entries of a group that are kept before the log is told to drop the older ones, unless they are large.
const KEPT_ENTRIES: u64 = 1_000;
/// Bytes of entries that all groups together keep, at most.
const KEPT_BYTES: u64 = 96 << 20;

/// What a run came to; written by the core, read after it has ended.
#[derive(Default)]
struct Outcome {
    entries: u64,
    nanos: u64,
    line: String,
}

/// A group that appends.
struct Group {
    next: LogIndex,
    /// The position of the entry in flight, and when it was appended.
    waits: Position,
    since: Mono,
}

struct Appender {
    wal: Wal,
    groups: Vec<Group>,
    data: Vec<u8>,
    kept_entries: u64,
    begun: Option<Mono>,
    warm_up_nanos: u64,
    warm: bool,
    /// Segments that were made before the measurement.
    made_before: u64,
    end_after_nanos: u64,
    latency: Histogram<u64>,
    entries: u64,
    outcome: Arc<Mutex<Outcome>>,
}

impl Machine for Appender {
    fn turn(&mut self, now: Now, inbox: &mut Inbox, outbox: &mut Outbox) {
        let begun = *self.begun.get_or_insert(now.mono);
        let stop = (0..inbox.len()).any(|index| inbox.event(index) == pinion_core::Event::Stop);
        let stable = match self.wal.poll(now.mono) {
            Ok(stable) => stable,
            Err(poison) => return outbox.finish(Exit::Poisoned(poison.to_string())),
        };
        let mut elapsed = now.mono.nanos_since(begun);
        if !self.warm && elapsed >= self.warm_up_nanos {
            self.warm = true;
            self.begun = Some(now.mono);
            self.entries = 0;
            self.latency.reset();
            self.made_before = self.wal.metrics().segments_created;
            elapsed = 0;
        }
        if self.warm && elapsed >= self.end_after_nanos || stop {
            self.report(elapsed);
            return outbox.finish(Exit::Stopped);
        }
        if self.wal.writable().is_ok() {
            self.append(stable, now.mono);
        }
        self.wal.flush(now.mono, true);
        if let Some(at) = self.wal.next_deadline() {
            outbox.wake_at(at);
        }
        outbox.wake_at(now.mono.plus_millis(10));
    }
}

impl Appender {
    fn append(&mut self, stable: Position, now: Mono) {
        for (number, group) in self.groups.iter_mut().enumerate() {
            if group.waits > stable {
                continue;
            }
            let id = GroupId(16 + number as u32);
            if group.next.0 > 1 {
                self.entries += 1;
                self.latency.saturating_record(now.nanos_since(group.since).max(1));
            }
            if group.next.0.is_multiple_of(self.kept_entries) {
                self.wal.append_first(id, group.next, Term(1));
            }
            let entry = EntryRef { index: group.next, term: Term(1), kind: 0, data: &self.data };
            let commit = LogIndex(group.next.0 - 1);
            group.waits = self.wal.append_entries(id, commit, std::slice::from_ref(&entry));
            group.next = LogIndex(group.next.0 + 1);
            group.since = now;
        }
    }

    fn report(&self, nanos: u64) {
        let micros = |quantile| self.latency.value_at_quantile(quantile) as f64 / 1e3;
        let seconds = nanos as f64 / 1e9;
        let bytes = self.entries as f64 * self.data.len() as f64;
        let made = self.wal.metrics().segments_created - self.made_before;
        let line = format!(
            "groups={} ops={} seconds={seconds:.3} rate={:.0} mb_per_s={:.1} p50_us={:.1} p99_us={:.1} p999_us={:.1} max_us={:.1} segments_made={made}",
            self.groups.len(),
            self.entries,
            self.entries as f64 / seconds,
            bytes / 1e6 / seconds,
            micros(0.5),
            micros(0.99),
            micros(0.999),
            self.latency.max() as f64 / 1e3,
        );
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        *outcome = Outcome { entries: self.entries, nanos, line };
    }
}

/// Appends until the time is over and prints one line of figures.
///
/// # Errors
/// A sentence that says what the disk or the kernel refused.
pub fn run(options: &Options) -> Result<(), String> {
    std::fs::create_dir_all(&options.dir).map_err(|e| format!("{}: {e}", options.dir.display()))?;
    let outcome = Arc::new(Mutex::new(Outcome::default()));
    let (shared, chosen) = (outcome.clone(), options.clone());
    on_one_core(options.dir.clone(), options.cpu, move |opening| {
        let (wal, recovered) = open(opening)?;
        if !recovered.groups.is_empty() {
            return Err("the directory holds a log already: give an empty one".to_owned());
        }
        let group = |_| Group { next: LogIndex(1), waits: Position::default(), since: Mono::default() };
        Ok(Appender {
            wal,
            groups: (0..chosen.groups).map(group).collect(),
            data: vec![b'x'; chosen.entry_bytes],
            kept_entries: KEPT_ENTRIES
                .min(KEPT_BYTES / (chosen.entry_bytes.max(1) as u64 * u64::from(chosen.groups.max(1))))
                .max(1),
            begun: None,
            warm_up_nanos: (chosen.warm_up_seconds * 1e9) as u64,
            warm: false,
            made_before: 0,
            end_after_nanos: (chosen.seconds * 1e9) as u64,
            latency: Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are sound"),
            entries: 0,
            outcome: shared.clone(),
        })
    })?;
    let outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
    if outcome.entries == 0 || outcome.nanos == 0 {
        return Err("nothing became stable".into());
    }
    println!("{}", outcome.line);
    Ok(())
}

/// Opens the log of an earlier run once and prints how fast it was read.
///
/// # Errors
/// As [`run`].
pub fn recover(options: &RecoveryOptions) -> Result<(), String> {
    let log = options.dir.join("log-0000");
    let entries = std::fs::read_dir(&log).map_err(|e| format!("{}: {e}", log.display()))?;
    let bytes: u64 = entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum();
    let outcome = Arc::new(Mutex::new(Outcome::default()));
    let shared = outcome.clone();
    on_one_core(options.dir.clone(), options.cpu, move |opening| {
        let begun = Instant::now();
        let (_, recovered) = open(opening)?;
        let entries = recovered.groups.values().map(|group| group.entries.len() as u64).sum();
        let nanos = begun.elapsed().as_nanos() as u64;
        *shared.lock().unwrap_or_else(PoisonError::into_inner) =
            Outcome { entries, nanos, line: String::new() };
        Ok(Idle)
    })?;
    let outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
    let seconds = outcome.nanos as f64 / 1e9;
    let speed = bytes as f64 / 1e6 / seconds;
    println!("entries={} bytes={bytes} seconds={seconds:.4} mb_per_s={speed:.1}", outcome.entries);
    Ok(())
}

/// Ends at once.
struct Idle;

impl Machine for Idle {
    fn turn(&mut self, _now: Now, _inbox: &mut Inbox, outbox: &mut Outbox) {
        outbox.finish(Exit::Stopped);
    }
}

fn open(opening: Opening<'_>) -> Result<(Wal, pinion_wal::Recovered), String> {
    let Opening { host, disk, .. } = opening;
    let found = Rc::new(RefCell::new(None));
    let filled = found.clone();
    let done = host.complete(None, async move {
        *filled.borrow_mut() = Some(Wal::open(&disk, LogId(0), LogOptions::default()).await);
    });
    done.ok_or("the log waits for nothing")?;
    let opened = found.borrow_mut().take().ok_or("the log was not opened")?;
    opened.map_err(|error| error.to_string())
}

fn on_one_core<M: Machine>(
    dir: PathBuf,
    cpu: usize,
    open: impl Fn(Opening<'_>) -> Result<M, String> + Send + Sync + 'static,
) -> Result<(), String> {
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (sockets, _) = bind(anywhere, 1).map_err(|error| error.to_string())?;
    let plan = Plan {
        cpus: vec![cpu],
        sockets,
        own_sockets: Vec::new(),
        data_dir: Some(dir),
        options: UringOptions::default(),
        clients_max: 1,
    };
    let cores = Cores::start(plan, open).map_err(|error| error.to_string())?;
    match cores.join().pop() {
        Some(Exit::Stopped) => Ok(()),
        Some(Exit::Poisoned(what)) => Err(what),
        None => Err("no core ran".into()),
    }
}
