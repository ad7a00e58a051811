//! `pinionctl`: operates, inspects and tortures a server.

use std::io::{BufWriter, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pinion_tools::{doctor, latency, log, profile, status, table, torture};

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
    /// Shows where the time of requests goes, live: stages, commands, stalls, syncs of the disk, clients that do not read
    Latency(latency::Options),
    /// Takes a CPU profile of a running server and draws it as a flame graph
    Profile(profile::Options),
    /// Says how a running server fares; fails when it is damaged, halted or out of space
    Status(status::Options),
    /// Says whether this machine is fit for a server, and what to change; fails when something is bad
    Doctor(doctor::Options),
    /// Dumps or verifies the log of a server that is not running
    #[command(subcommand)]
    Log(log::Job),
    /// Dumps or verifies the rows of a server that is not running
    #[command(subcommand)]
    Table(table::Job),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Torture(options) => torture::run(&options).map(|report| (report.to_string(), true)),
        Command::Latency(options) => latency::run(&options).map(|text| (text, true)),
        Command::Profile(options) => profile::run(&options).map(|text| (text, true)),
        Command::Status(options) => status::run(&options),
        Command::Doctor(options) => doctor::run(&options),
        Command::Log(job) => streamed(|out| log::run(&job, out)),
        Command::Table(job) => streamed(|out| table::run(&job, out)),
    };
    match outcome {
        Ok((text, good)) => {
            if !text.is_empty() {
                // Whoever reads only the first lines closes the pipe.
                let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
            }
            if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("pinionctl: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What may be long goes out as it comes.
fn streamed(work: impl FnOnce(&mut dyn Write) -> Result<bool, String>) -> Result<(String, bool), String> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let good = work(&mut out)?;
    // A reader that has seen enough is no error.
    let _ = out.flush();
    Ok((String::new(), good))
}
