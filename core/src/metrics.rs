//! What a core counts. No labels: one number per name and core, summed over cores for whoever asks.

use pinion_wal::Mono;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Numbers that a core counts, or holds at a moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// How many numbers there are.
            pub const COUNT: usize = [$(stringify!($name)),*].len();

            /// Appends all numbers to `out`, for a sibling core.
            pub fn write(&self, out: &mut Vec<u8>) {
                $(out.extend_from_slice(&self.$name.to_le_bytes());)*
            }

            /// Adds what a sibling core wrote.
            ///
            /// # Panics
            /// When the bytes were not written by [`Counters::write`].
            pub fn add(&mut self, mut bytes: &[u8]) {
                assert_eq!(bytes.len(), Self::COUNT * 8, "counters of another version");
                $(
                    let (number, rest) = bytes.split_first_chunk().expect("the length was checked");
                    self.$name += u64::from_le_bytes(*number);
                    bytes = rest;
                )*
                assert!(bytes.is_empty());
            }
        }
    };
}

counters! {
    /// Replies that left towards their clients.
    commands,
    /// Replies that were errors of the server.
    errors,
    /// Commands that changed rows.
    writes,
    /// Commands that looked at rows.
    reads,
    /// Batches given to groups.
    batches,
    /// Connections accepted since the start.
    connections_received,
    /// Connections now.
    connections,
    /// Bytes received.
    input_bytes,
    /// Bytes sent.
    output_bytes,
    /// Replies refused because clients had not taken too many others.
    replies_refused,
    /// Connections ended because too much input was incomplete.
    inputs_refused,
    /// Connections ended because they took none of their replies while others were refused.
    clients_cut,
    /// Turns that took longer than a millisecond.
    turns_stalled,
    /// Turns.
    turns,
    /// Bytes of incomplete commands now.
    input_held_bytes,
    /// Reply bytes that clients have not taken, now.
    unsent_bytes,
    /// Requests to sibling cores.
    requests_forwarded,
    /// Bytes of unflushed rows, now.
    memtable_bytes,
    /// Bytes of cached blocks, now.
    cache_bytes,
    /// Bytes of the log that are still needed, now.
    log_bytes,
    /// Bytes of proposals that are not applied, now.
    proposal_bytes,
    /// Groups, now.
    groups,
    /// Groups that lost records and refuse to serve, now.
    groups_damaged,
    /// Groups that cannot execute an entry and refuse to serve, now.
    groups_halted,
    /// Tables in which damage was found, now.
    tables_damaged,
    /// Cores that refuse writes because the disk is full, now.
    cores_without_space,
    /// Keys that reads looked for and found.
    keyspace_hits,
    /// Keys that reads looked for and did not find.
    keyspace_misses,
    /// Replies in a second, of late.
    commands_per_second,
    /// Bytes received in a second, of late.
    input_bytes_per_second,
    /// Bytes sent in a second, of late.
    output_bytes_per_second,
}

impl Counters {
    /// What was counted since then; what is held at a moment stays.
    #[must_use]
    pub fn since(&self, then: &Self) -> Self {
        let mut counted = *self;
        let mut subtract = |of: fn(&mut Self) -> &mut u64| {
            let before = *of(&mut then.clone());
            let number = of(&mut counted);
            *number = number.saturating_sub(before);
        };
        subtract(|of| &mut of.commands);
        subtract(|of| &mut of.errors);
        subtract(|of| &mut of.writes);
        subtract(|of| &mut of.reads);
        subtract(|of| &mut of.batches);
        subtract(|of| &mut of.connections_received);
        subtract(|of| &mut of.input_bytes);
        subtract(|of| &mut of.output_bytes);
        subtract(|of| &mut of.replies_refused);
        subtract(|of| &mut of.inputs_refused);
        subtract(|of| &mut of.clients_cut);
        subtract(|of| &mut of.turns_stalled);
        subtract(|of| &mut of.turns);
        subtract(|of| &mut of.requests_forwarded);
        subtract(|of| &mut of.keyspace_hits);
        subtract(|of| &mut of.keyspace_misses);
        counted
    }
}

/// A rate is that of the last window of at least so many milliseconds.
const WINDOW_MILLIS: u64 = 1_000;

/// How much of each of `N` counts comes in a second.
#[derive(Clone, Copy, Debug)]
pub struct Pace<const N: usize> {
    since: Mono,
    counted: [u64; N],
    per_second: [u64; N],
}

impl<const N: usize> Default for Pace<N> {
    fn default() -> Self {
        Self { since: Mono::default(), counted: [0; N], per_second: [0; N] }
    }
}

impl<const N: usize> Pace<N> {
    fn is_over(&self, now: Mono) -> bool {
        now >= self.since.plus_millis(WINDOW_MILLIS)
    }

    /// Takes what has been counted until `now`. Call it in every turn.
    #[inline]
    pub fn follow(&mut self, now: Mono, counts: [u64; N]) {
        if self.is_over(now) {
            *self = Self { since: now, counted: counts, per_second: self.per_second(now, counts) };
        }
    }

    /// What comes in a second, given what has been counted until `now`.
    #[must_use]
    pub fn per_second(&self, now: Mono, counts: [u64; N]) -> [u64; N] {
        if !self.is_over(now) {
            return self.per_second;
        }
        let nanos = u128::from(now.nanos_since(self.since));
        let rate = |new: u64, old: u64| {
            u64::try_from(u128::from(new.saturating_sub(old)) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
        };
        std::array::from_fn(|index| rate(counts[index], self.counted[index]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_that_of_the_last_window_also_after_idling() {
        let mut pace = Pace::default();
        let at = |millis: u64| Mono(millis * 1_000_000);
        pace.follow(at(10_000), [0, 0]);
        pace.follow(at(10_500), [500, 7]);
        assert_eq!(pace.per_second(at(10_600), [500, 7]), [0, 0], "the window is not over");
        pace.follow(at(12_000), [3_000, 8]);
        assert_eq!(pace.per_second(at(12_100), [3_100, 8]), [1_500, 4]);
        assert_eq!(pace.per_second(at(22_000), [3_000, 8]), [0, 0]);
    }

    #[test]
    fn counters_of_cores_are_added_by_name() {
        let mut sum = Counters { commands: 1, requests_forwarded: 2, ..Counters::default() };
        let mut bytes = Vec::new();
        Counters { commands: 10, turns: 5, requests_forwarded: 1, ..Counters::default() }.write(&mut bytes);
        sum.add(&bytes);
        let expected = Counters { commands: 11, turns: 5, requests_forwarded: 3, ..Counters::default() };
        assert_eq!(sum, expected);
    }
}
