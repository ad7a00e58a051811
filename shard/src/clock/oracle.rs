//! The leader of the clock group: it renews the ceiling, follows the wall clock, and publishes both in the word.
//!
//! A plain state machine: the clock group tells it what was elected and applied, it says what to propose and when.

use std::sync::Arc;

use pinion_lsm::Timestamp;
use pinion_wal::{Mono, planted};

use super::word::{Anchor, Grant, Rate, Word};
use crate::Now;
use crate::limits::{CEILING_RENEWAL_MS, CEILING_WINDOW_MS, CLOCK_ANCHOR_MS, CLOCK_STEP_MS_MAX};

/// What the clock group replicates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Nothing at or above it was ever issued.
    pub ceiling: Timestamp,
    /// The oracle's time never went beyond it, in milliseconds since 1970.
    pub time_ms: u64,
}

impl Stored {
    /// The oracle's time when this was proposed.
    #[must_use]
    pub const fn proposed_ms(&self) -> u64 {
        self.time_ms.saturating_sub(CEILING_WINDOW_MS)
    }
}

/// See the module page.
pub struct Oracle {
    word: Arc<Word>,
    leading: Option<Leading>,
    gap_ms: i64,
}

struct Leading {
    /// The newest applied ceiling.
    stored: Stored,
    /// Whether a ceiling of this leadership was applied: before that nothing is granted.
    granting: bool,
    lease_end: Mono,
    anchor: Anchor,
    /// A proposal is on its way; proposed at this point.
    proposed: Option<Mono>,
    /// When the ceiling was last renewed.
    renewed: Option<Mono>,
}

impl Oracle {
    /// An oracle that does not lead.
    #[must_use]
    pub const fn new(word: Arc<Word>) -> Self {
        Self { word, leading: None, gap_ms: 0 }
    }

    /// The word it publishes.
    #[must_use]
    pub const fn word(&self) -> &Arc<Word> {
        &self.word
    }

    /// This replica leads and has applied an entry of its own term: `stored` is what every predecessor left. Time
    /// starts at the wall clock; while that lies below the bound of what was served, at the bound, and goes slower until
    /// the wall clock has caught up.
    pub fn lead(&mut self, now: Now, stored: Stored) {
        let millis = now.wall_ms.max(stored.time_ms);
        let anchor = Anchor { mono: now.mono, unix_nanos: millis * 1_000_000, rate: Rate::Even };
        let floor = if planted::is("oracle-forgets-the-ceiling") { Timestamp::ZERO } else { stored.ceiling };
        self.word.raise(floor);
        self.leading = Some(Leading {
            stored,
            granting: false,
            lease_end: Mono(0),
            anchor,
            proposed: None,
            renewed: None,
        });
    }

    /// This replica leads no more.
    pub fn step_down(&mut self) {
        if self.leading.take().is_some() {
            self.word.revoke();
        }
    }

    /// Whether it leads.
    #[must_use]
    pub const fn leads(&self) -> bool {
        self.leading.is_some()
    }

    /// The newest ceiling that it was told of.
    #[must_use]
    pub fn stored(&self) -> Option<Stored> {
        self.leading.as_ref().map(|leading| leading.stored)
    }

    /// How far the wall clock is ahead of the oracle's time, in milliseconds (negative: behind). Zero while the
    /// oracle follows it.
    #[must_use]
    pub const fn gap_ms(&self) -> i64 {
        self.gap_ms
    }

    /// Follows the wall clock and the lease, and answers a ceiling to be proposed, if one is due.
    pub fn turn(&mut self, now: Now, lease_end: Mono) -> Option<Stored> {
        let leading = self.leading.as_mut()?;
        let moved = leading.follow(now, &mut self.gap_ms);
        let extended = lease_end != leading.lease_end;
        leading.lease_end = lease_end;
        if leading.granting && (moved || extended) {
            self.word.publish(leading.grant());
        }
        let due = leading.proposed.is_none() && leading.is_renewal_due(now.mono, self.word.next());
        due.then(|| {
            leading.proposed = Some(now.mono);
            let time_ms = leading.anchor.millis_at(now.mono);
            let base = Timestamp::from_millis(time_ms).max(self.word.next());
            // It always rises: it is also the timestamp of the entry that carries it.
            let ceiling = base.plus(CEILING_WINDOW_MS << 16).max(leading.stored.ceiling.plus(1));
            // A start takes the time ahead to the bound. While the wall clock catches up with that the bound follows the
            // wall clock, so that starts in a row do not add up.
            let catches_up = time_ms.saturating_sub(now.wall_ms) <= CEILING_WINDOW_MS;
            let from_ms = if catches_up { time_ms.min(now.wall_ms) } else { time_ms };
            let time_ms = (from_ms + CEILING_WINDOW_MS).max(leading.stored.time_ms);
            Stored { ceiling, time_ms }
        })
    }

