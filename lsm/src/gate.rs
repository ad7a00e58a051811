//! Waiting inside tasks: one at a time, and until a point in time.

use std::cell::Cell as StdCell;

use pinion_wal::Mono;
use pinion_wal::task::Signal;

/// Lets one task in at a time.
#[derive(Default)]
pub(crate) struct Gate {
    busy: StdCell<bool>,
    left: Signal,
}

/// Leaves the gate when dropped.
pub(crate) struct Inside<'a>(&'a Gate);

impl Gate {
    pub async fn enter(&self) -> Inside<'_> {
        while self.busy.get() {
            self.left.wait().await;
        }
        self.busy.set(true);
        Inside(self)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.busy.set(false);
        self.0.left.notify();
    }
}

/// The time as the host last told it.
#[derive(Default)]
pub(crate) struct Timer {
    now: StdCell<Mono>,
    /// The earliest moment that someone waits for.
    wanted: StdCell<Option<Mono>>,
    moved: Signal,
}

impl Timer {
    pub fn tick(&self, now: Mono) {
        self.now.set(self.now.get().max(now));
        if self.wanted.get().is_some_and(|wanted| wanted <= now) {
            self.wanted.set(None);
            self.moved.notify();
        }
    }

    pub fn next_deadline(&self) -> Option<Mono> {
        self.wanted.get()
    }

    pub async fn sleep_millis(&self, millis: u64) {
        let end = self.now.get().plus_millis(millis);
        while self.now.get() < end {
            self.wanted.set(Some(self.wanted.get().map_or(end, |wanted| wanted.min(end))));
            self.moved.wait().await;
        }
    }
}
