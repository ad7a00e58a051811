//! Random operations on a tree and its model.

use pinion_wal::disk::sim::{Faults, Image};

use super::workload::{random_key, random_puts};
use super::world::{Stop, World};
use crate::ids::Timestamp;
use crate::tree::{Cursor, KeyRange};

/// What a random run did, so that a test can tell that it did anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RandomRun {
    /// Operations.
    pub steps: u64,
    /// Times the tree was closed and opened.
    pub reopened: u64,
    /// Memtables flushed.
    pub flushes: u64,
    /// Compactions installed.
    pub compactions: u64,
    /// Blocks pushed out of the cache.
    pub evicted: u64,
}

/// Puts, seals, reads, walks of both ways, partial progress of background work, moved safe points and reopens; every
/// answer is compared with a map of versions.
///
/// # Errors
/// What was wrong, in words.
pub fn random_operations(seed: u64, steps: u64) -> Result<RandomRun, String> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let spread = [5, 100, 2_000][rng.usize(..3)];
    let cache_bytes = [0, 20 << 10, 4 << 20][rng.usize(..3)];
    let mut world = World::new(Image::default(), seed, Faults::default(), cache_bytes);
    let mut run = RandomRun::default();
    let done = (|| {
        open(&mut world)?;
        let mut held: Option<Held> = None;
        for _ in 0..steps {
            run.steps += 1;
            step(&mut world, &mut rng, spread, &mut held, &mut run, cache_bytes)?;
        }
        world.settle()?;
        note(&world, &mut run);
        world.check_all().map(drop)
    })();
    match done {
        Ok(()) => Ok(run),
        Err(Stop::Wrong(what)) => Err(what),
        Err(Stop::Halted) => Err(format!("waits for ever; poisoned: {:?}", world.engine.poisoned())),
    }
}

/// A cursor that stays open over other operations, and what it must see.
struct Held {
    cursor: Cursor,
    rows: Vec<(Vec<u8>, Timestamp, Vec<u8>)>,
    /// Which row it answered last; none outside.
    place: Option<usize>,
    outside: bool,
}

fn open(world: &mut World) -> Result<(), Stop> {
    world.open()?.map_err(|error| Stop::Wrong(error.to_string()))
}

fn note(world: &World, run: &mut RandomRun) {
    let work = world.tree().metrics().work;
    run.flushes += work.flushes;
    run.compactions += work.compactions;
    run.evicted += world.engine.cache().metrics().evicted;
}

fn step(
    world: &mut World,
    rng: &mut fastrand::Rng,
    spread: u32,
    held: &mut Option<Held>,
    run: &mut RandomRun,
    cache_bytes: usize,
) -> Result<(), Stop> {
    let (safe, now) = (world.model.safe_point.0, world.model.now().0);
    let readable = |rng: &mut fastrand::Rng| Timestamp(rng.u64(safe..=now.max(safe) + 10));
    match rng.u8(..40) {
        0..20 => {
            let puts = random_puts(world, rng, spread);
            world.put(puts);
        }
        20..30 => {
            let key = random_key(rng, spread);
            world.check_get(&key, readable(rng))?;
        }
        30..33 => {
            for _ in 0..rng.u8(..40) {
                world.step();
            }
        }
        33 if held.is_none() => world.seal(),
        33 => {
            world.seal();
            let key = random_key(rng, spread);
            world.check_get(&key, Timestamp::MAX)?;
        }
        34 => {
            let (from, to) = (random_key(rng, spread), random_key(rng, spread));
            let at = readable(rng);
            world.check_walk(&from.clone().min(to.clone()), Some(&from.max(to)), at)?;
        }
        35 => {
            // Open readers keep what they pinned: a cursor may lie below the safe point by then.
            let at = Timestamp(rng.u64(safe..=now.max(safe)));
            world.model.safe_point = at;
            world.tree().set_safe_point(at);
        }
        36 | 37 => held_step(world, rng, held)?,
        38 => world.settle()?,
        _ if rng.u8(..4) == 0 => {
            note(world, run);
            run.reopened += 1;
            *held = None;
            reopen(world, rng, cache_bytes)?;
        }
        _ => {}
    }
    Ok(())
}

/// Closes without warning, and opens what the disk holds: nothing is lost, for the process ended, not the machine.
fn reopen(world: &mut World, rng: &mut fastrand::Rng, cache_bytes: usize) -> Result<(), Stop> {
    let image = world.sim.crashed(pinion_wal::disk::sim::Pattern::Everything, rng.u64(..));
    let mut next = World::new(image, rng.u64(..), Faults::default(), cache_bytes);
    next.model = std::mem::take(&mut world.model);
    next.durable = world.durable;
    *world = next;
    open(world)?;
    world.tree().set_safe_point(world.model.safe_point);
    Ok(())
}

fn held_step(world: &mut World, rng: &mut fastrand::Rng, held: &mut Option<Held>) -> Result<(), Stop> {
    let mut current = match held.take() {
        Some(held) if rng.u8(..10) > 0 => held,
        _ => {
            let at = Timestamp(
                rng.u64(world.model.safe_point.0..=world.model.now().0.max(world.model.safe_point.0)),
            );
            let cursor = world.tree().cursor(KeyRange::default(), at);
            let rows = world.model.visible(b"", None, at);
            Held { cursor, rows, place: None, outside: true }
        }
    };
    for _ in 0..rng.u8(..20) {
        let forward = rng.u8(..3) > 0;
        let (result, back) = world.wait(async move {
            let Held { mut cursor, rows, place, outside } = current;
            let row = if forward { cursor.next().await } else { cursor.prev().await };
            let row = row.map(|row| row.map(|row| (row.key.to_vec(), row.at, row.value.to_vec())));
            (row, Held { cursor, rows, place, outside })
        })?;
        current = back;
        let count = current.rows.len();
        let expected = match (current.outside, forward) {
            (true, true) => (count > 0).then_some(0),
            (true, false) => count.checked_sub(1),
            (false, true) => current.place.map(|place| place + 1).filter(|&place| place < count),
            (false, false) => current.place.and_then(|place| place.checked_sub(1)),
        };
        current.outside = expected.is_none();
        current.place = expected;
        let expected = expected.map(|place| current.rows[place].clone());
        let row = result.map_err(|error| Stop::Wrong(error.to_string()))?;
        super::ensure(row == expected, || format!("open cursor: {row:?} instead of {expected:?}"))?;
    }
    *held = Some(current);
    Ok(())
}
