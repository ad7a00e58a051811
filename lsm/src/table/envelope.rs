//! The envelope in which every block of a table is stored: identity, compression, room for encryption, checksum.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | CRC-32C over (tree, file number, offset) and all that follows |
//! | 4 | 4 | bytes of the stored payload |
//! | 8 | 4 | bytes of the raw block |
//! | 12 | 1 | kind: 1 data, 2 filter, 3 index |
//! | 13 | 1 | compression: 0 none, 1 LZ4, 2 Zstd |
//! | 14 | 1 | encryption: 0 none |
//! | 15 | 1 | bytes of the authentication tag after the payload: 0 without encryption |
//! | 16 | 4 | key id: 0 without encryption |
//! | 20 | 4 | reserved, zero |
//! | 24 | | payload, authentication tag |

use crate::error::{Flaw, ReadError};
use crate::format::{Origin, Put, Take, checksum, corruption};
use crate::slab::{Piece, Slab};

pub(crate) const ENVELOPE_BYTES: usize = 24;
/// No raw block is larger: what a damaged length may make a reader allocate.
pub(crate) const RAW_BYTES_MAX: usize = 1 << 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Data = 1,
    Filter = 2,
    Index = 3,
}

/// How the payload of a block is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Compression {
    /// Not at all.
    None = 0,
    /// LZ4 blocks.
    Lz4 = 1,
    /// Zstandard frames.
    Zstd = 2,
}

const ZSTD_LEVEL: i32 = 1;

/// Where the bytes of an envelope are.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub file: &'a str,
    pub origin: Origin,
    pub offset: u64,
}

/// Appends `raw` in an envelope; a payload that saves less than an eighth is stored as it is.
pub(crate) fn seal(
    out: &mut Vec<u8>,
    raw: &[u8],
    kind: Kind,
    wanted: Compression,
    origin: Origin,
    offset: u64,
) {
    assert!(raw.len() <= RAW_BYTES_MAX, "a block of {} bytes", raw.len());
    let start = out.len();
    out.resize(start + ENVELOPE_BYTES, 0);
    let compression = compress(out, raw, wanted);
    let stored = out.len() - start - ENVELOPE_BYTES;
    let mut head = Vec::with_capacity(ENVELOPE_BYTES - 4);
    head.put_u32(u32::try_from(stored).expect("below the raw limit"));
    head.put_u32(u32::try_from(raw.len()).expect("below the raw limit"));
    head.put(&[kind as u8, compression as u8, 0, 0]);
    head.put_u32(0);
    head.put_u32(0);
    out[start + 4..start + ENVELOPE_BYTES].copy_from_slice(&head);
    let crc = checksum(origin, offset, &[&out[start + 4..]]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
}

fn compress(out: &mut Vec<u8>, raw: &[u8], wanted: Compression) -> Compression {
    let start = out.len();
    let worth = raw.len() - raw.len() / 8;
    let done = match wanted {
        Compression::None => None,
        Compression::Lz4 => {
            out.resize(start + lz4_flex::block::get_maximum_output_size(raw.len()), 0);
            lz4_flex::block::compress_into(raw, &mut out[start..]).ok()
        }
        Compression::Zstd => {
            out.resize(start + zstd::zstd_safe::compress_bound(raw.len()), 0);
            zstd::bulk::compress_to_buffer(raw, &mut out[start..], ZSTD_LEVEL).ok()
        }
    };
    if let Some(len) = done.filter(|&len| len < worth) {
        out.truncate(start + len);
        return wanted;
    }
    out.truncate(start);
    out.extend_from_slice(raw);
    Compression::None
}

/// Verifies the envelope at the front of `bytes` and gives the raw block and the bytes that the envelope takes.
pub(crate) fn open(
    bytes: &[u8],
    kind: Kind,
    place: Place<'_>,
    slab: &Slab,
) -> Result<(Piece, usize, usize), ReadError> {
    let Place { file, origin, offset } = place;
    let short = || corruption(file, offset, Flaw::Length, ENVELOPE_BYTES, bytes.len());
    let mut take = Take::new(bytes);
    let crc = take.u32().ok_or_else(short)?;
    let stored = take.u32().ok_or_else(short)? as usize;
    let raw = take.u32().ok_or_else(short)? as usize;
    let [found_kind, compression, encryption, tag] = *take.bytes(4).ok_or_else(short)? else {
        return Err(short().into());
    };
    let total = ENVELOPE_BYTES + stored + tag as usize;
    let Some(body) = bytes.get(4..total) else {
        return Err(corruption(file, offset, Flaw::Length, bytes.len(), total).into());
    };
    let found = checksum(origin, offset, &[body]);
    if found != crc {
        return Err(corruption(file, offset, Flaw::Checksum, crc, found).into());
    }
    if encryption != 0 {
        let (file, number) = (file.to_owned(), encryption.into());
        return Err(ReadError::Unsupported { file, what: "encryption algorithm", number });
    }
    if found_kind != kind as u8 {
        return Err(corruption(file, offset, Flaw::Kind, kind as u8, found_kind).into());
    }
    if raw > RAW_BYTES_MAX {
        return Err(corruption(file, offset, Flaw::Length, RAW_BYTES_MAX, raw).into());
    }
    let payload = &bytes[ENVELOPE_BYTES..ENVELOPE_BYTES + stored];
    let mut piece = slab.piece(raw);
    let into = &mut piece[..raw];
    let done = match compression {
        0 if stored == raw => {
            into.copy_from_slice(payload);
            Some(raw)
        }
        0 => None,
        1 => lz4_flex::block::decompress_into(payload, into).ok(),
        2 => zstd::bulk::decompress_to_buffer(payload, into).ok(),
        other => {
            let (file, number) = (file.to_owned(), other.into());
            return Err(ReadError::Unsupported { file, what: "compression", number });
        }
    };
    if done != Some(raw) {
        return Err(corruption(file, offset, Flaw::Length, raw, done.unwrap_or(0)).into());
    }
    Ok((piece, raw, total))
}
