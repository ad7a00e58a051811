//! The cell of a metadata row: type, expiry, generation, and the value of a string.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | version: 1 |
//! | 1 | type: 1 string |
//! | 1 | flags: 1 has an expiry, 2 has a generation |
//! | 0 or 8 | expiry, in milliseconds of the oracle's wall time |
//! | 0 or 8 | generation (a timestamp): of collections |
//! | n | the value of a string |

use crate::{Timestamp, planted};

const VERSION: u8 = 1;
const FLAG_EXPIRY: u8 = 1;
const FLAG_GENERATION: u8 = 2;

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ValueType {
    /// A string of bytes, in the row itself.
    String = 1,
}

impl ValueType {
    /// The word that TYPE answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
        }
    }
}

/// A metadata row, borrowed from where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// The type of the key.
    pub kind: ValueType,
    /// When the key expires, in milliseconds.
    pub expiry_ms: Option<u64>,
    /// The generation of its elements.
    pub generation: Option<Timestamp>,
    /// The value of a string.
    pub value: &'a [u8],
}

/// A cell that is no metadata row: damage, or a newer version wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cell of a metadata row is malformed: it starts with {head:02x?} and has {bytes} bytes")]
pub struct RowError {
    /// Its first bytes.
    pub head: [u8; 3],
    /// Its length.
    pub bytes: usize,
}

impl<'a> Row<'a> {
    /// A string.
    #[must_use]
    pub const fn string(value: &'a [u8], expiry_ms: Option<u64>) -> Self {
        Self { kind: ValueType::String, expiry_ms, generation: None, value }
    }

    /// Whether the key is absent by `time_ms`.
    #[must_use]
    pub fn expired(&self, time_ms: u64) -> bool {
        self.expiry_ms.is_some_and(|expiry| time_ms > expiry || planted::is("expiry-ignores-the-given-time"))
    }

    /// Reads a cell.
    pub fn decode(cell: &'a [u8]) -> Result<Self, RowError> {
        Self::parse(cell).ok_or_else(|| {
            let mut head = [0; 3];
            let known = cell.len().min(3);
            head[..known].copy_from_slice(&cell[..known]);
            RowError { head, bytes: cell.len() }
        })
    }

    #[inline]
    fn parse(cell: &'a [u8]) -> Option<Self> {
        let (&[version, kind, flags], mut rest) = cell.split_first_chunk()?;
        if version != VERSION
            || kind != ValueType::String as u8
            || flags & !(FLAG_EXPIRY | FLAG_GENERATION) != 0
        {
            return None;
        }
        let mut word = |flag| {
            if flags & flag == 0 {
                return Some(None);
            }
            let (word, behind) = rest.split_first_chunk()?;
            rest = behind;
            Some(Some(u64::from_le_bytes(*word)))
        };
        let (expiry_ms, generation) = (word(FLAG_EXPIRY)?, word(FLAG_GENERATION)?);
        Some(Self { kind: ValueType::String, expiry_ms, generation: generation.map(Timestamp), value: rest })
    }

    /// Replaces the content of `cell` by this row, without its value.
    pub(crate) fn encode_head(&self, cell: &mut Vec<u8>) {
        cell.clear();
        let flags = if self.expiry_ms.is_some() { FLAG_EXPIRY } else { 0 }
            | if self.generation.is_some() { FLAG_GENERATION } else { 0 };
        cell.extend_from_slice(&[VERSION, self.kind as u8, flags]);
        for word in [self.expiry_ms, self.generation.map(|at| at.0)].into_iter().flatten() {
            cell.extend_from_slice(&word.to_le_bytes());
        }
    }

    /// Replaces the content of `cell` by this row.
    pub fn encode(&self, cell: &mut Vec<u8>) {
        self.encode_head(cell);
        cell.extend_from_slice(self.value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let mut cell = Vec::new();
        Row::string(b"v", None).encode(&mut cell);
        assert_eq!(cell, [1, 1, 0, b'v']);
        let mut row = Row::string(b"v", Some(0x0102));
        row.encode(&mut cell);
        assert_eq!(cell, [1, 1, 1, 2, 1, 0, 0, 0, 0, 0, 0, b'v']);
        row.generation = Some(Timestamp(3));
        row.encode(&mut cell);
        assert_eq!(cell, [1, 1, 3, 2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, b'v']);
        assert_eq!(Row::decode(&cell), Ok(row));
        for len in 0..19 {
            assert!(Row::decode(&cell[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn an_unknown_version_type_or_flag_is_refused() {
        for cell in [[2, 1, 0], [1, 9, 0], [1, 1, 4]] {
            assert_eq!(Row::decode(&cell), Err(RowError { head: cell, bytes: 3 }));
        }
    }

    /// T6: a key is there at its expiry, and absent right after, as in Redis.
    #[test]
    fn expiry_is_judged_by_the_given_time() {
        let row = Row::string(b"", Some(5));
        assert!(!row.expired(5) && row.expired(6));
        assert!(!Row::string(b"", None).expired(u64::MAX));
    }
}
