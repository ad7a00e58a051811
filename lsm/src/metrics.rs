//! Figures of a tree.

use pinion_wal::disk::DiskError;

/// Figures of a tree, read at one moment. Counts start at the open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeMetrics {
    /// Bytes of the active and of sealed memtables.
    pub memtable_bytes: usize,
    /// Sealed memtables that are not flushed.
    pub sealed: usize,
    /// Tables by level.
    pub level_tables: Vec<usize>,
    /// Bytes by level.
    pub level_bytes: Vec<u64>,
    /// Tables in which damage was found: they are left as they are.
    pub damaged_tables: usize,
    /// Work done.
    pub work: Work,
    /// Why a flush, a compaction or an edit is being retried, until one succeeds. The disk may be full.
    pub trouble: Option<DiskError>,
}

/// What background work was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Memtables flushed.
    pub flushes: u64,
    /// Bytes of tables written by flushes.
    pub flush_bytes: u64,
    /// Compactions installed, moves included.
    pub compactions: u64,
    /// Bytes of tables written by compactions.
    pub compaction_bytes: u64,
    /// Outputs that were abandoned after an error.
    pub abandoned: u64,
    /// Manifests that were replaced by new ones.
    pub rollovers: u64,
}
