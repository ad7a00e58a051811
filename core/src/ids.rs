//! Identities of what a core serves.

use std::fmt;

/// A connection of one core: the slot in the host's table, and how often the slot was used before.
///
/// A pair is never used twice: what is said about an old connection is never taken for a new one in its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    /// The index in the table of connections; small, and used again.
    pub slot: u32,
    /// How often the slot was used before.
    pub generation: u32,
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}
