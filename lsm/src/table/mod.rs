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
pub mod survey;
#[cfg(test)]
mod tests;
mod walk;

pub(crate) use build::TableBuilder;
pub(crate) use read::{Look, Meta, Table};
pub(crate) use scan::TableScan;
pub(crate) use walk::RunWalk;

use pinion_wal::disk::BLOCK_BYTES;

use crate::error::Flaw;
use crate::format::{FileNumber, Origin};
use crate::ids::{Timestamp, TreeId};
use footer::FOOTER_BYTES;

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
    /// What of it can be true of no table of `tree`: the flaw, what is expected, what is found.
    pub fn misfit(&self, tree: TreeId) -> Option<(Flaw, u64, u64)> {
        let Self { origin, bytes, rows, tombstones, at_min, at_max, min, max, .. } = self;
        let bytes_min = (BLOCK_BYTES + FOOTER_BYTES) as u64;
        if origin.tree != tree {
            return Some((Flaw::Identity, tree.0.into(), origin.tree.0.into()));
        }
        if origin.number > FileNumber::MAX {
            return Some((Flaw::Number, FileNumber::MAX.0, origin.number.0));
        }
        if *bytes < bytes_min || !bytes.is_multiple_of(BLOCK_BYTES as u64) {
            return Some((
                Flaw::Length,
                bytes_min.max(bytes / BLOCK_BYTES as u64 * BLOCK_BYTES as u64),
                *bytes,
            ));
        }
        if *rows == 0 || tombstones > rows {
            return Some((Flaw::Rows, (*tombstones).max(1), *rows));
        }
        (min > max || at_min > at_max).then_some((Flaw::Span, at_min.0, at_max.0))
    }

    /// Whether keys in `min..=max` may be here.
    pub fn overlaps(&self, min: &[u8], max: &[u8]) -> bool {
        *self.min <= *max && *min <= *self.max
    }

    pub fn covers(&self, key: &[u8]) -> bool {
        self.overlaps(key, key)
    }
}
