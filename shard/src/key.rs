//! Keys as clients name them, and as rows carry them.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | keyspace kind (1 = Redis keys) |
//! | 1 | keyspace id (0) |
//! | 2, big endian | slot |
//! | 6, big endian | the upper 48 bits of XXH3-64 of the key |
//! | n | the key; each byte 0 becomes 0, 255 |
//! | 2 | terminator: 0, 1 |
//! | 1 | row kind |
//!
//! All rows of one key stand together; no encoded key is the prefix of another. Slot and hash tell nearly all keys apart
//! in one integer comparison, and together they are the position of a scan.

use std::ops::Deref;

use xxhash_rust::xxh3::xxh3_64;

use crate::Slot;
use crate::limits::KEY_BYTES_MAX;

/// The keyspace of Redis keys: kind 1, id 0.
pub const REDIS_KEYSPACE: Keyspace = Keyspace { kind: 1, id: 0 };
/// The keyspace of a group's own rows (catalog, clock): kind 0.
pub const SYSTEM_KEYSPACE: Keyspace = Keyspace { kind: 0, id: 0 };

/// Bytes before the escaped key.
pub const PREFIX_BYTES: usize = 10;
/// Bytes after the escaped key.
pub const SUFFIX_BYTES: usize = 3;

/// A key space: all keys that one FLUSHALL forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Keyspace {
    /// How its keys are ordered and routed.
    pub kind: u8,
    /// Which one of its kind.
    pub id: u8,
}

/// What a row of a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum RowKind {
    /// Type, expiry, generation, and the value of a string.
    Metadata = 1,
}

/// A key of a command, with its slot and hash: both are computed once, when the key enters a core.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    bytes: &'a [u8],
    hash: u64,
    slot: Slot,
}

impl<'a> Key<'a> {
    /// A key as a client named it.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, hash: xxh3_64(bytes), slot: Slot::of(bytes) }
    }

    /// The key as a client named it.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// XXH3-64 of the key. The same for ever: rows are ordered by its upper 48 bits.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// The slot of the key.
    #[must_use]
    pub const fn slot(&self) -> Slot {
        self.slot
    }

    /// Where a scan meets this key.
    #[must_use]
    pub const fn position(&self) -> ScanPosition {
        ScanPosition((self.slot.0 as u64) << 48 | self.hash >> 16)
    }

    /// The key of this key's row of `kind`.
    #[must_use]
    pub fn row(&self, keyspace: Keyspace, kind: RowKind) -> RowKey {
        RowKey::encode(keyspace, self, kind)
    }
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.bytes == other.bytes
    }
}

impl Eq for Key<'_> {}

/// A place in the order in which SCAN visits keys: `slot << 48 | hash48`. It survives every write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScanPosition(pub u64);

impl ScanPosition {
    /// The slot at this place.
    #[must_use]
    pub const fn slot(self) -> Slot {
        Slot((self.0 >> 48) as u16)
    }

    /// The first row key at or after this place.
    #[must_use]
    pub fn first_row(self, keyspace: Keyspace) -> [u8; PREFIX_BYTES] {
        prefix(keyspace, self)
    }

    /// The place right after this one; `None` after the last.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(next) => Some(Self(next)),
            None => None,
        }
    }
}

fn prefix(keyspace: Keyspace, position: ScanPosition) -> [u8; PREFIX_BYTES] {
    let mut bytes = [keyspace.kind, keyspace.id, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes[2..].copy_from_slice(&position.0.to_be_bytes());
    bytes
}

const INLINE_BYTES: usize = 64;

/// An encoded key. Short ones need no allocation.
#[derive(Clone, Debug)]
pub struct RowKey(Repr);

#[derive(Clone, Debug)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE_BYTES] },
    Heap(Vec<u8>),
}

