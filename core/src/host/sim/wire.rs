//! The byte streams between a simulated client and its core.

use std::collections::VecDeque;

use pinion_wal::Mono;

use crate::ConnId;
use crate::host::uring::LINGER_MS;

/// A simulated client: never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientId(pub usize);

pub(super) struct Wire {
    pub core: usize,
    pub conn: ConnId,
    /// On the way to the server.
    pub sending: VecDeque<(Mono, Vec<u8>)>,
    /// Sent by the server, not read by the client.
    pub unread: VecDeque<Vec<u8>>,
    /// Read by the client.
    pub received: Vec<u8>,
    pub reading: bool,
    pub paused: bool,
    /// Bytes that the client had read when the server last asked.
    pub read_before: u64,
    /// Bytes that the client has read.
    pub read_bytes: u64,
    /// Nothing reaches the client any more.
    pub broken: bool,
    /// The client will send no more.
    pub finishing: bool,
    /// The server was told so.
    pub ended: bool,
    /// When the server asked to close.
    pub closing: Option<Mono>,
    /// The server was told that it is closed.
    pub closed: bool,
}

impl Wire {
    pub const fn new(core: usize, conn: ConnId) -> Self {
        Self {
            core,
            conn,
            sending: VecDeque::new(),
            unread: VecDeque::new(),
            received: Vec::new(),
            reading: true,
            paused: false,
            read_before: 0,
            read_bytes: 0,
            broken: false,
            finishing: false,
            ended: false,
            closing: None,
            closed: false,
        }
    }

    pub fn send(&mut self, due: Mono, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let due = self.sending.back().map_or(due, |(before, _)| due.max(*before));
        self.sending.push_back((due, bytes.to_vec()));
    }

    /// The next piece that is due, of at most `most` bytes.
    pub fn arrive(&mut self, now: Mono, most: usize) -> Option<Vec<u8>> {
        let (due, mut bytes) = self.sending.pop_front()?;
        if due > now {
            self.sending.push_front((due, bytes));
            return None;
        }
        if bytes.len() > most {
            let rest = bytes.split_off(most);
            self.sending.push_front((due, rest));
        }
        Some(bytes)
    }

    /// Breaks the connection if its client has read nothing since the last call; answers whether it did.
    pub fn break_if_idle(&mut self) -> bool {
        let read_before = std::mem::replace(&mut self.read_before, self.read_bytes);
        let idle = read_before == self.read_bytes && !self.unread.is_empty();
        if self.broken || self.closing.is_some() || !idle {
            return false;
        }
        self.broken = true;
        self.unread.clear();
        true
    }

    /// When a closing connection is cut although its client has not taken everything.
    pub fn cut_at(&self) -> Option<Mono> {
        self.closing.filter(|_| !self.closed).map(|since| since.plus_millis(LINGER_MS))
    }

    pub fn next_due(&self) -> Option<Mono> {
        if self.closing.is_some() {
            return self.cut_at();
        }
        if self.paused || self.ended {
            return None;
        }
        self.sending.front().map(|(due, _)| *due)
    }
}
