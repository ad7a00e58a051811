//! The clocks of a host.

use pinion_wal::Mono;
use rustix::time::{ClockId, Timespec, clock_gettime};

use super::Now;

/// Samples the time of turns.
///
/// Elapsed time is the larger of the raw clock, which nobody slews, and the clock that goes on while the machine is
/// suspended: a lease judged by it never looks younger than it is.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    raw_start: u64,
    boot_start: u64,
    latest: Mono,
}

impl Clock {
    /// A clock that starts at zero. Copies go on together.
    #[must_use]
    pub fn new() -> Self {
        Self {
            raw_start: nanos(ClockId::MonotonicRaw),
            boot_start: nanos(ClockId::Boottime),
            latest: Mono(0),
        }
    }

    /// The time now. Never earlier than what it answered before.
    pub fn sample(&mut self) -> Now {
        let raw = nanos(ClockId::MonotonicRaw).saturating_sub(self.raw_start);
        let boot = nanos(ClockId::Boottime).saturating_sub(self.boot_start);
        self.latest = self.latest.max(Mono(raw.max(boot)));
        Now { mono: self.latest, wall_ms: nanos(ClockId::Realtime) / 1_000_000 }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

fn nanos(clock: ClockId) -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(clock);
    u64::try_from(tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_and_the_wall_stands_after_2020() {
        let mut clock = Clock::new();
        let first = clock.sample();
        let mut second = clock.sample();
        while second.mono == first.mono {
            second = clock.sample();
        }
        assert!(second.mono > first.mono);
        assert!(first.wall_ms > 1_577_836_800_000);
    }
}
