//! One connection of the load: requests out, replies counted in order.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::LoadError;
use super::options::Target;
use super::reply::{Reply, next_reply};

/// Bytes read from the socket at once.
const READ_BYTES: usize = 256 << 10;
/// How long a server may take to answer the greeting.
const GREETING_MAX: Duration = Duration::from_secs(10);

/// A reply is never longer: a server that says more has lost the thread.
const REPLY_BYTES_MAX: usize = 1 << 30;

/// What is told of a choice: a failed one is told once, at its first error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen<'a> {
    /// One of its replies is this error.
    Failed(&'a [u8]),
    /// All of its replies came and none is an error; whether one of them is nil.
    Done(Duration, bool),
}

/// A choice that was sent and not wholly answered.
#[derive(Clone, Copy, Debug)]
struct Pending {
    since: Instant,
    replies: u32,
    nil: bool,
    failed: bool,
}

/// A connection with its unsent bytes and its unanswered choices.
pub struct Connection {
    socket: OwnedFd,
    out: Vec<u8>,
    written: usize,
    pending: VecDeque<Pending>,
    input: Vec<u8>,
    filled: usize,
}

impl Connection {
    /// Connects, without Nagle's delay, says `greeting` (whole requests), and reads and writes without blocking then.
    pub fn open(target: &Target, greeting: &[Vec<u8>]) -> Result<Self, LoadError> {
        let failed = |e| LoadError::Connection(format!("connecting to {target}"), e);
        let socket = match target {
            Target::Tcp(address) => {
                let mut socket = TcpStream::connect(address).map_err(failed)?;
                socket.set_nodelay(true).map_err(failed)?;
                socket.set_read_timeout(Some(GREETING_MAX)).map_err(failed)?;
                greet(&mut socket, greeting)?;
                socket.set_nonblocking(true).map_err(failed)?;
                socket.into()
            }
            Target::Unix(path) => {
                let mut socket = UnixStream::connect(path).map_err(failed)?;
                socket.set_read_timeout(Some(GREETING_MAX)).map_err(failed)?;
                greet(&mut socket, greeting)?;
                socket.set_nonblocking(true).map_err(failed)?;
                socket.into()
            }
        };
        let input = vec![0; READ_BYTES];
        Ok(Self { socket, out: Vec::new(), written: 0, pending: VecDeque::new(), input, filled: 0 })
    }

    /// The socket, to be waited for.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Choices without all of their replies.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Whether bytes wait to be written.
    pub const fn has_output(&self) -> bool {
        self.written < self.out.len()
    }

    /// Adds a choice whose latency counts from `since`; `request` tells how many replies it brings.
    pub fn push(&mut self, since: Instant, request: impl FnOnce(&mut Vec<u8>) -> u32) {
        let replies = request(&mut self.out);
        assert!(replies > 0, "a choice without a reply is never over");
        self.pending.push_back(Pending { since, replies, nil: false, failed: false });
    }

    /// Writes what the socket takes. What it does not take waits for the next reply.
    pub fn write(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            match rustix::io::write(&self.socket, &self.out[self.written..]) {
                Ok(bytes) => self.written += bytes,
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads once and tells `seen` what became of choices.
    pub fn receive(&mut self, mut seen: impl FnMut(Seen<'_>)) -> Result<(), LoadError> {
        if self.filled == self.input.len() {
            if self.filled >= REPLY_BYTES_MAX {
                return Err(LoadError::Protocol(format!("it is longer than {REPLY_BYTES_MAX} bytes")));
            }
            self.input.resize(self.input.len() * 2, 0);
        }
        let failed = |e: io::Error| LoadError::Connection("reading replies".into(), e);
        match rustix::io::read(&self.socket, &mut self.input[self.filled..]) {
            Ok(0) => return Err(failed(io::ErrorKind::UnexpectedEof.into())),
            Ok(bytes) => self.filled += bytes,
            Err(rustix::io::Errno::AGAIN) => {}
            Err(e) => return Err(failed(e.into())),
        }
        // One look at the clock for all that came at once.
        let now = Instant::now();
        let mut at = 0;
        while at < self.filled {
            let Some((reply, bytes)) = next_reply(&self.input[at..self.filled])? else { break };
            at += bytes;
            if reply == Reply::Push {
                continue;
            }
            let pending = self.pending.front_mut();
            let pending = pending.ok_or_else(|| LoadError::Protocol("nobody asked for it".into()))?;
            match reply {
                Reply::Error(text) if !pending.failed => {
                    pending.failed = true;
                    seen(Seen::Failed(text));
                }
                Reply::Nil => pending.nil = true,
                Reply::Error(_) | Reply::Good | Reply::Push => {}
            }
            pending.replies -= 1;
            if pending.replies == 0 {
                if !pending.failed {
                    seen(Seen::Done(now.saturating_duration_since(pending.since), pending.nil));
                }
                self.pending.pop_front();
            }
        }
        self.input.copy_within(at..self.filled, 0);
        self.filled -= at;
        if self.has_output() {
            self.write().map_err(failed)?;
        }
        Ok(())
    }
}

/// Sends each request and waits for its reply, which must not be an error.
fn greet(socket: &mut (impl Read + Write), greeting: &[Vec<u8>]) -> Result<(), LoadError> {
    let failed = |e| LoadError::Connection("logging in".into(), e);
    for request in greeting {
        socket.write_all(request).map_err(failed)?;
        let (mut input, mut byte) = (Vec::new(), [0]);
        loop {
            socket.read_exact(&mut byte).map_err(failed)?;
            input.push(byte[0]);
            match next_reply(&input) {
                Ok(None) => {}
                Ok(Some((Reply::Error(text), _))) => {
                    let text = String::from_utf8_lossy(text);
                    return Err(LoadError::Options(format!(
                        "the server refused the login: {text}; check --user, --password and --resp"
                    )));
                }
                Ok(Some(_)) => break,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}
