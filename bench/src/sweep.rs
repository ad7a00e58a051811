//! The highest rate at which a server keeps a promised latency.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

use crate::load::{self, LoadError, Report};

/// A rate is kept when so large a part of it was answered.
const RATE_KEPT: f64 = 0.99;

/// The search, as flags.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub struct Options {
    #[command(flatten)]
    load: load::Options,
    /// The latency that 99 of 100 requests must keep, for instance 1ms or 500us
    #[arg(long, value_parser = micros)]
    p99: f64,
    /// The search ends when the highest rate is known to this part of itself
    #[arg(long, default_value_t = 0.05)]
    precision: f64,
    /// File for the rates tried and their latencies, as CSV
    #[arg(long)]
    csv: Option<PathBuf>,
}

/// A rate that was tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Operations per second asked for.
    pub asked: f64,
    /// Operations per second answered without an error.
    pub rate: f64,
    /// Latencies in microseconds.
    pub p50: f64,
    /// Of 99 in 100.
    pub p99: f64,
    /// Of 999 in 1000.
    pub p999: f64,
    /// Whether the promise was kept: no errors, the rate answered, the latency below its bound.
    pub kept: bool,
}

impl Step {
    fn new(asked: f64, p99_max: f64, report: &Report) -> Self {
        let (rate, p99) = (report.rate(), report.micros(0.99));
        let kept = p99 <= p99_max && report.errors() == 0 && rate >= asked * RATE_KEPT;
        Self { asked, rate, p50: report.micros(0.5), p99, p999: report.micros(0.999), kept }
    }
}

/// Reads `1ms`, `500us` or `0.1s` as microseconds.
fn micros(text: &str) -> Result<f64, String> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];
    let found = units.iter().find_map(|(unit, factor)| {
        let number: f64 = text.strip_suffix(unit)?.trim().parse().ok()?;
        (number.is_finite() && number > 0.0).then_some(number * factor)
    });
    found.ok_or_else(|| format!("{text:?} is not a time; write for instance 1ms or 500us"))
}

/// Searches between 0 and `most`, halving; `attempt` tries a rate. The highest rate that was kept, 0 if none was, and
/// all steps in the order they were tried. `precision` is a part of the rate found, and of `most` while none is.
///
/// # Errors
/// Those of `attempt`.
pub fn bisect(
    most: f64,
    precision: f64,
    mut attempt: impl FnMut(f64) -> Result<Step, LoadError>,
) -> Result<(f64, Vec<Step>), LoadError> {
    let (mut kept, mut missed) = (0.0, most);
    let mut steps = Vec::new();
    let first = attempt(most)?;
    steps.push(first);
    if first.kept {
        return Ok((most, steps));
    }
    while missed - kept > precision * if kept > 0.0 { kept } else { most } {
        let step = attempt(f64::midpoint(kept, missed))?;
        steps.push(step);
        *if step.kept { &mut kept } else { &mut missed } = step.asked;
    }
    Ok((kept, steps))
}

/// The steps as CSV, by rate.
fn csv(steps: &[Step]) -> String {
    let mut sorted = steps.to_vec();
    sorted.sort_by(|a, b| a.asked.total_cmp(&b.asked));
    let mut text = String::from("rate_asked,rate,p50_us,p99_us,p999_us,kept\n");
    for s in sorted {
        let _ =
            writeln!(text, "{:.0},{:.0},{:.1},{:.1},{:.1},{}", s.asked, s.rate, s.p50, s.p99, s.p999, s.kept);
    }
    text
}

/// Measures what a closed loop reaches, searches below it, prints each step, and answers with a line of figures.
///
/// # Errors
/// When a load cannot be run to its end, or a flag makes no sense.
pub fn run(options: &Options) -> Result<String, LoadError> {
    if !(options.precision > 0.0 && options.precision < 1.0) {
        return Err(LoadError::Options("--precision is a part, above 0 and below 1".into()));
    }
    if options.load.rate.is_some() {
        return Err(LoadError::Options("the sweep chooses the rate: leave --rate out".into()));
    }
    let closed = load::run(&options.load)?;
    let most = closed.rate();
    println!("closed loop: {closed}");
    let (rate, steps) = bisect(most, options.precision, |asked| {
        let mut open = options.load.clone();
        (open.rate, open.preload) = (Some(asked), false);
        let report = load::run(&open)?;
        let step = Step::new(asked, options.p99, &report);
        println!("{}: {report}", if step.kept { "kept" } else { "missed" });
        Ok(step)
    })?;
    if let Some(path) = &options.csv {
        load::write_file(path, &csv(&steps))?;
    }
    if rate == 0.0 {
        return Err(LoadError::Options(format!(
            "no rate keeps a p99 of {} us: give a longer --p99, or look for what else the machine does",
            options.p99
        )));
    }
    Ok(format!("rate={rate:.0} p99_us_max={} steps={} closed_rate={most:.0}", options.p99, steps.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that keeps its promise up to `bound` requests per second.
    fn search(bound: f64, most: f64) -> (f64, Vec<Step>) {
        let attempt = |asked: f64| {
            Ok(Step { asked, rate: asked, p50: 1.0, p99: asked, p999: 3.0, kept: asked <= bound })
        };
        bisect(most, 0.05, attempt).expect("nothing fails")
    }

    #[test]
    fn the_highest_rate_is_found_to_the_precision_asked_for() {
        for bound in [7000.0, 33_333.0, 99_000.0] {
            let (rate, steps) = search(bound, 100_000.0);
            assert!(rate <= bound && rate >= bound * 0.95 - 1.0, "{rate} of {bound}: {steps:?}");
        }
        assert_eq!(search(200_000.0, 100_000.0).0, 100_000.0);
        let (rate, steps) = search(1.0, 100_000.0);
        assert!(rate == 0.0 && steps.len() < 8, "{steps:?}");
    }

    #[test]
    fn steps_are_written_by_rate() {
        let (_, steps) = search(60_000.0, 100_000.0);
        let text = csv(&steps);
        let rates: Vec<f64> = text
            .lines()
            .skip(1)
            .map(|line| line.split(',').next().and_then(|word| word.parse().ok()).expect("a number"))
            .collect();
        assert!(rates.is_sorted() && rates.len() == steps.len());
    }

    #[test]
    fn times_have_units() {
        assert_eq!((micros("1ms"), micros("500us"), micros("0.1s")), (Ok(1000.0), Ok(500.0), Ok(100_000.0)));
        assert!(["1", "x", "0ms", "-1us", ""].iter().all(|text| micros(text).is_err()));
    }
}
