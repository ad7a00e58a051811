//! What a start chooses.

use crate::table::envelope::Compression;

/// Options of an engine. The defaults suit a core with a few GiB.
#[derive(Clone, Debug)]
pub struct Options {
    /// A memtable of at least this many bytes should be sealed.
    pub memtable_bytes_seal: usize,
    /// All memtables of an engine together, sealed ones included: beyond, [`Tree::room`](crate::Tree::room) says no.
    pub memtable_bytes_max: usize,
    /// A data block ends before it exceeds this many raw bytes, unless one row alone does. At most 64 KiB.
    pub block_bytes: usize,
    /// A compaction starts a new table after this many bytes.
    pub table_bytes: u64,
    /// Level 0 is compacted once it has this many tables …
    pub level0_tables_compact: usize,
    /// … and at this many, [`Tree::room`](crate::Tree::room) says no until it has fewer.
    pub level0_tables_max: usize,
    /// Bytes of level 1 above which it is compacted.
    pub level1_bytes: u64,
    /// How much larger each deeper level may be.
    pub level_growth: u64,
    /// A manifest is replaced by a new one after this many bytes, or twice its first record if that is more.
    pub manifest_bytes_max: u64,
    /// How tables are compressed, save those of the last level.
    pub compression: Compression,
    /// How tables of the last level are compressed.
    pub compression_last: Compression,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            memtable_bytes_seal: 256 << 20,
            memtable_bytes_max: 1 << 30,
            block_bytes: 4096,
            table_bytes: 32 << 20,
            level0_tables_compact: 4,
            level0_tables_max: 20,
            level1_bytes: 256 << 20,
            level_growth: 10,
            manifest_bytes_max: 1 << 20,
            compression: Compression::Lz4,
            compression_last: Compression::Zstd,
        }
    }
}

impl Options {
    /// # Panics
    /// When the options contradict each other.
    pub(crate) fn check(&self) {
        assert!(self.block_bytes > 0 && self.block_bytes <= crate::table::block::BLOCK_BYTES_MAX);
        assert!(self.table_bytes >= self.block_bytes as u64);
        assert!(self.level0_tables_compact > 0 && self.level0_tables_compact <= self.level0_tables_max);
        assert!(self.level1_bytes > 0 && self.level_growth > 1);
        assert!(self.memtable_bytes_seal <= self.memtable_bytes_max);
    }
}
