//! The programs Pinion is measured against, and the command that runs both sides in turn and prints the ratios.
#![deny(missing_docs)]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the fence is for the node; these are others"
)]

mod echo;
mod figures;
mod files;
mod raft_log;
mod ring;
mod table;

use clap::{Parser, Subcommand};

/// What any of the programs may fail with: they are run by hand or by the table, which prints it.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
#[command(about = "Peers of Pinion and the table of ratios")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs both sides in turn (A B A B …) and prints the rows
    Table(table::Options),
    /// An echo server of another runtime
    Echo(echo::Options),
    /// Appends to the raft-engine crate
    RaftLog(raft_log::Options),
    /// Writes through a bare ring: O_DIRECT, pre-written file, registered buffers, RWF_DSYNC
    RawRing(ring::Options),
    /// Reads a directory's files once, in order, with large direct reads
    ReadFiles(files::Options),
}

fn main() -> std::process::ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Table(options) => table::run(&options),
        Command::Echo(options) => echo::run(&options),
        Command::RaftLog(options) => raft_log::run(&options),
        Command::RawRing(options) => ring::run(&options),
        Command::ReadFiles(options) => files::run(&options),
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
