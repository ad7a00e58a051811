//! The handshake by which a core goes to sleep without missing a message.
//!
//! The sleeper announces itself, then looks once more at everything that could have come, then sleeps. A sender
//! publishes, then looks whether the sleeper announced itself. Both sides put a full fence between their store and
//! their load, so at least one of them sees the other: either the sleeper finds the message, or the sender finds
//! the announcement and wakes it. Neither fence may be dropped: without them both loads may see the past.

use super::sync::{AtomicU32, Ordering, fence};

const AWAKE: u32 = 0;
const PARKED: u32 = 1;

/// Whether a core sleeps, as its siblings see it.
#[derive(Debug)]
pub struct Parking {
    state: AtomicU32,
}

impl Default for Parking {
    fn default() -> Self {
        Self::new()
    }
}

impl Parking {
    /// Awake.
    #[must_use]
    pub fn new() -> Self {
        Self { state: AtomicU32::new(AWAKE) }
    }

    /// The core announces that it is about to sleep. It must look at everything that wakes it once more after this
    /// call, and call [`Parking::unpark`] instead of sleeping when it finds something.
    pub fn announce(&self) {
        self.state.store(PARKED, Ordering::Relaxed);
        if !super::sync::planted("missing-fence") {
            fence(Ordering::SeqCst);
        }
    }

    /// The core is awake again (or never slept).
    pub fn unpark(&self) {
        self.state.store(AWAKE, Ordering::Relaxed);
    }

    /// A sender has published something: answers whether it must wake the core. Of several senders one is told so.
    #[must_use]
    pub fn must_wake(&self) -> bool {
        if super::sync::planted("missed-wake") {
            return false;
        }
        fence(Ordering::SeqCst);
        self.state.load(Ordering::Relaxed) == PARKED && self.state.swap(AWAKE, Ordering::Relaxed) == PARKED
    }
}
