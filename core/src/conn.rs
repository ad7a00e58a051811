//! A connection: what has been received and not parsed, what is owed, what is to be sent.
//!
//! ```text
//! receive -> input -> parser -> places in the ring -> replies in order -> out -> send
//! ```
//!
//! | bound | what happens at it |
//! |---|---|
//! | commands that wait for replies ([`PENDING_REPLIES_MAX`]) | parsing and receiving stop until half of them have left |
//! | the same on a core where too many of all connections wait ([`PENDING_REPLIES_CROWDED`]) | the same |
//! | reply bytes that the client has not taken ([`UNSENT_BYTES_MAX`]) | the same |
//!
//! A connection ends in steps: no more is parsed; what is owed is answered and sent; the host closes; it is forgotten.

mod ring;
mod session;
mod table;

pub use ring::{Passed, Place, ReplyRing};
pub use session::Session;
pub use table::Conns;

use pinion_shard::GroupId;
use pinion_wal::Mono;

use crate::ConnId;
use crate::planted;
use crate::resp::{Parser, Protocol};

/// Commands of one connection that may wait for replies.
pub const PENDING_REPLIES_MAX: usize = 4096;
/// Commands of one connection that may wait for replies while those of its core are too many.
pub const PENDING_REPLIES_CROWDED: usize = 16;
/// Reply bytes that a client may leave untaken before its commands are no longer read.
pub const UNSENT_BYTES_MAX: usize = 1 << 20;
/// The same while the replies of its core are too many.
pub const UNSENT_BYTES_CROWDED: usize = 4 << 10;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Its commands are parsed.
    Open,
    /// Nothing more is parsed; what is owed is still answered.
    Draining,
    /// The host was asked to close it.
    Closing,
}

/// The last write of a connection to a group that is not answered yet.
#[derive(Clone, Copy, Debug)]
struct Written {
    group: GroupId,
    /// Writes there without an answer.
    unanswered: u32,
    /// The last one's flight and how many commands its batch had with it; of the turn in which it was written.
    turn: u64,
    flight: u32,
    position: u32,
}

/// See the module page.
pub struct Connection {
    /// Its name.
    pub id: ConnId,
    /// Who the client is.
    pub session: Session,
    /// The state of its parser.
    pub parser: Parser,
    /// Received, not parsed: an incomplete command, or commands that must wait.
    pub input: Vec<u8>,
    /// The parser gets no further before `input` has this many bytes.
    pub input_need: usize,
    /// When the newest of `input` was read, in ticks.
    pub input_ticks: u64,
    /// What is owed.
    pub ring: ReplyRing,
    /// To be sent at the end of the turn.
    pub out: Vec<u8>,
    /// Given to the host and not taken by the kernel.
    pub unsent_bytes: usize,
    /// When its client last took something, began to be owed something, or was suspected to take nothing.
    pub taken_at: Mono,
    /// How far it has come.
    pub phase: Phase,
    /// Whether the host was asked to stop receiving.
    pub paused: bool,
    /// Whether the peer will send no more.
    pub ended: bool,
    /// Whether `input` holds commands that must wait.
    pub stalled: bool,
    /// Whether they wait until everything owed has left.
    pub barrier: bool,
    /// Whether it stands in the list of connections to be settled at the end of this turn.
    pub listed: bool,
    written: Vec<Written>,
}

/// What a read of a connection must wait for. See [`Connection::read_after`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Nothing.
    Nothing,
    /// A write of an earlier turn is not answered.
    Earlier,
    /// The first `position` commands of the batch that flies as `flight`, written in this turn.
    Batch {
        /// The flight of the batch.
        flight: u32,
        /// How many of its commands.
        position: u32,
    },
}

impl Connection {
    /// A fresh connection.
    #[must_use]
    pub fn new(id: ConnId, session: Session) -> Self {
        Self {
            id,
            session,
            parser: Parser::new(),
            input: Vec::new(),
            input_need: 0,
            input_ticks: 0,
            ring: ReplyRing::default(),
            out: Vec::new(),
            unsent_bytes: 0,
            taken_at: Mono::default(),
            phase: Phase::Open,
            paused: false,
            ended: false,
            stalled: false,
            barrier: false,
            listed: false,
            written: Vec::new(),
        }
    }

