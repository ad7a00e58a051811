//! Bytes: names of files, numbers in them, checksums bound to their place. FORMAT.md shows every layout.

use crate::error::{Corruption, Flaw};
use crate::ids::TreeId;

/// The version of all layouts of this crate.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// The version of this program, as `major << 16 | minor << 8 | patch`.
pub(crate) const CREATOR_VERSION: u32 = 1 << 8;

/// The number of a file within its tree; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileNumber(pub u64);

impl FileNumber {
    /// No file has a higher number: what a file says above it is damage, and one more never overflows.
    pub const MAX: Self = Self(1 << 48);
}

/// The tree and the number under which a file was written. All its checksums are bound to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Origin {
    pub tree: TreeId,
    pub number: FileNumber,
}

pub(crate) fn tree_dir(tree: TreeId) -> String {
    format!("tree-{:08}", tree.0)
}

/// The tree a directory belongs to.
pub(crate) fn tree_of_dir(name: &str) -> Option<TreeId> {
    let tree = TreeId(name.strip_prefix("tree-")?.parse().ok()?);
    (tree_dir(tree) == name).then_some(tree)
}

pub(crate) fn table_path(tree: TreeId, number: FileNumber) -> String {
    format!("{}/{}", tree_dir(tree), table_name(number))
}

pub(crate) fn table_name(number: FileNumber) -> String {
    format!("{:012}.table", number.0)
}

pub(crate) fn manifest_path(tree: TreeId, number: FileNumber) -> String {
    format!("{}/{}", tree_dir(tree), manifest_name(number))
}

pub(crate) fn manifest_name(number: FileNumber) -> String {
    format!("MANIFEST-{:012}", number.0)
}

/// The number in the name of a table or manifest.
pub(crate) fn number_of_name(name: &str) -> Option<FileNumber> {
    let digits = name.strip_suffix(".table").or_else(|| name.strip_prefix("MANIFEST-"))?;
    digits.parse().ok().map(FileNumber).filter(|&number| number <= FileNumber::MAX)
}

/// A checksum of `parts` at `offset` of the file `origin`: a block that lies elsewhere does not match.
pub(crate) fn checksum(origin: Origin, offset: u64, parts: &[&[u8]]) -> u32 {
    let mut place = [0; 20];
    place[..4].copy_from_slice(&origin.tree.0.to_le_bytes());
    place[4..12].copy_from_slice(&origin.number.0.to_le_bytes());
    place[12..].copy_from_slice(&offset.to_le_bytes());
    if pinion_wal::planted::is("block-checksum-without-position") {
        place = [0; 20];
    }
    parts.iter().fold(crc32c::crc32c(&place), |crc, part| crc32c::crc32c_append(crc, part))
}

/// Appends little-endian numbers and byte strings.
pub(crate) trait Put {
    fn put(&mut self, bytes: &[u8]);

    fn put_u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    fn put_u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }

    /// Seven bits a byte, the lowest first; the high bit says that more follow.
    fn put_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.put_u8(value as u8);
    }

    /// A length of four bytes, then the bytes.
    fn put_string(&mut self, bytes: &[u8]) {
        self.put_u32(u32::try_from(bytes.len()).expect("strings in files are far below 4 GiB"));
        self.put(bytes);
    }
}

impl Put for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Takes from the front of a byte string; `None` when it is too short.
#[derive(Clone, Copy)]
pub(crate) struct Take<'a> {
    pub rest: &'a [u8],
}

impl<'a> Take<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline]
    pub fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(head)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*head)
    }

    #[inline]
    pub fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    #[inline]
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    #[inline]
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    #[inline]
    pub fn varint(&mut self) -> Option<u32> {
        let mut value = 0;
        for shift in (0..32).step_by(7) {
            let byte = self.u8()?;
            let bits = u32::from(byte & 0x7f);
            value |= bits.checked_shl(shift).filter(|shifted| shifted >> shift == bits)?;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub fn string(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.bytes(len as usize)
    }
}

/// The bytes a varint takes.
pub(crate) const fn varint_bytes(value: usize) -> usize {
    let bits = usize::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// A [`Corruption`] of `file` at `offset`.
pub(crate) fn corruption(
    file: &str,
    offset: u64,
    what: Flaw,
    expected: impl TryInto<u64>,
    found: impl TryInto<u64>,
) -> Corruption {
    let number = |n: Option<u64>| n.unwrap_or(u64::MAX);
    let (expected, found) = (number(expected.try_into().ok()), number(found.try_into().ok()));
    Corruption { file: file.to_owned(), offset, what, expected, found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_take_the_bytes_that_were_promised_and_come_back() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u32::MAX - 1, u32::MAX] {
            let mut bytes = Vec::new();
            bytes.put_varint(value);
            assert_eq!(bytes.len(), varint_bytes(value as usize));
            assert_eq!(Take::new(&bytes).varint(), Some(value));
            assert_eq!(Take::new(&bytes[..bytes.len() - 1]).varint(), None);
        }
        assert_eq!(Take::new(&[0xff; 9]).varint(), None, "longer than a number");
    }

    #[test]
    fn names_carry_numbers_and_nothing_else_does() {
        assert_eq!(tree_of_dir(&tree_dir(TreeId(16))), Some(TreeId(16)));
        assert_eq!(tree_of_dir("tree-16"), None);
        assert_eq!(tree_of_dir("log-0000"), None);
        assert_eq!(number_of_name(&table_name(FileNumber(7))), Some(FileNumber(7)));
        assert_eq!(number_of_name(&manifest_name(FileNumber(7))), Some(FileNumber(7)));
        assert_eq!(number_of_name("CURRENT"), None);
    }
}
