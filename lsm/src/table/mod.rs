//! Tables: sorted files that never change.
//!
//! A file is data blocks, one filter, one index, zeros, and a footer that ends it on a multiple of 4 KiB. Every block
//! stands in an [envelope] whose checksum is bound to tree, file number and offset. What the
//! manifest says about a table ([`TableInfo`]) suffices to choose it; its footer, index and filter ([`Meta`]) are read
//! at first use and are cached like blocks, but favoured.

pub(crate) mod block;
mod build;
pub(crate) mod envelope;
mod filter;
mod footer;
mod index;
mod read;
mod scan;
#[cfg(test)]
mod tests;
mod walk;

pub(crate) use build::TableBuilder;
pub(crate) use read::{Look, Meta, Table};
pub(crate) use scan::TableScan;
pub(crate) use walk::RunWalk;

use crate::format::Origin;
use crate::ids::Timestamp;

/// What the manifest says about a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableInfo {
    pub origin: Origin,
    pub bytes: u64,
    pub file_hash: u64,
    pub rows: u64,
    pub tombstones: u64,
    pub at_min: Timestamp,
    pub at_max: Timestamp,
    /// First and last key.
    pub min: Vec<u8>,
    pub max: Vec<u8>,
}

impl TableInfo {
    /// Whether keys in `min..=max` may be here.
    pub fn overlaps(&self, min: &[u8], max: &[u8]) -> bool {
        *self.min <= *max && *min <= *self.max
    }

    pub fn covers(&self, key: &[u8]) -> bool {
        self.overlaps(key, key)
    }
}
