//! Typed replies of the owners, in the client's protocol.

use pinion_shard::{Reply, ReplyError};

use super::error::invalid_expire;
use super::lookup::CommandId;
use crate::resp::Encoder;

/// Writes one reply to `command`. Of an array only the header: its elements follow one by one.
///
/// A page is the reply to DBSIZE, or the first half of the reply to SCAN: then that many bulks follow.
#[inline]
pub fn encode(command: CommandId, reply: Reply<'_>, encoder: &mut Encoder<'_>) {
    match reply {
        Reply::Ok if command.answers_one_or_zero() => encoder.integer(1),
        Reply::Nil if command.answers_one_or_zero() => encoder.integer(0),
        Reply::Ok => encoder.ok(),
        Reply::Nil => encoder.null(),
        Reply::Int(value) => encoder.integer(value),
        Reply::Bulk(bytes) => encoder.bulk(bytes),
        Reply::Simple(text) => encoder.simple_bytes(text),
        Reply::Array(count) => encoder.array(count as usize),
        Reply::Error(error) => encode_error(command, error, encoder),
        Reply::Page { count, .. } if command.is("dbsize") => encoder.integer(i64::from(count)),
        Reply::Page { cursor, count } => {
            encoder.array(2);
            encoder.bulk(itoa::Buffer::new().format(cursor).as_bytes());
            encoder.array(count as usize);
        }
    }
}

/// Errors that Redis knows have its words; the others start with a code of their own, say what happened and what to do.
#[cold]
fn encode_error(command: CommandId, error: ReplyError, encoder: &mut Encoder<'_>) {
    let code = match error {
        ReplyError::WrongType => {
            return encoder.error(b"WRONGTYPE Operation against a key holding the wrong kind of value");
        }
        ReplyError::NotAnInteger => return encoder.error(b"ERR value is not an integer or out of range"),
        ReplyError::Overflow => return encoder.error(b"ERR increment or decrement would overflow"),
        ReplyError::StringTooLong => {
            return encoder.error(b"ERR string exceeds maximum allowed size (proto-max-bulk-len)");
        }
        ReplyError::InvalidExpire => return encoder.error(invalid_expire(command.spec().name).as_bytes()),
        ReplyError::NoSuchKey => return encoder.error(b"ERR no such key"),
        ReplyError::CrossSlot => {
            return encoder.error(b"CROSSSLOT Keys in request don't hash to the same slot");
        }
        ReplyError::ReadOnly => "READONLY",
        // Clients of Redis Cluster try again at this code; the request may succeed unchanged.
        ReplyError::Moved { .. } | ReplyError::TryAgain | ReplyError::Overloaded => "TRYAGAIN",
        ReplyError::NoSpace => "NOSPACE",
        ReplyError::Poisoned | ReplyError::Damaged | ReplyError::Corrupt => "IOERR",
        ReplyError::DeadlinePassed => "TIMEOUT",
        ReplyError::Unknown => "UNKNOWN",
    };
    encoder.error(format!("{code} {error}").as_bytes());
}
