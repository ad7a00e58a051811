//! What happened since the last turn.
//!
//! The host fills the inbox, closes it, samples the time and calls the turn; the machine reads events by index and their
//! bytes in place. At the end of the turn the host empties the inbox and takes the memory back: a machine copies what
//! it still needs (an incomplete command) during the turn.
//!
//! | invariant | who keeps it |
//! |---|---|
//! | of a connection: `Accepted` comes first, `Closed` last, each once | host |
//! | no event names a connection before its `Accepted` or after its `Closed` | host |
//! | nothing but `Sent`, `Broken` and `Closed` follows `ReceiveEnded` | host |
//! | messages of one core arrive in the order in which it sent them, each once | mesh |
//!
//! Disk completions are not events: the host hands them to [`pinion_wal::disk::Disk::complete`] before the turn. A
//! deadline is no event either: a turn is run when it has passed.

use std::net::SocketAddr;

use crate::host::Slab;
use crate::stalls::Away;
use crate::{ConnId, CoreId};

/// Bytes of an event, to be resolved by [`Inbox::bytes`]. Valid until the end of the turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    place: Place,
    len: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A buffer of the slab.
    Slab(u16),
    /// An offset in `copied`.
    Copied(u32),
    /// An index in `messages`.
    Message(u32),
}

impl Chunk {
    /// Bytes in this chunk.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no chunk is empty")]
    pub const fn len(self) -> usize {
        self.len as usize
    }
}

/// Why nothing more will be received on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveEnd {
    /// The peer will send no more; it may still read.
    Eof,
    /// The connection failed with this `errno`.
    Failed(i32),
}

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A client connected. Receiving has begun.
    Accepted {
        /// Its name from now on.
        conn: ConnId,
        /// The address of the client.
        peer: SocketAddr,
        /// The address it connected to.
        local: SocketAddr,
    },
    /// Bytes arrived.
    Received {
        /// The connection.
        conn: ConnId,
        /// The bytes, at least one.
        chunk: Chunk,
    },
    /// Nothing more will arrive. The machine closes the connection when it has answered what it owes.
    ReceiveEnded {
        /// The connection.
        conn: ConnId,
        /// Why.
        end: ReceiveEnd,
    },
    /// One buffer given to [`Outbox::send`](crate::Outbox::send) was taken over by the kernel whole.
    Sent {
        /// The connection.
        conn: ConnId,
        /// The bytes of that buffer.
        bytes: usize,
    },
    /// Sending failed: everything queued for this connection was dropped, and whatever is sent from now on will be.
    /// The machine closes it.
    Broken {
        /// The connection.
        conn: ConnId,
        /// Whether it was broken for [`Outbox::break_idle`](crate::Outbox::break_idle).
        idle: bool,
    },
    /// The connection is gone. Its answer to [`Outbox::close`](crate::Outbox::close).
    Closed {
        /// The connection.
        conn: ConnId,
    },
    /// A sibling core sent a message.
    Message {
        /// The sender.
        from: CoreId,
        /// The message.
        chunk: Chunk,
    },
    /// What [`Outbox::chore`](crate::Outbox::chore) asked for is done, or refused.
    ChoreDone {
        /// The ticket it was asked with.
        ticket: u32,
        /// The answer: [`chore::read_answer`](crate::chore::read_answer).
        chunk: Chunk,
    },
    /// The server shall stop: answer what is in flight, then call [`Outbox::finish`](crate::Outbox::finish). The host
    /// has stopped accepting. Comes once.
    Stop,
}

/// The inbox of one core. See the module page.
#[derive(Default)]
pub struct Inbox {
    events: Vec<Event>,
    slab: Option<Slab>,
    slab_used: Vec<u16>,
    copied: Vec<u8>,
    messages: Vec<Vec<u8>>,
    received_at_ticks: u64,
    away: Away,
}

impl Inbox {
    /// An empty inbox over plain memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty inbox that also resolves buffers of `slab`.
    #[must_use]
    pub fn with_slab(slab: Slab) -> Self {
        Self { slab: Some(slab), ..Self::default() }
    }

    /// Events of this turn.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether nothing happened.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Event number `index`, in the order in which they happened.
    ///
    /// # Panics
    /// When there is no such event.
    #[must_use]
    pub fn event(&self, index: usize) -> Event {
        self.events[index]
    }

