//! The bytes of blocks and records; `FORMAT.md` of this crate has the same as tables.
//!
//! A sector of 512 bytes is what a disk writes whole. Each ends with a tag, which names the block it belongs to, and a
//! checksum of its own. So a sector is zero, consistent, or damaged, and a block is torn only if all of its sectors are
//! zero or consistent but do not belong together.

use crate::disk::BLOCK_BYTES;
use crate::{GroupId, LogId, LogIndex, Term};

use super::ids::{BlockNumber, Epoch, HomeEpoch, Incarnation};
use super::sums::{SUMMED_BYTES, sector_sums};

pub(super) const SECTOR_BYTES: usize = 512;
const SECTOR_DATA_BYTES: usize = SECTOR_BYTES - 8;
pub(super) const SECTORS: usize = BLOCK_BYTES / SECTOR_BYTES;
const BLOCK_HEADER_BYTES: usize = 64;
/// Bytes of records that a block holds.
pub(super) const BLOCK_PAYLOAD_BYTES: usize = SECTORS * SECTOR_DATA_BYTES - BLOCK_HEADER_BYTES;
/// Bytes of the header of a record or fragment.
pub(super) const RECORD_HEADER_BYTES: usize = 48;
/// `PWL1`, the format version included.
const BLOCK_MAGIC: u32 = u32::from_le_bytes(*b"PWL1");
/// The part of a block header that its tag is computed from.
const IDENTITY_BYTES: usize = 32;

const _: () = assert!(BLOCK_PAYLOAD_BYTES == 3968);

/// The header of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockHeader {
    pub log: LogId,
    pub incarnation: Incarnation,
    pub epoch: Epoch,
    pub number: BlockNumber,
    /// Every block below was stable when this one was written.
    pub stable: BlockNumber,
    /// No segment below was needed any more when this block was written.
    pub oldest: Epoch,
    /// Blocks of the flush.
    pub flush_blocks: u16,
    /// The place of this block in the flush.
    pub flush_index: u16,
    /// Bytes of records in the flush.
    pub flush_bytes: u32,
}

impl BlockHeader {
    fn encode(&self, to: &mut [u8]) {
        to[0..4].copy_from_slice(&BLOCK_MAGIC.to_le_bytes());
        to[4..8].copy_from_slice(&self.log.0.to_le_bytes());
        to[8..16].copy_from_slice(&self.incarnation.0.to_le_bytes());
        to[16..24].copy_from_slice(&self.epoch.0.to_le_bytes());
        to[24..32].copy_from_slice(&self.number.0.to_le_bytes());
        to[32..40].copy_from_slice(&self.stable.0.to_le_bytes());
        to[40..48].copy_from_slice(&self.oldest.0.to_le_bytes());
        to[48..50].copy_from_slice(&self.flush_blocks.to_le_bytes());
        to[50..52].copy_from_slice(&self.flush_index.to_le_bytes());
        to[52..56].copy_from_slice(&self.flush_bytes.to_le_bytes());
        to[56..64].fill(0);
    }

    /// What the sectors of the block end with.
    pub fn tag(&self) -> u32 {
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        self.encode(&mut bytes);
        crc32c::crc32c(&bytes[..IDENTITY_BYTES])
    }

    fn decode(from: &[u8]) -> Option<Self> {
        if u32_at(from, 0) != BLOCK_MAGIC {
            return None;
        }
        Some(Self {
            log: LogId(u32_at(from, 4)),
            incarnation: Incarnation(u64_at(from, 8)),
            epoch: Epoch(u64_at(from, 16)),
            number: BlockNumber(u64_at(from, 24)),
            stable: BlockNumber(u64_at(from, 32)),
            oldest: Epoch(u64_at(from, 40)),
            flush_blocks: u16_at(from, 48),
            flush_index: u16_at(from, 50),
            flush_bytes: u32_at(from, 52),
        })
    }
}

