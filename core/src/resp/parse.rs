//! The incremental parser.
//!
//! The caller hands in everything it holds, starting at the first byte that was not consumed yet. Of a request that is not
//! whole the parser remembers how far it came, so that no byte is looked at twice however the stream is cut; the caller must
//! then come back with the same bytes and more behind them.
//!
//! Invariants: `0 <= at <= bytes held`; `missing == 0` exactly when no request is in progress; every span lies below `at`.

use super::decimal::parse_i64;
use super::error::ProtocolError;
use super::inline;
use super::limits::{
    ARGUMENTS_MAX, ARGUMENTS_UNAUTHENTICATED_MAX, BULK_UNAUTHENTICATED_BYTES_MAX, LINE_BYTES_MAX, Limits,
    REQUEST_BYTES_MAX,
};
use super::request::{Arguments, Request, Span};

/// Spans a connection keeps room for between requests.
const SPANS_KEPT_MAX: usize = 1024;

/// What the bytes at hand amount to.
#[derive(Debug)]
pub enum Next<'a> {
    /// A whole request. The first `consumed` bytes are done with once it is.
    Request {
        /// The request, in place.
        request: Request<'a>,
        /// Bytes up to its end, empty requests before it included.
        consumed: usize,
    },
    /// More bytes are needed.
    Incomplete {
        /// Bytes of empty requests that may be dropped now; the rest must be presented again.
        consumed: usize,
        /// Fewer bytes than this, counted from the first one that was not consumed, cannot bring the parser any further.
        need: usize,
    },
    /// The stream is broken: answer, then close.
    Broken {
        /// What to answer.
        error: ProtocolError,
    },
}

/// The state of one connection's stream: what is known of a request that is not whole yet.
#[derive(Debug, Default)]
pub struct Parser {
    /// How far the request in progress has been read, from its start.
    at: usize,
    /// Arguments of it still to come.
    missing: usize,
    /// Arguments of it found so far.
    spans: Vec<Span>,
}

/// One step through a request of counted arguments.
enum Step {
    Whole,
    Empty,
    Need(usize),
}

impl Parser {
    /// A fresh stream.
    pub fn new() -> Parser {
        Parser::default()
    }

    /// Whether part of a request has been read.
    pub fn in_progress(&self) -> bool {
        self.missing != 0
    }

    /// The next request in `bytes`, which start where the last answer said they were consumed.
    #[inline]
    pub fn next<'a>(&mut self, bytes: &'a [u8], arguments: &'a mut Arguments, limits: &Limits) -> Next<'a> {
        let mut skipped = 0;
        loop {
            let rest = &bytes[skipped..];
            let step = match rest.first() {
                None => return Next::Incomplete { consumed: skipped, need: 1 },
                Some(b'*') => self.counted(rest, arguments, limits),
                Some(_) => match inline_line(rest) {
                    Err(error) => return Next::Broken { error },
                    Ok(None) => return Next::Incomplete { consumed: skipped, need: rest.len() + 1 },
                    Ok(Some((line, end))) => {
                        if line.iter().all(|byte| inline::is_space(*byte)) {
                            skipped += end;
                            continue;
                        }
                        return match inline::split(line, arguments) {
                            Err(error) => Next::Broken { error },
                            Ok((bytes, spans)) => {
                                Next::Request { request: Request::new(bytes, spans), consumed: skipped + end }
                            }
                        };
                    }
                },
            };
            match step {
                Err(error) => return Next::Broken { error },
                Ok(Step::Need(need)) => return Next::Incomplete { consumed: skipped, need },
                Ok(Step::Empty) => skipped += std::mem::take(&mut self.at),
                Ok(Step::Whole) => {
                    let end = std::mem::take(&mut self.at);
                    let request = Request::new(&rest[..end], &arguments.spans);
                    return Next::Request { request, consumed: skipped + end };
                }
            }
        }
    }

    /// A request of counted arguments, `*2\r\n$3\r\nGET\r\n$1\r\nk\r\n`, read on from where it was left.
    #[inline]
    fn counted(
        &mut self,
        bytes: &[u8],
        arguments: &mut Arguments,
        limits: &Limits,
    ) -> Result<Step, ProtocolError> {
        debug_assert!(self.at <= bytes.len(), "the bytes of a request in progress are presented again");
        let spans = &mut arguments.spans;
        let (mut at, mut missing);
        if self.missing == 0 {
            spans.clear();
            let Some((count, end)) = number(bytes, 1, ProtocolError::CountLineTooBig)? else {
                return Ok(Step::Need(bytes.len() + 1));
            };
            let count = argument_count(count, limits)?;
            at = end;
            if count == 0 {
                self.at = at;
                return Ok(Step::Empty);
            }
            missing = count;
        } else {
            std::mem::swap(&mut self.spans, spans);
            (at, missing) = (self.at, self.missing);
        }
        while missing > 0 {
            let Some((len, start)) = bulk_start(bytes, at, limits)? else {
                return Ok(self.suspend(at, missing, spans, bytes.len() + 1));
            };
            let end = start + len + 2;
            if end > REQUEST_BYTES_MAX {
                return Err(ProtocolError::RequestTooBig);
            }
            if end > bytes.len() {
                return Ok(self.suspend(at, missing, spans, end));
            }
            spans.push(Span::new(start, len));
            at = end;
            missing -= 1;
        }
        self.missing = 0;
        self.at = at;
        if self.spans.capacity() > SPANS_KEPT_MAX {
            self.spans = Vec::new();
        }
        Ok(Step::Whole)
    }

