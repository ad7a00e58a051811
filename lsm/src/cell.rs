//! What a version of a row holds.

use bytes::Bytes;

/// The value of one version, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    /// The bytes of the row.
    Inline(&'a [u8]),
    /// The row does not exist from here on.
    Tombstone,
}

/// The value of one version, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedCell {
    /// The bytes of the row.
    Inline(Bytes),
    /// The row does not exist from here on.
    Tombstone,
}

/// How a cell is stored: in memtables and in blocks of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum CellTag {
    Inline = 0,
    Tombstone = 1,
}

impl CellTag {
    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Inline),
            1 => Some(Self::Tombstone),
            _ => None,
        }
    }
}

impl<'a> Cell<'a> {
    pub(crate) const fn tag(self) -> CellTag {
        match self {
            Self::Inline(_) => CellTag::Inline,
            Self::Tombstone => CellTag::Tombstone,
        }
    }

    /// The bytes; empty for a tombstone.
    #[must_use]
    pub const fn bytes(self) -> &'a [u8] {
        match self {
            Self::Inline(bytes) => bytes,
            Self::Tombstone => &[],
        }
    }

    pub(crate) const fn new(tag: CellTag, bytes: &'a [u8]) -> Self {
        match tag {
            CellTag::Inline => Self::Inline(bytes),
            CellTag::Tombstone => Self::Tombstone,
        }
    }

    /// A copy that borrows nothing.
    #[must_use]
    pub fn to_owned(self) -> OwnedCell {
        match self {
            Self::Inline(bytes) => OwnedCell::Inline(Bytes::copy_from_slice(bytes)),
            Self::Tombstone => OwnedCell::Tombstone,
        }
    }
}

impl OwnedCell {
    /// This cell, borrowed.
    #[must_use]
    pub fn borrow(&self) -> Cell<'_> {
        match self {
            Self::Inline(bytes) => Cell::Inline(bytes),
            Self::Tombstone => Cell::Tombstone,
        }
    }
}
