//! The time of writes, one at a time: the server's stages and what the client saw beyond them.
//!
//! The server counts the stages of every request from the last byte read to the send submitted; they sum exactly. The
//! client counts from its send to its reply. The difference is `outside`: the kernel's network path, wake-ups, and the
//! client itself.
#![expect(clippy::disallowed_methods, reason = "measures as a client does, by its own clock")]

use std::time::Instant;

use hdrhistogram::Histogram;

use super::text;
use crate::client::{Client, Value};

/// A stage as the server counted it, on all cores together.
#[derive(Clone, Debug, Default, PartialEq)]
struct Stage {
    name: String,
    count: u64,
    /// Nanoseconds.
    sum: u64,
    figures: Vec<(String, u64)>,
}

/// Sends so many writes, one at a time, and answers the table to print.
///
/// # Errors
/// A sentence that says what the server did not do.
pub fn run(client: &mut Client, requests: u32) -> Result<String, String> {
    let before = stages(client)?;
    let mut seen = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are sound");
    let mut sum = 0u64;
    for number in 0..requests {
        let key = format!("pinionctl:latency:{}", number % 64);
        let begun = Instant::now();
        let reply = client.call(&[b"SET", key.as_bytes(), b"measured"]).map_err(|e| e.to_string())?;
        let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if !matches!(reply, Value::Simple(_)) {
            return Err(format!("SET was answered with {reply:?}"));
        }
        seen.saturating_record(nanos.max(1));
        sum += nanos;
    }
    let after = stages(client)?;
    Ok(table(&before, &after, &seen, sum))
}

/// Asks for the stages: per core a list of stages, each a flat list of names and numbers.
fn stages(client: &mut Client) -> Result<Vec<Stage>, String> {
    let reply = client.call(&[b"PINION", b"STAGES"]).map_err(|e| e.to_string())?;
    let mut found = Vec::new();
    collect(&reply, &mut found);
    if found.is_empty() {
        return Err(format!("PINION STAGES was answered with {reply:?}: is this a Pinion server?"));
    }
    Ok(found)
}

/// Finds every list `[name, "count", n, …]` in the reply and adds cores together.
fn collect(value: &Value, found: &mut Vec<Stage>) {
    let Value::Array(values) = value else { return };
    match stage(values) {
        Some(stage) => match found.iter_mut().find(|known| known.name == stage.name) {
            Some(known) => known.merge(&stage),
            None => found.push(stage),
        },
        None => values.iter().for_each(|inner| collect(inner, found)),
    }
}

fn stage(values: &[Value]) -> Option<Stage> {
    let (name, figures) = values.split_first()?;
    let name = text(name)?;
    let mut stage = Stage { name, ..Stage::default() };
    for pair in figures.chunks(2) {
        let [label, Value::Int(number)] = pair else { return None };
        let number = u64::try_from(*number).ok()?;
        match text(label)?.as_str() {
            "count" => stage.count = number,
            "sum" | "sum_ns" => stage.sum = number,
            other => stage.figures.push((other.to_owned(), number)),
        }
    }
    (!figures.is_empty()).then_some(stage)
}

impl Stage {
    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        for (label, number) in &other.figures {
            match self.figures.iter_mut().find(|(known, _)| known == label) {
                // Quantiles of cores cannot be added: the worst one stands for all.
                Some((_, known)) => *known = (*known).max(*number),
                None => self.figures.push((label.clone(), *number)),
            }
        }
    }
}

fn table(before: &[Stage], after: &[Stage], seen: &Histogram<u64>, sum: u64) -> String {
    let mut out =
        format!("{:<12}{:>12}{:>14}   since the start of the server\n", "stage", "requests", "mean us");
    let mut inside = 0.0;
    for stage in after {
        let earlier = before.iter().find(|known| known.name == stage.name);
        let count = stage.count - earlier.map_or(0, |known| known.count).min(stage.count);
        let spent = stage.sum - earlier.map_or(0, |known| known.sum).min(stage.sum);
        let mean = if count == 0 { 0.0 } else { spent as f64 / count as f64 / 1e3 };
        if stage.name != "total" {
            inside += if seen.is_empty() { 0.0 } else { spent as f64 / seen.len() as f64 / 1e3 };
        }
        let figures: Vec<String> = stage.figures.iter().map(|(label, n)| format!("{label}={n}")).collect();
        out += &format!("{:<12}{count:>12}{mean:>14.2}   {}\n", stage.name, figures.join(" "));
    }
    if !seen.is_empty() {
        let mean = sum as f64 / seen.len() as f64 / 1e3;
        let quantile = |q| seen.value_at_quantile(q) as f64 / 1e3;
        out += &format!("{:<12}{:>12}{inside:>14.2}   all stages together\n", "inside", seen.len());
        out += &format!(
            "{:<12}{:>12}{:>14.2}   seen by the client, not in a stage\n",
            "outside",
            seen.len(),
            mean - inside
        );
        out += &format!(
            "{:<12}{:>12}{mean:>14.2}   p50={:.1} p99={:.1} p999={:.1} max={:.1} us\n",
            "client",
            seen.len(),
            quantile(0.5),
            quantile(0.99),
            quantile(0.999),
            seen.max() as f64 / 1e3
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::Bulk(Some(text.as_bytes().to_vec()))
    }

    fn of_core(count: i64, sum: i64) -> Value {
        let stage = vec![
            bulk("parse"),
            bulk("count"),
            Value::Int(count),
            bulk("sum"),
            Value::Int(sum),
            bulk("p99"),
            Value::Int(count),
        ];
        Value::Array(vec![Value::Int(0), Value::Array(vec![Value::Array(stage)])])
    }

    #[test]
    fn stages_of_all_cores_are_added_and_their_quantiles_are_not() {
        let mut found = Vec::new();
        collect(&Value::Array(vec![of_core(3, 30), of_core(5, 70)]), &mut found);
        let parse = Stage { name: "parse".into(), count: 8, sum: 100, figures: vec![("p99".into(), 5)] };
        assert_eq!(found, [parse]);
    }

    #[test]
    fn what_no_stage_counted_is_outside() {
        let before = [Stage { name: "parse".into(), count: 1, sum: 1_000, ..Stage::default() }];
        let after = [Stage { name: "parse".into(), count: 3, sum: 9_000, ..Stage::default() }];
        let mut seen = Histogram::new(3).expect("sound");
        seen.record_n(10_000, 2).expect("in range");
        let table = table(&before, &after, &seen, 20_000);
        let line = table.lines().find(|line| line.starts_with("outside")).expect("a line");
        assert!(line.contains("6.00"), "{table}");
    }
}