    /// Remembers a request that is not whole. The vectors change places: they keep circulating, and nothing is allocated.
    #[cold]
    fn suspend(&mut self, at: usize, missing: usize, spans: &mut Vec<Span>, need: usize) -> Step {
        self.at = at;
        self.missing = missing;
        if spans.capacity() > SPANS_KEPT_MAX.max(spans.len() * 2) {
            spans.shrink_to(spans.len());
        }
        std::mem::swap(&mut self.spans, spans);
        Step::Need(need)
    }

    /// Asserts the invariants above, given how many bytes of the request are held.
    pub fn check(&self, held: usize) {
        assert!(self.at <= held);
        assert!(self.missing == 0 || self.at > 0);
        if self.missing > 0 {
            assert!(self.spans.iter().all(|span| (span.start + span.len) as usize <= self.at));
        }
    }
}

/// The inline request at the start of `bytes`, without its line end, and the index behind that. A zero byte hides what follows.
fn inline_line(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, ProtocolError> {
    let window = &bytes[..bytes.len().min(LINE_BYTES_MAX + 1)];
    match memchr::memchr2(b'\n', 0, window) {
        Some(end) if bytes[end] == b'\n' => {
            let line = &bytes[..end];
            Ok(Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1)))
        }
        _ if bytes.len() > LINE_BYTES_MAX => Err(ProtocolError::InlineTooBig),
        _ => Ok(None),
    }
}

fn argument_count(count: Option<i64>, limits: &Limits) -> Result<usize, ProtocolError> {
    match count {
        Some(count) if count <= 0 => Ok(0),
        Some(count) if count as usize <= ARGUMENTS_MAX => {
            if count as usize > ARGUMENTS_UNAUTHENTICATED_MAX && !limits.authenticated {
                return Err(ProtocolError::UnauthenticatedCount);
            }
            Ok(count as usize)
        }
        _ => Err(ProtocolError::InvalidCount),
    }
}

/// The length of the bulk whose header stands at `at`, and where its bytes start.
#[inline]
fn bulk_start(bytes: &[u8], at: usize, limits: &Limits) -> Result<Option<(usize, usize)>, ProtocolError> {
    debug_assert!(limits.bulk_bytes_max >= 999, "the fast path knows no bound");
    // Nearly every header is `$d\r\n`, `$dd\r\n` or `$ddd\r\n`.
    if let Some([b'$', first, second, third, fourth, _]) = bytes.get(at..at + 6) {
        let (first, tens, ones) = (digit(*first), digit(*second), digit(*third));
        if first < 10 && *second == b'\r' {
            return Ok(Some((first, at + 4)));
        }
        // From two digits on the first is no zero.
        if first.wrapping_sub(1) < 9 && tens < 10 {
            if *third == b'\r' {
                return Ok(Some((first * 10 + tens, at + 5)));
            }
            if ones < 10 && *fourth == b'\r' {
                return Ok(Some((first * 100 + tens * 10 + ones, at + 6)));
            }
        }
    }
    bulk_start_slow(bytes, at, limits)
}

/// The value of a digit; 10 or more for any other byte.
fn digit(byte: u8) -> usize {
    byte.wrapping_sub(b'0') as usize
}

fn bulk_start_slow(
    bytes: &[u8],
    at: usize,
    limits: &Limits,
) -> Result<Option<(usize, usize)>, ProtocolError> {
    // The first byte is judged when its line is whole, as redis-server does.
    let Some((len, start)) = number(bytes, at + 1, ProtocolError::LengthLineTooBig)? else {
        return Ok(None);
    };
    if bytes[at] != b'$' {
        return Err(ProtocolError::ExpectedBulk(bytes[at]));
    }
    match len {
        Some(len) if len >= 0 && len as u64 <= limits.bulk_bytes_max as u64 => {
            if len as usize > BULK_UNAUTHENTICATED_BYTES_MAX && !limits.authenticated {
                return Err(ProtocolError::UnauthenticatedLength);
            }
            Ok(Some((len as usize, start)))
        }
        _ => Err(ProtocolError::InvalidLength),
    }
}

/// The number on the line whose tag stands before `at` (none if it is no number), and the index behind the line end; nothing
/// if the line is not whole. The byte after the carriage return is not looked at.
fn number(
    bytes: &[u8],
    at: usize,
    too_big: ProtocolError,
) -> Result<Option<(Option<i64>, usize)>, ProtocolError> {
    let tag = at - 1;
    if tag >= bytes.len() {
        return Ok(None);
    }
    let line = &bytes[tag..bytes.len().min(tag + LINE_BYTES_MAX + 1)];
    match memchr::memchr2(b'\r', 0, line) {
        Some(len) if line[len] == b'\r' => {
            let end = tag + len + 2;
            if end > bytes.len() {
                return Ok(None);
            }
            // A line may be nothing but its end: then the tag is the carriage return itself.
            let digits = line.get(1..len).unwrap_or_default();
            Ok(Some((parse_i64(digits), end)))
        }
        _ if bytes.len() - tag > LINE_BYTES_MAX => Err(too_big),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests;
