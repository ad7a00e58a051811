//! A blocking Redis client: enough for tools, no more.
#![expect(clippy::disallowed_types, reason = "a client has sockets of its own")]

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// A reply longer than this is a fault of the server.
const BULK_BYTES_MAX: usize = 512 << 20;

/// A reply of the server (RESP2).
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// A status, such as `OK`.
    Simple(String),
    /// An error, with its code first.
    Error(String),
    /// A number.
    Int(i64),
    /// A string, or nothing.
    Bulk(Option<Vec<u8>>),
    /// A list.
    Array(Vec<Value>),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simple(text) => write!(f, "+{text}"),
            Self::Error(text) => write!(f, "-{text}"),
            Self::Int(number) => write!(f, ":{number}"),
            Self::Bulk(None) => f.write_str("nil"),
            Self::Bulk(Some(bytes)) if bytes.len() > 80 => {
                write!(f, "\"{}\"… ({} bytes)", bytes[..80].escape_ascii(), bytes.len())
            }
            Self::Bulk(Some(bytes)) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Self::Array(values) => f.debug_list().entries(values).finish(),
        }
    }
}

impl Value {
    /// The first whole reply in `bytes` and its length; `None` when it is cut.
    ///
    /// # Errors
    /// When it is not RESP2.
    pub fn parse(bytes: &[u8]) -> io::Result<Option<(Self, usize)>> {
        let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
        let (line, after) = (&bytes[..end], end + 2);
        let text = || String::from_utf8_lossy(&line[1..]).into_owned();
        let number = || text().parse::<i64>().map_err(|_| not_resp(line));
        match line.first() {
            Some(b'+') => Ok(Some((Self::Simple(text()), after))),
            Some(b'-') => Ok(Some((Self::Error(text()), after))),
            Some(b':') => Ok(Some((Self::Int(number()?), after))),
            Some(b'$') => {
                let Ok(length) = usize::try_from(number()?) else {
                    return Ok(Some((Self::Bulk(None), after)));
                };
                let whole = after + length + 2;
                let bulk = bytes.get(after..after + length).filter(|_| bytes.len() >= whole);
                Ok(bulk.map(|bulk| (Self::Bulk(Some(bulk.to_vec())), whole)))
            }
            Some(b'*') => {
                let (mut values, mut at) = (Vec::new(), after);
                for _ in 0..number()?.max(0) {
                    let Some((value, length)) = Self::parse(&bytes[at..])? else { return Ok(None) };
                    values.push(value);
                    at += length;
                }
                Ok(Some((Self::Array(values), at)))
            }
            _ => Err(not_resp(line)),
        }
    }
}

/// One connection. Requests are buffered until [`Client::flush`].
pub struct Client {
    reader: BufReader<TcpStream>,
    out: Vec<u8>,
}

impl Client {
    /// Connects; a read that waits longer than `patience` fails.
    ///
    /// # Errors
    /// When the address cannot be resolved or nobody listens there.
    pub fn connect(address: impl ToSocketAddrs, patience: Duration) -> io::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(patience))?;
        socket.set_write_timeout(Some(patience))?;
        Ok(Self { reader: BufReader::with_capacity(64 << 10, socket), out: Vec::new() })
    }

    /// Adds a command to what [`Client::flush`] sends.
    pub fn push(&mut self, command: &[&[u8]]) {
        self.out.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
        for argument in command {
            self.out.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            self.out.extend_from_slice(argument);
            self.out.extend_from_slice(b"\r\n");
        }
    }

    /// Sends everything pushed.
    ///
    /// # Errors
    /// When the connection fails: any part of it may have arrived.
    pub fn flush(&mut self) -> io::Result<()> {
        let sent = self.reader.get_mut().write_all(&self.out);
        self.out.clear();
        sent
    }

    /// The next reply.
    ///
    /// # Errors
    /// When the connection ends or fails, or the reply is not RESP2.
    pub fn reply(&mut self) -> io::Result<Value> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\r\n") {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(&line[1..line.len() - 2]).into_owned();
        let number = || text.parse::<i64>().map_err(|_| not_resp(&line));
        match line[0] {
            b'+' => Ok(Value::Simple(text)),
            b'-' => Ok(Value::Error(text)),
            b':' => Ok(Value::Int(number()?)),
            b'$' => self.bulk(number()?),
            b'*' => {
                let count = number()?.max(0);
                (0..count).map(|_| self.reply()).collect::<io::Result<Vec<_>>>().map(Value::Array)
            }
            _ => Err(not_resp(&line)),
        }
    }

    /// Sends one command and waits for its reply.
    ///
    /// # Errors
    /// As [`Client::flush`] and [`Client::reply`].
    pub fn call(&mut self, command: &[&[u8]]) -> io::Result<Value> {
        self.push(command);
        self.flush()?;
        self.reply()
    }

    fn bulk(&mut self, length: i64) -> io::Result<Value> {
        let Ok(length) = usize::try_from(length) else { return Ok(Value::Bulk(None)) };
        if length > BULK_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a bulk of {length} bytes")));
        }
        let mut bytes = vec![0; length + 2];
        self.reader.read_exact(&mut bytes)?;
        bytes.truncate(length);
        Ok(Value::Bulk(Some(bytes)))
    }
}

fn not_resp(line: &[u8]) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not RESP2: {}", line.escape_ascii()))
}
