//! Both sides in turn, pair after pair, and the rows with their verdicts.
//!
//! Only ratios of one run count. Each row runs A B A B … at least five times; the row shows the median of the ratios
//! of its pairs, their spread, what must hold, what is aimed at, and the medians of both sides.

// One text for both workspaces.
#[path = "../../../src/machine.rs"]
mod machine;
mod process;
mod rows;

use std::path::PathBuf;

use clap::Args;

use crate::Outcome;
use crate::figures::median;

/// The table, as flags.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Pairs of runs per row
    #[arg(long, default_value_t = 5)]
    pub pairs: usize,
    /// Seconds of one run
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
    /// Only rows whose name contains one of these
    #[arg(long)]
    pub only: Vec<String>,
    /// The folder with `pinion` and `pinion-bench`, built for release
    #[arg(long)]
    pub programs: PathBuf,
    /// A directory on the disk to be measured, for everything written
    #[arg(long, default_value = "/var/tmp/pinion-peers")]
    pub dir: PathBuf,
    /// Keys of the key-value rows
    #[arg(long, default_value_t = 1_000_000)]
    pub keys: u64,
    /// Measure although other programs are running
    #[arg(long)]
    pub busy: bool,
}

/// What a row promises.
#[derive(Clone, Copy, Debug)]
pub enum Promise {
    /// Ours over theirs is at least (must, goal).
    AtLeast(f64, f64),
    /// Ours over theirs is at most (must, goal).
    AtMost(f64, f64),
    /// Shown only.
    Shown,
}

/// One side of a row: runs once and answers its figure.
pub type Side<'a> = Box<dyn FnMut() -> Result<f64, String> + 'a>;

/// A row of the table: both sides do the same work.
pub struct Row<'a> {
    pub name: String,
    pub unit: &'static str,
    pub promise: Promise,
    pub ours: Side<'a>,
    pub theirs: Side<'a>,
}

/// Runs every row and prints it as soon as it is known. Fails when a `must` does not hold.
pub fn run(options: &Options) -> Outcome<()> {
    println!("{}", machine::line()?);
    let idle = machine::idle_percent()?;
    println!("idle before the start: {idle:.0} % of both cores");
    machine::must_idle(idle, options.busy)?;
    println!("{}", machine::stalls());
    std::fs::create_dir_all(&options.dir)?;
    println!("{} pairs of {} s per row, A B A B …; ratio = ours / theirs\n", options.pairs, options.seconds);
    println!("| row | unit | ours | theirs | ratio (spread) | must | goal | verdict |");
    println!("|---|---|---|---|---|---|---|---|");
    let (mut missed, mut unmeasured) = (0, 0);
    rows::each(options, &mut |row| match measure(options, row) {
        Some(true) => {}
        Some(false) => missed += 1,
        None => unmeasured += 1,
    });
    println!("\nidle after the end: {:.0} %", machine::idle_percent()?);
    println!("{}", machine::stalls());
    if missed + unmeasured > 0 {
        return Err(format!("{missed} rows miss what they must hold, {unmeasured} were not measured").into());
    }
    Ok(())
}

/// Whether a row is asked for.
pub fn wanted(options: &Options, name: &str) -> bool {
    options.only.is_empty() || options.only.iter().any(|part| name.contains(part.as_str()))
}

/// Runs the pairs of one row and prints it; answers whether what it must hold holds, if it was measured.
fn measure(options: &Options, mut row: Row<'_>) -> Option<bool> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..options.pairs {
        match ((row.ours)(), (row.theirs)()) {
            (Ok(a), Ok(b)) => {
                ours.push(a);
                theirs.push(b);
            }
            (Err(error), _) | (_, Err(error)) => {
                println!("| {} | {} | | | | | | NOT MEASURED: {error} |", row.name, row.unit);
                return None;
            }
        }
    }
    let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(a, b)| a / b).collect();
    let ratio = median(&ratios);
    let (low, high) =
        ratios.iter().fold((f64::MAX, f64::MIN), |(low, high), &ratio| (low.min(ratio), high.max(ratio)));
    let (must, goal, holds, reached) = match row.promise {
        Promise::AtLeast(must, goal) => {
            (format!("≥ {must}"), format!("≥ {goal}"), ratio >= must, ratio >= goal)
        }
        Promise::AtMost(must, goal) => {
            (format!("≤ {must}"), format!("≤ {goal}"), ratio <= must, ratio <= goal)
        }
        Promise::Shown => (String::new(), String::new(), true, false),
    };
    let verdict = match (row.promise, holds, reached) {
        (Promise::Shown, ..) => "shown",
        (_, false, _) => "MISSED",
        (_, true, true) => "goal",
        (_, true, false) => "holds",
    };
    println!(
        "| {} | {} | {} | {} | {ratio:.2} ({low:.2}–{high:.2}) | {must} | {goal} | {verdict} |",
        row.name,
        row.unit,
        brief(median(&ours)),
        brief(median(&theirs)),
    );
    Some(holds)
}

fn brief(value: f64) -> String {
    if value >= 10_000.0 { format!("{:.1} k", value / 1e3) } else { format!("{value:.1}") }
}
