//! Replies to bytes, in RESP2 and RESP3.

use super::error::ProtocolError;

/// What the client understands; it starts with 2 and changes it with HELLO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// RESP2: maps and sets are arrays, a null is a bulk or an array of length -1.
    #[default]
    Resp2,
    /// RESP3.
    Resp3,
}

impl Protocol {
    /// 2 or 3.
    pub fn number(self) -> u8 {
        match self {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        }
    }
}

/// Appends replies to a buffer. An aggregate is written as its header and then that many replies.
#[derive(Debug)]
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
}

impl<'a> Encoder<'a> {
    /// Values from here on get no more memory than they need, in bytes.
    const EXACT_BYTES_MIN: usize = 64 << 10;

    /// Writes to the end of `out`.
    pub fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> Encoder<'a> {
        Encoder { out, protocol }
    }

    /// What the client understands.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// `+OK`.
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// A status without line breaks.
    pub fn simple(&mut self, text: &str) {
        self.simple_bytes(text.as_bytes());
    }

    /// The same, as bytes.
    pub fn simple_bytes(&mut self, text: &[u8]) {
        debug_assert!(!text.contains(&b'\r') && !text.contains(&b'\n'));
        self.out.push(b'+');
        self.out.extend_from_slice(text);
        self.end();
    }

    /// An error whose text starts with its code: `ERR syntax error`. Line breaks in it become blanks.
    pub fn error(&mut self, text: &[u8]) {
        self.out.push(b'-');
        let start = self.out.len();
        self.out.extend_from_slice(text);
        self.end_error(start);
    }

    /// What broke the stream; the connection is closed after it.
    pub fn protocol_error(&mut self, error: ProtocolError) {
        self.out.extend_from_slice(b"-ERR ");
        error.write(self.out);
        self.end();
    }

    fn end_error(&mut self, start: usize) {
        while self.out.len() > start && matches!(self.out.last(), Some(b'\r' | b'\n')) {
            self.out.pop();
        }
        for byte in &mut self.out[start..] {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        self.end();
    }

    /// A number.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        self.tagged(b':', value);
    }

    /// A string of any bytes.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        // Large values do not leave room for as many again: they wait for their clients by the megabyte.
        if bytes.len() < Self::EXACT_BYTES_MIN {
            self.out.reserve(bytes.len() + 16);
        } else {
            self.out.reserve_exact(bytes.len() + 16);
        }
        self.tagged(b'$', bytes.len() as i64);
        self.out.extend_from_slice(bytes);
        self.end();
    }

    /// A number, written as a bulk.
    pub fn bulk_integer(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// Text for people: RESP3 says so (`=`), RESP2 has a bulk.
    pub fn verbatim(&mut self, text: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.tagged(b'=', text.len() as i64 + 4);
                self.out.extend_from_slice(b"txt:");
                self.out.extend_from_slice(text);
                self.end();
            }
        }
    }

    /// No value, where a string could have been.
    pub fn null(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// No value, where an array could have been.
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// `count` replies follow.
    pub fn array(&mut self, count: usize) {
        self.tagged(b'*', count as i64);
    }

    /// `pairs` times a key and a value follow.
    pub fn map(&mut self, pairs: usize) {
        match self.protocol {
            Protocol::Resp2 => self.tagged(b'*', pairs as i64 * 2),
            Protocol::Resp3 => self.tagged(b'%', pairs as i64),
        }
    }

    /// `count` different replies follow.
    pub fn set(&mut self, count: usize) {
        match self.protocol {
            Protocol::Resp2 => self.tagged(b'*', count as i64),
            Protocol::Resp3 => self.tagged(b'~', count as i64),
        }
    }

    /// Replies that were encoded before, for the same protocol.
    pub fn raw(&mut self, encoded: &[u8]) {
        self.out.extend_from_slice(encoded);
    }

    #[inline]
    fn tagged(&mut self, tag: u8, value: i64) {
        if (0..10).contains(&value) {
            self.out.extend_from_slice(&[tag, b'0' + value as u8, b'\r', b'\n']);
            return;
        }
        self.out.push(tag);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        self.end();
    }

    #[inline]
    fn end(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(write: impl Fn(&mut Encoder<'_>)) -> (String, String) {
        let encode = |protocol| {
            let mut out = Vec::new();
            write(&mut Encoder::new(&mut out, protocol));
            String::from_utf8(out).unwrap()
        };
        (encode(Protocol::Resp2), encode(Protocol::Resp3))
    }

    fn same(expected: &str, write: impl Fn(&mut Encoder<'_>)) {
        assert_eq!(both(write), (expected.to_owned(), expected.to_owned()));
    }

    #[test]
    fn scalars_are_the_same_in_both_protocols() {
        same("+OK\r\n", |e| e.ok());
        same("+PONG\r\n", |e| e.simple("PONG"));
        same("-ERR a b  c\r\n", |e| e.error(b"ERR a b\r\nc\r\n"));
        same(":0\r\n", |e| e.integer(0));
        same(":9\r\n", |e| e.integer(9));
        same(":10\r\n", |e| e.integer(10));
        same(":-1\r\n", |e| e.integer(-1));
        same(":-9223372036854775808\r\n", |e| e.integer(i64::MIN));
        same(":9223372036854775807\r\n", |e| e.integer(i64::MAX));
        same("$0\r\n\r\n", |e| e.bulk(b""));
        same("$11\r\nhello\r\nworl\r\n", |e| e.bulk(b"hello\r\nworl"));
        same("$2\r\n17\r\n", |e| e.bulk_integer(17));
        same("*2\r\n", |e| e.array(2));
        same("*11\r\n", |e| e.array(11));
    }

    #[test]
    fn nulls_maps_sets_and_text_differ() {
        assert_eq!(both(|e| e.null()), ("$-1\r\n".into(), "_\r\n".into()));
        assert_eq!(both(|e| e.null_array()), ("*-1\r\n".into(), "_\r\n".into()));
        assert_eq!(both(|e| e.map(7)), ("*14\r\n".into(), "%7\r\n".into()));
        assert_eq!(both(|e| e.set(3)), ("*3\r\n".into(), "~3\r\n".into()));
        assert_eq!(both(|e| e.verbatim(b"ab")), ("$2\r\nab\r\n".into(), "=6\r\ntxt:ab\r\n".into()));
    }
}
