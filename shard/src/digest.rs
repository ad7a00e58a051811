//! The digest of a state machine: an incremental set hash over every row version it ever wrote.
//!
//! Each version adds the XXH3-128 of {key, timestamp, cell}, without carry beyond 128 bits. The order of additions does not
//! matter, so lanes and schedules do not; what compaction later drops stays counted, so its progress does not either.

use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

use crate::Timestamp;
use pinion_lsm::Cell;

/// Seeds the hash of a tombstone, so that it differs from that of an empty cell.
const TOMBSTONE: u64 = 0x9e37_79b9_7f4a_7c15;

/// See the module page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Digest(pub u128);

impl Digest {
    /// Adds a version of a row.
    pub fn add(&mut self, key: &[u8], at: Timestamp, cell: Cell<'_>) {
        let seed = xxh3_64_with_seed(key, at.0);
        let hash = match cell {
            Cell::Inline(bytes) => xxh3_128_with_seed(bytes, seed),
            Cell::Tombstone => xxh3_128_with_seed(&[], seed ^ TOMBSTONE),
        };
        self.0 = self.0.wrapping_add(hash);
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(rows: &[(&[u8], u64, Cell<'_>)]) -> Digest {
        let mut digest = Digest::default();
        for (key, at, cell) in rows {
            digest.add(key, Timestamp(*at), *cell);
        }
        digest
    }

    /// T12: the order of writes to different keys leaves no trace; any difference in content does.
    #[test]
    fn order_does_not_matter_and_content_does() {
        let (a, b) = ((&b"a"[..], 1, Cell::Inline(b"x")), (&b"b"[..], 2, Cell::Tombstone));
        assert_eq!(digest(&[a, b]), digest(&[b, a]));
        let others = [
            (&b"a"[..], 2, Cell::Inline(&b"x"[..])),
            (b"c", 1, Cell::Inline(b"x")),
            (b"a", 1, Cell::Inline(b"y")),
            (b"a", 1, Cell::Inline(b"")),
            (b"a", 1, Cell::Tombstone),
        ];
        for other in others {
            assert_ne!(digest(&[a, b]), digest(&[other, b]));
        }
        assert_ne!(digest(&[others[3]]), digest(&[others[4]]));
    }

    /// Digests are compared between replicas and stored: they never change.
    #[test]
    fn golden() {
        let rows = [(&b"key"[..], 7, Cell::Inline(&b"value"[..])), (&b"gone"[..], 8, Cell::Tombstone)];
        assert_eq!(digest(&rows).to_string(), "cb069431df37452de34b9d569bd50d8f");
    }
}
