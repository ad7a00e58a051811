//! What a start chooses.

/// Options of an engine. The defaults suit a core with a few GiB.
#[derive(Clone, Debug)]
pub struct Options {
    /// A memtable of at least this many bytes should be sealed.
    pub memtable_bytes_seal: usize,
    /// All memtables of an engine together, sealed ones included: beyond, [`Tree::room`](crate::Tree::room) says no.
    pub memtable_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { memtable_bytes_seal: 256 << 20, memtable_bytes_max: 1 << 30 }
    }
}
