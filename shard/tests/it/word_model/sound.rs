//! The word as it is, on the model's atomics.

pub mod sync {
    pub use loom::hint::spin_loop;
    pub use loom::sync::atomic::{AtomicU64, Ordering, fence};
}
#[path = "../../../src/clock/word.rs"]
#[expect(dead_code, reason = "the model uses a part of it")]
pub mod word;
