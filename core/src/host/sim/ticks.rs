//! The time-stamp counter of the simulator: virtual nanoseconds, and a little for every reading.

use std::cell::Cell;
use std::rc::Rc;

use pinion_wal::{Mono, Ticks};

/// Ticks that one reading takes: budgets of tasks run out after so many readings, whatever the machine does.
const READING_TICKS: u64 = 20;

/// Ticks that follow virtual time. Clones share one counter.
#[derive(Clone, Debug, Default)]
pub struct SimTicks {
    counter: Rc<Cell<u64>>,
}

impl SimTicks {
    /// A counter at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the counter to a point in time; it never goes back.
    pub fn set(&self, now: Mono) {
        self.counter.set(self.counter.get().max(now.0));
    }

    /// The counter, without moving it.
    #[must_use]
    pub fn peek(&self) -> u64 {
        self.counter.get()
    }
}

impl Ticks for SimTicks {
    fn now(&self) -> u64 {
        self.counter.set(self.counter.get() + READING_TICKS);
        self.counter.get()
    }

    fn per_micro(&self) -> u64 {
        1_000
    }
}
