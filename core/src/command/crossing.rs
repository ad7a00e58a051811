//! Requests whose keys lie in several slots.

use super::action::Keyed;
use super::error::CommandError;
use pinion_shard::Slot;

/// Where the keys of a request lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossing {
    /// In one slot.
    One(Slot),
    /// In several: the request is split by group (or has only one group to go to).
    Many,
}

/// Where the keys lie, or why the request is refused: writes of several keys are atomic, so they stay within a slot, whatever
/// groups there are; with one data group they may go anywhere, as on a single Redis.
pub fn crossing(keyed: &Keyed<'_>, data_groups: usize) -> Result<Crossing, CommandError<'static>> {
    let mut keys = keyed.keys();
    let first = keys.next().expect("there is a key").slot();
    if keys.all(|key| key.slot() == first) {
        return Ok(Crossing::One(first));
    }
    if keyed.kind.splits() || data_groups == 1 { Ok(Crossing::Many) } else { Err(CommandError::CrossSlot) }
}
