//! One connection of the load: requests out, replies counted in order.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use super::LoadError;

/// Bytes read from the socket at once.
const READ_BYTES: usize = 256 << 10;

/// What a reply was, as far as a load cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A value or a status.
    Good,
    /// No such key.
    Nil,
    /// An error.
    Error,
}

/// A connection with its unsent bytes and the moments its unanswered requests count from.
pub struct Connection {
    socket: TcpStream,
    out: Vec<u8>,
    written: usize,
    since: VecDeque<Instant>,
    input: Vec<u8>,
    filled: usize,
}

impl Connection {
    /// Connects, without Nagle's delay, and reads and writes without blocking.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let input = vec![0; READ_BYTES];
        Ok(Self { socket, out: Vec::new(), written: 0, since: VecDeque::new(), input, filled: 0 })
    }

    /// The socket, to be waited for.
    pub const fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Requests without a reply.
    pub fn waiting(&self) -> usize {
        self.since.len()
    }

    /// Whether bytes wait to be written.
    pub fn has_output(&self) -> bool {
        self.written < self.out.len()
    }

    /// Adds one request whose latency counts from `since`.
    pub fn push(&mut self, since: Instant, request: impl FnOnce(&mut Vec<u8>)) {
        request(&mut self.out);
        self.since.push_back(since);
    }

    /// Writes what the socket takes. What it does not take waits for the next reply.
    pub fn write(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            match self.socket.write(&self.out[self.written..]) {
                Ok(bytes) => self.written += bytes,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads once and hands every whole reply to `seen`.
    pub fn receive(&mut self, mut seen: impl FnMut(Reply, Instant)) -> Result<(), LoadError> {
        if self.filled == self.input.len() {
            self.input.resize(self.input.len() * 2, 0);
        }
        let failed = |e| LoadError::Connection("reading replies".into(), e);
        match self.socket.read(&mut self.input[self.filled..]) {
            Ok(0) => return Err(failed(io::ErrorKind::UnexpectedEof.into())),
            Ok(bytes) => self.filled += bytes,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(failed(e)),
        }
        let mut at = 0;
        while let Some((reply, bytes)) = next_reply(&self.input[at..self.filled])? {
            let since = self.since.pop_front();
            seen(reply, since.ok_or_else(|| LoadError::Protocol("a reply that nobody asked for".into()))?);
            at += bytes;
        }
        self.input.copy_within(at..self.filled, 0);
        self.filled -= at;
        if self.has_output() {
            self.write().map_err(failed)?;
        }
        Ok(())
    }
}

/// The first whole reply in `bytes` and its length; `None` when it is cut.
fn next_reply(bytes: &[u8]) -> Result<Option<(Reply, usize)>, LoadError> {
    let Some(line) = bytes.iter().position(|&b| b == b'\n') else { return Ok(None) };
    let after = line + 1;
    match bytes[0] {
        b'+' | b':' => Ok(Some((Reply::Good, after))),
        b'-' => Ok(Some((Reply::Error, after))),
        b'_' => Ok(Some((Reply::Nil, after))),
        b'$' if bytes[1] == b'-' => Ok(Some((Reply::Nil, after))),
        b'$' => {
            let digits = &bytes[1..line.saturating_sub(1)];
            let length = std::str::from_utf8(digits).ok().and_then(|text| text.parse::<usize>().ok());
            let length = length.ok_or_else(|| LoadError::Protocol(format!("bulk length {digits:?}")))?;
            let whole = after + length + 2;
            Ok((bytes.len() >= whole).then_some((Reply::Good, whole)))
        }
        other => Err(LoadError::Protocol(format!("type byte {:?}", char::from(other)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_found_whole_wherever_the_stream_is_cut() {
        let stream = b"+OK\r\n$3\r\nabc\r\n$-1\r\n:12\r\n-ERR no\r\n$0\r\n\r\n";
        let expected =
            [Reply::Good, Reply::Good, Reply::Nil, Reply::Good, Reply::Error, Reply::Good].as_slice();
        for cut in 0..=stream.len() {
            let (mut at, mut found) = (0, Vec::new());
            for end in [cut, stream.len()] {
                while let Some((reply, bytes)) = next_reply(&stream[at..end]).expect("the stream is sound") {
                    found.push(reply);
                    at += bytes;
                }
            }
            assert_eq!((found.as_slice(), at), (expected, stream.len()), "cut at {cut}");
        }
        assert!(next_reply(b"?\r\n").is_err());
        assert!(next_reply(b"$x\r\n").is_err());
    }
}
