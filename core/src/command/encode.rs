//! Typed replies of the owners, in the client's protocol.

use pinion_shard::{Reply, ReplyError};

use super::error::invalid_expire;
use super::lookup::CommandId;
use crate::planted;
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
        ReplyError::NotAFloat => return encoder.error(b"ERR value is not a valid float"),
        ReplyError::NotFinite => return encoder.error(b"ERR increment would produce NaN or Infinity"),
        ReplyError::Overflow => return encoder.error(b"ERR increment or decrement would overflow"),
        ReplyError::StringTooLong => {
            return encoder.error(b"ERR string exceeds maximum allowed size (proto-max-bulk-len)");
        }
        ReplyError::InvalidExpire => return encoder.error(invalid_expire(command.spec().name).as_bytes()),
        ReplyError::NoSuchKey => return encoder.error(b"ERR no such key"),
        ReplyError::CrossSlot => {
            return encoder.error(b"CROSSSLOT Keys in request don't hash to the same slot");
        }
        ReplyError::AnswerTooLong => "TOOLONG",
        ReplyError::ReadOnly => "READONLY",
        // Clients of Redis Cluster try again at this code; the request may succeed unchanged.
        ReplyError::Overloaded if planted::is("overload-is-final") => "ERR",
        ReplyError::Moved { .. } | ReplyError::TryAgain | ReplyError::Overloaded => "TRYAGAIN",
        ReplyError::NoSpace => "NOSPACE",
        ReplyError::Poisoned
        | ReplyError::Damaged
        | ReplyError::NoClock
        | ReplyError::Corrupt
        | ReplyError::TablesDamaged => "IOERR",
        ReplyError::DeadlinePassed => "TIMEOUT",
        ReplyError::Unknown => "UNKNOWN",
    };
    encoder.error(format!("{code} {error}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::lookup;
    use crate::resp::Protocol;

    fn encoded(name: &str, reply: Reply<'_>) -> String {
        let mut out = Vec::new();
        let command = lookup(name.as_bytes()).expect("it is in the table");
        encode(command, reply, &mut Encoder::new(&mut out, Protocol::Resp2));
        String::from_utf8(out).expect("these replies are text")
    }

    #[test]
    fn values() {
        assert_eq!(encoded("set", Reply::Ok), "+OK\r\n");
        assert_eq!(encoded("set", Reply::Nil), "$-1\r\n");
        assert_eq!(encoded("setnx", Reply::Ok), ":1\r\n");
        assert_eq!(encoded("setnx", Reply::Nil), ":0\r\n");
        assert_eq!(encoded("getset", Reply::Bulk(b"old")), "$3\r\nold\r\n");
        assert_eq!(encoded("type", Reply::Simple(b"string")), "+string\r\n");
        assert_eq!(encoded("mget", Reply::Array(2)), "*2\r\n");
        assert_eq!(encoded("dbsize", Reply::Page { cursor: 0, count: 9 }), ":9\r\n");
        assert_eq!(encoded("scan", Reply::Page { cursor: 17, count: 2 }), "*2\r\n$2\r\n17\r\n*2\r\n");
        assert_eq!(
            encoded("scan", Reply::Page { cursor: u64::MAX, count: 0 }),
            "*2\r\n$20\r\n18446744073709551615\r\n*0\r\n"
        );
    }

    #[test]
    fn errors_that_redis_knows_have_its_words() {
        for (name, error, expected) in [
            (
                "get",
                ReplyError::WrongType,
                "WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
            ("incr", ReplyError::NotAnInteger, "ERR value is not an integer or out of range"),
            ("incr", ReplyError::Overflow, "ERR increment or decrement would overflow"),
            ("incrbyfloat", ReplyError::NotAFloat, "ERR value is not a valid float"),
            ("incrbyfloat", ReplyError::NotFinite, "ERR increment would produce NaN or Infinity"),
            (
                "append",
                ReplyError::StringTooLong,
                "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            ),
            ("pexpireat", ReplyError::InvalidExpire, "ERR invalid expire time in 'pexpireat' command"),
            ("mset", ReplyError::CrossSlot, "CROSSSLOT Keys in request don't hash to the same slot"),
        ] {
            assert_eq!(encoded(name, Reply::Error(error)), format!("-{expected}\r\n"));
        }
    }

    /// O5: what may be tried again says so by its code, and nothing else does.
    #[test]
    fn a_client_can_tell_what_to_try_again() {
        for error in [
            ReplyError::Moved { slot: 7 },
            ReplyError::TryAgain,
            ReplyError::Overloaded,
            ReplyError::NoSpace,
            ReplyError::AnswerTooLong,
            ReplyError::ReadOnly,
            ReplyError::Poisoned,
            ReplyError::Damaged,
            ReplyError::NoClock,
            ReplyError::Corrupt,
            ReplyError::TablesDamaged,
            ReplyError::DeadlinePassed,
            ReplyError::Unknown,
        ] {
            let text = encoded("set", Reply::Error(error));
            let code = text[1..].split(' ').next().expect("a code");
            assert!(code.bytes().all(|byte| byte.is_ascii_uppercase()) && code != "ERR", "{text}");
            assert_eq!(["TRYAGAIN", "NOSPACE"].contains(&code), error.retryable(), "{text}");
        }
    }
}
