//! What a server may and must still know after it was killed.
//!
//! Invariant of a key: `states[0]` is acknowledged (or was seen by a check); the states after it were sent in this order
//! and their outcomes are unknown. A check finds exactly one of them; what it finds is then acknowledged, and the others
//! must never come back.

use std::collections::VecDeque;

/// A state of a key: what the command number `sequence` of its writer left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Rises with every command of the writer; 0 before the first.
    pub sequence: u64,
    /// The value; `None` when the key was deleted.
    pub value: Option<Vec<u8>>,
}

/// Everything a key may be.
#[derive(Clone, Debug)]
pub struct Register {
    states: VecDeque<State>,
    /// The highest sequence that any reader saw: what was shown must not vanish.
    shown: u64,
}

impl Default for Register {
    fn default() -> Self {
        Self { states: VecDeque::from([State { sequence: 0, value: None }]), shown: 0 }
    }
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(pub String);

impl Register {
    /// A command that leads to `state` is about to be sent.
    pub fn sent(&mut self, state: State) {
        assert!(state.sequence > self.newest().sequence, "sequences rise");
        self.states.push_back(state);
    }

    /// The oldest unacknowledged command up to `sequence` was acknowledged.
    pub fn acknowledged(&mut self, sequence: u64) {
        while self.states.len() > 1 && self.states[1].sequence <= sequence {
            self.states.pop_front();
        }
    }

    /// The state that the newest command sent leads to.
    #[must_use]
    pub fn newest(&self) -> &State {
        self.states.back().expect("a register has at least one state")
    }

    /// Commands without an outcome.
    #[must_use]
    pub fn unknown(&self) -> usize {
        self.states.len() - 1
    }

    /// A reader saw the state of `sequence`.
    pub fn was_shown(&mut self, sequence: u64) {
        self.shown = self.shown.max(sequence);
    }

    /// Takes `value` for the state, whatever was known before.
    pub fn settle(&mut self, value: Option<Vec<u8>>) {
        let sequence = self.newest().sequence;
        *self = Self { states: VecDeque::from([State { sequence, value }]), shown: 0 };
    }

    /// The state after a restart was found to be `value`: it is checked, and settled.
    ///
    /// # Errors
    /// When no state that may still be is this one.
    pub fn found(&mut self, value: Option<&[u8]>) -> Result<(), Broken> {
        let shown = self.shown;
        let place = self.states.iter().rposition(|s| s.value.as_deref() == value && s.sequence >= shown);
        let Some(place) = place else {
            let brief = |s: &State| format!("{}:{}", s.sequence, describe(s.value.as_deref()));
            let allowed: Vec<String> = self.states.iter().map(brief).collect();
            return Err(Broken(format!(
                "found {}, allowed {allowed:?}, shown to a reader {shown}",
                describe(value)
            )));
        };
        let state = self.states.swap_remove_back(place).expect("the place was found");
        self.shown = 0;
        self.states = VecDeque::from([state]);
        Ok(())
    }
}

/// The beginning of a value.
#[must_use]
pub fn describe(value: Option<&[u8]>) -> String {
    match value {
        None => "nothing".into(),
        Some(bytes) => format!("\"{}\" ({} bytes)", bytes[..bytes.len().min(32)].escape_ascii(), bytes.len()),
    }
}

/// A counter that only INCR touches.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    /// Increments that were acknowledged.
    pub acknowledged: i64,
    /// Increments whose outcome is unknown.
    pub unknown: i64,
}

impl Counter {
    /// The counter after a restart was found to be `value`: it is checked, and settled.
    ///
    /// # Errors
    /// When increments are missing, or there are more than were sent.
    pub fn found(&mut self, value: i64) -> Result<(), Broken> {
        let allowed = self.acknowledged..=self.acknowledged + self.unknown;
        if !allowed.contains(&value) {
            return Err(Broken(format!("counter is {value}, allowed {allowed:?}")));
        }
        *self = Self { acknowledged: value, unknown: 0 };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(sequence: u64, value: &str) -> State {
        State { sequence, value: (!value.is_empty()).then(|| value.as_bytes().to_vec()) }
    }

    fn register(acknowledged: u64) -> Register {
        let mut register = Register::default();
        for (sequence, value) in [(1, "a"), (2, "b"), (3, ""), (4, "c")] {
            register.sent(state(sequence, value));
        }
        register.acknowledged(acknowledged);
        register
    }

    /// D1: the checker itself: lost, future and resurrected values are found out.
    #[test]
    fn lost_future_and_returned_values_are_found_out() {
        for (acknowledged, found, sound) in [
            (0, None, true),
            (2, Some("b"), true),
            (2, None, true),
            (2, Some("c"), true),
            (2, Some("a"), false),
            (4, Some("b"), false),
            (4, None, false),
            (2, Some("d"), false),
        ] {
            let mut register = register(acknowledged);
            let outcome = register.found(found.map(str::as_bytes));
            assert_eq!(outcome.is_ok(), sound, "acknowledged {acknowledged}, found {found:?}: {outcome:?}");
        }
        let mut settled = register(2);
        settled.found(Some(b"b")).expect("acknowledged");
        assert!(settled.found(Some(b"c")).is_err(), "what a check found missing must not come back");
        assert_eq!(settled.unknown(), 0);
    }

    #[test]
    fn what_was_shown_must_not_vanish() {
        let mut register = register(1);
        register.was_shown(2);
        assert!(register.clone().found(Some(b"a")).is_err());
        assert!(register.found(Some(b"b")).is_ok());
    }

    #[test]
    fn a_counter_counts_what_was_acknowledged() {
        let counter = Counter { acknowledged: 5, unknown: 2 };
        for (value, sound) in [(4, false), (5, true), (7, true), (8, false)] {
            assert_eq!(counter.clone().found(value).is_ok(), sound, "{value}");
        }
    }
}
