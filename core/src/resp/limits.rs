//! Bounds of the client protocol.

use pinion_shard::limits::{BATCH_BYTES_MAX, VALUE_BYTES_MAX};

/// Longest line: an inline request, or the line that carries a count or a length.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// Most arguments of one request, its name included.
pub const ARGUMENTS_MAX: usize = 1 << 20;
/// Most arguments of one request on a connection that still has to authenticate.
pub const ARGUMENTS_UNAUTHENTICATED_MAX: usize = 10;
/// Longest argument, unless configured otherwise: one byte more is the protocol error `invalid bulk length`.
pub const BULK_BYTES_MAX: usize = 16 << 20;
/// Longest argument on a connection that still has to authenticate.
pub const BULK_UNAUTHENTICATED_BYTES_MAX: usize = 16 << 10;
/// Longest request, its framing included.
pub const REQUEST_BYTES_MAX: usize = 32 << 20;

const _: () = assert!(BULK_UNAUTHENTICATED_BYTES_MAX <= BULK_BYTES_MAX);
const _: () = assert!(BULK_BYTES_MAX + LINE_BYTES_MAX < REQUEST_BYTES_MAX);
const _: () = assert!(ARGUMENTS_UNAUTHENTICATED_MAX <= ARGUMENTS_MAX);
// A command that was read fits a batch, and its value a row.
const _: () = assert!(REQUEST_BYTES_MAX <= BATCH_BYTES_MAX / 2 && BULK_BYTES_MAX <= VALUE_BYTES_MAX);
// Spans hold their offsets in 32 bits.
const _: () = assert!(REQUEST_BYTES_MAX < u32::MAX as usize);

/// What a connection may send at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// False while the connection still has to authenticate: then only short requests are read.
    pub authenticated: bool,
    /// Longest argument of an authenticated connection, in bytes.
    pub bulk_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { authenticated: true, bulk_bytes_max: BULK_BYTES_MAX }
    }
}
