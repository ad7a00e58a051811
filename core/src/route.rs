//! From a key to the group that owns it and the core that group lives on.

use pinion_shard::layout::Layout;
use pinion_shard::{Command, CoreId, GroupId, Key, Read, SLOT_COUNT, Slot};

/// Where a group lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The group.
    pub group: GroupId,
    /// The core it lives on.
    pub core: CoreId,
}

/// The routes of a node: a published snapshot, the same on all of its cores.
#[derive(Clone, Debug)]
pub struct Routes {
    /// Per slot, the place of its group in `groups`.
    by_slot: Vec<u16>,
    groups: Vec<Route>,
    /// Per group, the first slot behind it.
    ends: Vec<u16>,
}

impl Routes {
    /// The routes of a layout.
    #[must_use]
    pub fn of(layout: &Layout) -> Self {
        let mut by_slot = vec![0; usize::from(SLOT_COUNT)];
        for (place, spec) in layout.groups.iter().enumerate() {
            for slot in spec.slots.clone() {
                by_slot[usize::from(slot)] =
                    u16::try_from(place).expect("groups are at most as many as slots");
            }
        }
        let groups = layout.groups.iter().map(|spec| Route { group: spec.id, core: spec.core }).collect();
        let ends = layout.groups.iter().map(|spec| spec.slots.end).collect();
        Self { by_slot, groups, ends }
    }

    /// The owner of a slot.
    #[must_use]
    pub fn of_slot(&self, slot: Slot) -> Route {
        self.groups[usize::from(self.by_slot[usize::from(slot.0)])]
    }

    /// The place of the group that owns a slot, among [`Routes::groups`].
    #[must_use]
    pub fn place_of(&self, slot: Slot) -> u32 {
        u32::from(self.by_slot[usize::from(slot.0)])
    }

    /// The owner of a key.
    #[must_use]
    pub fn of_key(&self, key: &Key<'_>) -> Route {
        self.of_slot(key.slot())
    }

    /// All data groups, in the order of their slots.
    #[must_use]
    pub fn groups(&self) -> &[Route] {
        &self.groups
    }

    /// Whether there is one data group only: then commands may name keys of several slots, as on a single Redis.
    #[must_use]
    pub const fn is_single(&self) -> bool {
        self.groups.len() == 1
    }

    /// The slots of the group at a place in [`Routes::groups`].
    #[must_use]
    pub fn slots_of(&self, place: usize) -> std::ops::Range<u16> {
        let start = if place == 0 { 0 } else { self.ends[place - 1] };
        start..self.ends[place]
    }

    /// Where a scan goes on after the group that owns `slot`: the cursor of the next range; 0 after the last.
    #[must_use]
    pub fn cursor_after(&self, slot: Slot) -> u64 {
        let end = self.ends[usize::from(self.by_slot[usize::from(slot.0)])];
        if end >= SLOT_COUNT { 0 } else { u64::from(end) << 48 }
    }
}

/// The key of a write that has one; `None` for those over lists, or over everything.
#[must_use]
pub const fn key_of_write<'a>(command: &Command<'a>) -> Option<Key<'a>> {
    match *command {
        Command::Set { key, .. }
        | Command::Append { key, .. }
        | Command::SetRange { key, .. }
        | Command::SetBit { key, .. }
        | Command::IncrBy { key, .. }
        | Command::IncrByFloat { key, .. }
        | Command::GetDel { key }
        | Command::GetEx { key, .. }
        | Command::Expire { key, .. }
        | Command::Persist { key } => Some(key),
        Command::Del { .. }
        | Command::MSet { .. }
        | Command::Transfer { .. }
        | Command::BitOp { .. }
        | Command::FlushAll => None,
    }
}

/// The key of a read that has one; `None` for those over lists, or over everything.
#[must_use]
pub const fn key_of_read<'a>(read: &Read<'a>) -> Option<Key<'a>> {
    match *read {
        Read::Get { key }
        | Read::StrLen { key }
        | Read::GetRange { key, .. }
        | Read::Type { key }
        | Read::Ttl { key, .. }
        | Read::GetBit { key, .. }
        | Read::Object { key, .. }
        | Read::BitCount { key, .. }
        | Read::BitPos { key, .. } => Some(key),
        Read::MGet { .. }
        | Read::Exists { .. }
        | Read::Scan { .. }
        | Read::DbSize { .. }
        | Read::InSlot { .. } => None,
    }
}

/// Bytes of the arguments of a write, and of what stands between them in a batch.
#[must_use]
pub fn argument_bytes(command: &Command<'_>) -> usize {
    let value = match *command {
        Command::Set { value, .. }
        | Command::Append { value, .. }
        | Command::SetRange { value, .. }
        | Command::IncrByFloat { delta: value, .. } => value.len(),
        Command::Del { keys: items }
        | Command::MSet { pairs: items, .. }
        | Command::Transfer { keys: items, .. }
        | Command::BitOp { keys: items, .. } => items.iter().map(|item| item.len() + 4).sum(),
        _ => 0,
    };
    value + key_of_write(command).map_or(0, |key| key.bytes().len())
}

#[cfg(test)]
mod tests {
    use pinion_shard::layout::{Founding, Wanted};
    use pinion_shard::{ClusterId, NodeId};

    use super::*;

    fn routes(cores: u16, groups: u32) -> (Layout, Routes) {
        let founding = Founding { cluster: ClusterId(1), node: NodeId(1) };
        let layout = Layout::found(&Wanted { cores, groups: Some(groups), founding });
        let routes = Routes::of(&layout);
        (layout, routes)
    }

    #[test]
    fn every_slot_goes_to_the_group_of_the_layout() {
        for (cores, groups) in [(1, 1), (2, 8), (3, 7)] {
            let (layout, routes) = routes(cores, groups);
            for slot in (0..SLOT_COUNT).map(Slot) {
                let spec = layout.group_of(slot);
                assert_eq!(routes.of_slot(slot), Route { group: spec.id, core: spec.core });
            }
        }
    }

    #[test]
    fn a_scan_passes_every_range_once_and_ends() {
        let (_, routes) = routes(2, 8);
        let (mut cursor, mut seen) = (0u64, Vec::new());
        loop {
            let slot = pinion_shard::ScanPosition(cursor).slot();
            seen.push(routes.of_slot(slot).group);
            cursor = routes.cursor_after(slot);
            if cursor == 0 {
                break;
            }
        }
        let all: Vec<GroupId> = routes.groups().iter().map(|route| route.group).collect();
        assert_eq!(seen, all);
    }
}
