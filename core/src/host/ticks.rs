//! The time-stamp counter: cheap enough to read at every stage of a request, and good for nothing but measuring.
#![expect(unsafe_code, reason = "reading the counter is an intrinsic")]

use std::sync::OnceLock;

use pinion_wal::Ticks;
use rustix::time::{ClockId, clock_gettime};

/// How long the counter is compared with the clock, once per process, in nanoseconds.
const CALIBRATION_NANOS: u64 = 2_000_000;

/// The time-stamp counter of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Tsc {
    per_micro: u64,
}

impl Tsc {
    /// The counter; its rate is measured at the first call in the process, which takes two milliseconds.
    #[must_use]
    pub fn new() -> Self {
        static PER_MICRO: OnceLock<u64> = OnceLock::new();
        Self { per_micro: *PER_MICRO.get_or_init(calibrate) }
    }
}

impl Default for Tsc {
    fn default() -> Self {
        Self::new()
    }
}

impl Ticks for Tsc {
    #[inline]
    fn now(&self) -> u64 {
        read()
    }

    fn per_micro(&self) -> u64 {
        self.per_micro
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn read() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and Linux leaves it to user space.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Elsewhere the raw clock stands in, in nanoseconds.
#[cfg(not(target_arch = "x86_64"))]
fn read() -> u64 {
    raw_nanos()
}

fn raw_nanos() -> u64 {
    let time = clock_gettime(ClockId::MonotonicRaw);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

fn calibrate() -> u64 {
    let (clock, counter) = (raw_nanos(), read());
    loop {
        let nanos = raw_nanos() - clock;
        if nanos >= CALIBRATION_NANOS {
            return ((read() - counter) * 1_000 / nanos).max(1);
        }
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_runs_at_its_stated_rate() {
        let tsc = Tsc::new();
        let (clock, counter) = (raw_nanos(), tsc.now());
        while raw_nanos() - clock < 3_000_000 {}
        let micros = (tsc.now() - counter) / tsc.per_micro();
        assert!(micros >= 2_900, "{micros} us of at least 3000 were counted");
    }
}
