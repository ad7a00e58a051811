//! Where the time of a request goes: the server's stages and what the client saw beyond them.
//!
//! The server counts the stages of every request from the last byte read to the send submitted; they sum exactly. The
//! client counts from its send to its reply. The difference is `outside`: the kernel's network path, wake-ups, and the
//! client itself.
#![expect(clippy::disallowed_methods, reason = "measures as a client does, by its own clock")]

use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;

use crate::client::{Client, Value};

/// The measurement, as flags.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Address of the server
    #[arg(long, default_value = "127.0.0.1:6379")]
    pub address: String,
    /// Requests to send, one at a time; 0 only prints what the server counted so far
    #[arg(long, default_value_t = 2_000)]
    pub requests: u32,
    /// Show so many of the slowest requests that the server keeps, each with its stages, and measure nothing
    #[arg(long, value_name = "N")]
    pub slowest: Option<u32>,
    /// Password, if the server asks for one
    #[arg(long, env = "PINION_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
}

/// A stage as the server counted it, on all cores together.
#[derive(Clone, Debug, Default, PartialEq)]
struct Stage {
    name: String,
    count: u64,
    /// Nanoseconds.
    sum: u64,
    figures: Vec<(String, u64)>,
}

/// Measures and answers the table to print.
///
/// # Errors
/// A sentence that says what the server did not do.
pub fn run(options: &Options) -> Result<String, String> {
    let patience = Duration::from_secs(20);
    let unreachable = |e: std::io::Error| format!("{}: {e}", options.address);
    let mut client = Client::connect(options.address.as_str(), patience).map_err(unreachable)?;
    if let Some(password) = &options.password {
        expect_good(client.call(&[b"AUTH", password.as_bytes()]).map_err(unreachable)?, "AUTH")?;
    }
    if let Some(count) = options.slowest {
        return slowest(&mut client, count);
    }
    let before = stages(&mut client)?;
    let mut seen = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are sound");
    let mut sum = 0u64;
    for number in 0..options.requests {
        let key = format!("pinionctl:latency:{}", number % 64);
        let begun = Instant::now();
        let reply = client.call(&[b"SET", key.as_bytes(), b"measured"]).map_err(unreachable)?;
        let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        expect_good(reply, "SET")?;
        seen.saturating_record(nanos.max(1));
        sum += nanos;
    }
    let after = stages(&mut client)?;
    Ok(table(&before, &after, &seen, sum))
}

fn expect_good(reply: Value, what: &str) -> Result<(), String> {
    match reply {
        Value::Simple(_) => Ok(()),
        other => Err(format!("{what} was answered with {other:?}")),
    }
}

/// The slowest requests that the server keeps, slowest first, each with the stages that took any time.
fn slowest(client: &mut Client, count: u32) -> Result<String, String> {
    let reply =
        client.call(&[b"PINION", b"SLOWEST", count.to_string().as_bytes()]).map_err(|e| e.to_string())?;
    let Value::Array(records) = &reply else {
        return Err(format!("PINION SLOWEST was answered with {reply:?}: is this a Pinion server?"));
    };
    let mut out = String::new();
    for record in records {
        out += &slow_request(record).ok_or_else(|| format!("PINION SLOWEST: no request: {record:?}"))?;
    }
    if out.is_empty() {
        out.push_str("The server keeps no request: none was served, or latency-tracking is off.\n");
    }
    Ok(out)
}

/// One request of PINION SLOWEST: a line about it, and one for each of its stages that took any time.
fn slow_request(record: &Value) -> Option<String> {
    let Value::Array(fields) = record else { return None };
    let field = |name: &str| {
        fields.chunks_exact(2).find(|pair| text(&pair[0]).as_deref() == Some(name)).map(|pair| &pair[1])
    };
    let micros = |nanos: i64| nanos as f64 / 1e3;
    let (Value::Array(stages), Value::Array(arguments), Value::Int(core)) =
        (field("stages_ns")?, field("arguments")?, field("core")?)
    else {
        return None;
    };
    let mut durations = Vec::new();
    for pair in stages.chunks_exact(2) {
        let Value::Int(nanos) = pair[1] else { return None };
        durations.push((text(&pair[0])?, nanos));
    }
    let (_, total) = durations.pop().filter(|(name, _)| name == "total")?;
    let arguments: Vec<String> = arguments.iter().map(shown).collect();
    let mut out = format!(
        "{:>12.1} us  core {core}  {}  {}\n",
        micros(total),
        text(field("client")?)?,
        arguments.join(" ")
    );
    for (name, nanos) in durations.into_iter().filter(|(_, nanos)| *nanos > 0) {
        let share = nanos as f64 * 100.0 / total.max(1) as f64;
        out += &format!("{:>12.1} us {share:>5.1} %  {name}\n", micros(nanos));
    }
    Some(out)
}

/// An argument on one line, whatever it holds.
fn shown(value: &Value) -> String {
    match value {
        Value::Bulk(Some(bytes)) => bytes.escape_ascii().to_string(),
        other => format!("{other:?}"),
    }
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

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Simple(text) => Some(text.clone()),
        Value::Bulk(Some(bytes)) => String::from_utf8(bytes.clone()).ok(),
        _ => None,
    }
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
    fn a_slow_request_is_shown_with_the_stages_that_took_time() {
        let stages = [("parse", 0), ("persist", 3_000), ("reply", 1_000), ("total", 4_000)];
        let stages = stages.iter().flat_map(|(name, nanos)| [bulk(name), Value::Int(*nanos)]).collect();
        let record = Value::Array(vec![
            bulk("core"),
            Value::Int(1),
            bulk("client"),
            bulk("127.0.0.1:7"),
            bulk("arguments"),
            Value::Array(vec![bulk("SET"), bulk("a\nb")]),
            bulk("stages_ns"),
            Value::Array(stages),
        ]);
        let lines = slow_request(&record).expect("it is a request");
        let lines: Vec<_> = lines.lines().map(str::trim).collect();
        assert_eq!(lines[0], "4.0 us  core 1  127.0.0.1:7  SET a\\nb");
        assert_eq!(lines[1..], ["3.0 us  75.0 %  persist", "1.0 us  25.0 %  reply"]);
        assert_eq!(slow_request(&Value::Int(1)), None);
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
