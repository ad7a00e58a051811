//! What clients ask of a range, counted once, by the group that owns it: a request that another core forwards, or that waits
//! and is looked at again, counts where and when it is taken in. What is refused for want of room is not counted.

use std::ops::Range;

use crate::GroupId;

/// What was asked since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Reads: one for each command, or part of a command, that a group answers.
    pub reads: u64,
    /// Commands that write.
    pub writes: u64,
    /// Bytes of the batches that hold these commands, headers included.
    pub written_bytes: u64,
}

/// What was asked of one range. A group has one range as long as ranges do not split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeLoad {
    /// The group that owns it.
    pub group: GroupId,
    /// Its slots.
    pub slots: Range<u16>,
    /// What was asked of it.
    pub load: Load,
}