    /// The bytes of a chunk of this turn.
    ///
    /// # Panics
    /// When the chunk is of another turn and its place is not in use in this one.
    #[must_use]
    pub fn bytes(&self, chunk: Chunk) -> &[u8] {
        let len = chunk.len as usize;
        match chunk.place {
            Place::Slab(buffer) => {
                let slab = self.slab.as_ref().expect("a chunk of the slab was pushed by a host with one");
                &slab.bytes(buffer)[..len]
            }
            Place::Copied(offset) => &self.copied[offset as usize..][..len],
            Place::Message(index) => &self.messages[index as usize],
        }
    }

    /// The time-stamp counter when the host took these events from the kernel: the end of "the last byte read".
    #[must_use]
    pub const fn received_at_ticks(&self) -> u64 {
        self.received_at_ticks
    }

    /// What the host was about since the last turn: it notes it, the machine takes it.
    pub const fn away(&mut self) -> &mut Away {
        &mut self.away
    }

    /// For hosts: notes when the events were taken.
    pub const fn set_received_at_ticks(&mut self, ticks: u64) {
        self.received_at_ticks = ticks;
    }

    /// For hosts: an event without bytes.
    pub fn push(&mut self, event: Event) {
        self.events.push(event);
    }

    /// For hosts without a slab: bytes arrived; they are copied.
    ///
    /// # Panics
    /// When `bytes` is empty.
    pub fn push_received(&mut self, conn: ConnId, bytes: &[u8]) {
        assert!(!bytes.is_empty(), "an empty receive is an end, not a chunk");
        let offset = u32::try_from(self.copied.len()).expect("a turn receives less than 4 GiB");
        self.copied.extend_from_slice(bytes);
        let len = u32::try_from(bytes.len()).expect("a turn receives less than 4 GiB");
        self.events.push(Event::Received { conn, chunk: Chunk { place: Place::Copied(offset), len } });
    }

    /// For hosts with a slab: `len` bytes arrived in `buffer`, which the host holds until [`Inbox::clear`].
    pub fn push_received_in_slab(&mut self, conn: ConnId, buffer: u16, len: u32) {
        assert!(len > 0, "an empty receive is an end, not a chunk");
        self.slab_used.push(buffer);
        self.events.push(Event::Received { conn, chunk: Chunk { place: Place::Slab(buffer), len } });
    }

    /// For hosts: a message of a sibling core.
    pub fn push_message(&mut self, from: CoreId, message: Vec<u8>) {
        let place = Place::Message(u32::try_from(self.messages.len()).expect("few messages per turn"));
        let len = u32::try_from(message.len()).expect("a message is below 4 GiB");
        self.messages.push(message);
        self.events.push(Event::Message { from, chunk: Chunk { place, len } });
    }

    /// For hosts: a chore is done.
    pub fn push_chore_done(&mut self, ticket: u32, answer: Vec<u8>) {
        let place = Place::Message(u32::try_from(self.messages.len()).expect("few messages per turn"));
        let len = u32::try_from(answer.len()).expect("an answer is short");
        self.messages.push(answer);
        self.events.push(Event::ChoreDone { ticket, chunk: Chunk { place, len } });
    }

    /// For hosts: empties the inbox. The buffers of messages go to `message`, those of the slab to `buffer`.
    pub fn clear(&mut self, message: impl FnMut(Vec<u8>), mut buffer: impl FnMut(&mut Slab, u16)) {
        self.events.clear();
        self.copied.clear();
        self.messages.drain(..).for_each(message);
        if let Some(slab) = &mut self.slab {
            self.slab_used.drain(..).for_each(|used| buffer(slab, used));
        }
    }

    /// For hosts: the slab, if there is one.
    pub const fn slab_mut(&mut self) -> Option<&mut Slab> {
        self.slab.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONN: ConnId = ConnId { slot: 3, generation: 9 };

    #[test]
    fn chunks_of_every_place_give_their_own_bytes_until_cleared() {
        let mut inbox = Inbox::new();
        inbox.push_received(CONN, b"first");
        inbox.push_message(CoreId(1), b"message".to_vec());
        inbox.push_received(CONN, b"second");
        let mut seen: Vec<&[u8]> = Vec::new();
        for index in 0..inbox.len() {
            match inbox.event(index) {
                Event::Received { chunk, .. } | Event::Message { chunk, .. } => {
                    assert_eq!(chunk.len(), inbox.bytes(chunk).len());
                    seen.push(inbox.bytes(chunk));
                }
                other => panic!("{other:?} was never pushed"),
            }
        }
        assert_eq!(seen, [&b"first"[..], b"message", b"second"]);
        let mut returned = Vec::new();
        inbox.clear(|message| returned.push(message), |_, _| unreachable!("there is no slab"));
        assert_eq!(returned, [b"message".to_vec()]);
        assert!(inbox.is_empty());
    }
}
