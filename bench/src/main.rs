//! `pinion-bench`: loads a server and measures.

use clap::{Parser, Subcommand};
use pinion_bench::{compare, echo, load, log, sweep};

#[derive(Parser)]
#[command(version, about = "Loads a server and measures", args_override_self = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sends GETs, SETs or any mix of commands over many connections; prints one line of `name=value` figures
    Load(Box<load::Options>),
    /// Finds the highest rate at which 99 of 100 requests keep a latency, by bisection below what a closed loop reaches
    Sweep(Box<sweep::Options>),
    /// Loads two servers in turn, A B A B, and prints the ratios of the pairs
    Compare(Box<compare::Options>),
    /// Serves an echo on the host of production, until killed
    Echo(echo::Options),
    /// Appends to a log: each group its next entry when the one before is stable
    Log(log::Options),
    /// Opens the log of an earlier run and tells how fast it was read
    LogRecovery(log::RecoveryOptions),
}

fn main() -> std::process::ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Load(options) => {
            load::run(&options).map(|report| println!("{report}")).map_err(|e| e.to_string())
        }
        Command::Sweep(options) => {
            sweep::run(&options).map(|line| println!("{line}")).map_err(|e| e.to_string())
        }
        Command::Compare(options) => {
            compare::run(&options).map(|table| println!("{table}")).map_err(|e| e.to_string())
        }
        Command::Echo(options) => echo::run(&options),
        Command::Log(options) => log::run(&options),
        Command::LogRecovery(options) => log::recover(&options),
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pinion-bench: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
