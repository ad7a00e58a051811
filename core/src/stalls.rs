//! What held a core up, by class.
//!
//! | class | what took a millisecond or more |
//! |---|---|
//! | apply … background | a turn; the phase that took most of it names the class |
//! | carry-out | the host, between the end of a turn and the next: giving sends and messages out, taking events in |
//! | enter | a system call that was not to wait: the kernel worked for us, or ran somebody else |
//! | preempted | nothing of ours: the core looked for news, and the kernel ran somebody else |
//! | overslept | sleep beyond a deadline: the timer or the scheduler was late |
//! | disk | a durable write or a sync, ten milliseconds or more |
//!
//! When the kernel takes the CPU in the midst of a turn, the phase that it interrupted is named: a counter cannot tell.

use crate::spread::Spread;

/// What takes longer is counted as a stall, in microseconds.
pub const STALL_MICROS: u64 = 1_000;
/// The same for the disk.
pub const DISK_STALL_MICROS: u64 = 10_000;

/// Classes of stalls.
pub const CLASS_COUNT: usize = 11;
/// Phases of a turn: the first classes.
pub const PHASE_COUNT: usize = 6;

/// What held a core up. See the module page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table of the module page says what each is")]
pub enum Stall {
    Apply,
    Intake,
    Requests,
    Groups,
    Replies,
    Background,
    CarryOut,
    Enter,
    Preempted,
    Overslept,
    Disk,
}

/// All classes: first the phases of a turn, in their order.
pub const CLASSES: [Stall; CLASS_COUNT] = [
    Stall::Apply,
    Stall::Intake,
    Stall::Requests,
    Stall::Groups,
    Stall::Replies,
    Stall::Background,
    Stall::CarryOut,
    Stall::Enter,
    Stall::Preempted,
    Stall::Overslept,
    Stall::Disk,
];

impl Stall {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Intake => "intake",
            Self::Requests => "requests",
            Self::Groups => "groups",
            Self::Replies => "replies",
            Self::Background => "background",
            Self::CarryOut => "carry-out",
            Self::Enter => "enter",
            Self::Preempted => "preempted",
            Self::Overslept => "overslept",
            Self::Disk => "disk",
        }
    }
}

/// The stalls of one core, in ticks.
#[derive(Clone, Debug, Default)]
pub struct Stalls([Spread; CLASS_COUNT]);

impl Stalls {
    /// Counts what took `ticks`, if that was a stall; answers whether.
    #[inline]
    pub fn note(&mut self, class: Stall, ticks: u64, ticks_per_micro: u64) -> bool {
        let micros = if class == Stall::Disk { DISK_STALL_MICROS } else { STALL_MICROS };
        let stalled = ticks >= micros * ticks_per_micro;
        if stalled {
            self.0[class as usize].record(ticks);
        }
        stalled
    }

    /// Those of a class.
    #[must_use]
    pub const fn of(&self, class: Stall) -> &Spread {
        &self.0[class as usize]
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// What a host was about between two turns, as far as it was not to wait. A host notes it, the machine takes it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Away([u64; CLASS_COUNT - PHASE_COUNT]);

impl Away {
    /// Adds ticks to those of a class.
    ///
    /// # Panics
    /// For a phase of a turn.
    #[inline]
    pub const fn note(&mut self, class: Stall, ticks: u64) {
        self.0[class as usize - PHASE_COUNT] += ticks;
    }

    /// Takes what was noted.
    pub fn take(&mut self) -> impl Iterator<Item = (Stall, u64)> + use<> {
        let noted = std::mem::take(&mut self.0);
        CLASSES[PHASE_COUNT..].iter().copied().zip(noted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_counted_in_its_class() {
        let mut stalls = Stalls::default();
        let mut away = Away::default();
        away.note(Stall::Enter, 600_000);
        away.note(Stall::Enter, 400_000);
        away.note(Stall::Preempted, 999_999);
        for (class, ticks) in away.take().chain(away.take()) {
            assert_eq!(stalls.note(class, ticks, 1_000), class == Stall::Enter && ticks > 0);
        }
        assert!(!stalls.note(Stall::Disk, 9_999_999, 1_000) && stalls.note(Stall::Disk, 10_000_000, 1_000));
        let counts = CLASSES.map(|class| stalls.of(class).count());
        assert_eq!(counts, [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1]);
        assert!(CLASSES.iter().enumerate().all(|(index, &class)| class as usize == index));
    }
}
