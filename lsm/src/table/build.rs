//! Building a table: rows in order go in, bytes of a file come out.

use pinion_wal::disk::BLOCK_BYTES;
use xxhash_rust::xxh3::Xxh3;

use super::TableInfo;
use super::block::BlockBuilder;
use super::envelope::{Compression, Kind, seal};
use super::filter;
use super::footer::{FOOTER_BYTES, Footer};
use super::index::{Handle, IndexBuilder};
use crate::cell::Cell;
use crate::format::{FileNumber, Origin};
use crate::hash::hash_of;
use crate::ids::{Timestamp, TreeId};

/// A table that is being built. Pure: the bytes in `pending` are to be written in their order.
pub(crate) struct TableBuilder {
    origin: Origin,
    block_bytes: usize,
    compression: Compression,
    block: BlockBuilder,
    index: IndexBuilder,
    hashes: Vec<u64>,
    raw: Vec<u8>,
    /// Bytes of the file that were not taken yet.
    pending: Vec<u8>,
    /// Bytes of the file that were taken.
    taken: u64,
    file_hash: Xxh3,
    min: Vec<u8>,
    last: Vec<u8>,
    rows: u64,
    tombstones: u64,
    at_min: Timestamp,
    at_max: Timestamp,
}

impl TableBuilder {
    pub fn new(tree: TreeId, number: FileNumber, block_bytes: usize, compression: Compression) -> Self {
        Self {
            origin: Origin { tree, number },
            block_bytes,
            compression,
            block: BlockBuilder::default(),
            index: IndexBuilder::default(),
            hashes: Vec::new(),
            raw: Vec::new(),
            pending: Vec::new(),
            taken: 0,
            file_hash: Xxh3::new(),
            min: Vec::new(),
            last: Vec::new(),
            rows: 0,
            tombstones: 0,
            at_min: Timestamp::MAX,
            at_max: Timestamp::ZERO,
        }
    }

    /// Adds a row: keys rise, versions of a key fall.
    pub fn add(&mut self, key: &[u8], at: Timestamp, cell: Cell<'_>) {
        let new_key = self.rows == 0 || key != self.last;
        if new_key {
            assert!(self.rows == 0 || *key > *self.last, "keys of a table rise");
            self.hashes.push(hash_of(key));
            self.last.clear();
            self.last.extend_from_slice(key);
        }
        if self.rows == 0 {
            self.min = key.to_vec();
        }
        if !self.block.is_empty() && self.block.bytes_with(key, cell) > self.block_bytes {
            self.end_block();
        }
        let hash = *self.hashes.last().expect("pushed with the first version of the key");
        self.block.add(key, hash, at, cell);
        self.rows += 1;
        self.tombstones += u64::from(cell == Cell::Tombstone);
        self.at_min = self.at_min.min(at);
        self.at_max = self.at_max.max(at);
    }

    /// Whether `key` is the last key added: its versions must not be parted.
    pub fn ends_with(&self, key: &[u8]) -> bool {
        self.rows > 0 && self.last == key
    }

    pub const fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Bytes of the file so far, without the open block.
    pub fn file_bytes(&self) -> u64 {
        self.taken + self.pending.len() as u64
    }

    /// Bytes to be written: whole blocks of the disk.
    pub const fn ready_bytes(&self) -> usize {
        self.pending.len() / BLOCK_BYTES * BLOCK_BYTES
    }

    /// Moves the front of the pending bytes to `into`.
    pub fn take(&mut self, into: &mut [u8]) {
        into.copy_from_slice(&self.pending[..into.len()]);
        self.pending.drain(..into.len());
        self.taken += into.len() as u64;
    }

    /// Ends the table; what is pending then are whole blocks.
    pub fn finish(&mut self) -> TableInfo {
        assert!(!self.is_empty(), "an empty table is not written");
        self.end_block();
        let data_bytes = self.file_bytes();
        let filter = filter::build(&self.hashes);
        let filter = self.append(&filter, Kind::Filter, Compression::None);
        let index = self.index.finish(&self.min);
        let index = self.append(&index, Kind::Index, self.compression);
        let end = self.file_bytes();
        let footer_at = end.next_multiple_of(BLOCK_BYTES as u64);
        let zeros = vec![0; usize::try_from(footer_at - end).expect("less than a block")];
        self.push(&zeros);
        let footer = Footer {
            data_bytes,
            filter,
            index,
            rows: self.rows,
            keys: self.hashes.len() as u64,
            tombstones: self.tombstones,
            at_min: self.at_min,
            at_max: self.at_max,
            file_hash: self.file_hash.digest(),
        };
        let encoded = footer.encode(self.origin, footer_at);
        self.pending.extend_from_slice(&encoded);
        TableInfo {
            origin: self.origin,
            bytes: footer_at + FOOTER_BYTES as u64,
            file_hash: footer.file_hash,
            rows: self.rows,
            tombstones: self.tombstones,
            at_min: self.at_min,
            at_max: self.at_max,
            min: std::mem::take(&mut self.min),
            max: std::mem::take(&mut self.last),
        }
    }

    fn end_block(&mut self) {
        let last_key = self.block.last_key().to_vec();
        let mut raw = std::mem::take(&mut self.raw);
        self.block.finish(&mut raw);
        let handle = self.append(&raw, Kind::Data, self.compression);
        self.raw = raw;
        self.index.add(handle, &last_key);
    }

    fn append(&mut self, raw: &[u8], kind: Kind, compression: Compression) -> Handle {
        let (offset, start) = (self.file_bytes(), self.pending.len());
        seal(&mut self.pending, raw, kind, compression, self.origin, offset);
        self.file_hash.update(&self.pending[start..]);
        let bytes = u32::try_from(self.pending.len() - start).expect("below the limit of a block");
        Handle { offset, bytes }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.file_hash.update(bytes);
        self.pending.extend_from_slice(bytes);
    }
}
