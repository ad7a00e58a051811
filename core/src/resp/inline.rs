//! Inline requests: one line, arguments separated by blanks, with the quotes and escapes of redis-server.
//!
//! The rules, which are those of its `sdssplitargs`:
//! * blanks separate arguments; a quote may open anywhere in an argument, but a closing one ends it and must be followed by a
//!   blank or the end of the line;
//! * between double quotes `\xHH` is a byte, `\n \r \t \b \a` are themselves, and a backslash before anything else is dropped;
//! * between single quotes `\'` is a quote, and nothing else is special.

use super::error::ProtocolError;
use super::request::{Arguments, Span};

/// Splits a line without its end. Arguments are spans of the line, or of `arguments.unquoted` when that is returned.
pub(super) fn split<'a>(
    line: &'a [u8],
    arguments: &'a mut Arguments,
) -> Result<(&'a [u8], &'a [Span]), ProtocolError> {
    arguments.spans.clear();
    if memchr::memchr2(b'"', b'\'', line).is_some() {
        unquote(line, arguments)?;
        return Ok((&arguments.unquoted, &arguments.spans));
    }
    let mut at = 0;
    while at < line.len() {
        if is_space(line[at]) {
            at += 1;
            continue;
        }
        let len = line[at..].iter().position(|byte| ends_argument(*byte)).unwrap_or(line.len() - at);
        arguments.spans.push(Span::new(at, len));
        at += len;
    }
    Ok((line, &arguments.spans))
}

/// What may stand between arguments.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | 0x0b | 0x0c)
}

/// What ends an argument outside quotes: vertical tab and form feed do not, though they are skipped before one.
fn ends_argument(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

fn unquote(line: &[u8], arguments: &mut Arguments) -> Result<(), ProtocolError> {
    arguments.unquoted.clear();
    let mut rest = line;
    loop {
        while let [first, tail @ ..] = rest
            && is_space(*first)
        {
            rest = tail;
        }
        if rest.is_empty() {
            return Ok(());
        }
        let start = arguments.unquoted.len();
        rest = argument(rest, &mut arguments.unquoted)?;
        arguments.spans.push(Span::new(start, arguments.unquoted.len() - start));
    }
}

/// Appends one argument to `out` and answers what follows it.
fn argument<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        match rest {
            [] => return Ok(rest),
            [byte, tail @ ..] if ends_argument(*byte) => return Ok(tail),
            [b'"', tail @ ..] => return closed(double_quoted(tail, out)?),
            [b'\'', tail @ ..] => return closed(single_quoted(tail, out)?),
            [byte, tail @ ..] => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
}

/// A closing quote stands before a blank or the end.
fn closed(rest: &[u8]) -> Result<&[u8], ProtocolError> {
    match rest.first() {
        Some(byte) if !is_space(*byte) => Err(ProtocolError::UnbalancedQuotes),
        _ => Ok(rest),
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        match rest {
            [] => return Err(ProtocolError::UnbalancedQuotes),
            [b'"', tail @ ..] => return Ok(tail),
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(hex(*high) << 4 | hex(*low));
                rest = tail;
            }
            [b'\\', escaped, tail @ ..] => {
                out.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                rest = tail;
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        match rest {
            [] => return Err(ProtocolError::UnbalancedQuotes),
            [b'\'', tail @ ..] => return Ok(tail),
            [b'\\', b'\'', tail @ ..] => {
                out.push(b'\'');
                rest = tail;
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}
