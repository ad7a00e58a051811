//! The bytes of the file `NODE`, little endian.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `PINIONND` |
//! | 8 | 4 | crc32c of everything from offset 12 to `length` |
//! | 12 | 4 | `length`: bytes used, header included |
//! | 16 | 2 | format version, 1 |
//! | 18 | 2 | incarnation of the replicas |
//! | 20 | 4 | feature level |
//! | 24 | 16 | cluster id |
//! | 40 | 8 | node id |
//! | 48 | 2 | cores that the groups are homed on |
//! | 50 | 2 | cores to which a move of the groups has begun; 0: none is under way; as before: it is being founded |
//! | 52 | 4 | number of data groups |
//! | 56 | 8 each | data groups: id (4), first slot (2), slot after the last (2) |
//!
//! The file is padded with zeros to whole blocks.

use pinion_wal::disk::BLOCK_BYTES;

use super::{FEATURE_LEVEL, GroupSpec, Layout};
use crate::ids::{ClusterId, CoreId, GroupId, NodeId};
use crate::limits::{CORES_MAX, DATA_GROUPS_MAX};

const MAGIC: [u8; 8] = *b"PINIONND";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 56;
const GROUP_BYTES: usize = 8;

/// Bytes of the largest file.
pub(super) const BYTES_MAX: usize =
    (HEADER_BYTES + GROUP_BYTES * DATA_GROUPS_MAX as usize).next_multiple_of(BLOCK_BYTES);

/// Why the bytes are no layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The file does not begin as it must.
    #[error("it does not begin with PINIONND: it was not written by this program")]
    Magic,
    /// Bytes changed, or are missing.
    #[error("its checksum is {found:08x} where {expected:08x} is expected: it is damaged")]
    Checksum {
        /// As stored.
        expected: u32,
        /// As computed.
        found: u32,
    },
    /// A length that cannot be.
    #[error("it says that it is {0} bytes long: it is damaged")]
    Length(u32),
    /// Written by a later version.
    #[error("its format is version {found}; this program reads version {known}: start a newer program")]
    Version {
        /// As stored.
        found: u16,
        /// The one we know.
        known: u16,
    },
    /// Uses features that this program does not have.
    #[error("it needs feature level {found}; this program has {known}: start a newer program")]
    FeatureLevel {
        /// As stored.
        found: u32,
        /// The one we know.
        known: u32,
    },
    /// Values that contradict one another under a sound checksum.
    #[error("its {0} is not possible")]
    Value(&'static str),
}

pub(super) fn encode(layout: &Layout) -> Vec<u8> {
    let mut out = Vec::with_capacity(BLOCK_BYTES);
    out.extend(MAGIC);
    out.extend([0; 8]);
    out.extend(VERSION.to_le_bytes());
    out.extend(layout.incarnation.to_le_bytes());
    out.extend(layout.feature_level.to_le_bytes());
    out.extend(layout.cluster.0.to_le_bytes());
    out.extend(layout.node.0.to_le_bytes());
    out.extend(layout.cores.to_le_bytes());
    out.extend(layout.moving_to.unwrap_or(0).to_le_bytes());
    out.extend(u32::try_from(layout.groups.len()).expect("within its limit").to_le_bytes());
    for group in &layout.groups {
        out.extend(group.id.0.to_le_bytes());
        out.extend(group.slots.start.to_le_bytes());
        out.extend(group.slots.end.to_le_bytes());
    }
    let length = u32::try_from(out.len()).expect("a small file");
    out[12..16].copy_from_slice(&length.to_le_bytes());
    let crc = crc32c::crc32c(&out[12..]);
    out[8..12].copy_from_slice(&crc.to_le_bytes());
    out.resize(out.len().next_multiple_of(BLOCK_BYTES), 0);
    out
}

pub(super) fn decode(bytes: &[u8]) -> Result<Layout, FormatError> {
    if bytes.len() < HEADER_BYTES || bytes[..8] != MAGIC {
        return Err(FormatError::Magic);
    }
    let stated = u32_at(bytes, 12);
    let length = stated as usize;
    if length < HEADER_BYTES || length > bytes.len() || bytes[length..].iter().any(|&byte| byte != 0) {
        return Err(FormatError::Length(stated));
    }
    let (expected, found) = (u32_at(bytes, 8), crc32c::crc32c(&bytes[12..length]));
    if expected != found {
        return Err(FormatError::Checksum { expected, found });
    }
    if u16_at(bytes, 16) != VERSION {
        return Err(FormatError::Version { found: u16_at(bytes, 16), known: VERSION });
    }
    if u32_at(bytes, 20) > FEATURE_LEVEL {
        return Err(FormatError::FeatureLevel { found: u32_at(bytes, 20), known: FEATURE_LEVEL });
    }
    let groups = decode_groups(bytes, length)?;
    let mut layout = Layout {
        cluster: ClusterId(u128::from_le_bytes(array_at(bytes, 24))),
        node: NodeId(u64::from_le_bytes(array_at(bytes, 40))),
        incarnation: u16_at(bytes, 18),
        feature_level: u32_at(bytes, 20),
        cores: u16_at(bytes, 48),
        moving_to: Some(u16_at(bytes, 50)).filter(|cores| *cores > 0),
        groups,
    };
    if layout.node.0 == 0 || layout.node.0 >= 1 << 48 || layout.incarnation == 0 {
        return Err(FormatError::Value("node id"));
    }
    let cores = [layout.cores, layout.moving_to.unwrap_or(1)];
    if !cores.iter().all(|cores| (1..=CORES_MAX).contains(cores)) {
        return Err(FormatError::Value("number of cores"));
    }
    layout.home_on(layout.cores);
    Ok(layout)
}

fn decode_groups(bytes: &[u8], length: usize) -> Result<Vec<GroupSpec>, FormatError> {
    let count = u32_at(bytes, 52);
    if !(1..=DATA_GROUPS_MAX).contains(&count) || length != HEADER_BYTES + GROUP_BYTES * count as usize {
        return Err(FormatError::Value("number of groups"));
    }
    let mut groups: Vec<GroupSpec> = Vec::new();
    let mut next = (crate::ids::FIRST_DATA_GROUP, 0);
    for at in (HEADER_BYTES..length).step_by(GROUP_BYTES) {
        let id = GroupId(u32_at(bytes, at));
        let slots = u16_at(bytes, at + 4)..u16_at(bytes, at + 6);
        if id < next.0 || slots.start != next.1 || slots.end <= slots.start || id.0 == u32::MAX {
            return Err(FormatError::Value("list of groups"));
        }
        next = (GroupId(id.0 + 1), slots.end);
        groups.push(GroupSpec { id, slots, core: CoreId(0) });
    }
    if next.1 != crate::SLOT_COUNT {
        return Err(FormatError::Value("list of groups"));
    }
    Ok(groups)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("N bytes")
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

#[cfg(test)]
mod tests {
    use super::super::tests::wanted;
    use super::*;

    #[test]
    fn bytes_are_golden_and_come_back() {
        let layout = Layout::found(&wanted(2, Some(3)));
        let bytes = encode(&layout);
        let used: String = bytes[..80].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(used, include_str!("../../testdata/node.hex").trim());
        assert_eq!(decode(&bytes), Ok(layout));
    }

    /// D3: no flipped bit goes unnoticed.
    #[test]
    fn every_flipped_bit_is_detected() {
        let bytes = encode(&Layout::found(&wanted(2, Some(3))));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped).is_err(), "bit {bit}");
        }
        assert!(decode(&bytes[..40]).is_err() && decode(&[]).is_err());
    }
}
