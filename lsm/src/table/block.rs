//! Data blocks: rows in order, each to be found without reading its neighbours.
//!
//! | part | bytes | |
//! |---|---|---|
//! | rows | 4 | how many, at least one |
//! | prefix length | 4 | what all keys of the block share |
//! | tags | 1 each | lowest byte of the hash of the key |
//! | starts | 2 each | where a row starts, from the first one |
//! | prefix | | |
//! | rows | | timestamp 8, cell tag 1, varint suffix length, varint value length, suffix, value |
//!
//! Rows are ordered by key, then from the newest version to the oldest. Every row is a restart point relative to the
//! prefix of the block: points compare one row, and walks go both ways. Between blocks of one collection this shares
//! what prefixes of neighbours would share; between hashed keys there is nothing more to share.

use std::cmp::Ordering;

use crate::cell::{Cell, CellTag};
use crate::format::{Put, Take, varint_bytes};
use crate::ids::Timestamp;
use crate::slab::Piece;

const HEAD_BYTES: usize = 8;
/// Tag and start of a row.
const SLOT_BYTES: usize = 3;
/// Timestamp and cell tag of a row.
const ROW_BYTES: usize = 9;
/// Starts are 16 bits: only the last row of a block may end beyond.
pub(crate) const BLOCK_BYTES_MAX: usize = 1 << 16;

/// Collects the rows of a block.
#[derive(Default)]
pub(crate) struct BlockBuilder {
    rows: Vec<Pending>,
    /// Keys and values, one after another.
    bytes: Vec<u8>,
    key_bytes: usize,
    other_bytes: usize,
}

struct Pending {
    at: Timestamp,
    tag: CellTag,
    hash: u8,
    start: usize,
    key_len: usize,
    value_len: usize,
}

impl BlockBuilder {
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// At most the bytes of the block after this row was added.
    pub fn bytes_with(&self, key: &[u8], cell: Cell<'_>) -> usize {
        let shared = if self.rows.is_empty() { key.len() } else { shared(self.key(0), key) };
        let keys = self.key_bytes + key.len() - (self.rows.len() + 1) * shared;
        HEAD_BYTES + shared + self.other_bytes + Self::other(key, cell) + keys
    }

    fn other(key: &[u8], cell: Cell<'_>) -> usize {
        let value = cell.bytes().len();
        SLOT_BYTES + ROW_BYTES + varint_bytes(key.len()) + varint_bytes(value) + value
    }

    pub fn add(&mut self, key: &[u8], hash: u64, at: Timestamp, cell: Cell<'_>) {
        let (start, value) = (self.bytes.len(), cell.bytes());
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        self.key_bytes += key.len();
        self.other_bytes += Self::other(key, cell);
        let (key_len, value_len) = (key.len(), value.len());
        self.rows.push(Pending { at, tag: cell.tag(), hash: hash as u8, start, key_len, value_len });
    }

    fn key(&self, row: usize) -> &[u8] {
        let Pending { start, key_len, .. } = self.rows[row];
        &self.bytes[start..start + key_len]
    }

    pub fn last_key(&self) -> &[u8] {
        self.key(self.rows.len() - 1)
    }

    /// Writes the block to `out`, which it clears, and starts the next one.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        out.clear();
        let prefix = shared(self.key(0), self.last_key());
        out.put_u32(u32::try_from(self.rows.len()).expect("rows of a block"));
        out.put_u32(u32::try_from(prefix).expect("keys are far below 4 GiB"));
        out.extend(self.rows.iter().map(|row| row.hash));
        let starts = out.len();
        out.resize(starts + 2 * self.rows.len(), 0);
        out.put(&self.key(0)[..prefix]);
        let first = out.len();
        for (index, row) in self.rows.iter().enumerate() {
            let start = u16::try_from(out.len() - first).expect("blocks are cut before they exceed 64 KiB");
            out[starts + 2 * index..][..2].copy_from_slice(&start.to_le_bytes());
            out.put_u64(row.at.0);
            out.put_u8(row.tag as u8);
            out.put_varint(u32::try_from(row.key_len - prefix).expect("far below 4 GiB"));
            out.put_varint(u32::try_from(row.value_len).expect("far below 4 GiB"));
            out.put(&self.bytes[row.start + prefix..row.start + row.key_len + row.value_len]);
        }
        *self = Self {
            rows: std::mem::take(&mut self.rows),
            bytes: std::mem::take(&mut self.bytes),
            ..Self::default()
        };
        self.rows.clear();
        self.bytes.clear();
    }
}

/// The length of the common start of two keys.
pub(crate) fn shared(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// A block in memory, whose layout was verified.
#[derive(Debug)]
pub(crate) struct Block {
    piece: Piece,
    count: usize,
    /// Offset of the starts, of the prefix and of the first row.
    starts: usize,
    prefix: usize,
    rows: usize,
    end: usize,
}

/// A row of a block, in place.
#[derive(Clone, Copy)]
pub(crate) struct BlockRow<'a> {
    pub suffix: &'a [u8],
    pub at: Timestamp,
    pub cell: Cell<'a>,
}

