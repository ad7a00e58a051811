//! How records of a manifest lie in its file: whole blocks of 4 KiB, every sector of 512 bytes stamped.
//!
//! | offset in a sector | bytes | field |
//! |---|---|---|
//! | 0 | 504 | payload: in the first sector of a record a length of 4 bytes, then the record, then zeros |
//! | 504 | 4 | number of the record in this file, from 1 |
//! | 508 | 4 | CRC-32C over (tree, file number, offset of the sector) and the bytes before |
//!
//! A record is written once, into blocks that were never written before. So a sector is zero (not written), valid, or
//! damaged. Only the last record may lack sectors: then the write was cut short and the record was never acknowledged.

use pinion_wal::disk::BLOCK_BYTES;

use crate::error::{Corruption, Flaw};
use crate::format::{Origin, checksum, corruption};

const SECTOR_BYTES: usize = 512;
const PAYLOAD_BYTES: usize = SECTOR_BYTES - 8;
const LENGTH_BYTES: usize = 4;

/// The bytes that a record of `len` bytes occupies.
pub(crate) const fn record_bytes(len: usize) -> usize {
    ((len + LENGTH_BYTES).div_ceil(PAYLOAD_BYTES) * SECTOR_BYTES).next_multiple_of(BLOCK_BYTES)
}

