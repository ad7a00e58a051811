//! What the shared word is made of. A model checker puts its own types here.

pub use std::hint::spin_loop;
pub use std::sync::atomic::{AtomicU64, Ordering, fence};
