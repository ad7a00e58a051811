//! The figures of one run.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::connection::Reply;
use super::{Operation, Options};

/// Counts and latencies of one run; its text is one line of `name=value`.
#[derive(Clone, Debug)]
pub struct Report {
    operation: Operation,
    connections: u32,
    pipeline: u32,
    rate_asked: Option<f64>,
    /// Nanoseconds.
    latency: Histogram<u64>,
    nils: u64,
    errors: u64,
    took: Duration,
}

impl Report {
    /// No figures yet.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        let latency = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are sound");
        Self {
            operation: options.operation,
            connections: options.connections,
            pipeline: options.pipeline,
            rate_asked: options.rate,
            latency,
            nils: 0,
            errors: 0,
            took: Duration::ZERO,
        }
    }

    pub(super) fn record(&mut self, reply: Reply, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latency.saturating_record(nanos.max(1));
        match reply {
            Reply::Good => {}
            Reply::Nil => self.nils += 1,
            Reply::Error => self.errors += 1,
        }
    }

    pub(super) const fn finish(&mut self, took: Duration) {
        self.took = took;
    }

    /// Replies per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.latency.len() as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// Error replies.
    #[must_use]
    pub const fn errors(&self) -> u64 {
        self.errors
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = format!("{:?}", self.operation).to_lowercase();
        let micros = |quantile| self.latency.value_at_quantile(quantile) as f64 / 1e3;
        write!(f, "operation={operation} connections={} pipeline={}", self.connections, self.pipeline)?;
        if let Some(rate) = self.rate_asked {
            write!(f, " rate_asked={rate:.0}")?;
        }
        write!(
            f,
            " ops={} seconds={:.3} rate={:.0} p50_us={:.1} p99_us={:.1} p999_us={:.1} max_us={:.1} nils={} errors={}",
            self.latency.len(),
            self.took.as_secs_f64(),
            self.rate(),
            micros(0.5),
            micros(0.99),
            micros(0.999),
            self.latency.max() as f64 / 1e3,
            self.nils,
            self.errors
        )
    }
}
