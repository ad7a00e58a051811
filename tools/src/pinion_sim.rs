//! `pinion-sim`: whole nodes on virtual time, broken on purpose.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pinion_tools::crash_points;
use pinion_tools::sim::{self, RealNode, Report};

/// From so many seeds on, every kind of fault must have happened: a campaign without one proves nothing about it.
const SEEDS_OF_EVERY_KIND: u64 = 500;

#[derive(Parser)]
#[command(version, about = "Simulates nodes on virtual time, with faults; one seed decides everything")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    seeds: Seeds,
}

#[derive(clap::Args)]
struct Seeds {
    /// Seeds to run
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them
    #[arg(long, env = "PINION_SEED", default_value_t = 1)]
    first_seed: u64,
    /// Prints a line for every seed
    #[arg(long)]
    verbose: bool,
    /// Plants this bug; only in builds with the feature `planted`
    #[arg(long)]
    plant: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Crashes scripted workloads of every layer at their disk operations
    CrashPoints(crash_points::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.command {
        Some(Command::CrashPoints(options)) => crash_points::run(options),
        None => run_seeds(&arguments.seeds),
    };
    match outcome {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("pinion-sim: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_seeds(options: &Seeds) -> Result<String, String> {
    if let Some(bug) = &options.plant {
        plant(bug)?;
    }
    let mut total = Report::default();
    for seed in options.first_seed..options.first_seed + options.seeds {
        let replay = format!("replay: pinion-sim --seeds 1 --first-seed {seed}");
        let report = sim::run(&mut RealNode, &sim::Plan::draw(seed)).map_err(|e| format!("{e}\n{replay}"))?;
        if options.verbose {
            println!("seed={seed} {report}");
        }
        total.add(&report);
    }
    let missing = total.done.missing();
    if options.seeds >= SEEDS_OF_EVERY_KIND && !missing.is_empty() {
        return Err(format!("in {total} these never happened: {}", missing.join(" ")));
    }
    Ok(format!("first_seed={} {total}", options.first_seed))
}

#[cfg(feature = "planted")]
#[expect(clippy::unnecessary_wraps, reason = "a build without the feature refuses")]
fn plant(bug: &str) -> Result<(), String> {
    pinion_wal::planted::plant(bug);
    Ok(())
}

#[cfg(not(feature = "planted"))]
fn plant(bug: &str) -> Result<(), String> {
    Err(format!("{bug} cannot be planted: this build lacks the feature `planted`"))
}
