//! What a core counts. No labels: one number per name and core, summed over cores for whoever asks.

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
}

#[cfg(test)]
mod tests {
    use super::*;

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
