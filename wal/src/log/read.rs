//! Reading segment files: large reads, several in flight, and every block judged when it arrives.
//!
//! Of the blocks only their verdicts and the records of valid ones are kept, packed in the buffer that they were read
//! into; entries are slices of it. So memory holds, at the height of an open, the bytes of the segments that were needed when
//! `HEAD` was written last (`retained_bytes_max` and a few segments more); after it only the reads (of 1 MiB each) of
//! which some entry is still kept.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::disk::{Access, AlignedBuf, BLOCK_BYTES, Disk, DiskError, DiskOp, Done, FileId, OpFuture};
use crate::planted;

use super::format::{self, BLOCK_PAYLOAD_BYTES, Block, BlockHeader};
use super::head::Head;
use super::wal::SegmentFile;

const READ_BYTES: usize = 1 << 20;
const READ_BLOCKS: usize = READ_BYTES / BLOCK_BYTES;
const READS_IN_FLIGHT: usize = 8;
/// How often a read that fails is tried, before its blocks are read one by one.
const TRIES: usize = 3;
/// After so many blocks that cannot be read the rest of a read counts as unreadable.
const UNREADABLE_MAX: usize = 16;

/// A segment file as it was read.
pub(super) struct Scanned {
    pub file: SegmentFile,
    pub blocks: Vec<Block>,
    /// The records of [`READ_BLOCKS`] blocks each; empty if none of them is needed.
    pieces: Vec<Bytes>,
}

impl Scanned {
    const fn new(file: SegmentFile) -> Self {
        Self { file, blocks: Vec::new(), pieces: Vec::new() }
    }

    /// The bytes of a whole segment file, judged as if they had been read. Its file is not open.
    pub fn of_bytes(number: u32, bytes: &[u8], needs: impl Fn(&BlockHeader) -> bool) -> Self {
        let blocks = (bytes.len() / BLOCK_BYTES) as u64;
        let mut scanned = Self::new(SegmentFile { file: FileId(u32::MAX), number, blocks });
        let mut spare = None;
        for read in bytes[..bytes.len() / BLOCK_BYTES * BLOCK_BYTES].chunks(READ_BYTES) {
            let mut buf = spare.take().unwrap_or_else(|| AlignedBuf::zeroed(READ_BYTES));
            buf[..read.len()].copy_from_slice(read);
            spare = scanned.take(buf, read.len(), &[], &needs);
        }
        scanned
    }

    /// Whether a block in it is damaged.
    pub fn is_damaged(&self) -> bool {
        self.blocks.iter().any(|block| matches!(block, Block::Damaged { .. }))
    }

    /// The records of the flush of `blocks` valid blocks at `slot`.
    pub fn payload(&self, slot: usize, blocks: usize, bytes: usize) -> Bytes {
        let (mut slot, end) = (slot, slot + blocks);
        let mut joined = Vec::new();
        while slot < end {
            let (piece, first) = (slot / READ_BLOCKS, slot % READ_BLOCKS);
            let here = (end - slot).min(READ_BLOCKS - first);
            let part =
                self.pieces[piece].slice(first * BLOCK_PAYLOAD_BYTES..(first + here) * BLOCK_PAYLOAD_BYTES);
            if here == blocks {
                return part.slice(..bytes.min(part.len()));
            }
            joined.extend_from_slice(&part);
            slot += here;
        }
        joined.truncate(bytes);
        Bytes::from(joined)
    }

    /// Judges the blocks of a read and keeps what they hold, if any of it is needed. Answers the buffer if not.
    fn take(
        &mut self,
        mut buf: AlignedBuf,
        len: usize,
        unreadable: &[usize],
        needs: impl Fn(&BlockHeader) -> bool,
    ) -> Option<AlignedBuf> {
        let mut holds = false;
        for block in 0..len / BLOCK_BYTES {
            let at = block * BLOCK_BYTES;
            let found = if unreadable.contains(&block) {
                Block::UNREADABLE
            } else {
                format::inspect(buf[at..].first_chunk().expect("a whole block"))
            };
            if valid(&found).is_some_and(&needs) {
                holds = true;
                format::pack_payload(&mut buf, at, block * BLOCK_PAYLOAD_BYTES);
            }
            self.blocks.push(found);
        }
        // What is not needed is not kept: segments that wait for their use are the most of it.
        if holds {
            self.pieces.push(Bytes::from_owner(buf).slice(..len / BLOCK_BYTES * BLOCK_PAYLOAD_BYTES));
            return None;
        }
        self.pieces.push(Bytes::new());
        Some(buf)
    }
}

pub(super) fn valid(block: &Block) -> Option<&BlockHeader> {
    match block {
        Block::Valid(header) => Some(header),
        _ => None,
    }
}

