//! `pinionctl`: operates, inspects and tortures a server.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pinion_tools::{latency, torture};

#[derive(Parser)]
#[command(version, about = "Operates, inspects and tortures a Pinion server")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Kills a server under load again and again and checks that no acknowledged write is lost
    Torture(torture::Options),
    /// Prints where the time of a write goes, stage by stage, and what the client sees beyond
    Latency(latency::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Torture(options) => torture::run(&options).map(|report| report.to_string()),
        Command::Latency(options) => latency::run(&options),
    };
    match outcome {
        Ok(text) => {
            println!("{}", text.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("pinionctl: {error}");
            ExitCode::FAILURE
        }
    }
}
