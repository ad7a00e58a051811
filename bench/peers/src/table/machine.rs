//! The machine line of a table, and whether the machine is idle.

use std::time::{Duration, Instant};

use crate::Outcome;

/// CPU, cores, memory, kernel, date and commit in one line.
pub fn line() -> Outcome<String> {
    let cpu_info = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu_info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let cores = cpu_info.lines().filter(|line| line.starts_with("processor")).count();
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let kilobytes: u64 =
        memory.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or_default();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
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
pub fn idle_percent() -> Outcome<f64> {
    let before = cpu_times()?;
    std::thread::sleep(Duration::from_secs(1));
    let after = cpu_times()?;
    let all: u64 = after.iter().sum::<u64>() - before.iter().sum::<u64>();
    let idle = (after[3] + after[4]) - (before[3] + before[4]);
    Ok(100.0 * idle as f64 / all.max(1) as f64)
}

/// What the machine takes from a thread that only looks at the clock, for two seconds: no tail of a latency can be better.
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

fn cpu_times() -> Outcome<Vec<u64>> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    Ok(line.split_whitespace().skip(1).map(|word| word.parse().unwrap_or(0)).collect())
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program).args(arguments).output();
    output.map_or_else(|_| "unknown".into(), |o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
}
