//! Hosts: they feed the inbox of a core and carry out its outbox.
//!
//! A [`Machine`] is what a host drives: the real core, or the [`Echo`] of tests and comparisons. It makes no system
//! call and reads no clock; everything it knows comes from [`Inbox`], [`Now`] and its own state.

mod clock;
mod echo;
pub mod sim;
mod slab;
mod ticks;
pub mod uring;

pub use clock::Clock;
pub use echo::{ECHO_UNSENT_BYTES_MAX, Echo};
pub use pinion_shard::Now;
pub use slab::Slab;
pub use ticks::Tsc;

use crate::{Inbox, Outbox};

/// A state machine that is driven turn by turn.
pub trait Machine {
    /// Takes what happened from `inbox` and leaves what is to be done in `outbox`. Never blocks.
    fn turn(&mut self, now: Now, inbox: &mut Inbox, outbox: &mut Outbox);

    /// Whether clients may come. Until every core says so, the turns run without them.
    fn is_ready(&self) -> bool {
        true
    }
}
