//! What the facts mean: each check is a pure function of them.

use std::fmt;

use super::facts::{Facts, Limit, Quota, Ring};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The first release whose rings have all the host needs.
const KERNEL_MIN: (u32, u32) = (6, 1);
/// The log's buffers of one core, registered with the ring, at most.
const LOCKED_BYTES_PER_CORE: u64 = 64 * MIB;
/// What the default number of clients, logs and rings open; tables come on top.
const OPEN_FILES_MIN: u64 = 11_024;
/// With so many files, tables never run out of them before disks run out of space.
const OPEN_FILES_GOOD: u64 = 65_536;
/// Connections that the server lets wait for their accept.
const BACKLOG: u64 = 1024;
/// A device that interrupts one core so often costs it more than one part of a hundred.
const INTERRUPTS_PER_SECOND_MAX: f64 = 2_000.0;
/// A core cannot even make its first segments with less.
const FREE_BYTES_PER_CORE_MIN: u64 = 256 * MIB;
/// A core keeps so much log, and compaction needs room beside it.
const FREE_BYTES_PER_CORE_GOOD: u64 = 2 * GIB;
/// Durable writes of a disk that is fit for this, in microseconds: half of them, and all but one of a hundred.
const SYNC_P50_GOOD: u64 = 1_000;
/// See [`SYNC_P50_GOOD`].
const SYNC_P99_GOOD: u64 = 10_000;
/// Beyond this a write is answered as slowly as by a disk that turns.
const SYNC_P50_MAX: u64 = 30_000;
/// No disk without a battery is as fast.
const SYNC_P50_CREDIBLE: u64 = 15;

/// How a check ended, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Could not be read here.
    Unknown,
    /// The server runs, but slower or with less safety than it could.
    Warn,
    /// The server does not run, or does not keep its promises.
    Bad,
}

impl Verdict {
    /// In one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// Why it matters.
    pub why: &'static str,
    /// What a person can do; empty when nothing needs to be done.
    pub remedy: String,
}

