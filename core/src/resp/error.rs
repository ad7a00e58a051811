//! What a client can do wrong below the level of commands.

use thiserror::Error;

/// The byte stream cannot be understood any further. The text goes to the client after `-ERR `; then the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// An inline request without an end.
    #[error("Protocol error: too big inline request")]
    InlineTooBig,
    /// A quote that is not closed, or not followed by a space.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// The line of the argument count has no end.
    #[error("Protocol error: too big mbulk count string")]
    CountLineTooBig,
    /// The argument count is no number, or beyond the bound.
    #[error("Protocol error: invalid multibulk length")]
    InvalidCount,
    /// More arguments than a connection may send before it authenticates.
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedCount,
    /// The line of a bulk length has no end.
    #[error("Protocol error: too big bulk count string")]
    LengthLineTooBig,
    /// Something else stands where a bulk should start.
    #[error("Protocol error: expected '$', got '{}'", .0.escape_ascii())]
    ExpectedBulk(u8),
    /// The bulk length is no number, negative, or beyond the bound.
    #[error("Protocol error: invalid bulk length")]
    InvalidLength,
    /// A longer bulk than a connection may send before it authenticates.
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedLength,
    /// The whole request is beyond its bound.
    #[error("Protocol error: request exceeds {} bytes", super::limits::REQUEST_BYTES_MAX)]
    RequestTooBig,
}

impl ProtocolError {
    /// Appends the text as the client is to see it; bytes that are no text are passed on unchanged.
    pub fn write(self, out: &mut Vec<u8>) {
        match self {
            // The byte is echoed raw, as redis-server does, but a line break would end the reply too early.
            ProtocolError::ExpectedBulk(got) => {
                out.extend_from_slice(b"Protocol error: expected '$', got '");
                let shown = if matches!(got, b'\r' | b'\n') { b' ' } else { got };
                out.extend_from_slice(&[shown, b'\'']);
            }
            _ => {
                use std::io::Write as _;
                write!(out, "{self}").expect("writing to memory does not fail");
            }
        }
    }
}
