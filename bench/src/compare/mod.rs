//! Two servers under the same load, in turn: A B A B …, and the ratios of the pairs.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a measurement has its own clock, files, processes and sockets"
)]

pub mod figures;
mod server;

use std::io::Write;

use clap::Args;

use crate::load::{self, LoadError, Report};
use crate::machine;
use figures::Metric;
use server::Server;

/// The comparison, as flags.
#[derive(Clone, Debug, Args)]
#[group(skip)]
#[command(after_long_help = EXAMPLES)]
pub struct Options {
    /// Server A: HOST:PORT, or a command line that is started and ended here, with {port} where its port belongs and {dir}
    /// for an empty directory
    a: String,
    /// Server B, likewise
    b: String,
    /// Pairs of runs
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(5..))]
    pairs: u32,
    /// Process of server A when it was not started here, for its CPU
    #[arg(long)]
    a_pid: Option<u32>,
    /// Process of server B, likewise
    #[arg(long)]
    b_pid: Option<u32>,
    /// CPUs that servers started here are pinned to, for instance 0 or 0,1
    #[arg(long, value_delimiter = ',')]
    server_cpus: Vec<usize>,
    /// A command for server A behind the preload, for instance "PINION FLUSH"
    #[arg(long)]
    a_say: Option<String>,
    /// A command for server B, likewise
    #[arg(long)]
    b_say: Option<String>,
    /// Open loop at this part of what the slower side reaches in a closed loop, the same rate for both
    #[arg(long, conflicts_with = "rate")]
    rate_part: Option<f64>,
    /// Measure although the machine is not idle
    #[arg(long)]
    busy: bool,
    #[command(flatten)]
    load: load::Options,
}

const EXAMPLES: &str = "\
Servers on CPU 0, the load on CPU 1, GET with 16 requests under way:

  pinion-bench compare --server-cpus 0 --cpu 1 --preload --pipeline 16 --warm-up-seconds 0.3 --seconds 3 \\
    'pinion --port {port} --data-dir {dir} --cores 0 --memory 4GiB' \\
    'redis-server --port {port} --dir {dir} --save \"\" --appendonly no'

Durable SETs at half of what the slower server can do:

  pinion-bench compare --server-cpus 0 --cpu 1 --operation set --rate-part 0.5 --seconds 15 \\
    'pinion --port {port} --data-dir {dir} --cores 0 --memory 4GiB' \\
    'redis-server --port {port} --dir {dir} --save \"\" --appendonly yes --appendfsync always'";

impl Options {
    fn check(&self) -> Result<(), LoadError> {
        let wrong = |text: &str| Err(LoadError::Options(text.to_owned()));
        self.load.check()?;
        for (what, name, process) in [(&self.a, "A", self.a_pid), (&self.b, "B", self.b_pid)] {
            Server::check(what, name, process).map_err(LoadError::Options)?;
        }
        if self.load.address != load::ADDRESS || self.load.socket.is_some() {
            return wrong("compare takes its servers as A and B: leave --address and --socket out");
        }
        if self.load.hgrm.is_some() {
            return wrong("compare has no single histogram: leave --hgrm out");
        }
        if self.rate_part.is_some_and(|part| !(part > 0.0 && part <= 1.0)) {
            return wrong("--rate-part is a part, above 0 and at most 1");
        }
        Ok(())
    }

    fn flags(&self, server: &Server) -> load::Options {
        let mut flags = self.load.clone();
        (flags.address, flags.json, flags.preload) = (server.address.clone(), None, false);
        flags
    }
}

/// Runs a load that must have no errors.
fn clean(name: &str, flags: &load::Options) -> Result<Report, LoadError> {
    let report = load::run(flags)?;
    if report.errors() > 0 {
        return Err(LoadError::Options(format!(
            "{name} answers with errors, its figures would mean nothing: {report}"
        )));
    }
    Ok(report)
}

/// A side with what was measured of it.
struct Side<'a> {
    name: &'static str,
    server: &'a Server,
    runs: Vec<Vec<(&'static str, &'static str, f64)>>,
}

