//! The word with its fences planted away.

pub mod sync {
    pub use loom::hint::spin_loop;
    pub use loom::sync::atomic::{AtomicU64, Ordering};

    /// Planted: a fence that orders nothing.
    pub fn fence(_order: Ordering) {}
}
#[path = "../../../src/clock/word.rs"]
#[expect(dead_code, reason = "the model uses a part of it")]
pub mod word;
