//! Short scripts that come to every kind of disk work.

use super::model::Put;
use super::world::{Stop, World};
use crate::ids::Timestamp;

/// A script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Entries, seals and flushes.
    Flush,
    /// Overwrites and deletions until tables are merged through several levels.
    Compact,
    /// Many small seals, so that the manifest is replaced.
    Rollover,
}

/// All scripts.
pub const WORKLOADS: [Workload; 3] = [Workload::Flush, Workload::Compact, Workload::Rollover];

/// Keys of several shapes: hashed ones, members of a collection, prefixes of one another.
pub(super) fn random_key(rng: &mut fastrand::Rng, spread: u32) -> Vec<u8> {
    let number = rng.u32(..spread);
    match rng.u8(..8) {
        0 => vec![b'x'; (number % 20) as usize],
        1..4 => format!("collection/member-{number:05}").into_bytes(),
        _ => crate::hash::hash_of(&number.to_le_bytes()).to_be_bytes().to_vec(),
    }
}

/// The puts of the next entry.
pub(super) fn random_puts(world: &World, rng: &mut fastrand::Rng, spread: u32) -> Vec<Put> {
    let base = world.model.now().0;
    let count = rng.u64(1..6);
    let put = |number| {
        let value = (rng.u8(..5) > 0)
            .then(|| vec![number as u8; if rng.u8(..50) == 0 { 6_000 } else { rng.usize(..120) }]);
        (random_key(rng, spread), Timestamp(base + number + 1), value)
    };
    (0..count).map(put).collect()
}

impl Workload {
    /// Runs the script on an open tree.
    pub(super) fn run(self, world: &mut World, seed: u64) -> Result<(), Stop> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (seals, entries, spread) = match self {
            Self::Flush => (3, 15, 60),
            Self::Compact => (10, 25, 80),
            Self::Rollover => (12, 1, 10),
        };
        for _ in 0..seals {
            for _ in 0..entries {
                let puts = random_puts(world, &mut rng, spread);
                world.put(puts);
            }
            if self == Self::Compact && rng.bool() {
                let at = Timestamp(rng.u64(world.model.safe_point.0..=world.model.now().0));
                world.model.safe_point = at;
                world.tree().set_safe_point(at);
            }
            world.seal();
            if rng.bool() {
                world.settle()?;
            }
            let key = random_key(&mut rng, spread);
            world.check_get(&key, Timestamp::MAX)?;
        }
        world.settle()
    }
}
