//! Requests that travel together: the writes of one batch, or the reads that one turn sends to one owner.
//!
//! Owners answer by flight and number; the flight knows who waits for each. It also holds the [`Trail`] that all of its
//! requests share. A flight ends, and its slot is used again, when each of its replies has left towards its client (or
//! was dropped with its connection).

use crate::ConnId;
use crate::command::CommandId;
use crate::conn::Place;
use crate::stages::Trail;
use pinion_wal::GroupId;

/// Who gets a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiter {
    /// A place of a connection.
    Conn {
        /// The connection.
        conn: ConnId,
        /// The place in its order of replies.
        place: Place,
        /// The command, which decides how a reply looks.
        command: CommandId,
    },
    /// One part of a reply that is put together from several.
    Part {
        /// The gathering.
        gathering: u32,
        /// Which part.
        part: u32,
    },
    /// Nobody any more: it was answered.
    Answered,
}

/// See the module page.
#[derive(Default)]
pub struct Flight {
    /// When its requests passed the stages.
    pub trail: Trail,
    /// The group that its writes go to; `None` for reads.
    pub writes: Option<GroupId>,
    waiters: Vec<Waiter>,
    /// Replies that have not left.
    held: u32,
}

/// All flights of a core.
pub struct Flights {
    slots: Vec<Flight>,
    free: Vec<u32>,
    /// Replies that have not left.
    held: usize,
    held_max: usize,
}

impl Default for Flights {
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl Flights {
    /// No flights. The core is crowded once `held_max` replies are awaited.
    #[must_use]
    pub const fn new(held_max: usize) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), held: 0, held_max }
    }

    /// Whether so many replies are awaited, with those that are put together elsewhere, that connections shall not add many.
    #[must_use]
    pub const fn is_crowded_with(&self, elsewhere: usize) -> bool {
        self.held + elsewhere >= self.held_max
    }

    /// Starts a flight; it ends after as many [`Flights::release`] as it got waiters and holds.
    pub fn start(&mut self, writes: Option<GroupId>) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Flight::default());
            (self.slots.len() - 1) as u32
        });
        let flight = &mut self.slots[slot as usize];
        assert!(flight.held == 0 && flight.waiters.is_empty(), "flight {slot} is in use");
        flight.trail = Trail::default();
        flight.writes = writes;
        slot
    }

    /// Adds a waiter and answers its number.
    pub fn join(&mut self, flight: u32, waiter: Waiter) -> u32 {
        let flight = &mut self.slots[flight as usize];
        flight.waiters.push(waiter);
        flight.held += 1;
        self.held += 1;
        (flight.waiters.len() - 1) as u32
    }

    /// Who waits for reply `index`. It is answered with this, and never again.
    ///
    /// # Panics
    /// When it was answered before: a reply came twice.
    pub fn answer(&mut self, flight: u32, index: u32) -> Waiter {
        let waiter = &mut self.slots[flight as usize].waiters[index as usize];
        assert_ne!(*waiter, Waiter::Answered, "reply {index} of flight {flight} came twice");
        std::mem::replace(waiter, Waiter::Answered)
    }

    /// Keeps a flight until one more [`Flights::release`].
    pub fn hold(&mut self, flight: u32) {
        self.slots[flight as usize].held += 1;
        self.held += 1;
    }

    /// A reply has left, or was dropped. The last one ends the flight.
    pub fn release(&mut self, slot: u32) {
        let flight = &mut self.slots[slot as usize];
        flight.held = flight.held.checked_sub(1).expect("no more replies leave than were awaited");
        self.held -= 1;
        if flight.held == 0 {
            flight.waiters.clear();
            self.free.push(slot);
        }
    }

    /// The flight in a slot.
    #[must_use]
    pub fn get(&self, slot: u32) -> &Flight {
        &self.slots[slot as usize]
    }

    /// The flight in a slot.
    pub fn get_mut(&mut self, slot: u32) -> &mut Flight {
        &mut self.slots[slot as usize]
    }

    /// Replies that have not left.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held
    }

    /// What must hold.
    ///
    /// # Panics
    /// When it does not.
    pub fn check(&self) {
        assert_eq!(self.slots.iter().map(|flight| flight.held as usize).sum::<usize>(), self.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAITER: Waiter = Waiter::Part { gathering: 1, part: 2 };

    #[test]
    fn a_slot_is_used_again_after_its_last_reply_left() {
        let mut flights = Flights::default();
        let first = flights.start(None);
        assert_eq!((flights.join(first, WAITER), flights.join(first, WAITER)), (0, 1));
        assert_eq!(flights.answer(first, 1), WAITER);
        flights.release(first);
        assert_ne!(flights.start(None), first);
        flights.answer(first, 0);
        flights.release(first);
        assert_eq!(flights.start(Some(GroupId(16))), first);
        assert_eq!(flights.held(), 0);
    }

    #[test]
    #[should_panic(expected = "came twice")]
    fn a_reply_that_comes_twice_is_noticed() {
        let mut flights = Flights::default();
        let flight = flights.start(None);
        flights.join(flight, WAITER);
        flights.answer(flight, 0);
        flights.answer(flight, 0);
    }
}