/// A verdict with what was seen, and what to do.
struct Finding(Verdict, String, &'static str);

fn ok(seen: impl Into<String>) -> Finding {
    Finding(Verdict::Ok, seen.into(), "")
}

fn warn(seen: impl Into<String>, remedy: &'static str) -> Finding {
    Finding(Verdict::Warn, seen.into(), remedy)
}

fn bad(seen: impl Into<String>, remedy: &'static str) -> Finding {
    Finding(Verdict::Bad, seen.into(), remedy)
}

type Judge = fn(&Facts) -> Option<Finding>;

/// Every check: its name, why it matters, how it judges.
const CHECKS: &[(&str, &str, Judge)] = &[
    ("kernel", "the ring's features that the host uses came with Linux 6.1", kernel),
    ("io_uring", "sockets and disk of a core go through one ring; there is no other way", ring),
    (
        "locked memory",
        "buffers that are registered with the ring spare each write the look-up of their pages",
        locked,
    ),
    (
        "open files",
        "each connection, log and table keeps a file open; a server without one more refuses or stops",
        files,
    ),
    (
        "huge pages",
        "a look-up misses the address cache of the CPU half as often when rows lie on huge pages",
        huge_pages,
    ),
    ("governor", "a clock that falls between requests answers the next one slower", governor),
    ("isolation", "whatever else runs on a core's CPU stops its clients meanwhile", isolation),
    (
        "cpu quota",
        "a control group that has used its time stops all its threads until the next period, 100 ms as a rule",
        quota,
    ),
    ("interrupts", "a device that interrupts a core's CPU takes its time and empties its caches", interrupts),
    (
        "backlog",
        "connections beyond it are dropped while many clients connect at once, and try again after a second",
        backlog,
    ),
    (
        "file system",
        "the log is written in place, past the cache, into segments that were written whole before",
        file_system,
    ),
    (
        "direct I/O",
        "what goes through the page cache is in memory twice and is written when the kernel likes",
        direct,
    ),
    ("free space", "a full disk refuses writes until space is free again", free_space),
    (
        "write cache",
        "a disk with a cache of its own must empty it at every durable write, and be honest about it",
        write_cache,
    ),
    (
        "sync latency",
        "no write is answered before it is durable: this is the least time that a write takes",
        syncs,
    ),
    (
        "clock source",
        "every turn reads the clock; one that is read through a device costs microseconds",
        clock_source,
    ),
    ("swap", "a row that was swapped out stops its core until the disk has read it", swap),
    ("numa", "memory of another node takes twice as long", numa),
    ("overcommit", "room for rows and cache is reserved at the start and filled later", overcommit),
];

/// Judges everything, in the order of the table.
#[must_use]
pub fn judge(facts: &Facts) -> Vec<Check> {
    let check = |&(name, why, judge): &(&'static str, &'static str, Judge)| {
        let unread = || Finding(Verdict::Unknown, "it cannot be read here".into(), "");
        let Finding(verdict, seen, remedy) = judge(facts).unwrap_or_else(unread);
        Check { name, verdict, seen, why, remedy: remedy.to_owned() }
    };
    CHECKS.iter().map(check).collect()
}

fn kernel(facts: &Facts) -> Option<Finding> {
    let release = facts.kernel.as_ref()?;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let version = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(if version < KERNEL_MIN { bad(release, "boot Linux 6.1 or later") } else { ok(release) })
}

fn ring(facts: &Facts) -> Option<Finding> {
    let sysctl = facts.ring_disabled.map_or_else(|| "not there".into(), |value| value.to_string());
    let seccomp = match facts.seccomp {
        Some(0) => "off",
        Some(_) => "on",
        None => "unknown",
    };
    let around = format!("kernel.io_uring_disabled {sysctl}, seccomp {seccomp}");
    Some(match facts.ring.as_ref()? {
        Ring::Refused(error) => bad(
            format!("refused ({around}): {error}"),
            "sysctl -w kernel.io_uring_disabled=0, and let the container or the unit make io_uring_setup, io_uring_enter and io_uring_register",
        ),
        Ring::Missing(missing) if !missing.is_empty() => bad(
            format!("this kernel's ring does not know: {} ({around})", missing.join(", ")),
            "boot Linux 6.1 or later",
        ),
        Ring::Missing(_) if facts.ring_disabled == Some(1) => warn(
            format!("works for this user ({around})"),
            "other users are refused: sysctl -w kernel.io_uring_disabled=0, or put the user of the server into the group of kernel.io_uring_group",
        ),
        Ring::Missing(_) => ok(format!("works, every operation is there ({around})")),
    })
}

fn locked(facts: &Facts) -> Option<Finding> {
    let limit = facts.locked_bytes?;
    let wanted = LOCKED_BYTES_PER_CORE * facts.cpus.len().max(1) as u64;
    let seen = match limit {
        Limit::Unlimited => "unlimited".into(),
        Limit::AtMost(bytes) => format!("{} MiB", bytes / MIB),
    };
    Some(if limit.allows(wanted) {
        ok(seen)
    } else {
        warn(seen, "ulimit -l unlimited, or LimitMEMLOCK=infinity in the unit")
    })
}

fn files(facts: &Facts) -> Option<Finding> {
    let limit = facts.open_files?;
    let remedy = "ulimit -Hn 1048576, or LimitNOFILE=1048576 in the unit";
    let seen = match limit {
        Limit::Unlimited => "unlimited".into(),
        Limit::AtMost(files) => format!("{files}, at most"),
    };
    Some(if !limit.allows(OPEN_FILES_MIN) {
        bad(format!("{seen}: the default of 10000 clients needs {OPEN_FILES_MIN}"), remedy)
    } else if !limit.allows(OPEN_FILES_GOOD) {
        warn(seen, remedy)
    } else {
        ok(seen)
    })
}

fn huge_pages(facts: &Facts) -> Option<Finding> {
    let text = facts.huge_pages.as_ref()?;
    let chosen = text.split_once('[')?.1.split_once(']')?.0;
    Some(match chosen {
        "madvise" => ok(chosen),
        "always" => warn(
            "always: memory may grow past what is in use",
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
        ),
        _ => warn(chosen, "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"),
    })
}

fn governor(facts: &Facts) -> Option<Finding> {
    let (_, first) = facts.governors.first()?;
    let slow: Vec<String> = facts
        .governors
        .iter()
        .filter(|(_, governor)| governor != "performance")
        .map(|(cpu, governor)| format!("CPU {cpu} {governor}"))
        .collect();
    Some(if slow.is_empty() {
        ok(first)
    } else {
        warn(slow.join(", "), "cpupower frequency-set -g performance")
    })
}

fn isolation(facts: &Facts) -> Option<Finding> {
    let isolated = facts.isolated.as_ref()?;
    let inside = |list: &[usize]| facts.cpus.iter().all(|cpu| list.contains(cpu));
    let tickless = facts.tickless.as_deref().unwrap_or_default();
    let list = |cpus: &[usize]| if cpus.is_empty() { "none".to_owned() } else { format!("{cpus:?}") };
    let seen = format!("isolcpus {}, nohz_full {}", list(isolated), list(tickless));
    Some(match () {
        () if inside(isolated) && inside(tickless) => ok(seen),
        () if inside(isolated) => warn(seen, "boot with nohz_full= and rcu_nocbs= for the same CPUs"),
        () if !isolated.is_empty() => warn(
            seen,
            "run the server on the isolated CPUs: --cores, and --cores of this command to look at those",
        ),
        () => warn(
            seen,
            "on a machine of its own, leave one CPU to the system: boot with isolcpus= nohz_full= rcu_nocbs= for the others, and give those to --cores",
        ),
    })
}

fn quota(facts: &Facts) -> Option<Finding> {
    Some(match facts.quota? {
        Quota::Unlimited => ok("none"),
        #[expect(clippy::cast_precision_loss, reason = "a handful of CPUs")]
        Quota::Cpus(cpus) if cpus < facts.cpus.len() as f64 => warn(
            format!("{cpus:.2} CPUs for {} cores", facts.cpus.len()),
            "give the control group as much as there are cores (CPUQuota= of the unit, --cpus of the container), or bind the server to fewer with --cores",
        ),
        Quota::Cpus(cpus) => ok(format!("{cpus:.2} CPUs")),
    })
}

fn interrupts(facts: &Facts) -> Option<Finding> {
    let all = facts.interrupts.as_ref()?;
    let told = |some: &mut dyn Iterator<Item = &super::facts::Interrupts>| {
        let each =
            some.take(4).map(|one| format!("{} on CPU {}: {:.0}/s", one.device, one.cpu, one.per_second));
        each.collect::<Vec<_>>().join(", ")
    };
    let mut busy = all.iter().filter(|one| one.per_second > INTERRUPTS_PER_SECOND_MAX).peekable();
    Some(if busy.peek().is_some() {
        warn(
            told(&mut busy),
            "stop irqbalance or ban it from the cores' CPUs, and write another CPU to /proc/irq/NUMBER/smp_affinity_list",
        )
    } else if all.is_empty() {
        ok("none while it was watched")
    } else {
        ok(told(&mut all.iter()))
    })
}

fn backlog(facts: &Facts) -> Option<Finding> {
    let backlog = facts.backlog?;
    Some(if backlog < BACKLOG {
        warn(format!("somaxconn {backlog}"), "sysctl -w net.core.somaxconn=4096")
    } else {
        ok(format!("somaxconn {backlog}"))
    })
}

fn file_system(facts: &Facts) -> Option<Finding> {
    let mount = facts.mount.as_ref()?;
    let has = |option: &str| mount.options.iter().any(|have| have == option);
    let mut shown: Vec<&str> = Vec::new();
    for option in &mount.options {
        if !shown.contains(&option.as_str()) {
            shown.push(option);
        }
    }
    let seen = format!("{} at {} ({})", mount.kind, mount.point, shown.join(","));
    Some(match mount.kind.as_str() {
        _ if has("ro") => bad(seen, "mount it for writing, or choose another --data-dir"),
        "tmpfs" | "ramfs" => bad(
            format!("{seen}: memory"),
            "nothing there survives a power loss: put --data-dir on a disk with ext4 or XFS",
        ),
        _ if has("nobarrier") || has("barrier=0") => {
            bad(seen, "syncs do not reach the disk: mount it without nobarrier")
        }
        _ if has("data=journal") => {
            warn(seen, "data is written twice and past no cache: mount it with data=ordered")
        }
        "ext4" | "xfs" => ok(seen),
        "btrfs" | "zfs" | "bcachefs" => warn(
            seen,
            "it copies on each write, so that segments written before are of no use: take ext4 or XFS",
        ),
        "overlay" | "aufs" => {
            warn(seen, "this is a layer of a container: mount a volume with ext4 or XFS for --data-dir")
        }
        _ => warn(seen, "Pinion is tried on ext4: take ext4 or XFS on a local disk"),
    })
}

fn direct(facts: &Facts) -> Option<Finding> {
    Some(match facts.direct.as_ref()? {
        Ok(()) => ok("works"),
        Err(error) => bad(
            format!("a direct write is refused: {error}"),
            "let this user write to the data directory, and put it on ext4 or XFS",
        ),
    })
}

fn free_space(facts: &Facts) -> Option<Finding> {
    let free = facts.free_bytes?;
    let cores = facts.cpus.len().max(1) as u64;
    let seen = format!("{:.1} GiB", free as f64 / GIB as f64);
    let remedy = "free space, or put --data-dir on a larger disk: 2 GiB for each core beside the data";
    Some(if free < FREE_BYTES_PER_CORE_MIN * cores {
        bad(seen, remedy)
    } else if free < FREE_BYTES_PER_CORE_GOOD * cores {
        warn(seen, remedy)
    } else {
        ok(seen)
    })
}

fn write_cache(facts: &Facts) -> Option<Finding> {
    let kind = facts.write_cache.as_ref()?;
    Some(if kind == "write through" {
        ok(kind)
    } else {
        warn(
            format!("{kind}: it is emptied at every durable write"),
            "a disk with protection against power loss has none to empty; with another one, see that the disk, or whoever provides it, carries out flushes",
        )
    })
}

fn syncs(facts: &Facts) -> Option<Finding> {
    let syncs = match facts.syncs.as_ref() {
        Some(Ok(syncs)) if syncs.count > 0 => syncs,
        None | Some(Ok(_)) => return Some(Finding(Verdict::Unknown, "it was not measured".into(), "")),
        Some(Err(error)) => {
            let remedy = "let this user write to the data directory, and see `dmesg` for errors of its disk";
            return Some(bad(format!("a durable write failed: {error}"), remedy));
        }
    };
    let seen = format!(
        "{} writes: p50 {} us, p90 {} us, p99 {} us, p99.9 {} us, slowest {} us",
        syncs.count, syncs.p50, syncs.p90, syncs.p99, syncs.p999, syncs.max
    );
    Some(if syncs.p50 > SYNC_P50_MAX {
        bad(seen, "this disk is too slow for durable writes: take one without turning parts")
    } else if syncs.p50 < SYNC_P50_CREDIBLE {
        warn(seen, "no disk is as fast: find out whether it, or the host below it, drops flushes")
    } else if syncs.p50 > SYNC_P50_GOOD || syncs.p99 > SYNC_P99_GOOD {
        warn(seen, "see what else uses this disk (`iostat -x 1`); a local NVMe disk takes 20 to 300 us")
    } else {
        ok(seen)
    })
}

fn clock_source(facts: &Facts) -> Option<Finding> {
    let source = facts.clock_source.as_ref()?;
    Some(match source.as_str() {
        "tsc" | "kvm-clock" | "arch_sys_counter" | "hyperv_clocksource_tsc_page" => ok(source),
        _ => warn(
            source,
            "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource, and see `dmesg` for why the kernel gave it up",
        ),
    })
}

fn swap(facts: &Facts) -> Option<Finding> {
    let bytes = facts.swap_bytes?;
    Some(if bytes == 0 {
        ok("none")
    } else {
        warn(format!("{} MiB", bytes / MIB), "swapoff -a, or MemorySwapMax=0 in the unit")
    })
}

fn numa(facts: &Facts) -> Option<Finding> {
    let used = facts.numa.iter().filter(|node| node.iter().any(|cpu| facts.cpus.contains(cpu))).count();
    Some(match (facts.numa.len(), used) {
        (0, _) => return None,
        (1, _) => ok("one node"),
        (nodes, 1) => ok(format!("{nodes} nodes, the cores run on one of them")),
        (nodes, used) => warn(
            format!("{nodes} nodes, the cores run on {used} of them"),
            "run one server for each node, with --cores of that node",
        ),
    })
}

fn overcommit(facts: &Facts) -> Option<Finding> {
    let mode = facts.overcommit?;
    Some(if mode == 2 {
        warn("2: reservations are refused", "sysctl -w vm.overcommit_memory=0")
    } else {
        ok(mode.to_string())
    })
}
