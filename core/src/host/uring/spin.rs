//! Whether a core that has nothing to do looks around for a moment before it sleeps.
//!
//! Sleeping and waking cost more than a short look, but looking keeps the CPU from whoever shall send the next request. So
//! looking is on credit: sleeps that were so short that a look would have caught their end earn some, looks that found
//! nothing cost much more.

use pinion_wal::Mono;

/// How long a look lasts, in nanoseconds.
pub const SPIN_NANOS: u64 = 15_000;
const CREDIT_MAX: i32 = 64;
const CREDIT_MIN: i32 = -64;
/// A look that found nothing costs as much as this many short sleeps earn.
const FAILURE: i32 = 32;

/// The credit of one core.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spin {
    credit: i32,
}

impl Spin {
    /// Whether to look around now.
    pub const fn is_worth(self) -> bool {
        self.credit > 0
    }

    /// A look has ended.
    pub fn looked(&mut self, found: bool) {
        self.earn(if found { 1 } else { -FAILURE });
    }

    /// The core slept from `from` to `to`.
    pub fn slept(&mut self, from: Mono, to: Mono) {
        self.earn(if to.nanos_since(from) < SPIN_NANOS { 1 } else { -1 });
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
        let mut spin = Spin::default();
        assert!(!spin.is_worth());
        for _ in 0..CREDIT_MAX {
            spin.slept(Mono(0), Mono(SPIN_NANOS - 1));
        }
        assert!(spin.is_worth());
        spin.looked(false);
        spin.looked(false);
        assert!(!spin.is_worth());
        for _ in 0..1000 {
            spin.slept(Mono(0), Mono(SPIN_NANOS * 10));
        }
        for _ in 0..CREDIT_MAX {
            spin.slept(Mono(0), Mono(1));
        }
        assert!(!spin.is_worth(), "long sleeps are outweighed one by one");
    }
}
