//! The last 4 KiB of a table.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic |
//! | 8 | 4 | format version |
//! | 12 | 4 | version of the program that wrote it |
//! | 16 | 4 | tree under which it was written |
//! | 20 | 8 | file number |
//! | 28 | 8 | end of the data blocks |
//! | 36 | 8, 4 | filter: offset, bytes of the envelope |
//! | 48 | 8, 4 | index: offset, bytes of the envelope |
//! | 60 | 8 | rows |
//! | 68 | 8 | keys |
//! | 76 | 8 | tombstones |
//! | 84 | 8 | lowest timestamp |
//! | 92 | 8 | highest timestamp |
//! | 100 | 8 | XXH3-64 of all bytes before the footer |
//! | 108 | | zeros |
//! | 4092 | 4 | CRC-32C over (tree, number, offset) and the bytes before |

use pinion_wal::disk::BLOCK_BYTES;

use super::index::Handle;
use crate::error::{Flaw, ReadError};
use crate::format::{CREATOR_VERSION, FORMAT_VERSION, Origin, Put, Take, checksum, corruption};
use crate::ids::Timestamp;

pub(crate) const FOOTER_BYTES: usize = BLOCK_BYTES;
const MAGIC: u64 = u64::from_le_bytes(*b"PINTABLE");
const CRC_AT: usize = FOOTER_BYTES - 4;

/// What a table says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    pub data_bytes: u64,
    pub filter: Handle,
    pub index: Handle,
    pub rows: u64,
    pub keys: u64,
    pub tombstones: u64,
    pub at_min: Timestamp,
    pub at_max: Timestamp,
    pub file_hash: u64,
}

impl Footer {
    pub fn encode(&self, origin: Origin, offset: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(FOOTER_BYTES);
        out.put_u64(MAGIC);
        out.put_u32(FORMAT_VERSION);
        out.put_u32(CREATOR_VERSION);
        out.put_u32(origin.tree.0);
        out.put_u64(origin.number.0);
        out.put_u64(self.data_bytes);
        for handle in [self.filter, self.index] {
            out.put_u64(handle.offset);
            out.put_u32(handle.bytes);
        }
        let numbers = [self.rows, self.keys, self.tombstones, self.at_min.0, self.at_max.0, self.file_hash];
        numbers.into_iter().for_each(|number| out.put_u64(number));
        out.resize(CRC_AT, 0);
        let crc = checksum(origin, offset, &[&out]);
        out.put_u32(crc);
        out
    }

    /// Verifies the footer at `offset` of `file`.
    pub fn decode(bytes: &[u8], file: &str, origin: Origin, offset: u64) -> Result<Self, ReadError> {
        let bytes = &bytes[..FOOTER_BYTES];
        let expected = u32::from_le_bytes(bytes[CRC_AT..].try_into().expect("four bytes"));
        let found = checksum(origin, offset, &[&bytes[..CRC_AT]]);
        if found != expected {
            return Err(corruption(file, offset, Flaw::Checksum, expected, found).into());
        }
        let mut take = Take::new(bytes);
        let mut u64_next = || take.u64().expect("within the footer");
        let magic = u64_next();
        if magic != MAGIC {
            return Err(corruption(file, offset, Flaw::Magic, MAGIC, magic).into());
        }
        let mut u32_next = || take.u32().expect("within the footer");
        let version = u32_next();
        if version != FORMAT_VERSION {
            let (file, number) = (file.to_owned(), version.into());
            return Err(ReadError::Unsupported { file, what: "format version", number });
        }
        let _creator = u32_next();
        let tree = u32_next();
        let mut u64_next = || take.u64().expect("within the footer");
        let number = u64_next();
        if (tree, number) != (origin.tree.0, origin.number.0) {
            return Err(corruption(file, offset, Flaw::Identity, origin.number.0, number).into());
        }
        let data_bytes = u64_next();
        let mut handle = || {
            let offset = take.u64().expect("within the footer");
            Handle { offset, bytes: take.u32().expect("within the footer") }
        };
        let (filter, index) = (handle(), handle());
        let mut u64_next = || take.u64().expect("within the footer");
        let footer = Self {
            data_bytes,
            filter,
            index,
            rows: u64_next(),
            keys: u64_next(),
            tombstones: u64_next(),
            at_min: Timestamp(u64_next()),
            at_max: Timestamp(u64_next()),
            file_hash: u64_next(),
        };
        let end = |handle: Handle| handle.offset.saturating_add(handle.bytes.into());
        if filter.offset != data_bytes || index.offset != end(filter) || end(index) > offset {
            return Err(corruption(file, offset, Flaw::Layout, data_bytes, filter.offset).into());
        }
        Ok(footer)
    }
}