    /// A ceiling was applied. One of this leadership is granted to the cores from now on.
    pub fn applied(&mut self, stored: Stored, own: bool, now: Mono) {
        let Some(leading) = self.leading.as_mut() else { return };
        leading.stored.ceiling = leading.stored.ceiling.max(stored.ceiling);
        leading.stored.time_ms = leading.stored.time_ms.max(stored.time_ms);
        if own {
            leading.proposed = None;
            leading.renewed = Some(now);
            leading.granting = true;
            self.word.publish(leading.grant());
        } else {
            self.word.raise(stored.ceiling);
        }
    }

    /// The proposal was not taken, or was lost: it may be made again.
    pub fn proposal_lost(&mut self) {
        if let Some(leading) = self.leading.as_mut() {
            leading.proposed = None;
        }
    }

    /// When [`Oracle::turn`] has something to do next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        let leading = self.leading.as_ref()?;
        if leading.proposed.is_some() {
            return None;
        }
        Some(leading.renewed.map_or(Mono(0), |renewed| renewed.plus_millis(CEILING_RENEWAL_MS)))
    }
}

impl Leading {
    const fn grant(&self) -> Grant {
        Grant {
            lease_end: self.lease_end,
            ceiling: self.stored.ceiling,
            time_ms_max: self.stored.time_ms,
            anchor: self.anchor,
        }
    }

    fn is_renewal_due(&self, now: Mono, next: Timestamp) -> bool {
        let Some(renewed) = self.renewed else { return true };
        let left_ms = self.stored.ceiling.millis().saturating_sub(next.millis());
        let used = left_ms < CEILING_WINDOW_MS / 2 && !planted::is("ceiling-renewed-by-time-only");
        used || now >= renewed.plus_millis(CEILING_RENEWAL_MS)
    }

