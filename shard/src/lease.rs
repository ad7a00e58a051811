//! The lease of a leader: how long it may answer reads, and the oracle issue timestamps, without asking anybody.
//!
//! A lease counts from the moment at which the round that a quorum confirmed was SENT, and is shorter than an election
//! timeout by a margin for clocks that drift. However late the confirmations are read, they extend nothing beyond that.
//! The only voter of a group confirms itself: nobody else can be elected before it applies a change of configuration.
//!
//! | invariant | requirement |
//! |---|---|
//! | `end = sent + LEASE_MS` of the newest confirmed round of this term | L1 |
//! | no lease before an entry of the own term was applied: the caller asks [`Lease::holds`] only then | L2 |
//! | none in a term in which leadership was handed over | M6 |

use std::collections::VecDeque;

use pinion_wal::{Mono, Term, planted};

use crate::limits::LEASE_MS;

/// See the module page.
#[derive(Debug, Default)]
pub struct Lease {
    term: Term,
    end: Mono,
    only_voter: bool,
    /// Rounds sent and not confirmed: number and time of sending.
    rounds: VecDeque<(u64, Mono)>,
    next_round: u64,
    /// The term in which a transfer of leadership was sent.
    transferred: Option<Term>,
}

/// Rounds that may be unconfirmed at a time; older ones are forgotten.
const ROUNDS_MAX: usize = 64;

impl Lease {
    /// Begins a term as its leader: what was held before is void.
    pub fn lead(&mut self, term: Term, only_voter: bool) {
        assert!(term >= self.term, "terms only rise");
        self.term = term;
        self.end = Mono(0);
        self.only_voter = only_voter;
        self.rounds.clear();
    }

    /// Leads no more.
    pub fn step_down(&mut self) {
        self.end = Mono(0);
        self.only_voter = false;
        self.rounds.clear();
    }

    /// A round is sent at `now`; answers its number.
    pub fn sent(&mut self, now: Mono) -> u64 {
        if self.rounds.len() == ROUNDS_MAX {
            self.rounds.pop_front();
        }
        let round = self.next_round;
        self.next_round += 1;
        self.rounds.push_back((round, now));
        round
    }

    /// A quorum has confirmed `round` (and with it the earlier ones) in `term`.
    pub fn confirmed(&mut self, term: Term, round: u64) {
        if term != self.term || self.transferred == Some(term) {
            return;
        }
        let newest = self.rounds.back().copied().filter(|_| planted::is("lease-across-a-pause"));
        while let Some(&(number, sent)) = self.rounds.front()
            && number <= round
        {
            let sent = newest.map_or(sent, |(_, newest)| newest);
            self.end = self.end.max(sent.plus_millis(LEASE_MS));
            self.rounds.pop_front();
        }
    }

    /// Leadership is about to be handed over: no lease is held again in this term.
    pub fn transfer(&mut self) {
        self.transferred = Some(self.term);
        self.step_down();
    }

    /// Whether the lease holds at `now`.
    #[must_use]
    pub fn holds(&self, now: Mono) -> bool {
        now < self.end()
    }

    /// When the lease ends; the far end of time for the only voter.
    #[must_use]
    pub fn end(&self) -> Mono {
        if self.only_voter && self.transferred != Some(self.term) { Mono(u64::MAX) } else { self.end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Mono {
        Mono(millis * 1_000_000)
    }

    /// L1: however late confirmations are read, the lease ends when it would have.
    #[test]
    fn a_lease_counts_from_the_sending() {
        let mut lease = Lease::default();
        lease.lead(Term(3), false);
        assert!(!lease.holds(ms(0)));
        let first = lease.sent(ms(100));
        let second = lease.sent(ms(200));
        lease.confirmed(Term(3), first);
        assert!(lease.holds(ms(99 + LEASE_MS)) && !lease.holds(ms(100 + LEASE_MS)));
        lease.confirmed(Term(3), second);
        assert!(!lease.holds(ms(5_000)), "confirmations buffered across a pause extend nothing");
        assert_eq!(lease.end(), ms(200 + LEASE_MS));
    }

    #[test]
    fn a_lease_ends_with_its_term_and_with_a_transfer() {
        let mut lease = Lease::default();
        lease.lead(Term(3), false);
        let round = lease.sent(ms(100));
        lease.lead(Term(4), false);
        lease.confirmed(Term(3), round);
        assert!(!lease.holds(ms(100)), "a confirmation of an earlier term");
        let round = lease.sent(ms(100));
        lease.transfer();
        lease.confirmed(Term(4), round);
        assert!(!lease.holds(ms(100)));
        lease.lead(Term(5), true);
        assert!(lease.holds(ms(1_000_000)), "the only voter confirms itself");
        lease.step_down();
        assert!(!lease.holds(ms(0)));
    }
}
