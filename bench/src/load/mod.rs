//! A Redis client for load: closed and open loops over many connections, a thread per core.
//!
//! * Closed loop: each connection sends `pipeline` operations, waits for all replies, sends the next; the measure is the
//!   rate. An operation's latency counts from the moment its requests were written.
//! * Open loop (`--rate`): each request is due at a moment of its [schedule], whatever the server does; its latency counts
//!   from then, so that a stalled server cannot hide its stalls.
//!
//! What is sent comes from a [mix] of templates, keys from a [chooser](keys), lengths from [values]; each thread draws
//! from streams of its own that follow from the seed.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a client has its own clock, files and sockets"
)]

mod connection;
mod driver;
#[cfg(test)]
pub(crate) mod fake;
pub mod keys;
pub mod mix;
pub mod options;
mod reply;
mod report;
pub mod schedule;
#[cfg(test)]
mod tests;
pub mod values;

use std::path::Path;
use std::sync::atomic::AtomicU64;

use driver::Driver;
use keys::KeyCount;
pub use options::{ADDRESS, Operation, Options};
pub use report::Report;

/// Requests a connection of a preload has under way.
const PRELOAD_PIPELINE: u32 = 64;

/// Why a load could not be run to its end.
#[derive(Debug)]
pub enum LoadError {
    /// The server could not be reached, or closed a connection.
    Connection(String, std::io::Error),
    /// The reply is not of the protocol.
    Protocol(String),
    /// The options contradict each other.
    Options(String),
    /// A file of figures could not be written.
    Output(String, std::io::Error),
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use std::io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, TimedOut, UnexpectedEof};
        match self {
            Self::Connection(what, error)
                if matches!(error.kind(), UnexpectedEof | BrokenPipe | ConnectionReset) =>
            {
                write!(f, "{what}: the server closed the connection; did it end?")
            }
            Self::Connection(what, error) if error.kind() == ConnectionRefused => {
                write!(
                    f,
                    "{what}: {error}; does a server listen there? Give --address HOST:PORT or --socket PATH"
                )
            }
            Self::Connection(what, error) if error.kind() == TimedOut => {
                write!(f, "{what}: none came; the server, or the way to it, stands still")
            }
            Self::Connection(what, error) | Self::Output(what, error) => write!(f, "{what}: {error}"),
            Self::Protocol(what) => write!(f, "the server's reply is not RESP: {what}"),
            Self::Options(what) => f.write_str(what),
        }
    }
}

/// Runs the load, writes the files asked for, and reports its figures.
///
/// # Errors
/// When the options contradict each other, a connection fails or is closed, a reply is not of the protocol or a file
/// cannot be written. Error replies are counted by their code, not fatal.
pub fn run(options: &Options) -> Result<Report, LoadError> {
    options.check()?;
    if options.preload {
        preload(options)?;
    }
    let report = run_threads(options)?;
    let write = |path: Option<&Path>, text: fn(&Report) -> String| match path {
        Some(path) => write_file(path, &text(&report)),
        None => Ok(()),
    };
    write(options.json.as_deref(), Report::json)?;
    write(options.hgrm.as_deref(), Report::hgrm)?;
    Ok(report)
}

/// SETs every key once.
///
/// # Errors
/// Those of [`run`], and when the server refuses a value.
pub(crate) fn preload(options: &Options) -> Result<(), LoadError> {
    let mut fill = options.clone();
    (fill.operation, fill.mix, fill.preset, fill.rate) = (Operation::Fill, None, None, None);
    (fill.pipeline, fill.warm_up_seconds, fill.requests) = (PRELOAD_PIPELINE, 0.0, None);
    fill.command.clear();
    let report = run_threads(&fill)?;
    if report.errors() > 0 {
        return Err(LoadError::Options(format!("the server refused values of the preload: {report}")));
    }
    Ok(())
}

pub(crate) fn write_file(path: &Path, text: &str) -> Result<(), LoadError> {
    std::fs::write(path, text).map_err(|e| LoadError::Output(format!("writing {}", path.display()), e))
}

fn run_threads(options: &Options) -> Result<Report, LoadError> {
    let count = KeyCount::new(AtomicU64::new(options.keys));
    // All are connected before any begins.
    let drivers = (0..options.threads).map(|thread| Driver::connect(options, thread, &count));
    let drivers = drivers.collect::<Result<Vec<_>, _>>()?;
    let outcomes: Vec<Result<Report, LoadError>> = std::thread::scope(|scope| {
        let threads: Vec<_> = drivers
            .into_iter()
            .enumerate()
            .map(|(thread, driver)| {
                scope.spawn(move || {
                    if let Some(cpu) = options.cpu.map(|cpu| cpu + thread) {
                        affinity::set_thread_affinity([cpu])
                            .map_err(|e| LoadError::Options(format!("CPU {cpu} cannot be pinned to: {e}")))?;
                    }
                    if options.nice > 0 {
                        // Of this thread alone: Linux knows no niceness of a process.
                        rustix::process::setpriority_process(None, options.nice)
                            .map_err(|e| LoadError::Options(format!("--nice {}: {e}", options.nice)))?;
                    }
                    driver.run()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread of the load panicked")).collect()
    });
    let mut sum = Report::new(options);
    for outcome in outcomes {
        sum.merge(&outcome?);
    }
    Ok(sum)
}
