//! A CPU profile of a running server as a flame graph: `perf` takes the samples, `inferno` folds and draws them.
//!
//! Threads stand at the bottom, so cores can be told apart. Stacks are unwound from the tables that every build has: no
//! build needs frame pointers, and a server pays nothing while nobody looks. Idle time is in no sample.
#![expect(clippy::disallowed_methods, reason = "runs another program over files of its own")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clap::{Args, ValueEnum};
use inferno::collapse::Collapse as _;
use inferno::collapse::perf::{Folder, Options as FolderOptions};
use inferno::flamegraph;

use crate::client::Value;
use crate::latency::connect;

/// Of a stack, perf copies so many bytes of each sample to unwind it later.
const STACK_BYTES: u32 = 16_384;

/// How stacks are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Unwind {
    /// From the tables of the program: works with every build, costs 16 KiB a sample
    Dwarf,
    /// By frame pointers: cheaper, for a server built with `-C force-frame-pointers=yes`
    Fp,
}

/// What to profile for how long, as flags.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Address of the server, on this machine
    #[arg(long, default_value = "127.0.0.1:6379")]
    pub address: String,
    /// Password, if the server asks for one
    #[arg(long, env = "PINION_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
    /// The process to look at, instead of asking the server which it is
    #[arg(long, value_name = "PID", conflicts_with = "address")]
    pub pid: Option<u32>,
    /// Seconds to look
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=600))]
    pub seconds: u32,
    /// Samples of each busy CPU in a second
    #[arg(long, default_value_t = 199, value_name = "HERTZ", value_parser = clap::value_parser!(u32).range(1..=9_999))]
    pub rate: u32,
    /// How stacks are found
    #[arg(long, value_enum, default_value_t = Unwind::Dwarf)]
    pub unwind: Unwind,
    /// The picture: an SVG that a browser shows, and lets one look into
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
}

/// Takes the profile; answers what to say about it.
///
/// # Errors
/// A sentence with what was not possible and what to do.
pub fn run(options: &Options) -> Result<String, String> {
    let pid = match options.pid {
        Some(pid) => pid,
        None => process_id(options)?,
    };
    if !Path::new(&format!("/proc/{pid}")).exists() {
        return Err(format!(
            "process {pid} does not run on this machine (or in another container): run pinionctl profile where it does"
        ));
    }
    let written = |error: std::io::Error| format!("{} cannot be written: {error}", options.output.display());
    // Before anybody waits for it.
    std::fs::write(&options.output, "").map_err(written)?;
    let data = Data(std::env::temp_dir().join(format!("pinionctl-profile-{}.data", std::process::id())));
    record(options, pid, &data.0)?;
    // Without periods, so that each sample counts as one.
    let fields = "comm,pid,tid,time,event,ip,sym,dso";
    let script = perf(&["script", "--no-inline", "-F", fields, "-i", &data.0.to_string_lossy()])?;
    if !script.status.success() {
        return Err(explain(&String::from_utf8_lossy(&script.stderr)));
    }
    let folded = fold(&script.stdout)?;
    let samples = samples(&folded);
    if samples == 0 {
        return Err(format!(
            "process {pid} used no CPU in {} seconds: load it, or look for longer with --seconds",
            options.seconds
        ));
    }
    let title = format!("CPU of process {pid} within {} s, {samples} samples", options.seconds);
    std::fs::write(&options.output, draw(&folded, &title)?).map_err(written)?;
    Ok(format!("{}: {title}", options.output.display()))
}

/// Removed at the end.
struct Data(PathBuf);

impl Drop for Data {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn process_id(options: &Options) -> Result<u32, String> {
    let mut client = connect(&options.address, options.password.as_deref())?;
    let reply = client.call(&[b"INFO", b"server"]).map_err(|e| format!("{}: {e}", options.address))?;
    let Value::Bulk(Some(text)) = &reply else {
        return Err(format!("{}: INFO was answered with {reply:?}", options.address));
    };
    let text = String::from_utf8_lossy(text);
    let found = text.lines().find_map(|line| line.strip_prefix("process_id:")?.trim().parse().ok());
    found.ok_or_else(|| format!("{}: INFO names no process: give it with --pid", options.address))
}

fn record(options: &Options, pid: u32, data: &Path) -> Result<(), String> {
    let graph = match options.unwind {
        Unwind::Dwarf => format!("dwarf,{STACK_BYTES}"),
        Unwind::Fp => "fp".to_owned(),
    };
    let (rate, pid, data) = (options.rate.to_string(), pid.to_string(), data.to_string_lossy());
    let seconds = options.seconds.to_string();
    let output = perf(&[
        "record",
        "-F",
        &rate,
        "--call-graph",
        &graph,
        "-p",
        &pid,
        "-o",
        &data,
        "--",
        "sleep",
        &seconds,
    ])?;
    if output.status.success() { Ok(()) } else { Err(explain(&String::from_utf8_lossy(&output.stderr))) }
}

fn perf(arguments: &[&str]) -> Result<Output, String> {
    Command::new("perf").args(arguments).output().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            "perf is not installed: install it (Debian: apt install linux-perf; Fedora: dnf install perf) and run this \
             again"
                .to_owned()
        }
        _ => format!("perf cannot be run: {error}"),
    })
}

