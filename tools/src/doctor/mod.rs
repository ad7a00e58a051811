//! Whether a machine is fit for a server: each thing that was looked at, what it means, and what to do.
//!
//! [`read`](read::read) reads the [`Facts`]; [`judge`] is a pure function of them. A table of checks, in their order.

mod checks;
mod facts;
mod read;

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

pub use checks::{Check, Verdict, judge};
pub use facts::{Facts, Interrupts, Limit, Mount, Quota, Ring, Syncs, cpu_list, interrupts, mount_of};

/// Characters of the longest bar.
const BAR_WIDTH: u64 = 40;

/// What to look at, as flags.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// The data directory; when it is not there, the place where it would be made
    #[arg(long, default_value = "./pinion-data")]
    pub data_dir: PathBuf,
    /// The CPUs that the server would run on, like 0,1 or 0-3; all that this process may use when not given
    #[arg(long, value_name = "LIST")]
    pub cores: Option<String>,
    /// Seconds of durable writes to time; 0 makes none
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub sync_seconds: u32,
    /// Answer one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Looks and judges. Answers the text to print, and whether nothing is bad.
///
/// # Errors
/// When the list of CPUs is none.
pub fn run(options: &Options) -> Result<(String, bool), String> {
    let wrong = |list: &String| format!("--cores {list}: expected CPUs like 0,1 or 0-3");
    let cpus = match &options.cores {
        Some(list) => {
            let cpus = cpu_list(list).filter(|cpus| !cpus.is_empty());
            Some(cpus.ok_or_else(|| wrong(list))?)
        }
        None => None,
    };
    let facts = read::read(&options.data_dir, cpus, options.sync_seconds);
    let checks = judge(&facts);
    let text = if options.json { as_json(&facts, &checks) } else { as_text(&facts, &checks) };
    Ok((text, worst(&checks) != Verdict::Bad))
}

fn worst(checks: &[Check]) -> Verdict {
    checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Unknown)
}

fn bars(facts: &Facts) -> &[(u64, u64)] {
    facts.syncs.as_ref().and_then(|syncs| syncs.as_ref().ok()).map_or(&[], |syncs| &syncs.bars)
}

fn as_text(facts: &Facts, checks: &[Check]) -> String {
    let mut text = String::new();
    let mut say = |line: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{line}");
    };
    for check in checks {
        say(format_args!("{:<7} {:<13} {}", check.verdict, check.name, check.seen));
        if check.verdict >= Verdict::Warn {
            say(format_args!("{:21} why: {}", "", check.why));
            say(format_args!("{:21} do:  {}", "", check.remedy));
        }
    }
    let bars = bars(facts);
    let most = bars.iter().map(|bar| bar.1).max().unwrap_or(0).max(1);
    if !bars.is_empty() {
        say(format_args!("\ndurable writes of 4 KiB"));
    }
    for (upto, count) in bars.iter().skip_while(|bar| bar.1 == 0) {
        let width = usize::try_from((count * BAR_WIDTH).div_ceil(most)).unwrap_or(0);
        say(format_args!("{:>9} us {count:>7} {}", format!("<= {upto}"), "#".repeat(width)));
    }
    let count = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
    let counts =
        [Verdict::Ok, Verdict::Warn, Verdict::Bad, Verdict::Unknown].map(|v| format!("{} {v}", count(v)));
    say(format_args!("\n{}", counts.join(", ")));
    text
}

fn as_json(facts: &Facts, checks: &[Check]) -> String {
    let told = |check: &Check| {
        json!({
            "name": check.name, "verdict": check.verdict.word(), "seen": check.seen,
            "why": check.why, "remedy": check.remedy,
        })
    };
    let bars: Vec<_> =
        bars(facts).iter().map(|(upto, count)| json!({"micros_max": upto, "writes": count})).collect();
    let all = json!({
        "verdict": worst(checks).word(),
        "checks": checks.iter().map(told).collect::<Vec<_>>(),
        "sync_histogram": bars,
    });
    all.to_string()
}
