//! The index of a table: for every data block its last key and its place.
//!
//! | part | bytes | |
//! |---|---|---|
//! | blocks | 4 | how many, at least one |
//! | first key | 4 + n | the first key of the table |
//! | each block | 8, 4, 4 + n | offset, bytes of its envelope, last key |

use super::block::shared;
use crate::format::{Put, Take};

/// Prefixes of a cache line.
const SAMPLE: usize = 8;

/// Where a block is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handle {
    pub offset: u64,
    pub bytes: u32,
}

/// Collects the places of blocks.
#[derive(Default)]
pub(crate) struct IndexBuilder {
    count: u32,
    bytes: Vec<u8>,
}

impl IndexBuilder {
    pub fn add(&mut self, handle: Handle, last_key: &[u8]) {
        self.count += 1;
        self.bytes.put_u64(handle.offset);
        self.bytes.put_u32(handle.bytes);
        self.bytes.put_string(last_key);
    }

    pub fn finish(&self, first_key: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len() + first_key.len() + 8);
        out.put_u32(self.count);
        out.put_string(first_key);
        out.put(&self.bytes);
        out
    }
}

/// An index in memory. Searches go through eight bytes of each last key, after what all keys of the table share: first
/// through every [`SAMPLE`]th of them, a small array that stays in the nearest caches, then through one line of them.
#[derive(Debug)]
pub(crate) struct Index {
    prefix_len: usize,
    prefixes: Vec<u64>,
    /// The last prefix of every [`SAMPLE`] of them.
    samples: Vec<u64>,
    handles: Vec<Handle>,
    /// Last keys, one after another, and where each ends.
    keys: Vec<u8>,
    ends: Vec<u32>,
}

impl Index {
    /// Parses an index whose data blocks end at `data_bytes` and hold keys from `min` to `max`.
    pub fn parse(bytes: &[u8], data_bytes: u64, min: &[u8], max: &[u8]) -> Option<Self> {
        let mut take = Take::new(bytes);
        let count = take.u32()? as usize;
        let first_key = take.string()?;
        if count == 0 || count > bytes.len() {
            return None;
        }
        let mut index = Self {
            prefix_len: 0,
            prefixes: Vec::new(),
            samples: Vec::new(),
            handles: Vec::with_capacity(count),
            keys: Vec::new(),
            ends: Vec::with_capacity(count),
        };
        let mut next = 0;
        for _ in 0..count {
            let handle = Handle { offset: take.u64()?, bytes: take.u32()? };
            let key = take.string()?;
            if handle.offset != next || index.ends.last().is_some() && index.key(index.ends.len() - 1) > key {
                return None;
            }
            next = handle.offset.checked_add(handle.bytes.into())?;
            index.handles.push(handle);
            index.keys.extend_from_slice(key);
            index.ends.push(u32::try_from(index.keys.len()).ok()?);
        }
        if next != data_bytes || !take.rest.is_empty() {
            return None;
        }
        if first_key != min || index.key(0) < min || index.key(count - 1) != max {
            return None;
        }
        index.prefix_len = shared(first_key, index.key(count - 1));
        index.prefixes = (0..count).map(|block| head(index.key(block), index.prefix_len)).collect();
        let last = |chunk: &[u64]| chunk[chunk.len() - 1];
        index.samples = index.prefixes.chunks(SAMPLE).map(last).collect();
        Some(index)
    }

    /// The first and the last key that an index names.
    pub fn span(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
        let mut take = Take::new(bytes);
        let count = take.u32()?;
        let first = take.string()?;
        let mut last = first;
        for _ in 0..count {
            take.u64()?;
            take.u32()?;
            last = take.string()?;
        }
        Some((first, last))
    }

    pub const fn len(&self) -> usize {
        self.handles.len()
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        self.keys.capacity() + self.handles.len() * size_of::<Handle>() + self.prefixes.len() * 13
    }

    pub fn handle(&self, block: usize) -> Handle {
        self.handles[block]
    }

    fn key(&self, block: usize) -> &[u8] {
        let start = if block == 0 { 0 } else { self.ends[block - 1] as usize };
        &self.keys[start..self.ends[block] as usize]
    }

    /// The first block whose last key is not before `key`: it holds the key, if any block does. `key` lies within the
    /// first and the last key of the table.
    #[inline]
    pub fn seek(&self, key: &[u8]) -> Option<usize> {
        let wanted = head(key, self.prefix_len);
        let start = self.samples.partition_point(|&prefix| prefix < wanted) * SAMPLE;
        let line = &self.prefixes[start.min(self.len())..(start + SAMPLE).min(self.len())];
        let mut low = start + line.iter().filter(|&&prefix| prefix < wanted).count();
        if self.prefixes.get(low).is_some_and(|&prefix| prefix == wanted) {
            let mut high = low + self.prefixes[low..].partition_point(|&prefix| prefix == wanted);
            while low < high {
                let middle = low.midpoint(high);
                if self.key(middle) < key { low = middle + 1 } else { high = middle }
            }
        }
        (low < self.len()).then_some(low)
    }
}

/// Eight bytes of a key after `skip`, as a number that orders as they do.
fn head(key: &[u8], skip: usize) -> u64 {
    let rest = key.get(skip..).unwrap_or_default();
    if let Some(head) = rest.first_chunk::<8>() {
        return u64::from_be_bytes(*head);
    }
    let mut head = [0; 8];
    head[..rest.len()].copy_from_slice(rest);
    u64::from_be_bytes(head)
}
