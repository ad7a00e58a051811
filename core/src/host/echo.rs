//! A machine that sends back what it receives: for tests of hosts, and for comparing hosts without a database in the way.

use rustc_hash::FxHashMap;

use super::{Machine, Now};
use crate::{ConnId, Event, Exit, Inbox, Outbox};

/// Receiving pauses above this many unsent bytes of a connection, and goes on below half of it.
pub const ECHO_UNSENT_BYTES_MAX: usize = 1 << 20;

/// The echo machine. See the module page.
#[derive(Default)]
pub struct Echo {
    conns: FxHashMap<ConnId, EchoConn>,
    stopping: bool,
    /// Buffers of this turn, in the order in which their connections received first.
    filled: Vec<(ConnId, Vec<u8>)>,
}

#[derive(Default)]
struct EchoConn {
    unsent_bytes: usize,
    paused: bool,
    ended: bool,
    closing: bool,
    /// The place in `filled`, while this turn has received something.
    filled: Option<usize>,
}

impl Echo {
    /// A machine without connections.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn received(&mut self, conn: ConnId, bytes: &[u8], outbox: &mut Outbox) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        let place = *state.filled.get_or_insert_with(|| {
            self.filled.push((conn, outbox.buffer()));
            self.filled.len() - 1
        });
        self.filled[place].1.extend_from_slice(bytes);
        state.unsent_bytes += bytes.len();
        if state.unsent_bytes > ECHO_UNSENT_BYTES_MAX && !state.paused {
            state.paused = true;
            outbox.pause_receive(conn);
        }
    }

    fn sent(&mut self, conn: ConnId, bytes: usize, outbox: &mut Outbox) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.unsent_bytes -= bytes;
        if state.paused && state.unsent_bytes < ECHO_UNSENT_BYTES_MAX / 2 {
            state.paused = false;
            outbox.resume_receive(conn);
        }
    }
}

impl Machine for Echo {
    fn turn(&mut self, _now: Now, inbox: &mut Inbox, outbox: &mut Outbox) {
        let mut ended = Vec::new();
        for index in 0..inbox.len() {
            match inbox.event(index) {
                Event::Accepted { conn, .. } => drop(self.conns.insert(conn, EchoConn::default())),
                Event::Received { conn, chunk } => self.received(conn, inbox.bytes(chunk), outbox),
                Event::Sent { conn, bytes } => {
                    self.sent(conn, bytes, outbox);
                    ended.push(conn);
                }
                Event::ReceiveEnded { conn, .. } | Event::Broken { conn, .. } => {
                    if let Some(state) = self.conns.get_mut(&conn) {
                        state.ended = true;
                        ended.push(conn);
                    }
                }
                Event::Closed { conn } => drop(self.conns.remove(&conn)),
                Event::Message { .. } => {}
                Event::ChoreDone { .. } => unreachable!("an echo asks for nothing"),
                Event::Stop => self.stopping = true,
            }
        }
        for (conn, buffer) in self.filled.drain(..) {
            if let Some(state) = self.conns.get_mut(&conn) {
                state.filled = None;
            }
            outbox.send(conn, buffer);
        }
        for conn in ended {
            if let Some(state) = self.conns.get_mut(&conn)
                && state.ended
                && !state.closing
            {
                state.closing = true;
                outbox.close(conn);
            }
        }
        if self.stopping {
            outbox.finish(Exit::Stopped);
        }
    }
}
