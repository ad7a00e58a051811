//! Whether replies are refused for want of memory, on any core: told from where it happens to where memory may be held.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pinion_wal::Mono;

/// What was told holds for so long, in milliseconds.
const TOLD_MILLIS: u64 = 2_000;

/// The word. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Pressure {
    /// Until when what was told holds, in nanoseconds of the clock of the turns.
    until: Arc<AtomicU64>,
}

impl Pressure {
    /// Tells all cores that replies were refused.
    pub fn tell(&self, now: Mono) {
        // Only a time passes between the cores, and an old one is as good.
        self.until.store(now.plus_millis(TOLD_MILLIS).0, Ordering::Relaxed);
    }

    /// Whether a core has told so a moment ago.
    #[must_use]
    pub fn is_told(&self, now: Mono) -> bool {
        now.0 < self.until.load(Ordering::Relaxed)
    }
}
