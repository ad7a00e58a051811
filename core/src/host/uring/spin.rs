//! Whether a core that has nothing to do looks around for a moment before it sleeps.
//!
//! Sleeping and waking cost more than a short look, but looking keeps the CPU from whoever shall send the next request. So
//! looking is on credit: sleeps that were so short that a look would have caught their end earn some, looks that found
//! nothing, or during which somebody else took the CPU, cost much more.
//!
//! A core that waits for its log looks longer than one that waits for messages: a synced write of 4 KiB that a thread waits
//! for asleep took 108 us here, awake 79 us.

use pinion_wal::Mono;

/// How long a core that waits for messages looks, in microseconds.
pub const MESSAGES_MICROS: u64 = 15;
/// How long a core that waits for its disk looks, in microseconds.
pub const DISK_MICROS: u64 = 250;
/// A look that was away for more microseconds than this was interrupted by somebody who needs the CPU.
pub const INTERRUPTED_MICROS: u64 = 50;
const CREDIT_MAX: i32 = 64;
const CREDIT_MIN: i32 = -64;
/// A look that found nothing costs as much as this many short sleeps earn.
const FAILURE: i32 = 32;

/// The credit of one core for waits of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Spin {
    micros: u64,
    credit: i32,
}

impl Spin {
    /// Looks that last `micros`, without any credit yet.
    pub const fn new(micros: u64) -> Self {
        Self { micros, credit: 0 }
    }

    /// How long to look now, if it is worth it.
    pub fn micros(self) -> Option<u64> {
        (self.credit > 0).then_some(self.micros)
    }

    /// A look has ended, with news and without interruption or otherwise.
    pub fn looked(&mut self, well: bool) {
        self.earn(if well { 1 } else { -FAILURE });
    }

    /// The core slept from `from` to `to`.
    pub fn slept(&mut self, from: Mono, to: Mono) {
        self.earn(if to < from.plus_micros(self.micros) { 1 } else { -1 });
    }

    fn earn(&mut self, credit: i32) {
        self.credit = (self.credit + credit).clamp(CREDIT_MIN, CREDIT_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_starts_after_short_sleeps_and_ends_when_it_finds_nothing() {
        let mut spin = Spin::new(MESSAGES_MICROS);
        assert_eq!(spin.micros(), None);
        for _ in 0..CREDIT_MAX {
            spin.slept(Mono(0), Mono(MESSAGES_MICROS * 1_000 - 1));
        }
        assert_eq!(spin.micros(), Some(MESSAGES_MICROS));
        spin.looked(false);
        spin.looked(false);
        assert_eq!(spin.micros(), None);
        for _ in 0..1000 {
            spin.slept(Mono(0), Mono(MESSAGES_MICROS * 10_000));
        }
        for _ in 0..CREDIT_MAX {
            spin.slept(Mono(0), Mono(1));
        }
        assert_eq!(spin.micros(), None, "long sleeps are outweighed one by one");
    }
}
