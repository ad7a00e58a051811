//! `pinion-bench`: loads a server and measures.

use clap::{Parser, Subcommand};
use pinion_bench::load;

#[derive(Parser)]
#[command(version, about = "Loads a server and measures")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sends GETs or SETs over many connections; prints one line of `name=value` figures
    Load(load::Options),
}

fn main() -> std::process::ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Load(options) => load::run(&options).map(|report| println!("{report}")),
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pinion-bench: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
