//! Identities of this crate, and those of the crates below that its users need.

pub use pinion_lsm::Timestamp;
use pinion_wal::newtype;
pub use pinion_wal::{GroupId, LogIndex, Term};

newtype! {
    /// A core of a node: one pinned thread and everything it owns.
    pub CoreId(u16)
}
newtype! {
    /// A node of a cluster. Chosen at its first start, never used again by another.
    pub NodeId(u64)
}
newtype! {
    /// A cluster. Chosen when it is founded.
    pub ClusterId(u128)
}
newtype! {
    /// A replica of a group on a node, in one incarnation: the peer id of Raft. A node that lost its records rejoins
    /// under a new one.
    pub ReplicaId(u64)
}
newtype! {
    /// One of the 16384 hash slots of Redis Cluster.
    pub Slot(u16)
}
newtype! {
    /// A range of the key space.
    pub RangeId(u64)
}

/// The first group that holds data; the ones before it are reserved for the system.
pub const FIRST_DATA_GROUP: GroupId = GroupId(16);
/// The group that holds the catalog.
pub const CATALOG_GROUP: GroupId = GroupId(0);
/// The group whose leader hands out timestamps.
pub const CLOCK_GROUP: GroupId = GroupId(1);
