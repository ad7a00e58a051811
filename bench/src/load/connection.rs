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

/// A connection with its unsent bytes and the moments its unanswered requests count from.
pub struct Connection {
    socket: OwnedFd,
    out: Vec<u8>,
    written: usize,
    since: VecDeque<Instant>,
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
        Ok(Self { socket, out: Vec::new(), written: 0, since: VecDeque::new(), input, filled: 0 })
    }

    /// The socket, to be waited for.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Requests without a reply.
    pub fn waiting(&self) -> usize {
        self.since.len()
    }

    /// Whether bytes wait to be written.
    pub const fn has_output(&self) -> bool {
        self.written < self.out.len()
    }

    /// Adds requests whose latency counts from `since`; `request` tells how many.
    pub fn push(&mut self, since: Instant, request: impl FnOnce(&mut Vec<u8>) -> u32) -> usize {
        let requests = request(&mut self.out);
        (0..requests).for_each(|_| self.since.push_back(since));
        requests as usize
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

    /// Reads once and hands every whole reply to `seen` with its latency.
    pub fn receive(&mut self, mut seen: impl FnMut(Reply<'_>, Duration)) -> Result<(), LoadError> {
        if self.filled == self.input.len() {
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
            let since = self.since.pop_front();
            let since = since.ok_or_else(|| LoadError::Protocol("a reply that nobody asked for".into()))?;
            seen(reply, now.saturating_duration_since(since));
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
