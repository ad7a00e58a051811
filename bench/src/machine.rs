//! The machine line of a measurement, and whether the machine is idle.
#![expect(clippy::disallowed_methods, reason = "measuring needs a clock and pauses")]

use std::time::{Duration, Instant};

/// Below so many percent of idleness figures mean nothing.
const IDLE_PERCENT_MIN: f64 = 90.0;

/// CPU, cores, memory, kernel, date and commit in one line.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn line() -> Result<String, String> {
    let cpu_info = read("/proc/cpuinfo")?;
    let model = cpu_info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let cores = cpu_info.lines().filter(|line| line.starts_with("processor")).count();
    let memory = read("/proc/meminfo")?;
    let kilobytes: u64 =
        memory.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease")?;
    Ok(format!(
        "machine: {}, {cores} cores, {} GiB, Linux {}; {}; commit {}",
        model.trim_start_matches([' ', '\t', ':']),
        kilobytes >> 20,
        kernel.trim(),
        said("date", &["-u", "+%F %H:%M UTC"]),
        said("git", &["rev-parse", "--short", "HEAD"]),
    ))
}

/// Percent of one second that the CPUs were idle.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn idle_percent() -> Result<f64, String> {
    let before = cpu_times()?;
    std::thread::sleep(Duration::from_secs(1));
    let after = cpu_times()?;
    let all = after.iter().sum::<u64>().saturating_sub(before.iter().sum::<u64>());
    let idle = (after[3] + after[4]).saturating_sub(before[3] + before[4]);
    Ok(100.0 * idle as f64 / all.max(1) as f64)
}

/// Refuses to measure on a machine that is not idle, unless that was asked for.
///
/// # Errors
/// A sentence with the remedy.
pub fn must_idle(percent: f64, busy: bool) -> Result<(), String> {
    if percent >= IDLE_PERCENT_MIN || busy {
        return Ok(());
    }
    let why = "the machine is not idle: figures would mean nothing";
    Err(format!("{why} ({percent:.0} % of {IDLE_PERCENT_MIN}; --busy measures all the same)"))
}

/// What the machine takes from a thread that only looks at the clock, for two seconds: no tail of a latency can be better.
#[must_use]
pub fn stalls() -> String {
    const STALL: Duration = Duration::from_millis(1);
    let (begun, mut count, mut longest, mut lost) = (Instant::now(), 0, Duration::ZERO, Duration::ZERO);
    let mut last = begun;
    while last - begun < Duration::from_secs(2) {
        let now = Instant::now();
        let gap = now - last;
        last = now;
        if gap >= STALL {
            count += 1;
            lost += gap;
            longest = longest.max(gap);
        }
    }
    let percent = 100.0 * lost.as_secs_f64() / (last - begun).as_secs_f64();
    let longest = longest.as_secs_f64() * 1e3;
    format!(
        "a spinning thread lost {percent:.2} % of 2 s in {count} stalls of 1 ms and more, the longest {longest:.1} ms"
    )
}

/// Nanoseconds of CPU that all threads of a process have used; `None` when there is no such process.
#[must_use]
pub fn cpu_nanos(process: u32) -> Option<u64> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let of = |entry: std::fs::DirEntry| {
        let text = std::fs::read_to_string(entry.path().join("schedstat")).unwrap_or_default();
        text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0)
    };
    Some(tasks.flatten().map(of).sum())
}

/// User, nice, system, idle, waiting and the rest, in ticks.
fn cpu_times() -> Result<Vec<u64>, String> {
    let stat = read("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let times: Vec<u64> = line.split_whitespace().skip(1).map(|word| word.parse().unwrap_or(0)).collect();
    if times.len() < 5 {
        return Err(format!("/proc/stat: {line:?} has no times of CPUs"));
    }
    Ok(times)
}

fn read(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program).args(arguments).output();
    let text = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    text.map_or_else(|| "unknown".into(), |text| String::from_utf8_lossy(&text).trim().to_owned())
}
