//! An interval as text and as JSON, for people without a terminal and for scripts.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::interval::{Interval, Line, PERCENTILES};
use super::sample::Durations;

/// A duration as people read it.
#[must_use]
pub fn duration(nanos: u64) -> String {
    match nanos {
        0 => "-".to_owned(),
        1..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => three_digits(nanos as f64 / 1e3, "us"),
        1_000_000..1_000_000_000 => three_digits(nanos as f64 / 1e6, "ms"),
        _ => three_digits(nanos as f64 / 1e9, "s"),
    }
}

fn three_digits(number: f64, unit: &str) -> String {
    let decimals = if number < 9.995 {
        2
    } else if number < 99.95 {
        1
    } else {
        0
    };
    format!("{number:.decimals$} {unit}")
}

/// Bytes in a second as people read them.
#[must_use]
pub fn bytes(per_second: f64) -> String {
    match per_second {
        ..1024.0 => format!("{per_second:.0} B/s"),
        ..1_048_576.0 => format!("{:.1} KiB/s", per_second / 1024.0),
        _ => format!("{:.1} MiB/s", per_second / 1_048_576.0),
    }
}

/// A number with its thousands apart.
#[must_use]
pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The columns of durations: the mean, the percentiles, the longest.
#[must_use]
pub fn columns(durations: &Durations) -> Vec<String> {
    let percentiles = PERCENTILES.iter().map(|(_, share)| durations.quantile(*share));
    let all = std::iter::once(durations.mean()).chain(percentiles).chain([durations.longest()]);
    all.map(duration).collect()
}

/// What stands above [`columns`].
#[must_use]
pub fn titles() -> Vec<&'static str> {
    let percentiles = PERCENTILES.iter().map(|(name, _)| *name);
    std::iter::once("mean").chain(percentiles).chain(["max"]).collect()
}

/// What stands above everything.
#[must_use]
pub fn headline(interval: &Interval) -> String {
    format!(
        "{} requests/s, {} in, {} out, {} cores, within {:.1} s",
        thousands(interval.rate(|core| core.requests)),
        bytes(interval.rate(|core| core.input_bytes)),
        bytes(interval.rate(|core| core.output_bytes)),
        interval.cores.len(),
        interval.seconds
    )
}

/// Everything as one table.
#[must_use]
pub fn table(interval: &Interval) -> String {
    let mut out = format!("{}\n\n", headline(interval));
    let mut put = |title: &str, lines: &[Line]| {
        let _ = write!(out, "{title:<18}{:>10}{:>8}", "count", "share");
        out.extend(titles().iter().map(|title| format!("{title:>10}")));
        out.push('\n');
        for line in lines {
            let _ = write!(out, "{:<18}{:>10}{:>6.1} %", line.name, line.durations.count, line.share * 100.0);
            out.extend(columns(&line.durations).iter().map(|text| format!("{text:>10}")));
            if let Some((stage, share)) = &line.mostly {
                let _ = write!(out, "  {stage} {:.0} %", share * 100.0);
            }
            out.push('\n');
        }
        out.push('\n');
    };
    put("stage", &interval.stages());
    for core in &interval.cores {
        let durations = core.series.get("stage/total").cloned().unwrap_or_default();
        put(
            &format!("core {}", core.core),
            &[Line {
                name: format!("{} requests/s", thousands(core.requests)),
                share: 0.0,
                durations,
                mostly: None,
            }],
        );
    }
    put("command", &interval.commands());
    put("sync", &interval.syncs());
    let _ = writeln!(out, "{:<18}{:>10}{:>18}", "stall", "longest", "on each core");
    for (class, counts, longest) in interval.stalls() {
        let counts: Vec<String> = counts.iter().map(u64::to_string).collect();
        let _ = writeln!(out, "{class:<18}{:>10}{:>18}", duration(longest), counts.join(" "));
    }
    let unsent = interval.all("client/unsent");
    if unsent.count > 0 {
        let _ = writeln!(out, "\nclients took nothing for {} at most", duration(unsent.longest()));
    }
    for core in interval.cores.iter().filter(|core| core.syncing > 0) {
        let _ = writeln!(out, "\ncore {}: a sync is under way for {}", core.core, duration(core.syncing));
    }
    for client in &interval.untaken {
        let _ = writeln!(
            out,
            "\nclient {} {} {} (core {}) has taken nothing for {}: {} bytes wait",
            client.id,
            client.address,
            client.name,
            client.core,
            duration(client.nanos),
            client.bytes
        );
    }
    out
}

fn durations(of: &Durations) -> Value {
    let mut object = serde_json::Map::new();
    object.insert("count".into(), of.count.into());
    object.insert("sum_ns".into(), of.sum.into());
    object.insert("mean_ns".into(), of.mean().into());
    for (name, share) in PERCENTILES {
        object.insert(format!("{}_ns", name.replace('.', "")), of.quantile(share).into());
    }
    object.insert("max_ns".into(), of.longest().into());
    Value::Object(object)
}

/// Everything as one JSON object: percentiles of every name, over all cores and by core.
#[must_use]
pub fn json(interval: &Interval) -> String {
    let mut names: Vec<&String> = interval.cores.iter().flat_map(|core| core.series.keys()).collect();
    names.sort();
    names.dedup();
    let all: serde_json::Map<String, Value> =
        names.iter().map(|name| ((*name).clone(), durations(&interval.all(name)))).collect();
    let cores: Vec<Value> = interval
        .cores
        .iter()
        .map(|core| {
            let series: serde_json::Map<String, Value> =
                core.series.iter().map(|(name, of)| (name.clone(), durations(of))).collect();
            json!({
                "core": core.core,
                "requests_per_second": core.requests,
                "input_bytes_per_second": core.input_bytes,
                "output_bytes_per_second": core.output_bytes,
                "syncing_ns": core.syncing,
                "series": series,
            })
        })
        .collect();
    let untaken: Vec<Value> = interval
        .untaken
        .iter()
        .map(|client| {
            json!({
                "core": client.core,
                "id": client.id,
                "address": client.address,
                "name": client.name,
                "bytes": client.bytes,
                "untaken_ns": client.nanos,
            })
        })
        .collect();
    let whole = json!({
        "seconds": interval.seconds,
        "requests_per_second": interval.rate(|core| core.requests),
        "series": all,
        "cores": cores,
        "untaken": untaken,
    });
    format!("{whole:#}")
}