    /// Moves the anchor towards the wall clock. Answers whether the grant changed.
    fn follow(&mut self, now: Now, gap_ms: &mut i64) -> bool {
        if now.mono.nanos_since(self.anchor.mono) < CLOCK_ANCHOR_MS * 1_000_000 {
            return false;
        }
        let ours = self.anchor.nanos_at(now.mono);
        let wall = now.wall_ms.saturating_mul(1_000_000);
        let ahead_ms = i64::try_from(wall.abs_diff(ours) / 1_000_000).unwrap_or(i64::MAX);
        let (unix_nanos, rate) = if wall < ours {
            // A clock of whole milliseconds reads up to one too low: that is no gap.
            *gap_ms = if ahead_ms > 1 { -ahead_ms } else { 0 };
            (ours, if ahead_ms > 1 { Rate::Slow } else { Rate::Even })
        } else if ahead_ms > CLOCK_STEP_MS_MAX {
            *gap_ms = ahead_ms;
            (ours, Rate::Fast)
        } else {
            *gap_ms = 0;
            (wall, Rate::Even)
        };
        self.anchor = Anchor { mono: now.mono, unix_nanos, rate };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000;

    fn at(mono_ms: u64, wall_ms: u64) -> Now {
        Now { mono: Mono(mono_ms * 1_000_000), wall_ms }
    }

    /// An oracle that leads since `at(0, 50_000)` with what a predecessor left.
    fn leading(stored: Stored) -> Oracle {
        let mut oracle = Oracle::new(Arc::default());
        oracle.lead(at(0, 50_000), stored);
        oracle
    }

    fn renew(oracle: &mut Oracle, now: Now) -> Stored {
        let stored = oracle.turn(now, Mono(u64::MAX)).expect("a renewal is due");
        oracle.applied(stored, true, now.mono);
        stored
    }

    /// T3, T4: nothing is issued before a ceiling of its own is applied, and then only above the predecessor's.
    #[test]
    fn a_new_oracle_starts_above_every_earlier_ceiling() {
        let earlier = Stored { ceiling: Timestamp::from_millis(53_000), time_ms: 49_000 };
        let mut oracle = leading(earlier);
        let word = oracle.word().clone();
        assert_eq!(word.take(1, Mono(0)), Err(super::super::NoTime::Lease));
        let proposed = oracle.turn(at(0, 50_000), Mono(u64::MAX)).unwrap();
        assert!(word.take(1, Mono(0)).is_err(), "a proposal is not a grant");
        assert_eq!(oracle.turn(at(1, 50_001), Mono(u64::MAX)), None, "one proposal at a time");
        oracle.applied(proposed, true, Mono(1_000_000));
        let issued = word.take(1, Mono(1_000_000)).unwrap();
        assert!(issued.base >= earlier.ceiling && issued.base < proposed.ceiling);
        assert_eq!(issued.time_ms, 50_001, "a ceiling does not move the time");
    }

    /// T4: a ceiling that is not renewed runs out, whatever the clock says.
    #[test]
    fn without_renewal_the_ceiling_runs_out() {
        let mut oracle = leading(Stored::default());
        let first = renew(&mut oracle, at(0, 50_000));
        assert_eq!(first.ceiling.millis(), 53_000);
        let word = oracle.word().clone();
        assert_eq!(oracle.turn(at(500, 50_500), Mono(u64::MAX)), None);
        assert!(oracle.turn(at(1_000, 51_000), Mono(u64::MAX)).is_some(), "renewed every second");
        assert!(word.take(1, at(2_900, 0).mono).is_ok());
        assert!(word.take(1, at(3_100, 0).mono).is_err());
        oracle.step_down();
        assert!(word.take(1, at(1, 0).mono).is_err());
    }

    /// T6: a small step is followed at once, a large one slowly, a step back not at all; the gap is reported.
    #[test]
    fn a_mistaken_wall_clock_is_followed_slowly_and_never_back() {
        let mut oracle = leading(Stored::default());
        let word = oracle.word().clone();
        let mut before = 0;
        let mut time = |oracle: &mut Oracle, mono_ms: u64, wall_ms: u64| {
            if let Some(stored) = oracle.turn(at(mono_ms, wall_ms), Mono(u64::MAX)) {
                oracle.applied(stored, true, at(mono_ms, 0).mono);
            }
            let time = word.time_ms(at(mono_ms, 0).mono).unwrap();
            assert!(time >= before);
            before = time;
            time
        };
        assert_eq!(time(&mut oracle, 0, 50_000), 50_000);
        assert_eq!(time(&mut oracle, 1_000, 51_900), 51_900, "900 ms ahead: followed");
        let hour = 3_600 * SECOND;
        time(&mut oracle, 2_000, 52_900 + hour);
        assert_eq!(oracle.gap_ms(), i64::try_from(hour).unwrap());
        let slewed = time(&mut oracle, 3_000, 53_900 + hour);
        assert!((53_900..54_100).contains(&slewed), "an eighth faster: {slewed}");
        let held = time(&mut oracle, 4_000, 40_000);
        assert!(oracle.gap_ms() < -10_000 && held < 55_200);
        let slow = time(&mut oracle, 12_000, 48_000);
        assert_eq!(slow, held + 7_000, "an eighth slower while the wall clock is behind");
    }

    /// T3: after a restart time starts at the wall clock, or at the stored floor when the clock lies below it.
    #[test]
    fn time_starts_at_the_wall_clock_unless_it_lies_below_the_floor() {
        for (floor_ms, start_ms) in [(70_000, 70_000), (50_001, 50_001), (50_000, 50_000), (10_000, 50_000)] {
            let mut oracle = leading(Stored { ceiling: Timestamp::ZERO, time_ms: floor_ms });
            renew(&mut oracle, at(0, 50_000));
            assert_eq!(oracle.word().time_ms(Mono(0)), Some(start_ms));
        }
    }

    /// T3: starts in a row take the time no further ahead of the wall clock than one of them, and it goes on meanwhile.
    #[test]
    fn quick_starts_do_not_add_up() {
        let mut stored = Stored::default();
        for start in 0..20 {
            let wall_ms = 50_000 + start * 100;
            let mut oracle = Oracle::new(Arc::default());
            oracle.lead(at(0, wall_ms), stored);
            stored = renew(&mut oracle, at(0, wall_ms));
            assert_eq!(stored.time_ms, wall_ms + CEILING_WINDOW_MS);
            let before = oracle.word().time_ms(Mono(0)).unwrap();
            assert!(before <= wall_ms + CEILING_WINDOW_MS);
            stored = renew(&mut oracle, at(1_000, wall_ms + 1_000));
            let after = oracle.word().time_ms(at(1_000, 0).mono).unwrap();
            assert!(after > before && after - before <= 1_000, "{before}, then {after}");
            stored.time_ms -= 900;
        }
    }

    /// T5: timestamps that are used faster than the time passes move the ceiling too.
    #[test]
    fn heavy_use_renews_the_ceiling_early() {
        let mut oracle = leading(Stored::default());
        renew(&mut oracle, at(0, 50_000));
        let word = oracle.word().clone();
        assert_eq!(oracle.turn(at(10, 50_010), Mono(u64::MAX)), None);
        word.take(2_000 << 16, at(10, 0).mono).unwrap();
        let next = renew(&mut oracle, at(11, 50_011));
        assert!(next.ceiling.millis() >= 55_000);
        word.take(2_000 << 16, at(11, 0).mono).unwrap();
    }
}
