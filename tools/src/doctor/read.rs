//! Reads the facts: files of `/proc` and `/sys`, limits, a ring that is set up and dropped, durable writes that are timed.
#![expect(clippy::disallowed_methods, reason = "looks at a real machine, by its own clock")]

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use pinion_core::host::uring::missing_operations;
use pinion_core::pin;
use pinion_wal::disk::AlignedBuf;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, getrlimit};

use super::facts::{Facts, Limit, Mount, Quota, Ring, Syncs, cpu_list, interrupts, mount_of};

/// A durable write writes so much.
const BLOCK_BYTES: usize = 4096;
/// The file that is written to, over and over.
const FILE_BYTES: u64 = 8 << 20;
/// Interrupts are counted for so long.
const WATCH: Duration = Duration::from_millis(500);

/// Reads everything. Durable writes go on for `seconds`; with 0 there are none.
#[must_use]
pub fn read(data_dir: &Path, cpus: Option<Vec<usize>>, seconds: u32) -> Facts {
    let cpus = cpus.unwrap_or_else(pin::available);
    let dir = existing(data_dir);
    let mount = dir.to_str().and_then(|dir| mount_of(&fs::read_to_string("/proc/self/mountinfo").ok()?, dir));
    Facts {
        kernel: text("/proc/sys/kernel/osrelease"),
        ring: Some(match missing_operations() {
            Ok(missing) => Ring::Missing(missing),
            Err(error) => Ring::Refused(error.to_string()),
        }),
        ring_disabled: number("/proc/sys/kernel/io_uring_disabled"),
        seccomp: field("/proc/self/status", "Seccomp:"),
        locked_bytes: Some(limit(Resource::Memlock)),
        open_files: Some(limit(Resource::Nofile)),
        huge_pages: text("/sys/kernel/mm/transparent_hugepage/enabled"),
        governors: cpus.iter().filter_map(|&cpu| Some((cpu, governor(cpu)?))).collect(),
        isolated: text("/sys/devices/system/cpu/isolated").and_then(|text| cpu_list(&text)),
        tickless: text("/sys/devices/system/cpu/nohz_full").and_then(|text| cpu_list(&text)),
        quota: quota(),
        interrupts: watch_interrupts(&cpus),
        backlog: number("/proc/sys/net/core/somaxconn"),
        direct: Some(direct(&dir)),
        free_bytes: free_bytes(&dir),
        write_cache: mount.as_ref().and_then(write_cache),
        mount,
        syncs: (seconds > 0).then(|| time_syncs(&dir, Duration::from_secs(u64::from(seconds)))),
        clock_source: text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        swap_bytes: field("/proc/meminfo", "SwapTotal:").map(|kib| kib << 10),
        numa: numa(),
        overcommit: number("/proc/sys/vm/overcommit_memory"),
        cpus,
    }
}

/// The directory itself, or the nearest one above it that is there: a first start makes it in that file system.
fn existing(dir: &Path) -> PathBuf {
    let mut at = dir;
    loop {
        if let Ok(found) = at.canonicalize() {
            return found;
        }
        at = match at.parent() {
            Some(above) if !above.as_os_str().is_empty() => above,
            _ => Path::new("."),
        };
        if at == Path::new(".") {
            return at.canonicalize().unwrap_or_else(|_| at.to_owned());
        }
    }
}

