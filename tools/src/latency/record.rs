//! `pinionctl latency record`: HDR logs and a report.
#![expect(clippy::disallowed_methods, reason = "a recording runs by the clock of the wall, and leaves files")]

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use hdrhistogram::serialization::V2DeflateSerializer;

use super::interval::Interval;
use super::live::pause;
use super::report::{Moment, html};
use super::sample::Sample;
use super::{hlog, text};

/// How long to record, and where to.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Seconds to record
    #[arg(long, default_value_t = 60, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub seconds: u32,
    /// Directory for the logs and the report; made if it is not there
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
}

/// The name of the report.
pub const REPORT: &str = "report.html";

/// The name of the log of a core.
#[must_use]
pub fn log_name(core: u64) -> String {
    format!("core-{core}.hlog")
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{} cannot be written: {error}", path.display())
}

/// Looks `every` so often, and writes what it saw.
///
/// # Errors
/// When the server does not answer, or a file cannot be written, in words. What was recorded until then is in the logs.
pub fn run(
    options: &Options,
    address: &str,
    every: Duration,
    look: &mut dyn FnMut() -> Result<Sample, String>,
) -> Result<String, String> {
    let directory = &options.output;
    std::fs::create_dir_all(directory).map_err(failed(directory))?;
    let first = look()?;
    let (began, start) = (SystemTime::now(), Instant::now());
    let cores: Vec<u64> = first.cores.iter().map(|core| core.core).collect();
    let paths: Vec<PathBuf> = cores.iter().map(|core| directory.join(log_name(*core))).collect();
    let mut files = Vec::new();
    for path in &paths {
        files.push(BufWriter::new(File::create(path).map_err(failed(path))?));
    }
    let mut serializers: Vec<_> = cores.iter().map(|_| V2DeflateSerializer::new()).collect();
    let mut logs = Vec::new();
    for ((file, serializer), path) in files.iter_mut().zip(&mut serializers).zip(&paths) {
        logs.push(hlog::begin(file, serializer, began).map_err(failed(path))?);
    }
    let (mut before, mut moments) = (first.clone(), Vec::new());
    let mut at = Duration::ZERO;
    let end = Duration::from_secs(u64::from(options.seconds));
    while at < end {
        pause((at + every).min(end).saturating_sub(start.elapsed()));
        let after = look()?;
        let now = start.elapsed();
        let interval = Interval::between(&before, &after);
        for (core, log) in interval.cores.iter().zip(&mut logs) {
            hlog::add(log, core, at, now - at)
                .map_err(|error| format!("{}: {error}", directory.display()))?;
        }
        moments.push(Moment::of(&interval, now.as_secs_f64()));
        (before, at) = (after, now);
    }
    drop(logs);
    for (file, path) in files.iter_mut().zip(&paths) {
        file.flush().map_err(failed(path))?;
    }
    let whole = Interval::between(&first, &before);
    let since_epoch = began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let report = directory.join(REPORT);
    let page = html(address, &date(since_epoch), &whole, &moments)?;
    std::fs::write(&report, page).map_err(failed(&report))?;
    Ok(format!(
        "{}\n{} with plots, and an HDR log of each core ({})",
        text::headline(&whole),
        report.display(),
        cores.iter().map(|core| log_name(*core)).collect::<Vec<_>>().join(", ")
    ))
}

/// A moment in UTC, as people read it. The days since 1970 become a date as Howard Hinnant's `civil_from_days` does it.
fn date(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", second / 3_600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_dates() {
        assert_eq!(date(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date(951_782_399), "2000-02-28 23:59:59 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(date(1_795_499_130), "2026-11-24 05:45:30 UTC");
    }
}
