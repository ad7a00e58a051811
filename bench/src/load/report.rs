//! The figures of one run.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::connection::Seen;
use super::options::Options;

/// Kinds of errors told apart at most; further ones count as `other`.
const ERROR_KINDS_MAX: usize = 64;

/// Counts and latencies of one run; its text is one line of `name=value`.
///
/// An operation is what one choice of the mix sends: one request, or the GET and the SET of a read-modify-write, which
/// are over when both are answered. One with an error counts as an error of that code, and nowhere else.
#[derive(Clone, Debug)]
pub struct Report {
    name: String,
    connections: u32,
    pipeline: u32,
    rate_asked: Option<f64>,
    seed: u64,
    /// Nanoseconds.
    latency: Histogram<u64>,
    nils: u64,
    errors: BTreeMap<String, u64>,
    took: Duration,
    cpu: Duration,
}

impl Report {
    /// No figures yet.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        let latency = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are sound");
        Self {
            name: options.name(),
            connections: options.connections,
            pipeline: options.pipeline,
            rate_asked: options.rate,
            seed: options.seed,
            latency,
            nils: 0,
            errors: BTreeMap::new(),
            took: Duration::ZERO,
            cpu: Duration::ZERO,
        }
    }

    pub(super) fn record(&mut self, seen: Seen<'_>) {
        match seen {
            Seen::Done(latency, nil) => {
                let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
                self.latency.saturating_record(nanos.max(1));
                self.nils += u64::from(nil);
            }
            Seen::Failed(text) => {
                let kind = text.split(|b| *b == b' ').next().unwrap_or_default();
                self.count_error(&String::from_utf8_lossy(kind), 1);
            }
        }
    }

    fn count_error(&mut self, kind: &str, count: u64) {
        let full = self.errors.len() >= ERROR_KINDS_MAX && !self.errors.contains_key(kind);
        *self.errors.entry(if full { "other" } else { kind }.to_owned()).or_default() += count;
    }

    pub(super) const fn finish(&mut self, took: Duration, cpu: Duration) {
        self.took = took;
        self.cpu = cpu;
    }

    /// Adds the figures of another thread.
    pub(super) fn merge(&mut self, other: &Self) {
        self.latency.add(&other.latency).expect("both have the same bounds");
        self.nils += other.nils;
        other.errors.iter().for_each(|(kind, count)| self.count_error(kind, *count));
        self.took = self.took.max(other.took);
        self.cpu += other.cpu;
    }

    /// Operations without an error, per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.latency.len() as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// Operations without an error.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.latency.len()
    }

    /// Operations that met a key that is not there.
    #[must_use]
    pub const fn nils(&self) -> u64 {
        self.nils
    }

    /// The latency that a part of the operations keeps, in microseconds.
    #[must_use]
    pub fn micros(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1e3
    }

    /// Operations with an error.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors.values().sum()
    }

    /// CPU of the generator's own threads for an operation, in microseconds.
    #[must_use]
    pub fn cpu_micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / ((self.latency.len() + self.errors()) as f64).max(1.0)
    }

    /// The figures as one JSON object.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::json!({
            "operation": self.name,
            "connections": self.connections,
            "pipeline": self.pipeline,
            "rate_asked": self.rate_asked,
            "seed": self.seed,
            "ops": self.operations(),
            "seconds": self.took.as_secs_f64(),
            "rate": self.rate(),
            "latency_us": {
                "mean": self.latency.mean() / 1e3,
                "p50": self.micros(0.5),
                "p90": self.micros(0.9),
                "p99": self.micros(0.99),
                "p999": self.micros(0.999),
                "p9999": self.micros(0.9999),
                "max": self.latency.max() as f64 / 1e3,
            },
            "nils": self.nils,
            "errors": self.errors(),
            "errors_by_kind": self.errors,
            "client_cpu_us": self.cpu_micros(),
        })
        .to_string()
    }

    /// The percentiles as the HdrHistogram libraries print them, values in microseconds.
    #[must_use]
    pub fn hgrm(&self) -> String {
        let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
        let mut total = 0;
        for step in self.latency.iter_quantiles(5) {
            total += step.count_since_last_iteration();
            let quantile = step.quantile_iterated_to();
            let _ =
                write!(text, "{:12.3} {quantile:14.12} {total:10}", step.value_iterated_to() as f64 / 1e3);
            let _ = match 1.0 - quantile {
                rest if rest > 0.0 => writeln!(text, " {:14.2}", 1.0 / rest),
                _ => writeln!(text),
            };
        }
        let (mean, deviation) = (self.latency.mean() / 1e3, self.latency.stdev() / 1e3);
        let _ = writeln!(text, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
        let most = self.latency.max() as f64 / 1e3;
        let _ = writeln!(text, "#[Max     = {most:12.3}, Total count    = {total:12}]");
        text
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operation={} connections={} pipeline={}", self.name, self.connections, self.pipeline)?;
        if let Some(rate) = self.rate_asked {
            write!(f, " rate_asked={rate:.0}")?;
        }
        write!(
            f,
            " ops={} seconds={:.3} rate={:.0} p50_us={:.1} p99_us={:.1} p999_us={:.1} max_us={:.1} nils={} errors={} client_cpu_us={:.3} seed={}",
            self.operations(),
            self.took.as_secs_f64(),
            self.rate(),
            self.micros(0.5),
            self.micros(0.99),
            self.micros(0.999),
            self.latency.max() as f64 / 1e3,
            self.nils,
            self.errors(),
            self.cpu_micros(),
            self.seed,
        )?;
        self.errors.iter().try_for_each(|(kind, count)| write!(f, " errors_{kind}={count}"))
    }
}
