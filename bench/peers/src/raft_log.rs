//! Appends to raft-engine: each group appends its next entry when the one before is synced.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use raft::eraftpb::Entry;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};

use crate::{Outcome, figures};

/// The load, as flags.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// An empty directory
    #[arg(long)]
    dir: PathBuf,
    /// Groups that append
    #[arg(long, default_value_t = 1)]
    groups: u64,
    /// Bytes of an entry
    #[arg(long, default_value_t = 256)]
    entry_bytes: usize,
    /// Threads that append, each for its share of the groups
    #[arg(long, default_value_t = 1)]
    threads: u64,
    /// Seconds of measurement
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// CPU to pin all threads to
    #[arg(long, default_value_t = 0)]
    cpu: usize,
}

struct Entries;

impl MessageExt for Entries {
    type Entry = Entry;

    fn index(entry: &Entry) -> u64 {
        entry.index
    }
}

/// Appends until the time is over.
pub fn run(options: &Options) -> Outcome<()> {
    affinity::set_thread_affinity([options.cpu]).map_err(|e| e.to_string())?;
    let config = Config {
        dir: options.dir.to_string_lossy().into_owned(),
        // As in Pinion: segments of 64 MiB, written before they are used and used again; no compression of entries.
        target_file_size: ReadableSize::mb(64),
        enable_log_recycle: true,
        prefill_for_recycle: true,
        batch_compression_threshold: ReadableSize(0),
        purge_threshold: ReadableSize::mb(512),
        ..Config::default()
    };
    let engine = Arc::new(Engine::open(config).map_err(|e| e.to_string())?);
    let over = Arc::new(AtomicBool::new(false));
    let begun = Instant::now();
    let threads: Vec<_> = (0..options.threads)
        .map(|thread| {
            let groups: Vec<u64> = (1..=options.groups).filter(|g| g % options.threads == thread).collect();
            let (engine, over, bytes) = (engine.clone(), over.clone(), options.entry_bytes);
            std::thread::spawn(move || append(&engine, &groups, bytes, &over))
        })
        .collect();
    std::thread::sleep(Duration::from_secs_f64(options.seconds));
    over.store(true, Ordering::Relaxed);
    let mut latency = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3)?;
    let mut entries = 0;
    for thread in threads {
        let (count, seen) = thread.join().map_err(|_| "an appending thread panicked")??;
        entries += count;
        latency.add(seen)?;
    }
    let more = format!("groups={} threads={}", options.groups, options.threads);
    figures::print(entries, begun.elapsed().as_secs_f64(), &latency, &more);
    Ok(())
}

fn append(
    engine: &Engine,
    groups: &[u64],
    bytes: usize,
    over: &AtomicBool,
) -> Result<(u64, Histogram<u64>), String> {
    let mut latency = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are sound");
    let mut entry = Entry { data: vec![b'x'; bytes].into(), term: 1, ..Entry::default() };
    let mut count = 0;
    let mut batch = LogBatch::default();
    while !over.load(Ordering::Relaxed) && !groups.is_empty() {
        entry.index += 1;
        for &group in groups {
            batch.add_entries::<Entries>(group, std::slice::from_ref(&entry)).map_err(|e| e.to_string())?;
        }
        let begun = Instant::now();
        engine.write(&mut batch, true).map_err(|e| e.to_string())?;
        latency.saturating_record(begun.elapsed().as_nanos() as u64);
        count += groups.len() as u64;
        if entry.index.is_multiple_of(4096) {
            for &group in groups {
                engine.compact_to(group, entry.index);
            }
            engine.purge_expired_files().map_err(|e| e.to_string())?;
        }
    }
    Ok((count, latency))
}
