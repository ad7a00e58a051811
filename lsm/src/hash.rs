//! The hash of keys, for the memtable's index, the filters and the tags of blocks. Stored in tables: it never changes.

/// The hash of a key: XXH3 with 64 bits and seed 0.
#[inline]
#[must_use]
pub fn hash_of(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key)
}
