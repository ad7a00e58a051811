//! What a turn wants done.
//!
//! The machine fills the outbox during a turn; the host carries it out after the turn, in order. Buffers come from the
//! outbox's pool and return to it by themselves: a buffer given away belongs to the host until the kernel (or the sibling
//! core) has taken it.
//!
//! Sends of one connection reach the client in order; each answers with one [`Event::Sent`](crate::Event::Sent) or
//! one `Broken` for all. The machine counts what is outstanding and stops reading from who does not read.
//!
//! Disk submissions are not here: the host takes them from the [`pinion_wal::disk::Disk`] handle.

use pinion_wal::Mono;

use crate::chore::Chore;
use crate::{ConnId, CoreId};

/// Buffers kept for reuse; more are freed.
const POOL_BUFFERS_MAX: usize = 256;
/// A buffer that grew beyond this many bytes is freed instead of kept. Every connection holds one, also when it is idle.
const POOLED_BUFFER_BYTES_MAX: usize = 16 << 10;
/// The least capacity of a fresh buffer, in bytes.
const FRESH_BUFFER_BYTES: usize = 4 << 10;

/// One thing to be done by the host.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Send these bytes (at least one).
    Send(ConnId, Vec<u8>),
    /// Send what is queued, then close; answered by [`Event::Closed`](crate::Event::Closed).
    Close(ConnId),
    /// Break the connection if its client has taken nothing since the last time; then answered by
    /// [`Event::Broken`](crate::Event::Broken).
    BreakIdle(ConnId),
    /// Stop receiving. What the kernel handed over before may still arrive.
    PauseReceive(ConnId),
    /// Receive again.
    ResumeReceive(ConnId),
    /// Deliver to a sibling core.
    Message(CoreId, Vec<u8>),
    /// Carry out beside the cores; answered by [`Event::ChoreDone`](crate::Event::ChoreDone) with the same ticket.
    Chore(u32, Chore),
    /// Ask every core of the node to stop.
    StopNode,
}

/// How a core ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It was asked to, and everything in flight is answered and stable.
    Stopped,
    /// It must not go on: what happened, to what, and what to do. The process exits with an error.
    Poisoned(String),
}

/// The outbox of one core. See the module page.
#[derive(Default)]
pub struct Outbox {
    actions: Vec<Action>,
    pool: Vec<Vec<u8>>,
    deadline: Option<Mono>,
    again: bool,
    exit: Option<Exit>,
}

impl Outbox {
    /// An empty outbox.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty buffer from the pool.
    pub fn buffer(&mut self) -> Vec<u8> {
        self.pool.pop().unwrap_or_else(|| Vec::with_capacity(FRESH_BUFFER_BYTES))
    }

    /// Gives a buffer back that was taken and not used, or used up.
    pub fn recycle(&mut self, mut buffer: Vec<u8>) {
        let worth = buffer.capacity() > 0 && buffer.capacity() <= POOLED_BUFFER_BYTES_MAX;
        if worth && self.pool.len() < POOL_BUFFERS_MAX {
            buffer.clear();
            self.pool.push(buffer);
        }
    }

    /// Sends `buffer` on `conn`, after what was sent before. An empty buffer is recycled and answered by nothing.
    pub fn send(&mut self, conn: ConnId, buffer: Vec<u8>) {
        if buffer.is_empty() {
            return self.recycle(buffer);
        }
        self.actions.push(Action::Send(conn, buffer));
    }

    /// Closes `conn` once everything sent so far has left. Nothing may be sent on it afterwards.
    ///
    /// A peer that does not read cannot hold the connection: the host drops what is left after its linger time.
    pub fn close(&mut self, conn: ConnId) {
        self.actions.push(Action::Close(conn));
    }

    /// Breaks `conn`, to which something is being sent, if its client has taken nothing since the last call for it, or ever.
    /// The kernel tells of a send only when much of it has left: a slow client may have taken bytes for long without a
    /// [`Event::Sent`](crate::Event::Sent).
    pub fn break_idle(&mut self, conn: ConnId) {
        self.actions.push(Action::BreakIdle(conn));
    }

    /// Stops receiving on `conn`: the peer is pushed back by its full window.
    pub fn pause_receive(&mut self, conn: ConnId) {
        self.actions.push(Action::PauseReceive(conn));
    }

    /// Receives on `conn` again.
    pub fn resume_receive(&mut self, conn: ConnId) {
        self.actions.push(Action::ResumeReceive(conn));
    }

    /// Sends `message` to a sibling core; never to the own one. It arrives in order, once, and is opaque to the mesh.
    pub fn message(&mut self, to: CoreId, message: Vec<u8>) {
        self.actions.push(Action::Message(to, message));
    }

    /// Has something carried out beside the cores, which may take long. Its answer names the ticket.
    pub fn chore(&mut self, ticket: u32, chore: Chore) {
        self.actions.push(Action::Chore(ticket, chore));
    }

    /// Asks every core of the node to stop, this one included: [`Event::Stop`](crate::Event::Stop) follows.
    pub fn stop_node(&mut self) {
        self.actions.push(Action::StopNode);
    }

    /// The next turn must begin at `at` at the latest, whatever happens. The least of all calls of a turn holds.
    pub fn wake_at(&mut self, at: Mono) {
        self.deadline = Some(self.deadline.map_or(at, |before| before.min(at)));
    }

    /// There is work left: the host shall look for events and run the next turn without waiting.
    pub const fn run_again(&mut self) {
        self.again = true;
    }

    /// This core has ended: no turn follows. The first call holds.
    pub fn finish(&mut self, exit: Exit) {
        self.exit.get_or_insert(exit);
    }

    /// For hosts: takes what is to be done, in order.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Action> {
        self.actions.drain(..)
    }

    /// For hosts: moves what is to be done into `into`, which must be empty; its memory is used for the next turn.
    pub fn swap_actions(&mut self, into: &mut Vec<Action>) {
        assert!(into.is_empty(), "actions of an earlier turn were not carried out");
        std::mem::swap(&mut self.actions, into);
    }

    /// For hosts: the deadline of the next turn; forgets it.
    pub const fn take_deadline(&mut self) -> Option<Mono> {
        self.deadline.take()
    }

    /// For hosts: whether the next turn shall follow at once; forgets it.
    pub const fn take_run_again(&mut self) -> bool {
        std::mem::replace(&mut self.again, false)
    }

    /// For hosts: how the core ended, if it did.
    pub const fn take_exit(&mut self) -> Option<Exit> {
        self.exit.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_deadline_holds_and_is_forgotten_when_taken() {
        let mut outbox = Outbox::new();
        outbox.wake_at(Mono(30));
        outbox.wake_at(Mono(10));
        outbox.wake_at(Mono(20));
        assert_eq!(outbox.take_deadline(), Some(Mono(10)));
        assert_eq!(outbox.take_deadline(), None);
    }

    #[test]
    fn buffers_return_empty_and_oversized_ones_are_not_kept() {
        let mut outbox = Outbox::new();
        let mut buffer = outbox.buffer();
        buffer.extend_from_slice(b"abc");
        let place = buffer.as_ptr();
        outbox.recycle(buffer);
        let again = outbox.buffer();
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        outbox.recycle(Vec::with_capacity(POOLED_BUFFER_BYTES_MAX + 1));
        assert!(outbox.buffer().capacity() <= POOLED_BUFFER_BYTES_MAX);
    }

    #[test]
    fn an_empty_send_is_no_action() {
        let mut outbox = Outbox::new();
        outbox.send(ConnId { slot: 0, generation: 0 }, Vec::new());
        assert_eq!(outbox.drain().count(), 0);
    }
}