/// Reads whole segment files, and keeps what `head` may need of them.
pub(super) async fn read_segments(
    disk: &Disk,
    dir: &str,
    head: &Head,
    numbers: &[u32],
) -> Result<Vec<Scanned>, DiskError> {
    let mut files = Vec::with_capacity(numbers.len());
    for &number in numbers {
        let (file, bytes) = disk.open(&SegmentFile::path(dir, number), Access::ReadWrite).await?;
        files.push(Scanned::new(SegmentFile { file, number, blocks: bytes / BLOCK_BYTES as u64 }));
    }
    let all = planted::is("checksum-without-position");
    Reader::new(disk, READS_IN_FLIGHT).read(&mut files, |block| all || head.needs(block)).await?;
    Ok(files)
}

/// Reads one segment that is in use.
pub(super) async fn read_segment(disk: &Disk, file: SegmentFile) -> Result<Scanned, DiskError> {
    let mut files = [Scanned::new(file)];
    Reader::new(disk, 2).read(&mut files, |_| true).await?;
    let [file] = files;
    Ok(file)
}

struct Reader<'a> {
    disk: &'a Disk,
    in_flight_max: usize,
    in_flight: VecDeque<Read>,
    /// Buffers of reads that held nothing.
    spare: Vec<AlignedBuf>,
}

struct Read {
    /// Among the files that are read.
    index: usize,
    file: FileId,
    offset: u64,
    len: usize,
    done: OpFuture,
}

impl<'a> Reader<'a> {
    const fn new(disk: &'a Disk, in_flight_max: usize) -> Self {
        Self { disk, in_flight_max, in_flight: VecDeque::new(), spare: Vec::new() }
    }

    async fn read(
        mut self,
        files: &mut [Scanned],
        needs: impl Fn(&BlockHeader) -> bool,
    ) -> Result<(), DiskError> {
        for index in 0..files.len() {
            let SegmentFile { file, blocks, .. } = files[index].file;
            let bytes = blocks * BLOCK_BYTES as u64;
            for offset in (0..bytes).step_by(READ_BYTES) {
                let len = READ_BYTES.min(usize::try_from(bytes - offset).unwrap_or(READ_BYTES));
                let spare = self.spare.pop().filter(|buf| buf.capacity() >= len);
                let buf = spare.unwrap_or_else(|| AlignedBuf::zeroed(len));
                let done = self.disk.start(DiskOp::Read { file, offset, buf, len });
                self.in_flight.push_back(Read { index, file, offset, len, done });
                if self.in_flight.len() >= self.in_flight_max {
                    self.take(files, &needs).await?;
                }
            }
        }
        while !self.in_flight.is_empty() {
            self.take(files, &needs).await?;
        }
        Ok(())
    }

    async fn take(
        &mut self,
        files: &mut [Scanned],
        needs: impl Fn(&BlockHeader) -> bool,
    ) -> Result<(), DiskError> {
        let Some(Read { index, file, offset, len, done }) = self.in_flight.pop_front() else { return Ok(()) };
        let (buf, unreadable) = match done.await {
            Ok(Done::Buffer(buf)) => (buf, Vec::new()),
            Ok(other) => unreachable!("a read answered {other:?}"),
            Err(error) if error.cause.is_unreadable() && !planted::is("unreadable-refuses-the-log") => {
                self.read_again(file, offset, len).await?
            }
            Err(error) => return Err(error),
        };
        self.spare.extend(files[index].take(buf, len, &unreadable, needs));
        Ok(())
    }

    /// Tries a read again, and then its blocks one by one. Answers which of them cannot be read.
    async fn read_again(
        &self,
        file: FileId,
        offset: u64,
        len: usize,
    ) -> Result<(AlignedBuf, Vec<usize>), DiskError> {
        for _ in 1..TRIES {
            match self.disk.read(file, offset, AlignedBuf::zeroed(len), len).await {
                Err(error) if error.cause.is_unreadable() => {}
                other => return other.map(|buf| (buf, Vec::new())),
            }
        }
        let mut whole = AlignedBuf::zeroed(len);
        let mut unreadable = Vec::new();
        for block in 0..len / BLOCK_BYTES {
            let at = block * BLOCK_BYTES;
            if unreadable.len() >= UNREADABLE_MAX {
                unreadable.push(block);
                continue;
            }
            let buf = AlignedBuf::zeroed(BLOCK_BYTES);
            match self.disk.read(file, offset + at as u64, buf, BLOCK_BYTES).await {
                Ok(buf) => whole[at..at + BLOCK_BYTES].copy_from_slice(&buf),
                Err(error) if error.cause.is_unreadable() => unreadable.push(block),
                Err(error) => return Err(error),
            }
        }
        Ok((whole, unreadable))
    }
}
