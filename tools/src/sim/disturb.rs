//! What happens to a running node besides faults of single operations: its cores are paused, its wall clock jumps, its
//! disk is full for a while.

use pinion_core::host::Machine;
use pinion_core::host::sim::SimHost;

use super::Counts;
use super::session::Moment;

/// The longest pause of a core, in milliseconds. Clients give up later than that.
const PAUSE_MS_MAX: u64 = 2_000;
/// The farthest jump of the wall clock, in milliseconds.
const JUMP_MS_MAX: u64 = 3_600_000;
/// How long the disk stays full at most, in milliseconds.
const FULL_MS_MAX: u64 = 1_000;
/// How far a start takes the oracle's time ahead when the wall clock lies below what was served: the window of its ceiling.
const CEILING_WINDOW_MS: i64 = 3_000;

/// What a seed draws: how many of each happen in a life.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disturbances {
    /// Pauses of a core.
    pub pauses: u32,
    /// Jumps of the wall clock.
    pub jumps: u32,
    /// Times at which the disk is full.
    pub fills: u32,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Pause,
    Jump,
    Fill,
}

/// The wall clock over all lives, and the bounds of the oracle's time, which follows it by rules of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct WallClock {
    /// How far it has been set, in milliseconds.
    pub set_ms: i64,
    lowest_ms: i64,
    highest_ms: i64,
    /// Starts since it was first set: each may take the oracle's time ahead by the window of its ceiling. Those in a row
    /// under a clock that was never set count once.
    starts: i64,
    opened: bool,
}

impl WallClock {
    /// A node is opened.
    pub const fn start(&mut self) {
        if self.lowest_ms < self.highest_ms {
            self.starts += 1;
        } else if self.opened {
            self.starts = 1;
        }
        self.opened = true;
    }

    fn jump(&mut self, millis: i64) {
        self.set_ms += millis;
        self.lowest_ms = self.lowest_ms.min(self.set_ms);
        self.highest_ms = self.highest_ms.max(self.set_ms);
        self.starts = self.starts.max(1);
    }

    /// This moment, with the times between which the oracle's time lies.
    pub const fn moment(&self, nanos: u64, wall_ms: u64) -> Moment {
        let ahead = self.highest_ms + self.starts * CEILING_WINDOW_MS;
        let undisturbed = wall_ms.saturating_add_signed(-self.set_ms);
        Moment {
            nanos,
            wall_ms,
            earliest_ms: undisturbed.saturating_add_signed(self.lowest_ms),
            latest_ms: undisturbed.saturating_add_signed(ahead),
        }
    }
}

/// The disturbances of one life, each at a drawn number of answered commands.
pub struct Schedule {
    /// In falling order.
    due: Vec<(u64, Kind)>,
    full_until: Option<u64>,
    /// Whether the disk was full in this life.
    pub was_full: bool,
}

impl Schedule {
    /// Draws when they happen among `total` commands.
    pub fn draw(plan: &Disturbances, total: u64, rng: &mut fastrand::Rng) -> Self {
        let counts = [(plan.pauses, Kind::Pause), (plan.jumps, Kind::Jump), (plan.fills, Kind::Fill)];
        let kinds = counts.into_iter().flat_map(|(count, kind)| (0..count).map(move |_| kind));
        let mut due: Vec<_> = kinds.map(|kind| (rng.u64(0..=total), kind)).collect();
        due.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        Self { due, full_until: None, was_full: false }
    }

    /// Lets happen what is due after so many answered commands.
    pub fn turn<M: Machine>(
        &mut self,
        answered: u64,
        host: &mut SimHost<M>,
        clock: &mut WallClock,
        rng: &mut fastrand::Rng,
        counts: &mut Counts,
    ) {
        let now = host.now().mono;
        if self.full_until.is_some_and(|until| until <= now.0) {
            self.empty(host);
        }
        while self.due.last().is_some_and(|(at, _)| *at <= answered) {
            let Some((_, kind)) = self.due.pop() else { return };
            match kind {
                Kind::Pause => {
                    let core = rng.usize(0..host.machines().count());
                    host.pause(core, rng.u64(1..=PAUSE_MS_MAX));
                    counts.add("core_paused", 1);
                }
                Kind::Jump => {
                    let most = if rng.bool() { JUMP_MS_MAX } else { 2_000 };
                    let size = i64::try_from(rng.u64(1..=most)).expect("it is small");
                    let millis = if rng.bool() { size } else { -size };
                    host.jump_wall(millis);
                    clock.jump(millis);
                    counts.add(if millis > 0 { "clock_forward" } else { "clock_back" }, 1);
                }
                Kind::Fill => {
                    self.was_full = true;
                    self.full_until = Some(now.plus_millis(rng.u64(1..=FULL_MS_MAX)).0);
                    if let Some(disk) = host.disk_mut() {
                        disk.set_capacity(Some(0));
                    }
                    counts.add("disk_full", 1);
                }
            }
        }
    }

    /// There is room on the disk again.
    pub fn empty<M: Machine>(&mut self, host: &mut SimHost<M>) {
        self.full_until = None;
        if let Some(disk) = host.disk_mut() {
            disk.set_capacity(None);
        }
    }
}
