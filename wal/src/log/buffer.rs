//! The buffer that a flush is built in: records go to their place on the disk with one copy.

use crate::disk::{AlignedBuf, BLOCK_BYTES};

use super::format::{self, BLOCK_PAYLOAD_BYTES, BlockHeader};

/// The records of one flush. Room for headers, tags and checksums is left free until [`FlushBuffer::seal`].
#[derive(Debug)]
pub(super) struct FlushBuffer {
    buf: AlignedBuf,
    /// Where the next byte goes.
    at: usize,
    /// Bytes of records so far.
    len: usize,
    /// Bytes of records that fit.
    capacity: usize,
}

impl FlushBuffer {
    /// Builds a flush of at most `blocks` blocks in `buf`.
    pub fn new(buf: AlignedBuf, blocks: usize) -> Self {
        assert!(blocks > 0 && blocks * BLOCK_BYTES <= buf.capacity());
        Self { buf, at: format::first_payload_byte(0), len: 0, capacity: blocks * BLOCK_PAYLOAD_BYTES }
    }

    pub const fn len(&self) -> usize {
        self.len
    }

    pub const fn room(&self) -> usize {
        self.capacity - self.len
    }

    pub const fn blocks(&self) -> usize {
        self.len.div_ceil(BLOCK_PAYLOAD_BYTES)
    }

    /// Copies `bytes` behind what is there.
    pub fn put(&mut self, mut bytes: &[u8]) {
        assert!(bytes.len() <= self.room());
        self.len += bytes.len();
        while !bytes.is_empty() {
            let step = format::sector_room(self.at).min(bytes.len());
            let (now, later) = bytes.split_at(step);
            self.buf[self.at..self.at + step].copy_from_slice(now);
            self.at += step;
            if format::at_sector_end(self.at) {
                self.at = format::next_sector(self.at);
            }
            bytes = later;
        }
    }

    /// Writes headers and checksums; `header` is the one of the first block but for the place and size of the flush.
    /// Answers the buffer and the bytes of it to be written.
    pub fn seal(mut self, mut header: BlockHeader) -> (AlignedBuf, usize) {
        let blocks = self.blocks();
        let bytes = blocks * BLOCK_BYTES;
        if self.at < bytes {
            self.buf[self.at..bytes].fill(0);
        }
        header.flush_blocks = u16::try_from(blocks).expect("flush_bytes_max fits 16 bits of blocks");
        header.flush_bytes = u32::try_from(self.len).expect("flush_bytes_max fits 32 bits");
        for (index, block) in self.buf[..bytes].as_chunks_mut().0.iter_mut().enumerate() {
            header.flush_index = u16::try_from(index).expect("below flush_blocks");
            format::seal_block(block, &header);
            header.number = header.number.plus(1);
        }
        (self.buf, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::{Block, inspect, pack_payload};
    use super::super::ids::{BlockNumber, Epoch, Incarnation};
    use super::*;
    use crate::LogId;

    fn header() -> BlockHeader {
        BlockHeader {
            log: LogId(7),
            incarnation: Incarnation(3),
            epoch: Epoch(9),
            number: BlockNumber(100),
            stable: BlockNumber(98),
            oldest: Epoch(8),
            flush_blocks: 0,
            flush_index: 0,
            flush_bytes: 0,
        }
    }

    fn block_of(bytes: &[u8]) -> &[u8; BLOCK_BYTES] {
        bytes.first_chunk().expect("a whole block")
    }

    fn sealed(bytes: &[u8]) -> (AlignedBuf, usize) {
        let mut buffer = FlushBuffer::new(AlignedBuf::zeroed(16 * BLOCK_BYTES), 16);
        for piece in bytes.chunks(777) {
            buffer.put(piece);
        }
        buffer.seal(header())
    }

    #[test]
    fn what_is_put_comes_back_block_by_block() {
        let bytes: Vec<u8> = (0..16 * BLOCK_PAYLOAD_BYTES).map(|i| (i % 251) as u8 + 1).collect();
        for len in [1, 439, 440, 441, BLOCK_PAYLOAD_BYTES, BLOCK_PAYLOAD_BYTES + 1, bytes.len()] {
            let (buf, written) = sealed(&bytes[..len]);
            assert_eq!(written, len.div_ceil(BLOCK_PAYLOAD_BYTES) * BLOCK_BYTES);
            let mut back = buf[..written].to_vec();
            for index in 0..written / BLOCK_BYTES {
                let at = index * BLOCK_BYTES;
                let Block::Valid(found) = inspect(block_of(&back[at..])) else {
                    panic!("block {index} is not valid")
                };
                assert_eq!(found.number, BlockNumber(100 + index as u64));
                assert_eq!((found.flush_index as usize, found.flush_bytes as usize), (index, len));
                pack_payload(&mut back, at, index * BLOCK_PAYLOAD_BYTES);
            }
            back.truncate(written / BLOCK_BYTES * BLOCK_PAYLOAD_BYTES);
            assert_eq!(back[..len], bytes[..len]);
            assert!(back[len..].iter().all(|&byte| byte == 0), "the rest is zero");
        }
    }

    /// D3: every flipped bit of a block is detected.
    #[test]
    fn every_flipped_bit_is_damage() {
        let (mut buf, _) = sealed(&[0x5a; 2_000]);
        for at in 0..BLOCK_BYTES {
            let bit = 1 << (at % 8);
            buf[at] ^= bit;
            let found = inspect(block_of(&buf));
            assert!(matches!(found, Block::Damaged { .. }), "byte {at}: {found:?}");
            buf[at] ^= bit;
        }
        assert!(matches!(inspect(block_of(&buf)), Block::Valid(_)));
    }

    /// D4: sectors of two writes are a torn block, not damage.
    #[test]
    fn every_mix_of_old_and_new_sectors_is_torn() {
        let (new, _) = sealed(&[0x5a; 2_000]);
        let mut buffer = FlushBuffer::new(AlignedBuf::zeroed(BLOCK_BYTES), 1);
        buffer.put(&[0xa5; 3_000]);
        let (old, _) = buffer.seal(BlockHeader { epoch: Epoch(2), ..header() });
        for old in [&old[..BLOCK_BYTES], &[0; BLOCK_BYTES]] {
            for mix in 1..255u32 {
                let mut block = old.to_vec();
                for sector in (0..8).filter(|sector| mix & (1 << sector) != 0) {
                    block[sector * 512..(sector + 1) * 512]
                        .copy_from_slice(&new[sector * 512..(sector + 1) * 512]);
                }
                assert_eq!(inspect(block_of(&block)), Block::Torn, "sectors {mix:08b}");
            }
        }
    }
}