fn text(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn number(path: &str) -> Option<u64> {
    text(path)?.parse().ok()
}

/// The number behind `name` in a file of lines.
fn field(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

fn limit(of: Resource) -> Limit {
    // The server raises the lower of the two limits of open files itself.
    getrlimit(of).maximum.map_or(Limit::Unlimited, Limit::AtMost)
}

fn governor(cpu: usize) -> Option<String> {
    text(&format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"))
}

/// The least that the control groups above this process allow.
fn quota() -> Option<Quota> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mut least: Option<f64> = None;
    for line in groups.lines() {
        let parts: Vec<&str> = line.splitn(3, ':').collect();
        let [_, controllers, path] = parts[..] else { continue };
        let unified = controllers.is_empty();
        let root = if unified { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/cpu" };
        if !unified && !controllers.split(',').any(|name| name == "cpu") {
            continue;
        }
        for group in Path::new(path.trim_start_matches('/')).ancestors() {
            let at = Path::new(root).join(group);
            let allowed = if unified { unified_quota(&at) } else { former_quota(&at) };
            if let Some(cpus) = allowed {
                least = Some(least.map_or(cpus, |least| least.min(cpus)));
            }
        }
    }
    Some(least.map_or(Quota::Unlimited, Quota::Cpus))
}

fn unified_quota(group: &Path) -> Option<f64> {
    let text = fs::read_to_string(group.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
}

fn former_quota(group: &Path) -> Option<f64> {
    let read = |name| fs::read_to_string(group.join(name)).ok()?.trim().parse::<f64>().ok();
    let quota: f64 = read("cpu.cfs_quota_us")?;
    (quota > 0.0).then_some(quota / read("cpu.cfs_period_us")?)
}

fn watch_interrupts(cpus: &[usize]) -> Option<Vec<super::facts::Interrupts>> {
    let before = fs::read_to_string("/proc/interrupts").ok()?;
    let begun = Instant::now();
    std::thread::sleep(WATCH);
    let after = fs::read_to_string("/proc/interrupts").ok()?;
    Some(interrupts(&before, &after, cpus, begun.elapsed().as_secs_f64()))
}

fn free_bytes(dir: &Path) -> Option<u64> {
    let space = rustix::fs::statvfs(dir).ok()?;
    Some(space.f_bavail.saturating_mul(space.f_frsize))
}

/// A partition has the queue of its disk.
fn write_cache(mount: &Mount) -> Option<String> {
    let device = Path::new("/sys/dev/block").join(&mount.device).canonicalize().ok()?;
    let read = |device: &Path| fs::read_to_string(device.join("queue/write_cache")).ok();
    let text = read(&device).or_else(|| read(device.parent()?))?;
    Some(text.trim().to_owned())
}

fn numa() -> Vec<Vec<usize>> {
    let Some(nodes) = text("/sys/devices/system/node/online").and_then(|text| cpu_list(&text)) else {
        return Vec::new();
    };
    let cpus = |node| text(&format!("/sys/devices/system/node/node{node}/cpulist"));
    nodes.into_iter().filter_map(|node| cpu_list(&cpus(node)?)).collect()
}

/// A file that is gone when it is no longer needed, also after a crash of this program: it never has a name, or loses it
/// at once.
fn scratch(dir: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = dir.join(format!("doctor-{}.tmp", std::process::id()));
    let flags = flags | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let made = rustix::fs::open(&path, flags, Mode::from(0o600));
    // A refused flag may leave the empty file behind.
    let _ = rustix::fs::unlink(&path);
    made
}

fn direct(dir: &Path) -> Result<(), String> {
    let file = scratch(dir, OFlags::DIRECT).map_err(|errno| errno.to_string())?;
    let block = AlignedBuf::zeroed(BLOCK_BYTES);
    rustix::io::pwrite(&file, &block, 0).map(drop).map_err(|errno| errno.to_string())
}

/// Writes blocks durably, one after the other, as a flush of the log is: past the cache, into a file that was written
/// whole before.
fn time_syncs(dir: &Path, length: Duration) -> Result<Syncs, String> {
    let refused = |errno: rustix::io::Errno| errno.to_string();
    let file = scratch(dir, OFlags::DIRECT | OFlags::DSYNC)
        .or_else(|_| scratch(dir, OFlags::DSYNC))
        .map_err(refused)?;
    let zeros = AlignedBuf::zeroed(1 << 20);
    for at in (0..FILE_BYTES).step_by(1 << 20) {
        rustix::io::pwrite(&file, &zeros, at).map_err(refused)?;
    }
    rustix::fs::fsync(&file).map_err(refused)?;
    let mut block = AlignedBuf::zeroed(BLOCK_BYTES);
    let mut seen = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).expect("the bounds are sound");
    let (begun, mut offset) = (Instant::now(), 0);
    while begun.elapsed() < length {
        block.fill(u8::try_from(seen.len() % 251).unwrap_or(0));
        let sent = Instant::now();
        let written = rustix::io::pwrite(&file, &block, offset).map_err(refused)?;
        if written != BLOCK_BYTES {
            return Err(format!("a write of {BLOCK_BYTES} bytes wrote {written}"));
        }
        seen.saturating_record(u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX).max(1));
        offset = (offset + BLOCK_BYTES as u64) % FILE_BYTES;
    }
    let bars = seen.iter_log(32, 2.0).map(|bar| (bar.value_iterated_to(), bar.count_since_last_iteration()));
    Ok(Syncs {
        count: seen.len(),
        p50: seen.value_at_quantile(0.5),
        p90: seen.value_at_quantile(0.9),
        p99: seen.value_at_quantile(0.99),
        p999: seen.value_at_quantile(0.999),
        max: seen.max(),
        bars: bars.collect(),
    })
}
