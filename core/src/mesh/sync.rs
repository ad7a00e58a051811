//! What the ring and the parking flag use of shared memory: the standard library's here, the model checker's in its
//! tests (which compile the same files against it).
#![expect(unsafe_code, reason = "a ring slot is written by one thread and read by another")]

pub use std::sync::Arc;
pub use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};

/// A cell shared between threads under a protocol of its owner; the standard one, in the model checker's shape.
#[derive(Debug, Default)]
pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    /// A cell that holds `value`.
    pub const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// Calls `with` with the address of the value; the caller must have exclusive access while it runs.
    pub fn with_mut<R>(&self, with: impl FnOnce(*mut T) -> R) -> R {
        with(self.0.get())
    }
}

// SAFETY: whoever uses the address argues why its access is exclusive; the cell itself touches nothing.
unsafe impl<T: Send> Sync for UnsafeCell<T> {}

/// Whether the bug `name` is planted; the model checker plants `missed-wake` and `missing-fence` in its own copy.
#[inline]
pub const fn planted(_name: &str) -> bool {
    false
}