/// Writes the header, the tags and the checksums of a block whose payload is in place.
pub(super) fn seal_block(block: &mut [u8; BLOCK_BYTES], header: &BlockHeader) {
    header.encode(&mut block[..BLOCK_HEADER_BYTES]);
    let tag = crc32c::crc32c(&block[..IDENTITY_BYTES]);
    for sector in block.chunks_exact_mut(SECTOR_BYTES) {
        sector[504..SUMMED_BYTES].copy_from_slice(&tag.to_le_bytes());
    }
    let sums = sector_sums(block);
    for (sector, sum) in block.chunks_exact_mut(SECTOR_BYTES).zip(sums) {
        sector[SUMMED_BYTES..].copy_from_slice(&sum.to_le_bytes());
    }
}

/// What stands in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    Zero,
    Valid(BlockHeader),
    /// Sectors of several writes, each whole.
    Torn,
    /// A sector that no write can have left like this.
    Damaged {
        sector: usize,
        expected: u32,
        found: u32,
        /// Of the sectors that are whole.
        tags: [Option<u32>; SECTORS],
    },
}

impl Block {
    /// A block that the disk does not give.
    pub const UNREADABLE: Self = Self::Damaged { sector: 0, expected: 0, found: 0, tags: [None; SECTORS] };
}

/// Reads a block as it stands on the disk.
pub(super) fn inspect(block: &[u8; BLOCK_BYTES]) -> Block {
    let mut tags = [None; SECTORS];
    let mut damage = None;
    let sums = sector_sums(block);
    for (number, sector) in block.chunks_exact(SECTOR_BYTES).enumerate() {
        let found = sums[number];
        let expected = u32_at(sector, SUMMED_BYTES);
        if found == expected {
            tags[number] = Some(u32_at(sector, 504));
        } else if sector.iter().any(|&byte| byte != 0) {
            damage.get_or_insert((number, expected, found));
        }
    }
    if let Some((sector, expected, found)) = damage {
        return Block::Damaged { sector, expected, found, tags };
    }
    if tags.iter().all(Option::is_none) {
        return Block::Zero;
    }
    let tag = Some(crc32c::crc32c(&block[..IDENTITY_BYTES]));
    match BlockHeader::decode(block) {
        Some(header) if tags.iter().all(|found| *found == tag) => Block::Valid(header),
        _ => Block::Torn,
    }
}

/// Moves the payload of the block at byte `block` of `buf`, without headers and sector ends, to byte `to`, at or before
/// the block.
pub(super) fn pack_payload(buf: &mut [u8], block: usize, mut to: usize) {
    assert!(to <= block);
    for sector in 0..SECTORS {
        let start = if sector == 0 { BLOCK_HEADER_BYTES } else { 0 };
        let at = block + sector * SECTOR_BYTES;
        buf.copy_within(at + start..at + SECTOR_DATA_BYTES, to);
        to += SECTOR_DATA_BYTES - start;
    }
}

/// Where payload goes in a buffer of blocks: the byte offset of the first payload byte of a block.
pub(super) const fn first_payload_byte(block: usize) -> usize {
    block * BLOCK_BYTES + BLOCK_HEADER_BYTES
}

/// How many payload bytes follow `at` within its sector.
pub(super) const fn sector_room(at: usize) -> usize {
    SECTOR_DATA_BYTES - at % SECTOR_BYTES
}

/// The payload byte after `at` when `at` is the end of the data of its sector.
pub(super) const fn next_sector(at: usize) -> usize {
    let next = at + (SECTOR_BYTES - SECTOR_DATA_BYTES);
    if next.is_multiple_of(BLOCK_BYTES) { next + BLOCK_HEADER_BYTES } else { next }
}

/// Whether `at` is the end of the data of its sector.
pub(super) const fn at_sector_end(at: usize) -> bool {
    at % SECTOR_BYTES == SECTOR_DATA_BYTES
}

/// Where byte `at` of the records of a flush stands, counted from its first block.
pub(super) const fn place_of(at: usize) -> usize {
    let (block, rest) = (at / BLOCK_PAYLOAD_BYTES, at % BLOCK_PAYLOAD_BYTES);
    // The header of the block is data of its first sector.
    let data = BLOCK_HEADER_BYTES + rest;
    block * BLOCK_BYTES + data / SECTOR_DATA_BYTES * SECTOR_BYTES + data % SECTOR_DATA_BYTES
}

