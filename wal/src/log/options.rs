//! How a log is laid out and how it batches.

use crate::disk::BLOCK_BYTES;

/// Sizes and times of a log. Sizes may differ between two opens of one log.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of a segment; a multiple of 4 KiB, at least four times `flush_bytes_max`.
    pub segment_bytes: u64,
    /// Bytes of the largest flush; a multiple of 4 KiB. Longer records are written in fragments.
    pub flush_bytes_max: usize,
    /// Flushes in flight at the same time.
    pub flights_max: usize,
    /// How long a flush waits for more records when their rate makes that pay, in microseconds.
    pub wait_micros: u64,
    /// A flush of so many bytes waits no longer.
    pub wait_bytes: usize,
    /// How long a log is idle before it writes its stable marker, in microseconds.
    pub marker_micros: u64,
    /// Segments that are kept ready for use; at least two.
    pub pool_segments: usize,
    /// Above so many bytes in segments the log asks for truncation ([`Wal::needs_truncation`](crate::Wal)).
    pub retained_bytes_max: u64,
    /// How long the log waits before it asks a full disk again, in milliseconds.
    pub no_space_retry_millis: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            flush_bytes_max: 1 << 20,
            flights_max: 4,
            wait_micros: 20,
            wait_bytes: 8 << 10,
            marker_micros: 2_000,
            pool_segments: 2,
            retained_bytes_max: 1 << 30,
            no_space_retry_millis: 1_000,
        }
    }
}

impl Options {
    /// Small segments and flushes, for tests: a segment of 64 KiB, flushes of at most 16 KiB.
    #[must_use]
    pub fn tiny() -> Self {
        Self {
            segment_bytes: 64 << 10,
            flush_bytes_max: 16 << 10,
            retained_bytes_max: 512 << 10,
            ..Self::default()
        }
    }

    /// Asserts what the fields promise.
    ///
    /// # Panics
    /// When they do not hold.
    pub fn check(&self) {
        let block = BLOCK_BYTES as u64;
        assert!(self.segment_bytes.is_multiple_of(block) && self.flush_bytes_max.is_multiple_of(BLOCK_BYTES));
        assert!(self.flush_bytes_max >= BLOCK_BYTES && self.flush_bytes_max <= 64 << 20);
        assert!(self.segment_bytes >= 4 * self.flush_bytes_max as u64);
        assert!(self.flights_max >= 1 && self.pool_segments >= 2);
        assert!(self.retained_bytes_max >= 2 * self.segment_bytes);
    }

    pub(super) const fn segment_blocks(&self) -> u64 {
        self.segment_bytes / BLOCK_BYTES as u64
    }
}
