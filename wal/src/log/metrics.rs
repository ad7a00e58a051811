//! What the log counts.

/// Counters since the log was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Flushes submitted.
    pub flushes: u64,
    /// Bytes of them, headers and padding included.
    pub flush_bytes: u64,
    /// Flushes that were submitted while another one was in flight.
    pub flushes_overlapped: u64,
    /// Stable markers written.
    pub markers: u64,
    /// Segments that were started.
    pub segments_started: u64,
    /// Segments that were dropped and used again.
    pub segments_recycled: u64,
    /// Segment files that were created.
    pub segments_created: u64,
    /// Entries that were copied forward out of old segments.
    pub entries_rewritten: u64,
}