    /// What the client understands at this point of its stream.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.session.client.protocol
    }

    /// Whether another command may be taken in now.
    #[must_use]
    pub fn may_parse(&self, crowded: bool) -> bool {
        self.phase == Phase::Open
            && self.ring.len() < pending_max(crowded)
            && (self.reply_bytes() < unsent_max(crowded) || planted::is("replies-never-pause"))
    }

    /// Whether a connection that was stopped at a bound is far enough below it.
    #[must_use]
    pub fn may_resume(&self, crowded: bool) -> bool {
        self.ring.len() <= pending_max(crowded) / 2 && self.reply_bytes() <= unsent_max(crowded) / 2
    }

    /// Whether commands that had to wait may be parsed now.
    #[must_use]
    pub fn may_go_on(&self, crowded: bool) -> bool {
        if self.barrier { self.ring.is_empty() } else { self.may_resume(crowded) }
    }

    /// Bytes of replies that the client has not taken.
    #[must_use]
    pub fn reply_bytes(&self) -> usize {
        self.unsent_bytes + self.out.len() + self.ring.early_bytes()
    }

    /// Notes a write: command number `position - 1` of the batch that flies as `flight`.
    pub fn wrote(&mut self, group: GroupId, turn: u64, flight: u32, position: u32) {
        match self.written.iter_mut().find(|written| written.group == group) {
            Some(written) => {
                let unanswered = written.unanswered + 1;
                *written = Written { group, unanswered, turn, flight, position };
            }
            None => self.written.push(Written { group, unanswered: 1, turn, flight, position }),
        }
    }

    /// Notes that a write to `group` was answered.
    pub fn write_answered(&mut self, group: GroupId) {
        let Some(index) = self.written.iter().position(|written| written.group == group) else { return };
        self.written[index].unanswered -= 1;
        if self.written[index].unanswered == 0 {
            self.written.swap_remove(index);
        }
    }

    /// What a read of `group` must wait for, so that it sees this connection's earlier writes there.
    #[must_use]
    pub fn read_after(&self, group: GroupId, turn: u64) -> After {
        match self.written.iter().find(|written| written.group == group) {
            None => After::Nothing,
            Some(written) if written.turn == turn => {
                After::Batch { flight: written.flight, position: written.position }
            }
            Some(_) => After::Earlier,
        }
    }

    /// What must hold.
    ///
    /// # Panics
    /// When it does not.
    pub fn check(&self) {
        self.ring.check();
        assert!(self.written.iter().all(|written| written.unanswered > 0));
        assert!(self.ring.len() <= PENDING_REPLIES_MAX, "more commands were taken in than may wait");
    }
}

const fn unsent_max(crowded: bool) -> usize {
    if crowded { UNSENT_BYTES_CROWDED } else { UNSENT_BYTES_MAX }
}

const fn pending_max(crowded: bool) -> usize {
    if crowded { PENDING_REPLIES_CROWDED } else { PENDING_REPLIES_MAX }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use crate::command::Client;

    fn connection() -> Connection {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let client = Client { id: 1, name: Vec::new(), protocol: Protocol::Resp2, authenticated: true };
        Connection::new(ConnId { slot: 0, generation: 0 }, Session::new(client, address, address, 0))
    }

    #[test]
    fn a_read_waits_for_the_last_write_of_its_group() {
        let mut conn = connection();
        let (a, b) = (GroupId(16), GroupId(17));
        assert_eq!(conn.read_after(a, 1), After::Nothing);
        conn.wrote(a, 1, 5, 1);
        conn.wrote(a, 1, 5, 4);
        assert_eq!(conn.read_after(a, 1), After::Batch { flight: 5, position: 4 });
        assert_eq!(conn.read_after(b, 1), After::Nothing);
        assert_eq!(conn.read_after(a, 2), After::Earlier);
        conn.write_answered(a);
        assert_eq!(conn.read_after(a, 2), After::Earlier);
        conn.write_answered(a);
        assert_eq!(conn.read_after(a, 2), After::Nothing);
    }
}
