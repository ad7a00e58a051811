//! Damage while the node is down: a flipped bit, a block that stands where another should. In the end of every seed its
//! disk is damaged, and what the node then says is compared with what it acknowledged: every value is right, or refused.

use pinion_wal::disk::BLOCK_BYTES;
use pinion_wal::disk::sim::{Faults, Image, SimDisk};

use super::life::Life;
use super::{Opener, Opening, Run};

/// How often the disk of a seed is damaged, each time from the same sound state.
const TRIALS: usize = 4;

impl Run<'_> {
    /// Damages the disk of a node that was stopped in good order.
    pub(super) fn damage<O: Opener>(&mut self, opener: &mut O, sound: &SimDisk) -> Result<(), String> {
        for trial in 0..TRIALS {
            let mut image = sound.image().clone();
            let kind = if trial % 2 == 0 { "flipped_byte" } else { "misdirected_block" };
            let Some(place) = damage(&mut image, trial % 2 == 0, &mut self.rng) else { continue };
            self.report.done.add(kind, 1);
            let disk = SimDisk::from_image(image, self.rng.u64(..), Faults::default());
            let (cores, seed) = (self.rng.u16(1..=2), self.rng.u64(..));
            let host = match opener.open(disk, cores, seed, self.world()) {
                Opening::Ready(host) => *host,
                Opening::Refused(..) => {
                    self.report.done.add("damage_refused", 1);
                    continue;
                }
                Opening::Silent(why) => return Err(format!("{kind} at {place}: {why}")),
                Opening::Halted(_) => return Err(format!("{place}: the disk halted")),
            };
            let refused = Life::new(self.plan, host, self.clock)
                .check_damaged(&self.sessions)
                .map_err(|what| format!("{kind} at {place}: {what}"))?;
            self.report.done.add("value_refused", refused);
        }
        Ok(())
    }
}

/// Flips a bit, or puts a block in the place of another of its file; answers where.
fn damage(image: &mut Image, flips: bool, rng: &mut fastrand::Rng) -> Option<String> {
    let least = if flips { 1 } else { 2 * BLOCK_BYTES as u64 };
    let mut files = image.paths();
    files.retain(|(_, bytes)| *bytes >= least);
    if files.is_empty() {
        return None;
    }
    let (path, bytes) = files.swap_remove(rng.usize(..files.len()));
    if flips {
        let offset = rng.u64(..bytes);
        image.flip(&path, offset, rng.u8(..8));
        return Some(format!("{path}:{offset}"));
    }
    let blocks = bytes / BLOCK_BYTES as u64;
    let (from, to) = (rng.u64(..blocks), rng.u64(..blocks));
    let start = usize::try_from(from).expect("small") * BLOCK_BYTES;
    let block = image.contents(&path)?[start..start + BLOCK_BYTES].to_vec();
    image.damage(&path, to * BLOCK_BYTES as u64, |bytes| bytes.copy_from_slice(&block), BLOCK_BYTES);
    Some(format!("{path}:{}, from {}", to * BLOCK_BYTES as u64, from * BLOCK_BYTES as u64))
}