/// The types of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordType {
    /// An entry; it removes the entries at its index and above.
    Entry = 1,
    /// Term, vote and what is committed.
    HardState = 2,
    /// Entries below the index are not needed any more.
    First = 3,
    /// The whole state of a group but for its entries, at the start of a segment.
    Summary = 4,
    /// The summaries of all groups stand before it.
    SummaryEnd = 5,
    /// The number of the last record of a group, before a marker.
    Seen = 6,
    /// The log is idle and everything before is stable.
    Marker = 7,
    /// A copy of an entry that stands in an older segment; it removes nothing.
    EntryAgain = 8,
    /// The group starts anew in this log, at a higher home epoch.
    Adopt = 9,
    /// Everything that was adopted stands before.
    Adopted = 10,
    /// The group has left this log.
    Release = 11,
    /// A person has accepted that records of the group are lost.
    AcceptLoss = 12,
}

/// Which part of a record a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Fragment {
    Full = 1,
    First = 2,
    Middle = 3,
    Last = 4,
}

/// The header of a record, or of a fragment of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    /// Bytes that follow the header.
    pub bytes: u32,
    pub record: RecordType,
    pub fragment: Fragment,
    pub kind: u8,
    pub group: GroupId,
    /// Counts the records of a group in this log, from 1; the number of the last one in summaries and `Seen`.
    pub sequence: u32,
    pub home: HomeEpoch,
    pub index: LogIndex,
    pub term: Term,
    pub commit: LogIndex,
}

impl RecordHeader {
    /// A header with nothing but its type, group and number.
    pub const fn new(record: RecordType, group: GroupId, sequence: u32, home: HomeEpoch) -> Self {
        Self {
            bytes: 0,
            record,
            fragment: Fragment::Full,
            kind: 0,
            group,
            sequence,
            home,
            index: LogIndex(0),
            term: Term(0),
            commit: LogIndex(0),
        }
    }

    pub fn encode(&self) -> [u8; RECORD_HEADER_BYTES] {
        let mut to = [0; RECORD_HEADER_BYTES];
        to[0..4].copy_from_slice(&self.bytes.to_le_bytes());
        to[4] = self.record as u8;
        to[5] = self.fragment as u8;
        to[6] = self.kind;
        to[8..12].copy_from_slice(&self.group.0.to_le_bytes());
        to[12..16].copy_from_slice(&self.sequence.to_le_bytes());
        to[16..24].copy_from_slice(&self.index.0.to_le_bytes());
        to[24..32].copy_from_slice(&self.term.0.to_le_bytes());
        to[32..40].copy_from_slice(&self.commit.0.to_le_bytes());
        to[40..44].copy_from_slice(&self.home.0.to_le_bytes());
        to
    }

    /// `None` for what no version of this format writes.
    pub fn decode(from: &[u8; RECORD_HEADER_BYTES]) -> Option<Self> {
        let record = match from[4] {
            1 => RecordType::Entry,
            2 => RecordType::HardState,
            3 => RecordType::First,
            4 => RecordType::Summary,
            5 => RecordType::SummaryEnd,
            6 => RecordType::Seen,
            7 => RecordType::Marker,
            8 => RecordType::EntryAgain,
            9 => RecordType::Adopt,
            10 => RecordType::Adopted,
            11 => RecordType::Release,
            12 => RecordType::AcceptLoss,
            _ => return None,
        };
        let fragment = match from[5] {
            1 => Fragment::Full,
            2 => Fragment::First,
            3 => Fragment::Middle,
            4 => Fragment::Last,
            _ => return None,
        };
        Some(Self {
            bytes: u32_at(from, 0),
            record,
            fragment,
            kind: from[6],
            group: GroupId(u32_at(from, 8)),
            sequence: u32_at(from, 12),
            index: LogIndex(u64_at(from, 16)),
            term: Term(u64_at(from, 24)),
            commit: LogIndex(u64_at(from, 32)),
            home: HomeEpoch(u32_at(from, 40)),
        })
    }
}

pub(super) fn u16_at(from: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(from[at..at + 2].try_into().expect("two bytes"))
}

pub(super) fn u32_at(from: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(from[at..at + 4].try_into().expect("four bytes"))
}

pub(super) fn u64_at(from: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(from[at..at + 8].try_into().expect("eight bytes"))
}
