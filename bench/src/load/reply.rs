//! Replies of RESP2 and RESP3, as far as a load cares.

use super::LoadError;

/// Aggregates in aggregates; no command of Redis goes as deep.
const DEPTH_MAX: u32 = 16;

/// So much of what is no reply is shown.
const SHOWN_BYTES: usize = 40;

/// What a reply was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// A value or a status.
    Good,
    /// No such key.
    Nil,
    /// An error with its text.
    Error(&'a [u8]),
    /// Sent by the server on its own account; it answers nothing.
    Push,
}

/// The first whole reply in `bytes` and its length; `None` when it is cut.
pub fn next_reply(bytes: &[u8]) -> Result<Option<(Reply<'_>, usize)>, LoadError> {
    let Some(end) = whole(bytes, 0, 0)? else { return Ok(None) };
    let reply = match (bytes[0], bytes[1]) {
        (b'-', _) => Reply::Error(&bytes[1..end - 2]),
        (b'!', _) => {
            let text = bytes.iter().position(|&b| b == b'\n').map_or(1, |line| line + 1);
            Reply::Error(&bytes[text..end - 2])
        }
        (b'_', _) | (b'$' | b'*', b'-') => Reply::Nil,
        (b'>', _) => Reply::Push,
        _ => Reply::Good,
    };
    Ok(Some((reply, end)))
}

/// Where the reply that begins at `at` ends; `None` when it is cut.
fn whole(bytes: &[u8], at: usize, depth: u32) -> Result<Option<usize>, LoadError> {
    match bytes.get(at) {
        None => return Ok(None),
        // Before the line is whole: who speaks another protocol may never end one.
        Some(kind) if !b"+:-_#,($=!*~>%".contains(kind) => {
            let text = String::from_utf8_lossy(&bytes[at..bytes.len().min(at + SHOWN_BYTES)]);
            return Err(LoadError::Protocol(format!("{text:?} begins with no type; is it a Redis server?")));
        }
        Some(_) => {}
    }
    let Some(line) = bytes[at..].iter().position(|&b| b == b'\n') else { return Ok(None) };
    let after = at + line + 1;
    if line < 2 {
        return Err(LoadError::Protocol("a line without a type".into()));
    }
    let count = || {
        let digits = &bytes[at + 1..after - 2];
        let number = std::str::from_utf8(digits).ok().and_then(|text| text.parse::<i64>().ok());
        number
            .filter(|n| (-1..1 << 32).contains(n))
            .ok_or_else(|| LoadError::Protocol(format!("length {:?}", String::from_utf8_lossy(digits))))
    };
    match bytes[at] {
        b'+' | b':' | b'-' | b'_' | b'#' | b',' | b'(' => Ok(Some(after)),
        b'$' | b'=' | b'!' => match count()? {
            -1 => Ok(Some(after)),
            length => {
                let end = after + length as usize + 2;
                Ok((bytes.len() >= end).then_some(end))
            }
        },
        kind => {
            if depth == DEPTH_MAX {
                return Err(LoadError::Protocol("aggregates too deep".into()));
            }
            let elements = count()?.max(0) * if kind == b'%' { 2 } else { 1 };
            let mut end = after;
            for _ in 0..elements {
                match whole(bytes, end, depth + 1)? {
                    Some(next) => end = next,
                    None => return Ok(None),
                }
            }
            Ok(Some(end))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_found_whole_wherever_the_stream_is_cut() {
        let stream = b"+OK\r\n$3\r\nabc\r\n$-1\r\n:12\r\n-ERR no\r\n$0\r\n\r\n*2\r\n$1\r\na\r\n*1\r\n:1\r\n%1\r\n+a\r\n_\r\n\
            >2\r\n+a\r\n+b\r\n!5\r\nBAD x\r\n,1.5\r\n#t\r\n*-1\r\n_\r\n";
        let expected = [
            Reply::Good,
            Reply::Good,
            Reply::Nil,
            Reply::Good,
            Reply::Error(b"ERR no"),
            Reply::Good,
            Reply::Good,
            Reply::Good,
            Reply::Push,
            Reply::Error(b"BAD x"),
            Reply::Good,
            Reply::Good,
            Reply::Nil,
            Reply::Nil,
        ];
        for cut in 0..=stream.len() {
            let (mut at, mut found) = (0, Vec::new());
            for end in [cut, stream.len()] {
                while let Some((reply, bytes)) = next_reply(&stream[at..end]).expect("the stream is sound") {
                    found.push(reply);
                    at += bytes;
                }
            }
            assert_eq!((found.as_slice(), at), (expected.as_slice(), stream.len()), "cut at {cut}");
        }
        for bad in [
            b"?\r\n".as_slice(),
            b"HTTP/1.1",
            b"$x\r\n",
            b"\n",
            b"$-7\r\n",
            b"*99999999999\r\n",
            &b"*1\r\n".repeat(20),
        ] {
            assert!(next_reply(bad).is_err(), "{bad:?}");
        }
    }
}
