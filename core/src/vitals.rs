//! What the system says about the process: memory and CPU, for INFO. The thread that waits for signals reads it from time
//! to time; cores look at what it read last, because a core asks nobody.

use std::sync::atomic::{AtomicU64, Ordering};

/// How often it is read, in milliseconds.
pub const READ_MILLIS: u64 = 500;
/// Linux counts a process's CPU in hundredths of a second towards programs, whatever it does inside (`USER_HZ`).
const MICROS_PER_CLOCK_TICK: u64 = 10_000;

/// What was read last. Zeros when nothing was, as in the simulator.
#[derive(Debug, Default)]
pub struct Vitals {
    resident_bytes: AtomicU64,
    resident_bytes_max: AtomicU64,
    user_micros: AtomicU64,
    system_micros: AtomicU64,
}

/// The figures of [`Vitals`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Bytes of memory that the process occupies.
    pub resident_bytes: u64,
    /// The most that it ever occupied.
    pub resident_bytes_max: u64,
    /// CPU time in the process, of all threads, in microseconds.
    pub user_micros: u64,
    /// CPU time in the kernel for the process, likewise.
    pub system_micros: u64,
}

impl Vitals {
    /// Takes over what was read.
    pub fn set(&self, figures: Figures) {
        self.resident_bytes.store(figures.resident_bytes, Ordering::Relaxed);
        self.resident_bytes_max.store(figures.resident_bytes_max, Ordering::Relaxed);
        self.user_micros.store(figures.user_micros, Ordering::Relaxed);
        self.system_micros.store(figures.system_micros, Ordering::Relaxed);
    }

    /// What was read last.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            resident_bytes: self.resident_bytes.load(Ordering::Relaxed),
            resident_bytes_max: self.resident_bytes_max.load(Ordering::Relaxed),
            user_micros: self.user_micros.load(Ordering::Relaxed),
            system_micros: self.system_micros.load(Ordering::Relaxed),
        }
    }
}

impl Figures {
    /// From the texts of `/proc/self/status` and `/proc/self/stat`. What is not there counts as zero.
    #[must_use]
    pub fn of_proc(status: &str, stat: &str) -> Self {
        let kibibytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
        };
        // The second field is a name in parentheses, which may hold anything; user and system time are the 14th and 15th.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let micros = |index: usize| {
            let field = fields.split_whitespace().nth(index - 3);
            field.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) * MICROS_PER_CLOCK_TICK
        };
        Self {
            resident_bytes: kibibytes("VmRSS") << 10,
            resident_bytes_max: kibibytes("VmHWM") << 10,
            user_micros: micros(14),
            system_micros: micros(15),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_what_linux_writes() {
        let status = "Name:\tpinion\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nThreads:\t3\n";
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 100 1000 256";
        let figures = Figures::of_proc(status, stat);
        let expected = Figures {
            resident_bytes: 1 << 20,
            resident_bytes_max: 2 << 20,
            user_micros: 2_500_000,
            system_micros: 500_000,
        };
        assert_eq!(figures, expected);
        assert_eq!(Figures::of_proc("", ""), Figures::default());
        let vitals = Vitals::default();
        vitals.set(figures);
        assert_eq!(vitals.figures(), expected);
    }
}