/// Writes record `number` to `out`, which lies at `offset` and is [`record_bytes`] long.
pub(crate) fn encode(record: &[u8], number: u32, origin: Origin, offset: u64, out: &mut [u8]) {
    assert_eq!(out.len(), record_bytes(record.len()));
    let len = u32::try_from(record.len()).expect("edits are far below 4 GiB").to_le_bytes();
    let mut payload = len.iter().chain(record).copied();
    for (index, sector) in out.chunks_exact_mut(SECTOR_BYTES).enumerate() {
        sector[..PAYLOAD_BYTES].fill_with(|| payload.next().unwrap_or(0));
        sector[PAYLOAD_BYTES..PAYLOAD_BYTES + 4].copy_from_slice(&number.to_le_bytes());
        let at = offset + (index * SECTOR_BYTES) as u64;
        let crc = checksum(origin, at, &[&sector[..SECTOR_BYTES - 4]]);
        sector[SECTOR_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    }
}

/// What a manifest file holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Records {
    pub records: Vec<Vec<u8>>,
    /// Where the next record would go.
    pub end: u64,
    /// The last record was cut short: nothing may be appended to this file.
    pub torn: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sector {
    Zero,
    Record(u32),
}

/// Reads the records of `bytes`, a whole file.
pub(crate) fn decode(bytes: &[u8], file: &str, origin: Origin) -> Result<Records, Corruption> {
    let mut sectors = Vec::with_capacity(bytes.len() / SECTOR_BYTES);
    for (index, sector) in bytes.chunks_exact(SECTOR_BYTES).enumerate() {
        sectors.push(classify(sector, file, origin, (index * SECTOR_BYTES) as u64)?);
    }
    let mut found = Records { records: Vec::new(), end: 0, torn: false };
    let mut at = 0;
    while sectors[at..].iter().any(|&sector| sector != Sector::Zero) {
        let number = u32::try_from(found.records.len() + 1).expect("a manifest is rolled over long before");
        let Some(record) = whole(bytes, &sectors, at, number) else {
            let foreign = sectors[at..].iter().position(|&sector| !fits(sector, number));
            if let Some(foreign) = foreign {
                let offset = ((at + foreign) * SECTOR_BYTES) as u64;
                return Err(corruption(file, offset, Flaw::Sequence, number, number + 1));
            }
            found.torn = true;
            break;
        };
        at += record_bytes(record.len()) / SECTOR_BYTES;
        found.records.push(record);
    }
    found.end = (at * SECTOR_BYTES) as u64;
    Ok(found)
}

fn fits(sector: Sector, number: u32) -> bool {
    sector == Sector::Zero || sector == Sector::Record(number)
}

fn classify(sector: &[u8], file: &str, origin: Origin, offset: u64) -> Result<Sector, Corruption> {
    let number = |at: usize| u32::from_le_bytes(sector[at..at + 4].try_into().expect("four bytes"));
    if sector.iter().all(|&byte| byte == 0) {
        return Ok(Sector::Zero);
    }
    let expected = number(SECTOR_BYTES - 4);
    let found = checksum(origin, offset, &[&sector[..SECTOR_BYTES - 4]]);
    if found != expected {
        return Err(corruption(file, offset, Flaw::Checksum, expected, found));
    }
    Ok(Sector::Record(number(PAYLOAD_BYTES)))
}

/// Record `number` at sector `at`, if all of its sectors are there.
fn whole(bytes: &[u8], sectors: &[Sector], at: usize, number: u32) -> Option<Vec<u8>> {
    if sectors[at] != Sector::Record(number) {
        return None;
    }
    let first = at * SECTOR_BYTES;
    let len = u32::from_le_bytes(bytes[first..first + LENGTH_BYTES].try_into().expect("four bytes")) as usize;
    let count = record_bytes(len) / SECTOR_BYTES;
    let own = sectors.get(at..at + count)?;
    if own.iter().any(|&sector| sector != Sector::Record(number)) {
        return None;
    }
    let sectors = bytes[first..].chunks_exact(SECTOR_BYTES).take(count);
    let payload = sectors.flat_map(|sector| &sector[..PAYLOAD_BYTES]);
    Some(payload.skip(LENGTH_BYTES).take(len).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::FileNumber;
    use crate::ids::TreeId;

    const ORIGIN: Origin = Origin { tree: TreeId(16), number: FileNumber(3) };

    fn file(records: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (index, record) in records.iter().enumerate() {
            let start = bytes.len();
            bytes.resize(start + record_bytes(record.len()), 0);
            encode(record, index as u32 + 1, ORIGIN, start as u64, &mut bytes[start..]);
        }
        bytes
    }

    fn records() -> Vec<Vec<u8>> {
        [0, 1, 499, 500, 501, 4_000, 9_000].iter().map(|&len| (0..len).map(|i| i as u8).collect()).collect()
    }

    #[test]
    fn records_come_back_with_room_behind_them() {
        let records = records();
        let mut bytes = file(&records);
        let end = bytes.len() as u64;
        bytes.resize(bytes.len() + 8192, 0);
        let found = decode(&bytes, "f", ORIGIN).unwrap();
        assert_eq!(found, Records { records, end, torn: false });
    }

    /// D4: a record that lacks sectors at the end of the file is cut; one in the middle is damage.
    #[test]
    fn missing_sectors_are_a_torn_tail_only_at_the_end() {
        let records = records();
        let bytes = file(&records);
        let last = bytes.len() - record_bytes(9_000);
        let before = last - record_bytes(4_000);
        for sector in (0..bytes.len()).step_by(SECTOR_BYTES) {
            let mut damaged = bytes.clone();
            damaged[sector..sector + SECTOR_BYTES].fill(0);
            match decode(&damaged, "f", ORIGIN) {
                Ok(found) => {
                    assert!(sector >= last && found.torn && found.end == last as u64);
                    assert_eq!(found.records, records[..6]);
                }
                Err(error) => assert!(sector < last && error.what == Flaw::Sequence),
            }
        }
        let cut = decode(&bytes[..last + 4096], "f", ORIGIN).unwrap();
        assert!(cut.torn && cut.end == last as u64);
        let cut = decode(&bytes[..before], "f", ORIGIN).unwrap();
        assert!(!cut.torn && cut.end == before as u64);
    }

    /// D3: every flipped bit is found, in padding too.
    #[test]
    fn every_flipped_byte_is_found() {
        let bytes = file(&records()[4..6]);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            assert!(decode(&damaged, "f", ORIGIN).is_err(), "byte {at}");
        }
    }

    #[test]
    fn sectors_of_another_place_are_refused() {
        let bytes = file(&records()[..3]);
        let moved = [&bytes[4096..8192], &bytes[..4096]].concat();
        assert!(decode(&moved, "f", ORIGIN).is_err());
        let other = Origin { number: FileNumber(4), ..ORIGIN };
        assert!(decode(&bytes, "f", other).is_err());
    }
}
