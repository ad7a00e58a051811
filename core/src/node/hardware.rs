//! What this process may use of the machine.

use crate::config::Hardware;
use crate::pin;

/// CPUs of the affinity mask, and memory of the machine or of the control group, whichever is less.
#[must_use]
pub fn look() -> Hardware {
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let group = text("/proc/self/cgroup");
    let group = group.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/").to_owned();
    let limits = [format!("/sys/fs/cgroup{group}/memory.max"), "/sys/fs/cgroup/memory.max".to_owned()];
    let limit = limits.iter().filter_map(|path| text(path).trim().parse::<u64>().ok()).min();
    let memory_bytes = total_bytes(&text("/proc/meminfo")).min(limit.unwrap_or(u64::MAX));
    Hardware { cpus: pin::available(), memory_bytes }
}

/// The total of `/proc/meminfo`; one gibibyte when it does not say.
fn total_bytes(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes =
        line.and_then(|rest| rest.split_whitespace().next()).and_then(|word| word.parse::<u64>().ok());
    kibibytes.map_or(1 << 30, |kibibytes| kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_cpus_and_memory() {
        let hardware = look();
        assert!(!hardware.cpus.is_empty() && hardware.memory_bytes > 64 << 20, "{hardware:?}");
        assert_eq!(total_bytes("MemFree: 5 kB\nMemTotal:   2048 kB\n"), 2 << 20);
    }
}
