//! How far the rows of a tree reach in the log of its group.

use bytes::Bytes;
use pinion_wal::{LogIndex, Term};

/// The entry after which the rows of a tree stand, and the replicated state at that entry.
///
/// A flush installs it together with the tables: replay starts right after it, on exactly this state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Boundary {
    /// The last entry whose rows are contained; zero for a fresh tree.
    pub index: LogIndex,
    /// The term of that entry.
    pub term: Term,
    /// State of the owner at that entry, opaque here.
    pub state: Bytes,
}
