//! What the pairs of a comparison add up to.

use std::fmt::Write as _;

use crate::load::Report;

/// One metric of both sides, pair by pair.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Its name and unit.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Of A, in the order of the pairs.
    pub a: Vec<f64>,
    /// Of B.
    pub b: Vec<f64>,
}

/// What one run of one side is described by; server CPU is known only with its process.
#[must_use]
pub fn of_run(report: &Report, server_cpu_micros: Option<f64>) -> Vec<(&'static str, &'static str, f64)> {
    let mut figures = vec![
        ("throughput", "ops/s", report.rate()),
        ("p50", "us", report.micros(0.5)),
        ("p99", "us", report.micros(0.99)),
        ("p99.9", "us", report.micros(0.999)),
        ("max", "us", report.micros(1.0)),
    ];
    figures.extend(server_cpu_micros.map(|micros| ("server CPU per operation", "us", micros)));
    figures.push(("client CPU per operation", "us", report.cpu_micros()));
    figures
}

/// The middle of `values`; of an even number of them the mean of the two in the middle.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

impl Metric {
    /// Puts the figures of all runs together; both sides have as many. A metric that only one side knows is left out.
    #[must_use]
    pub fn collect(
        a: &[Vec<(&'static str, &'static str, f64)>],
        b: &[Vec<(&'static str, &'static str, f64)>],
    ) -> Vec<Self> {
        assert_eq!(a.len(), b.len(), "runs come in pairs");
        let of = |runs: &[Vec<(&'static str, &'static str, f64)>], wanted: &str| -> Vec<f64> {
            runs.iter().flatten().filter(|(name, ..)| *name == wanted).map(|(.., value)| *value).collect()
        };
        let all = a.first().into_iter().flatten().map(|&(name, unit, _)| Self {
            name,
            unit,
            a: of(a, name),
            b: of(b, name),
        });
        all.filter(|metric| metric.a.len() == a.len() && metric.b.len() == b.len()).collect()
    }

    /// The ratio A / B of each pair. Only pairs are compared: what the machine does changes from minute to minute.
    #[must_use]
    pub fn ratios(&self) -> Vec<f64> {
        self.a.iter().zip(&self.b).map(|(a, b)| a / b).collect()
    }

    /// The median of the ratios, the lowest and the highest.
    #[must_use]
    pub fn ratio(&self) -> (f64, f64, f64) {
        let ratios = self.ratios();
        let spread = ratios.iter().fold((f64::MAX, f64::MIN), |(low, high), &r| (low.min(r), high.max(r)));
        (median(&ratios), spread.0, spread.1)
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let (ratio, low, high) = self.ratio();
        serde_json::json!({
            "name": self.name,
            "unit": self.unit,
            "a": { "median": median(&self.a), "runs": self.a },
            "b": { "median": median(&self.b), "runs": self.b },
            "ratio": { "median": ratio, "min": low, "max": high, "pairs": self.ratios() },
        })
    }
}

/// The metrics as a table.
#[must_use]
pub fn table(metrics: &[Metric]) -> String {
    let mut text =
        String::from("| metric | unit | A | B | A / B (lowest–highest of a pair) |\n|---|---|---|---|---|\n");
    for metric in metrics {
        let (ratio, low, high) = metric.ratio();
        let (a, b) = (brief(median(&metric.a)), brief(median(&metric.b)));
        let _ = writeln!(
            text,
            "| {} | {} | {a} | {b} | {ratio:.2} ({low:.2}–{high:.2}) |",
            metric.name, metric.unit
        );
    }
    text
}

fn brief(value: f64) -> String {
    if value >= 10_000.0 { format!("{:.1} k", value / 1e3) } else { format!("{value:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_those_of_pairs_and_not_of_medians() {
        let run = |value| vec![("throughput", "ops/s", value), ("p50", "us", 1.0)];
        // The machine slows down by half in the middle: each pair says two to one.
        let a = [run(200.0), run(200.0), run(100.0), run(98.0), run(100.0)];
        let b = [run(100.0), run(100.0), run(50.0), run(50.0), run(50.0)];
        let metrics = Metric::collect(&a, &b);
        assert_eq!(metrics[0].ratio(), (2.0, 1.96, 2.0));
        assert_eq!(metrics[1].ratio(), (1.0, 1.0, 1.0));
        let text = table(&metrics);
        assert!(text.contains("| throughput | ops/s | 100.0 | 50.0 | 2.00 (1.96–2.00) |"), "{text}");
        let json = metrics[0].json();
        assert_eq!((&json["ratio"]["min"], &json["a"]["runs"][3]), (&1.96.into(), &98.0.into()));
    }

    #[test]
    fn what_one_side_does_not_know_is_left_out() {
        let known = vec![("p50", "us", 1.0), ("server CPU per operation", "us", 2.0)];
        let known = [known];
        let metrics = Metric::collect(&known, &[vec![("p50", "us", 4.0)]]);
        assert_eq!(metrics.iter().map(|m| m.name).collect::<Vec<_>>(), ["p50"]);
        assert_eq!(Metric::collect(&known, &known).len(), 2);
    }

    #[test]
    fn the_middle_is_found() {
        assert_eq!((median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0, 2.0, 3.0])), (2.0, 2.5));
        assert!(median(&[]).is_nan());
    }
}
