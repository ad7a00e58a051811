//! Identities and positions within a log.

use crate::newtype;

newtype! {
    /// How many records were appended since the log was opened: a record is durable when the stable position has
    /// reached the one that its append answered.
    pub Position(u64)
}
newtype! {
    /// The number of an open of a log. Raised durably before the first append of each open.
    pub Incarnation(u64)
}
newtype! {
    /// How often the records of a group have moved from one log to another. Of two logs that hold a group, the one
    /// with the higher home epoch is its home.
    pub HomeEpoch(u32)
}
newtype! {
    /// The number of a use of a segment: later uses, of the same file or of others, have higher numbers.
    pub(super) Epoch(u64)
}
newtype! {
    /// The number of a block in the life of the log, across segments.
    pub(super) BlockNumber(u64)
}

impl BlockNumber {
    pub const fn plus(self, blocks: u64) -> Self {
        Self(self.0 + blocks)
    }
}
