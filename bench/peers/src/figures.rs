//! Figures as programs print them (`name=value` in one line) and as the table reads them.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

/// Figures of one run by name.
#[derive(Clone, Debug, Default)]
pub struct Figures(BTreeMap<String, f64>);

impl Figures {
    /// Reads the last line of `text` that holds figures.
    pub fn parse(text: &str) -> Self {
        let line = text.lines().rev().find(|line| line.contains('=')).unwrap_or_default();
        let pair = |word: &str| {
            let (name, value) = word.split_once('=')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Self(line.split_whitespace().filter_map(pair).collect())
    }

    /// The figure `name`.
    pub fn get(&self, name: &str) -> Result<f64, String> {
        self.0.get(name).copied().ok_or_else(|| format!("no figure {name} among {:?}", self.0))
    }
}

/// Prints a rate and latencies in the common form.
pub fn print(operations: u64, seconds: f64, nanos: &Histogram<u64>, more: &str) {
    let micros = |quantile| nanos.value_at_quantile(quantile) as f64 / 1e3;
    println!(
        "ops={operations} seconds={seconds:.3} rate={:.0} p50_us={:.1} p99_us={:.1} p999_us={:.1} max_us={:.1} {more}",
        operations as f64 / seconds,
        micros(0.5),
        micros(0.99),
        micros(0.999),
        nanos.max() as f64 / 1e3,
    );
}

/// The middle of `values`.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}
