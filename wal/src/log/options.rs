//! How a log is laid out and how it batches.

use crate::disk::BLOCK_BYTES;

/// Buffers beside those in flight: the one that records are appended to, and one that is closed or kept for use.
const SPARE_BUFFERS: usize = 2;

/// Sizes and times of a log. Sizes may differ between two opens of one log.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of a segment; a multiple of 4 KiB, at least four times `flush_bytes_max`.
    pub segment_bytes: u64,
    /// Bytes of the largest flush; a multiple of 4 KiB. Longer records are written in fragments. A flush that is half
    /// full waits for no more records, so that its write overlaps with the filling of the next.
    pub flush_bytes_max: usize,
    /// Flushes in flight at the same time.
    pub flights_max: usize,
    /// Bytes of memory for records on their way to the disk ([`Wal::has_room`](crate::Wal::has_room)); at least
    /// `flights_max + 2` of the largest flushes.
    pub buffer_bytes: usize,
    /// How long a flush waits for more records when their rate makes that pay, in microseconds.
    pub wait_micros: u64,
    /// A flush of so many bytes waits no longer.
    pub wait_bytes: usize,
    /// How long a log is idle before it writes its stable marker, in microseconds.
    pub marker_micros: u64,
    /// Segments that are made ready for use in advance; at least two. Dropped ones are kept beyond them while all
    /// files together hold no more than [`Options::retained_bytes_max`], a quarter more, and these.
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
            flush_bytes_max: 512 << 10,
            flights_max: 4,
            buffer_bytes: 4 << 20,
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
            buffer_bytes: 128 << 10,
            retained_bytes_max: 512 << 10,
            ..Self::default()
        }
    }

    /// The same with buffers of so many bytes altogether. Below [`Options::BUFFER_BYTES_MIN`] the flushes would be too
    /// small to be worth their writes: that much is used then.
    #[must_use]
    pub fn with_buffer_bytes(self, bytes: usize) -> Self {
        let buffer_bytes = bytes.max(Self::BUFFER_BYTES_MIN);
        let flush_bytes = buffer_bytes / (self.flights_max + SPARE_BUFFERS) / BLOCK_BYTES * BLOCK_BYTES;
        let most = Self::default()
            .flush_bytes_max
            .min(usize::try_from(self.segment_bytes / 4).unwrap_or(usize::MAX));
        Self { buffer_bytes, flush_bytes_max: flush_bytes.clamp(BLOCK_BYTES, most), ..self }
    }

    /// The least [`Options::buffer_bytes`] that [`Options::with_buffer_bytes`] gives.
    pub const BUFFER_BYTES_MIN: usize = 256 << 10;

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
        assert!(self.buffer_bytes >= (self.flights_max + SPARE_BUFFERS) * self.flush_bytes_max);
        assert!(self.retained_bytes_max >= 2 * self.segment_bytes);
    }

    pub(super) const fn segment_blocks(&self) -> u64 {
        self.segment_bytes / BLOCK_BYTES as u64
    }
}