impl RowKey {
    fn encode(keyspace: Keyspace, key: &Key<'_>, kind: RowKind) -> Self {
        let (prefix, raw) = (prefix(keyspace, key.position()), key.bytes());
        let len = PREFIX_BYTES + raw.len() + SUFFIX_BYTES;
        let plain = !raw.contains(&0);
        if plain && len <= INLINE_BYTES {
            let mut bytes = [0; INLINE_BYTES];
            bytes[..PREFIX_BYTES].copy_from_slice(&prefix);
            bytes[PREFIX_BYTES..][..raw.len()].copy_from_slice(raw);
            bytes[len - SUFFIX_BYTES..len].copy_from_slice(&[0, 1, kind as u8]);
            return Self(Repr::Inline { len: len as u8, bytes });
        }
        let mut bytes = Vec::with_capacity(2 * len);
        bytes.extend_from_slice(&prefix);
        for &byte in raw {
            bytes.push(byte);
            if byte == 0 {
                bytes.push(255);
            }
        }
        bytes.extend_from_slice(&[0, 1, kind as u8]);
        Self(Repr::Heap(bytes))
    }

    /// The encoded bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Heap(bytes) => bytes,
        }
    }
}

impl Deref for RowKey {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// An encoded key taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowParts {
    /// Its keyspace.
    pub keyspace: Keyspace,
    /// Its place in a scan.
    pub position: ScanPosition,
    /// Its row kind.
    pub kind: u8,
}

/// Takes an encoded key apart; appends the key as clients name it to `raw`. `None` when the bytes are no encoded key.
#[must_use]
pub fn decode_row(encoded: &[u8], raw: &mut Vec<u8>) -> Option<RowParts> {
    let (prefix, rest) = encoded.split_at_checked(PREFIX_BYTES)?;
    let (&kind, escaped) = rest.split_last()?;
    let escaped = escaped.strip_suffix(&[0, 1])?;
    let mut bytes = escaped.iter();
    while let Some(&byte) = bytes.next() {
        raw.push(byte);
        if byte == 0 && bytes.next() != Some(&255) {
            return None;
        }
    }
    let position = u64::from_be_bytes(prefix[2..].try_into().expect("ten bytes less two"));
    let keyspace = Keyspace { kind: prefix[0], id: prefix[1] };
    Some(RowParts { keyspace, position: ScanPosition(position), kind })
}

const _: () = assert!(INLINE_BYTES <= u8::MAX as usize && 2 * KEY_BYTES_MAX < u32::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let row = Key::new(b"foo").row(REDIS_KEYSPACE, RowKind::Metadata);
        assert_eq!(Slot::of(b"foo"), Slot(0x2f96));
        let hash = xxh3_64(b"foo");
        assert_eq!(hash, 0xab6e_5f64_077e_7d8a);
        let expected =
            [&[1, 0, 0x2f, 0x96, 0xab, 0x6e, 0x5f, 0x64, 0x07, 0x7e][..], b"foo", &[0, 1, 1]].concat();
        assert_eq!(row.as_bytes(), expected);
        let row = Key::new(b"a\0b").row(REDIS_KEYSPACE, RowKind::Metadata);
        assert_eq!(row.as_bytes()[PREFIX_BYTES..], [b'a', 0, 255, b'b', 0, 1, 1]);
    }

    #[test]
    fn every_key_comes_back_and_none_is_a_prefix_of_another() {
        let mut rng = fastrand::Rng::with_seed(11);
        let mut rows = Vec::new();
        for len in 0..200 {
            let key: Vec<u8> = (0..len).map(|_| rng.u8(..3)).collect();
            let row = Key::new(&key).row(REDIS_KEYSPACE, RowKind::Metadata);
            let mut raw = Vec::new();
            let parts = decode_row(&row, &mut raw).expect("it was just encoded");
            assert_eq!(raw, key);
            assert_eq!(parts.position, Key::new(&key).position());
            assert!(row.as_bytes() >= &parts.position.first_row(REDIS_KEYSPACE)[..]);
            rows.push(row.as_bytes()[PREFIX_BYTES..].to_vec());
        }
        rows.sort();
        for pair in rows.windows(2) {
            assert!(!pair[1].starts_with(&pair[0]) || pair[0] == pair[1]);
        }
    }

    #[test]
    fn what_is_no_encoded_key_is_refused() {
        let row = Key::new(b"key").row(REDIS_KEYSPACE, RowKind::Metadata);
        for len in 0..row.len() {
            assert_eq!(decode_row(&row[..len], &mut Vec::new()), None, "{len}");
        }
        let mut bad = row.to_vec();
        bad[PREFIX_BYTES] = 0;
        assert_eq!(decode_row(&bad, &mut Vec::new()), None);
    }
}