/// What perf complains about, and what to do.
fn explain(stderr: &str) -> String {
    let said = stderr.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it said nothing");
    let forbidden = ["perf_event_paranoid", "not permitted", "No permission", "Permission denied", "EACCES"];
    if forbidden.iter().any(|sign| stderr.contains(sign)) {
        return format!(
            "the kernel does not let perf look at this process ({said}): run it as root or as the user of the server with \
             `sysctl kernel.perf_event_paranoid=1`; in a container also allow the system call perf_event_open"
        );
    }
    if stderr.contains("not supported") || stderr.contains("ENOSYS") {
        return format!(
            "perf finds nothing here that takes samples ({said}): a kernel with CONFIG_PERF_EVENTS has it"
        );
    }
    format!("perf failed: {said}")
}

/// Stacks with how often each was seen, one a line: what `perf script` says, folded. Threads stand first.
fn fold(script: &[u8]) -> Result<String, String> {
    let mut folder = Folder::from(FolderOptions::default());
    let mut folded = Vec::new();
    folder
        .collapse(script, &mut folded)
        .map_err(|error| format!("perf wrote what cannot be folded: {error}"))?;
    let text = String::from_utf8_lossy(&folded);
    Ok(text.lines().map(|line| without_hashes(line) + "\n").collect())
}

/// A stack without the hashes that the compiler gives functions (`::h0123456789abcdef`).
fn without_hashes(line: &str) -> String {
    const DIGITS: usize = 16;
    let mut parts = line.split("::h");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let hash = part.get(..DIGITS).filter(|hash| hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let rest = hash.map(|_| &part[DIGITS..]);
        match rest.filter(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')) {
            Some(rest) => text.push_str(rest),
            None => {
                text.push_str("::h");
                text.push_str(part);
            }
        }
    }
    text
}

fn samples(folded: &str) -> u64 {
    let counts = folded.lines().filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
    counts.sum()
}

fn draw(folded: &str, title: &str) -> Result<Vec<u8>, String> {
    let mut options = flamegraph::Options::default();
    title.clone_into(&mut options.title);
    options.deterministic = true;
    let mut svg = Vec::new();
    flamegraph::from_lines(&mut options, folded.lines(), &mut svg)
        .map_err(|error| format!("the flame graph cannot be drawn: {error}"))?;
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As perf 6.1 writes it.
    const SCRIPT: &str = "\
pinion-0  4711/4712 100.000001: cpu-clock:pppH: 
\t            55d0 pinion_core::turn::Core<O>::depart::h0123456789abcdef+0x10 (/usr/bin/pinion)
\t            55a0 pinion_core::host::uring::Uring::run::h00112233445566ff+0x20 (/usr/bin/pinion)

pinion-1  4711/4713 100.000002: cpu-clock:pppH: 
\t            7f10 __x64_sys_io_uring_enter+0x1 ([kernel.kallsyms])
\t            55a0 pinion_core::host::uring::Uring::run::h00112233445566ff+0x20 (/usr/bin/pinion)

pinion-1  4711/4713 100.000003: cpu-clock:pppH: 
\t            7f10 __x64_sys_io_uring_enter+0x1 ([kernel.kallsyms])
\t            55a0 pinion_core::host::uring::Uring::run::h00112233445566ff+0x20 (/usr/bin/pinion)

";

    #[test]
    fn samples_become_a_flame_graph_by_thread() {
        let folded = fold(SCRIPT.as_bytes()).expect("it can be folded");
        let run = "pinion_core::host::uring::Uring::run";
        let expected = format!(
            "pinion-0;{run};pinion_core::turn::Core<O>::depart 1\npinion-1;{run};__x64_sys_io_uring_enter 2\n"
        );
        assert_eq!(folded, expected);
        assert_eq!(samples(&folded), 3);
        let svg =
            String::from_utf8(draw(&folded, "CPU <of> it").expect("it can be drawn")).expect("it is text");
        for text in ["<svg ", "CPU &lt;of&gt; it", "pinion-0 (1 samples, 33.33%)", "</svg>"] {
            assert!(svg.contains(text), "{text} is missing in {svg}");
        }
        assert!(svg.contains("__x64_sys_io_uring_enter (2 samples, 66.67%)"), "{svg}");
    }

    #[test]
    fn only_hashes_are_cut_off() {
        let line = "a::h0123456789abcdef;b::hello;c::h0123456789abcdefg;d::h01 7";
        assert_eq!(without_hashes(line), "a;b::hello;c::h0123456789abcdefg;d::h01 7");
    }

    #[test]
    fn what_perf_complains_about_comes_with_a_remedy() {
        for (said, remedy) in [
            (
                "Error:\nAccess to performance monitoring is limited. /proc/sys/kernel/perf_event_paranoid",
                "sysctl",
            ),
            ("The sys_perf_event_open() syscall returned with 1 (Operation not permitted)", "sysctl"),
            ("The cycles event is not supported.", "CONFIG_PERF_EVENTS"),
            ("\n  something else\n", "something else"),
        ] {
            let text = explain(said);
            assert!(text.contains(remedy), "{text}");
        }
    }
}