impl Side<'_> {
    fn prepare(&self, options: &Options, say: Option<&str>) -> Result<(), LoadError> {
        if options.load.preload {
            load::preload(&options.flags(self.server))?;
        }
        match say {
            Some(command) => {
                self.server.say(command).map_err(|e| LoadError::Options(format!("{}: {e}", self.name)))
            }
            None => Ok(()),
        }
    }

    fn run(&mut self, options: &Options, rate: Option<f64>) -> Result<(), LoadError> {
        let mut flags = options.flags(self.server);
        flags.rate = rate;
        // The warm-up is a run of its own, so that the CPU it takes counts nowhere.
        if flags.warm_up_seconds > 0.0 {
            let mut warm = flags.clone();
            (warm.seconds, warm.warm_up_seconds, warm.requests) = (flags.warm_up_seconds, 0.0, None);
            clean(self.name, &warm)?;
            flags.warm_up_seconds = 0.0;
        }
        let before = self.server.cpu_nanos();
        let report = clean(self.name, &flags)?;
        let cpu = before.zip(self.server.cpu_nanos()).map(|(before, after)| {
            after.saturating_sub(before) as f64 / 1e3 / (report.operations() as f64).max(1.0)
        });
        println!("{}: {report}", self.name);
        let _ = std::io::stdout().flush();
        self.runs.push(figures::of_run(&report, cpu));
        Ok(())
    }
}

/// Runs the pairs, prints each run and answers with the table.
///
/// # Errors
/// When the machine is not idle, a server cannot be started or answers with errors, or a load cannot be run to its end.
pub fn run(options: &Options) -> Result<String, LoadError> {
    options.check()?;
    let machine = machine::line().map_err(LoadError::Options)?;
    println!("{machine}");
    let idle_before = machine::idle_percent().map_err(LoadError::Options)?;
    println!("idle before the start: {idle_before:.0} % of all CPUs");
    machine::must_idle(idle_before, options.busy).map_err(LoadError::Options)?;
    let stalls = machine::stalls();
    println!("{stalls}");
    let start = |what: &str, name, process| {
        Server::new(what, name, &options.server_cpus, process).map_err(LoadError::Options)
    };
    let a = start(&options.a, "A", options.a_pid)?;
    let b = start(&options.b, "B", options.b_pid)?;
    println!("A is {}\nB is {}", a.what, b.what);
    let mut sides = [("A", &a), ("B", &b)].map(|(name, server)| Side { name, server, runs: Vec::new() });
    for (side, say) in sides.iter().zip([&options.a_say, &options.b_say]) {
        side.prepare(options, say.as_deref())?;
    }
    let mut rate = options.load.rate;
    if let Some(part) = options.rate_part {
        let mut slower = f64::MAX;
        for side in &sides {
            slower = slower.min(clean(side.name, &options.flags(side.server))?.rate());
        }
        rate = Some(slower * part);
    }
    let loop_of = rate.map_or_else(|| "closed loop".to_owned(), |rate| format!("open loop at {rate:.0}/s"));
    println!(
        "{} pairs of {} s, A B A B …, {loop_of}, seed {}",
        options.pairs, options.load.seconds, options.load.seed
    );
    for _ in 0..options.pairs {
        for side in &mut sides {
            side.run(options, rate)?;
        }
    }
    let metrics = Metric::collect(&sides[0].runs, &sides[1].runs);
    let idle_after = machine::idle_percent().map_err(LoadError::Options)?;
    if let Some(path) = &options.load.json {
        let json = serde_json::json!({
            "machine": machine,
            "idle_percent": { "before": idle_before, "after": idle_after },
            "stalls": stalls,
            "a": a.what,
            "b": b.what,
            "pairs": options.pairs,
            "seconds": options.load.seconds,
            "seed": options.load.seed,
            "rate": rate,
            "metrics": metrics.iter().map(Metric::json).collect::<Vec<_>>(),
        });
        load::write_file(path, &json.to_string())?;
    }
    Ok(format!("\n{}\nidle after the end: {idle_after:.0} %", figures::table(&metrics)))
}

#[cfg(test)]
mod tests;
