//! Who this node is, which groups it holds, and which core each of them calls home.
//!
//! The layout is decided at the first start, stored in the file `NODE`, and never reinterpreted: later flags either agree
//! with it or are refused (M3). Only the number of cores may change: groups are then re-homed (M9).
//!
//! The data groups split the slots evenly, in order; the group at position `p` lives on core `p % cores`. Groups below
//! [`FIRST_DATA_GROUP`] live on core 0.

mod file;
mod format;

use std::ops::Range;

use crate::SLOT_COUNT;
use crate::ids::{ClusterId, CoreId, FIRST_DATA_GROUP, GroupId, NodeId, ReplicaId, Slot};
use crate::limits::{CORES_MAX, DATA_GROUPS_MAX};

pub use file::{FILE, LayoutError, load, open, store};
pub use format::FormatError;

/// The level of features that this version of the program can use.
pub const FEATURE_LEVEL: u32 = 1;
/// Data groups per core, unless the first start says otherwise.
pub const DATA_GROUPS_PER_CORE: u32 = 4;

/// A data group and the slots it owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSpec {
    /// The group.
    pub id: GroupId,
    /// Its slots.
    pub slots: Range<u16>,
    /// The core it lives on.
    pub core: CoreId,
}

/// Identities that the first start gives a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Founding {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node, in 48 bits and not 0.
    pub node: NodeId,
}

/// What the flags of a start ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Cores to run on.
    pub cores: u16,
    /// Data groups, when the flags name a number.
    pub groups: Option<u32>,
    /// Identities for a first start.
    pub founding: Founding,
}

/// The layout of a node. See the module page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The cluster this node belongs to.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeId,
    /// How often its replicas were founded anew; part of every replica id.
    pub incarnation: u16,
    /// The features that may be used.
    pub feature_level: u32,
    /// Cores that the groups are homed on.
    pub cores: u16,
    /// A move of the groups to so many cores has begun and is not finished: any log may hold any of them. Equal to
    /// `cores` in a directory that is being founded: no log need hold any.
    pub moving_to: Option<u16>,
    /// The data groups, by their slots.
    pub groups: Vec<GroupSpec>,
}

impl Layout {
    /// The layout of a first start.
    ///
    /// # Panics
    /// When the numbers are outside their limits.
    #[must_use]
    pub fn found(wanted: &Wanted) -> Self {
        let count = wanted.groups.unwrap_or(DATA_GROUPS_PER_CORE * u32::from(wanted.cores));
        assert!((1..=DATA_GROUPS_MAX).contains(&count) && (1..=CORES_MAX).contains(&wanted.cores));
        let first_slot = |position: u32| {
            u16::try_from((position * u32::from(SLOT_COUNT)).div_ceil(count))
                .expect("at most the number of slots")
        };
        let groups = (0..count).map(|position| GroupSpec {
            id: GroupId(FIRST_DATA_GROUP.0 + position),
            slots: first_slot(position)..first_slot(position + 1),
            core: CoreId(0),
        });
        let mut layout = Self {
            cluster: wanted.founding.cluster,
            node: wanted.founding.node,
            incarnation: 1,
            feature_level: FEATURE_LEVEL,
            cores: wanted.cores,
            moving_to: None,
            groups: groups.collect(),
        };
        layout.home_on(wanted.cores);
        layout.check();
        layout
    }

    /// The data group that owns a slot.
    #[must_use]
    pub fn group_of(&self, slot: Slot) -> &GroupSpec {
        let position = self.groups.partition_point(|group| group.slots.end <= slot.0);
        &self.groups[position]
    }

    /// The core that a group lives on.
    #[must_use]
    pub fn core_of(&self, group: GroupId) -> CoreId {
        self.groups.iter().find(|spec| spec.id == group).map_or(CoreId(0), |spec| spec.core)
    }

    /// All groups that live on a core, the system's included, in the order of their ids.
    #[must_use]
    pub fn groups_on(&self, core: CoreId) -> Vec<GroupId> {
        let system = [GroupId(0), GroupId(1)].into_iter().filter(|_| core.0 == 0);
        system.chain(self.groups.iter().filter(|spec| spec.core == core).map(|spec| spec.id)).collect()
    }

    /// The id of this node's replica of any group: the node, then the incarnation.
    #[must_use]
    pub const fn replica(&self) -> ReplicaId {
        ReplicaId(self.node.0 << 16 | self.incarnation as u64)
    }

    /// Whether the logs of the directory were not all made yet. Nothing was ever served from it.
    #[must_use]
    pub fn is_being_founded(&self) -> bool {
        self.moving_to == Some(self.cores)
    }

    /// The bytes of the file `NODE`, as the catalog keeps them too.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        format::encode(self)
    }

    /// Homes the groups on `cores` cores.
    pub fn home_on(&mut self, cores: u16) {
        assert!((1..=CORES_MAX).contains(&cores));
        self.cores = cores;
        for (position, group) in self.groups.iter_mut().enumerate() {
            let core = position % usize::from(cores);
            group.core = CoreId(u16::try_from(core).expect("below the number of cores"));
        }
    }

    /// Executes the invariants: the groups cover all slots once, in order, on cores that exist.
    ///
    /// # Panics
    /// When one is broken.
    pub fn check(&self) {
        assert!(self.node.0 > 0 && self.node.0 < 1 << 48 && self.incarnation > 0);
        let mut next_slot = 0;
        let mut next_id = FIRST_DATA_GROUP;
        for group in &self.groups {
            assert!(group.slots.start == next_slot && group.slots.end > next_slot, "slots of {:?}", group.id);
            assert!(group.id >= next_id && group.core.0 < self.cores, "{:?} is out of order", group.id);
            next_slot = group.slots.end;
            next_id = GroupId(group.id.0 + 1);
        }
        assert_eq!(next_slot, SLOT_COUNT, "every slot has a group");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn wanted(cores: u16, groups: Option<u32>) -> Wanted {
        Wanted { cores, groups, founding: Founding { cluster: ClusterId(0xabcd), node: NodeId(1) } }
    }

    #[test]
    fn every_slot_has_one_group_and_groups_spread_over_cores() {
        for (cores, groups) in [(1, Some(1)), (1, None), (2, None), (3, Some(7)), (64, None), (1, Some(1024))]
        {
            let layout = Layout::found(&wanted(cores, groups));
            let mut owned = 0_u32;
            for spec in &layout.groups {
                owned += u32::try_from(spec.slots.len()).unwrap();
                assert_eq!(layout.group_of(Slot(spec.slots.start)).id, spec.id);
                assert_eq!(layout.group_of(Slot(spec.slots.end - 1)).id, spec.id);
            }
            assert_eq!(owned, u32::from(SLOT_COUNT));
            let by_core: usize = (0..cores).map(|core| layout.groups_on(CoreId(core)).len()).sum();
            assert_eq!(by_core, layout.groups.len() + 2);
        }
    }

    #[test]
    fn replica_ids_carry_the_node_and_the_incarnation() {
        assert_eq!(Layout::found(&wanted(1, None)).replica(), ReplicaId(1 << 16 | 1));
    }
}
