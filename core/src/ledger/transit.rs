//! Reply bytes on their way from one core to another: a budget of the node, counted where they leave and where they arrive.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A message with fewer bytes holds no value worth refusing.
const SMALL_BYTES: usize = 64 << 10;

/// The budget. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Transit {
    bytes: Arc<AtomicU64>,
    bytes_max: u64,
}

impl Transit {
    /// At most `bytes_max` bytes; more only for one value that is larger by itself.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        Self { bytes: Arc::default(), bytes_max }
    }

    /// Whether a message that has `built` bytes may take a value of `more`.
    #[must_use]
    pub fn has_room(&self, built: usize, more: usize) -> bool {
        // Only a count passes between the cores, and an old one is as good.
        let under_way = self.bytes.load(Ordering::Relaxed);
        let alone = under_way <= SMALL_BYTES as u64 && built <= SMALL_BYTES;
        more == 0 || alone || under_way + (built + more) as u64 <= self.bytes_max
    }

    /// A message of so many bytes leaves.
    pub fn depart(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A message of so many bytes was read.
    pub fn arrive(&self, bytes: usize) {
        let before = self.bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
        assert!(before >= bytes as u64, "a message arrived that never left");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// O1: values under way are bounded, and the largest one alone always gets through.
    #[test]
    fn values_under_way_are_bounded_and_one_always_goes() {
        let transit = Transit::new(1 << 20);
        assert!(transit.has_room(0, 16 << 20) && !transit.has_room(1 << 20, 1));
        transit.depart(900 << 10);
        assert!(transit.has_room(0, 100 << 10) && !transit.has_room(100 << 10, 100 << 10));
        assert!(!transit.has_room(0, 16 << 20));
        transit.arrive(900 << 10);
        assert!(transit.has_room(0, 16 << 20));
    }
}
