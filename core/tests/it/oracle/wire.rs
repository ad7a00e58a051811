//! The client's side of the protocol: replies as values.

#![expect(clippy::disallowed_types, reason = "a client of real servers needs a real socket")]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// One reply.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value {
    Simple(String),
    Error(String),
    Int(i64),
    Bulk(Vec<u8>),
    Verbatim(Vec<u8>),
    Null,
    NullBulk,
    NullArray,
    Array(Vec<Value>),
    Set(Vec<Value>),
    Map(Vec<Value>),
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Simple(text) => write!(f, "+{text}"),
            Value::Error(text) => write!(f, "-{text}"),
            Value::Int(value) => write!(f, ":{value}"),
            Value::Bulk(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Value::Verbatim(bytes) => write!(f, "=\"{}\"", bytes.escape_ascii()),
            Value::Null => write!(f, "null"),
            Value::NullBulk => write!(f, "null bulk"),
            Value::NullArray => write!(f, "null array"),
            Value::Array(values) => write!(f, "array {values:?}"),
            Value::Set(values) => write!(f, "set {values:?}"),
            Value::Map(values) => write!(f, "map {values:?}"),
        }
    }
}

impl Value {
    /// Reads one reply. One that is not whole is an unexpected end.
    pub(super) fn read(from: &mut impl BufRead) -> std::io::Result<Value> {
        let mut line = Vec::new();
        from.read_until(b'\n', &mut line)?;
        let line = line.strip_suffix(b"\r\n").ok_or(ErrorKind::UnexpectedEof)?;
        let (tag, text) = (line[0], &line[1..]);
        let string = || String::from_utf8_lossy(text).into_owned();
        let number = || string().parse::<i64>().unwrap_or_else(|_| panic!("{} is no number", string()));
        Ok(match tag {
            b'+' => Value::Simple(string()),
            b'-' => Value::Error(text.escape_ascii().to_string()),
            b':' => Value::Int(number()),
            b'_' => Value::Null,
            b'$' if number() < 0 => Value::NullBulk,
            b'*' if number() < 0 => Value::NullArray,
            b'$' => Value::Bulk(bytes(from, number() as usize)?),
            b'=' => Value::Verbatim(bytes(from, number() as usize)?),
            b'*' => Value::Array(values(from, number() as usize)?),
            b'~' => Value::Set(values(from, number() as usize)?),
            b'%' => Value::Map(values(from, 2 * number() as usize)?),
            _ => panic!("no reply: {}", line.escape_ascii()),
        })
    }

    /// The same with sets and maps in one order: neither has any.
    pub(super) fn sorted(self) -> Value {
        match self {
            Value::Array(values) => Value::Array(values.into_iter().map(Value::sorted).collect()),
            Value::Set(values) => {
                let mut values: Vec<_> = values.into_iter().map(Value::sorted).collect();
                values.sort();
                Value::Set(values)
            }
            Value::Map(values) => {
                let mut pairs: Vec<_> = values.chunks(2).map(<[Value]>::to_vec).collect();
                pairs.sort();
                Value::Map(pairs.into_iter().flatten().map(Value::sorted).collect())
            }
            other => other,
        }
    }
}

fn bytes(from: &mut impl Read, len: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; len + 2];
    from.read_exact(&mut bytes)?;
    assert!(bytes.ends_with(b"\r\n"));
    bytes.truncate(len);
    Ok(bytes)
}

fn values(from: &mut impl BufRead, count: usize) -> std::io::Result<Vec<Value>> {
    (0..count).map(|_| Value::read(from)).collect()
}

/// A server as a client sees it.
pub(super) trait Peer {
    /// Sends bytes.
    fn send(&mut self, bytes: &[u8]);

    /// The reply to the next request that was sent.
    fn reply(&mut self) -> Value;

    /// The reply to one request.
    fn ask(&mut self, args: &[Vec<u8>]) -> Value {
        self.send(&request(args));
        self.reply()
    }
}

/// A request as clients send it.
pub(super) fn request(args: &[Vec<u8>]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// A connection to a server.
pub(super) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(super) fn open(address: SocketAddr) -> std::io::Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.set_nodelay(true)?;
        Ok(Connection(BufReader::new(stream)))
    }

    /// Sends everything, then nothing more, and answers everything that comes back.
    pub(super) fn exchange(mut self, bytes: &[u8]) -> Vec<u8> {
        self.send(bytes);
        self.0.get_mut().shutdown(Shutdown::Write).expect("the server is there");
        let mut out = Vec::new();
        match self.0.read_to_end(&mut out) {
            Ok(_) => out,
            // The server closed before it had read everything.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => out,
            Err(error) => panic!("{error}"),
        }
    }
}

impl Peer for Connection {
    fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("the server takes what it is sent");
    }

    fn reply(&mut self) -> Value {
        Value::read(&mut self.0).expect("the server answers in time, and keeps the connection")
    }
}
