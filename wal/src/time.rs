//! Time as a turn sees it.

/// A point on the host's monotonic clock, in nanoseconds since an arbitrary start of the process.
///
/// Hosts sample it once per turn, after the inbox is closed; it never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    /// This point plus `micros` microseconds.
    #[must_use]
    pub const fn plus_micros(self, micros: u64) -> Self {
        Self(self.0 + micros * 1_000)
    }

    /// This point plus `millis` milliseconds.
    #[must_use]
    pub const fn plus_millis(self, millis: u64) -> Self {
        Self(self.0 + millis * 1_000_000)
    }

    /// Nanoseconds from `earlier` to this point; 0 when `earlier` lies after it.
    #[must_use]
    pub const fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The time-stamp counter of a core (work units in the simulator).
///
/// It may be used to measure and to yield, for nothing else: no reply, log byte or decision may depend on it.
pub trait Ticks {
    /// The counter now.
    fn now(&self) -> u64;
    /// Ticks per microsecond, at least 1.
    fn per_micro(&self) -> u64;
}
