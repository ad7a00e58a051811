//! What was done to the simulated nodes, by kind.

use std::collections::BTreeMap;
use std::fmt;

/// Every kind that a campaign must show to have happened.
pub const EVERY_KIND: [&str; 16] = [
    "clock_back",
    "clock_forward",
    "core_paused",
    "damage_refused",
    "disk_full",
    "disk_has_room_again",
    "flipped_byte",
    "flipped_read",
    "misdirected_block",
    "no_space",
    "read_error",
    "short",
    "slow",
    "sync_error",
    "value_refused",
    "write_error",
];

/// How often each kind happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    /// A kind happened `count` times more.
    pub fn add(&mut self, kind: &'static str, count: u64) {
        *self.0.entry(kind).or_default() += count;
    }

    /// Adds others.
    pub fn join(&mut self, others: &Self) {
        others.0.iter().for_each(|(kind, count)| self.add(kind, *count));
    }

    /// The kinds that never happened.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        EVERY_KIND.into_iter().filter(|kind| self.0.get(kind).is_none_or(|count| *count == 0)).collect()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<String> = self.0.iter().map(|(kind, count)| format!("{kind}={count}")).collect();
        f.write_str(&kinds.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_happened_is_missing() {
        let mut counts = Counts::default();
        assert_eq!(counts.missing(), EVERY_KIND);
        EVERY_KIND.iter().for_each(|kind| counts.add(kind, u64::from(*kind != "slow")));
        assert_eq!(counts.missing(), ["slow"]);
    }
}
