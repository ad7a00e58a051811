//! The checksums of the sectors of a block, all at once: CRC-32C of the first 508 bytes of each.
//!
//! One checksum after the other waits three cycles for every eight bytes; four side by side do not.
#![expect(unsafe_code, reason = "the instruction for CRC-32C is called after it was found to be there")]

use crate::disk::BLOCK_BYTES;

use super::format::{SECTOR_BYTES, SECTORS};

/// The checksum of a sector covers everything but itself.
pub(super) const SUMMED_BYTES: usize = SECTOR_BYTES - 4;

/// The checksums of the eight sectors of `block`.
pub(super) fn sector_sums(block: &[u8; BLOCK_BYTES]) -> [u32; SECTORS] {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("sse4.2") {
        // SAFETY: the processor has the instructions that the function is compiled for.
        return unsafe { with_instruction(block) };
    }
    one_by_one(block)
}

fn one_by_one(block: &[u8; BLOCK_BYTES]) -> [u32; SECTORS] {
    std::array::from_fn(|sector| crc32c::crc32c(&block[sector * SECTOR_BYTES..][..SUMMED_BYTES]))
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
fn with_instruction(block: &[u8; BLOCK_BYTES]) -> [u32; SECTORS] {
    use std::arch::x86_64::{_mm_crc32_u32, _mm_crc32_u64};

    const WORDS: usize = SUMMED_BYTES / 8;
    const SIDE_BY_SIDE: usize = 4;
    let mut sums = [0; SECTORS];
    for half in 0..SECTORS / SIDE_BY_SIDE {
        let first = half * SIDE_BY_SIDE;
        let sectors: [&[u8]; SIDE_BY_SIDE] =
            std::array::from_fn(|at| &block[(first + at) * SECTOR_BYTES..][..SUMMED_BYTES]);
        let mut crc = [u64::from(u32::MAX); SIDE_BY_SIDE];
        for word in 0..WORDS {
            for (crc, sector) in crc.iter_mut().zip(&sectors) {
                let bytes = sector[word * 8..word * 8 + 8].try_into().expect("eight bytes");
                *crc = _mm_crc32_u64(*crc, u64::from_le_bytes(bytes));
            }
        }
        for (at, (crc, sector)) in crc.iter().zip(&sectors).enumerate() {
            let rest = u32::from_le_bytes(sector[WORDS * 8..].try_into().expect("four bytes"));
            sums[first + at] = !_mm_crc32_u32(*crc as u32, rest);
        }
    }
    sums
}

const _: () = assert!(SUMMED_BYTES % 8 == 4);

#[cfg(test)]
mod tests {
    use super::*;

    /// D3: both ways give the checksums that stand on disks already.
    #[test]
    fn both_ways_give_the_same_checksums() {
        let mut rng = fastrand::Rng::with_seed(1);
        for round in 0..1_000 {
            let mut block = [0; BLOCK_BYTES];
            if round > 0 {
                block.fill_with(|| rng.u8(..));
            }
            assert_eq!(sector_sums(&block), one_by_one(&block));
        }
    }
}
