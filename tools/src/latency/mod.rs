//! Where the time of requests goes: as a live view, as one table, as JSON, recorded as HDR logs and a report; the slowest
//! requests; and what a client sees beyond the server's stages.
//!
//! All but the last read what the server measures anyway (`PINION LATENCY`): two looks, and what came between them. What is
//! shown of it is a pure function of the two ([`interval`]).

pub mod hlog;
pub mod interval;
mod live;
pub mod measure;
pub mod plot;
pub mod record;
pub mod report;
pub mod sample;
pub mod slowest;
pub mod text;
pub mod view;

#[cfg(test)]
mod tests;

use std::io::IsTerminal;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::client::{Client, Value};
use interval::Interval;
use sample::Sample;

/// A server that does not answer for so long is told as such.
const PATIENCE: Duration = Duration::from_secs(20);

/// What else to do with what the server measures.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Records for a while: an HDR log of each core, and an HTML report with plots
    Record(record::Options),
}

/// What to show of whom, as flags.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// What else to do
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Address of the server
    #[arg(long, default_value = "127.0.0.1:6379", global = true)]
    pub address: String,
    /// Seconds between two looks at the server
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS", global = true)]
    pub interval: f64,
    /// Print one table and leave; so it is also when the output is no terminal
    #[arg(long)]
    pub once: bool,
    /// Print one JSON object and leave
    #[arg(long)]
    pub json: bool,
    /// With --once or --json: all since the start of the server, and not what comes within the interval
    #[arg(long)]
    pub since_start: bool,
    /// Send so many writes, one at a time, and show where their time goes, also outside of the server
    #[arg(long, value_name = "N", conflicts_with_all = ["once", "json", "since_start", "slowest"])]
    pub requests: Option<u32>,
    /// Show so many of the slowest requests that the server keeps, each with its stages
    #[arg(long, value_name = "N", conflicts_with_all = ["once", "json", "since_start"])]
    pub slowest: Option<u32>,
    /// Password, if the server asks for one
    #[arg(long, env = "PINION_PASSWORD", hide_env_values = true, global = true)]
    pub password: Option<String>,
}

/// Answers what is to be printed, after the live view nothing.
///
/// # Errors
/// A sentence that says what the server did not do.
pub fn run(options: &Options) -> Result<String, String> {
    if !(0.05..=3_600.0).contains(&options.interval) {
        return Err(format!("--interval {}: expected 0.05 to 3600 seconds", options.interval));
    }
    let mut client = connect(&options.address, options.password.as_deref())?;
    let every = Duration::from_secs_f64(options.interval);
    if let Some(Command::Record(record)) = &options.command {
        return record::run(record, &options.address, every, &mut || Sample::take(&mut client));
    }
    if let Some(count) = options.slowest {
        return slowest::run(&mut client, count);
    }
    if let Some(requests) = options.requests {
        return measure::run(&mut client, requests);
    }
    let once = options.once || options.json || options.since_start || !std::io::stdout().is_terminal();
    if !once {
        let mut look = || Sample::take(&mut client);
        live::run(&options.address, every, &mut look)?;
        return Ok(String::new());
    }
    let interval = if options.since_start {
        let uptime = uptime_seconds(&mut client)?;
        Interval::since_start(&Sample::take(&mut client)?, uptime)
    } else {
        let before = Sample::take(&mut client)?;
        live::pause(every);
        Interval::between(&before, &Sample::take(&mut client)?)
    };
    Ok(if options.json { text::json(&interval) } else { text::table(&interval) })
}

/// Connects and gives the password.
///
/// # Errors
/// A sentence with the address and the reason.
pub fn connect(address: &str, password: Option<&str>) -> Result<Client, String> {
    let unreachable = |e: std::io::Error| format!("{address}: {e}");
    let mut client = Client::connect(address, PATIENCE).map_err(unreachable)?;
    if let Some(password) = password {
        match client.call(&[b"AUTH", password.as_bytes()]).map_err(unreachable)? {
            Value::Simple(_) => {}
            other => return Err(format!("AUTH was answered with {other:?}")),
        }
    }
    Ok(client)
}

fn uptime_seconds(client: &mut Client) -> Result<f64, String> {
    let reply = client.call(&[b"INFO", b"server"]).map_err(|e| e.to_string())?;
    let text = text(&reply).unwrap_or_default();
    let seconds = text.lines().find_map(|line| line.strip_prefix("uptime_in_seconds:")?.trim().parse().ok());
    seconds.ok_or_else(|| format!("INFO was answered with {reply:?}"))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Simple(text) => Some(text.clone()),
        Value::Bulk(Some(bytes)) => String::from_utf8(bytes.clone()).ok(),
        _ => None,
    }
}
