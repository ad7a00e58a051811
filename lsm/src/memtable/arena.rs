//! Entries of a memtable, one after another in chunks that never move.
//!
//! An entry is one version of one key, with the key in it, so that a point read touches one place:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | timestamp |
//! | 8 | 4 | the version before this one, or none |
//! | 12 | 4 | in the first version of its key (the anchor): the newest version; in others: the anchor |
//! | 16 | 4 | length of the key |
//! | 20 | 4 | length of the value (28 bits), anchor flag (bit 28), cell tag (bits 29 to 31) |
//! | 24 | | key, value |

use crate::cell::{Cell, CellTag};
use crate::ids::Timestamp;
use crate::slab::{PIECE_BYTES_MIN, Piece, REGION_BYTES, Slab};

/// Where an entry starts: 14 bits of chunk, 18 bits of offset in units of 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ref(pub u32);

impl Ref {
    /// No entry. The first unit of the first chunk is never used.
    pub const NONE: Self = Self(0);
}

const OFFSET_BITS: u32 = (REGION_BYTES / UNIT).ilog2();
const UNIT: usize = 8;
const CHUNKS_MAX: usize = 1 << (32 - OFFSET_BITS);
const HEADER_BYTES: usize = 24;
const VALUE_BITS: u32 = 28;
const ANCHOR_BIT: u32 = 1 << VALUE_BITS;

/// The largest value of a cell, in bytes.
pub(super) const VALUE_BYTES_MAX: usize = (1 << VALUE_BITS) - 1;
/// Chunks grow by this factor, from the smallest piece to a region: a tree with few rows owns little.
const GROWTH: usize = 4;

pub(super) struct Arena {
    slab: Slab,
    chunks: Vec<Piece>,
    /// Offset of the first free byte of the last chunk; its end when there is none.
    next: usize,
    bytes: usize,
}

/// One version, read in place.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    bytes: &'a [u8],
}

impl Arena {
    pub fn new(slab: Slab) -> Self {
        Self { slab, chunks: Vec::new(), next: 0, bytes: 0 }
    }

    /// Bytes taken from the slab.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds an entry that follows `older`; `anchor` is the first version of the key, none when this is it.
    pub fn push(&mut self, key: &[u8], at: Timestamp, cell: Cell<'_>, older: Ref, anchor: Ref) -> Ref {
        let value = cell.bytes();
        assert!(value.len() <= VALUE_BYTES_MAX, "a value of {} bytes", value.len());
        let (this, bytes) = self.reserve(HEADER_BYTES + key.len() + value.len());
        let (is_anchor, link) = if anchor == Ref::NONE { (ANCHOR_BIT, this) } else { (0, anchor) };
        let key_len = u32::try_from(key.len()).expect("keys are far below 4 GiB");
        let value_len = u32::try_from(value.len()).expect("checked above");
        bytes[..8].copy_from_slice(&at.0.to_le_bytes());
        bytes[8..12].copy_from_slice(&older.0.to_le_bytes());
        bytes[12..16].copy_from_slice(&link.0.to_le_bytes());
        bytes[16..20].copy_from_slice(&key_len.to_le_bytes());
        let packed = value_len | is_anchor | ((cell.tag() as u32) << (VALUE_BITS + 1));
        bytes[20..24].copy_from_slice(&packed.to_le_bytes());
        bytes[HEADER_BYTES..HEADER_BYTES + key.len()].copy_from_slice(key);
        bytes[HEADER_BYTES + key.len()..].copy_from_slice(value);
        this
    }

    /// Notes in `anchor` that `newest` is the newest version of its key.
    pub fn set_newest(&mut self, anchor: Ref, newest: Ref) {
        let (chunk, offset) = split(anchor);
        self.chunks[chunk][offset + 12..offset + 16].copy_from_slice(&newest.0.to_le_bytes());
    }

    #[inline]
    pub fn entry(&self, at: Ref) -> Entry<'_> {
        debug_assert_ne!(at, Ref::NONE);
        let (chunk, offset) = split(at);
        Entry { bytes: &self.chunks[chunk][offset..] }
    }

    /// Asks for the cache lines of a short entry.
    #[inline]
    pub fn prefetch(&self, at: Ref) {
        let (chunk, offset) = split(at);
        if let Some(chunk) = self.chunks.get(chunk) {
            for line in 0..3 {
                chunk.prefetch(offset + line * 64);
            }
        }
    }

    fn reserve(&mut self, bytes: usize) -> (Ref, &mut [u8]) {
        let room = self.chunks.last().map_or(0, |chunk| chunk.len()).saturating_sub(self.next);
        // In a chunk for one large entry, what lies behind it cannot be named: a reference has no bits for it.
        if bytes > room || self.next >= REGION_BYTES {
            self.grow(bytes);
        }
        let chunk = self.chunks.len() - 1;
        let offset = self.next;
        self.next += bytes.next_multiple_of(UNIT);
        let at = Ref(u32::try_from((chunk << OFFSET_BITS) | (offset / UNIT)).expect("checked in `grow`"));
        (at, &mut self.chunks[chunk][offset..offset + bytes])
    }

    fn grow(&mut self, bytes: usize) {
        let last = self.chunks.last().map_or(PIECE_BYTES_MIN / GROWTH, |chunk| chunk.len());
        let start = if self.chunks.is_empty() { UNIT } else { 0 };
        let chunk = self.slab.piece((last * GROWTH).min(REGION_BYTES).max(bytes + start));
        assert!(self.chunks.len() < CHUNKS_MAX, "a memtable of {CHUNKS_MAX} chunks was not sealed");
        self.bytes += chunk.len();
        self.chunks.push(chunk);
        self.next = start;
    }
}

#[inline]
const fn split(at: Ref) -> (usize, usize) {
    ((at.0 >> OFFSET_BITS) as usize, (at.0 & ((1 << OFFSET_BITS) - 1)) as usize * UNIT)
}

impl<'a> Entry<'a> {
    #[inline]
    fn u32_at(self, offset: usize) -> u32 {
        u32::from_le_bytes(self.bytes[offset..offset + 4].try_into().expect("four bytes"))
    }

    #[inline]
    pub fn at(self) -> Timestamp {
        Timestamp(u64::from_le_bytes(self.bytes[..8].try_into().expect("eight bytes")))
    }

    #[inline]
    pub fn older(self) -> Ref {
        Ref(self.u32_at(8))
    }

    /// The first version of this key, given that this entry is at `this`.
    pub fn anchor(self, this: Ref) -> Ref {
        if self.u32_at(20) & ANCHOR_BIT != 0 { this } else { Ref(self.u32_at(12)) }
    }

    /// The newest version of this key. Only an anchor knows.
    pub fn newest(self) -> Ref {
        assert!(self.u32_at(20) & ANCHOR_BIT != 0, "only the first version knows the newest");
        Ref(self.u32_at(12))
    }

    #[inline]
    pub fn key(self) -> &'a [u8] {
        let len = self.u32_at(16) as usize;
        &self.bytes[HEADER_BYTES..HEADER_BYTES + len]
    }

    #[inline]
    pub fn cell(self) -> Cell<'a> {
        let packed = self.u32_at(20);
        let tag = CellTag::from_byte((packed >> (VALUE_BITS + 1)) as u8).expect("written by `push`");
        let start = HEADER_BYTES + self.u32_at(16) as usize;
        let len = (packed & (ANCHOR_BIT - 1)) as usize;
        Cell::new(tag, &self.bytes[start..start + len])
    }
}