/// What a block knows about a key at a timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// This row is the newest visible version.
    Row(usize),
    /// The block does not hold the key, or no visible version of it; neither does any later block.
    Nothing,
    /// The block ends within the versions of the key: the next block may go on.
    GoOn,
}

impl Block {
    /// Takes `len` bytes for a block; the error is the offset of the first byte that makes no sense.
    pub fn parse(piece: Piece, len: usize) -> Result<Self, usize> {
        let mut take = Take::new(&piece[..len]);
        let count = take.u32().ok_or(0usize)? as usize;
        let prefix_len = take.u32().ok_or(4usize)? as usize;
        let starts = HEAD_BYTES.checked_add(count).ok_or(0usize)?;
        let prefix = count.checked_mul(2).and_then(|bytes| starts.checked_add(bytes)).ok_or(0usize)?;
        let rows = prefix.checked_add(prefix_len).ok_or(4usize)?;
        if count == 0 || rows > len {
            return Err(0);
        }
        let block = Self { piece, count, starts, prefix, rows, end: len };
        for row in 0..count {
            let start = block.start(row);
            block.decode(start).ok_or(start)?;
        }
        Ok(block)
    }

    pub const fn count(&self) -> usize {
        self.count
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        self.piece.len()
    }

    pub fn prefix(&self) -> &[u8] {
        &self.piece[self.prefix..self.rows]
    }

    fn start(&self, row: usize) -> usize {
        let at = self.starts + 2 * row;
        self.rows + usize::from(u16::from_le_bytes([self.piece[at], self.piece[at + 1]]))
    }

    #[inline]
    fn decode(&self, start: usize) -> Option<BlockRow<'_>> {
        let mut take = Take::new(self.piece.get(start..self.end)?);
        let at = Timestamp(take.u64()?);
        let tag = CellTag::from_byte(take.u8()?)?;
        let suffix_len = take.varint()? as usize;
        let value_len = take.varint()? as usize;
        let suffix = take.bytes(suffix_len)?;
        let value = take.bytes(value_len)?;
        Some(BlockRow { suffix, at, cell: Cell::new(tag, value) })
    }

    #[inline]
    pub fn row(&self, row: usize) -> BlockRow<'_> {
        self.decode(self.start(row)).expect("every row was decoded when the block was parsed")
    }

    pub fn copy_key(&self, row: usize, into: &mut Vec<u8>) {
        into.clear();
        into.extend_from_slice(self.prefix());
        into.extend_from_slice(self.row(row).suffix);
    }

    pub fn key_is(&self, row: usize, key: &[u8]) -> bool {
        key.strip_prefix(self.prefix()) == Some(self.row(row).suffix)
    }

    /// The number of rows whose key lies before `key`.
    pub fn lower_bound(&self, key: &[u8]) -> usize {
        let prefix = self.prefix();
        let head = &key[..prefix.len().min(key.len())];
        match prefix.cmp(head) {
            Ordering::Less => self.count,
            Ordering::Greater => 0,
            Ordering::Equal => {
                let suffix = &key[prefix.len()..];
                let (mut low, mut high) = (0, self.count);
                while low < high {
                    let middle = low.midpoint(high);
                    if self.row(middle).suffix < suffix { low = middle + 1 } else { high = middle }
                }
                low
            }
        }
    }

    /// Where its bytes begin: tags, starts and prefix of a few dozen rows lie in two lines.
    pub fn bytes_at(&self) -> *const u8 {
        self.piece.as_ptr()
    }

    /// Asks for the first row whose tag fits.
    #[inline]
    pub fn prefetch_row(&self, hash: u64) {
        let tags = &self.piece[HEAD_BYTES..self.starts];
        if let Some(row) = tags.iter().position(|&found| found == hash as u8) {
            let start = self.start(row);
            (0..3).for_each(|line| self.piece.prefetch(start + line * 64));
        }
    }

    /// Looks for the newest version of `key` at or before `at`, by the tags.
    #[inline]
    pub fn find(&self, key: &[u8], hash: u64, at: Timestamp) -> Found {
        let Some(suffix) = key.strip_prefix(self.prefix()) else { return Found::Nothing };
        let tag = hash as u8;
        let tags = &self.piece[HEAD_BYTES..self.starts];
        let first = tags.iter().enumerate().filter(|&(_, &found)| found == tag);
        let Some(first) = first.map(|(row, _)| row).find(|&row| self.row(row).suffix == suffix) else {
            return Found::Nothing;
        };
        for row in first..self.count {
            let found = self.row(row);
            if found.suffix != suffix {
                return Found::Nothing;
            }
            if found.at <= at {
                return Found::Row(row);
            }
        }
        Found::GoOn
    }
}
