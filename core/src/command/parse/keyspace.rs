//! Commands on keys of any type.

use pinion_shard::limits::KEY_BYTES_MAX;
use pinion_shard::{Command, Expire, ExpireWhen, Read, TypeFilter};

use super::string::Unit;
use super::{integer, is, key, pattern};
use crate::command::action::{Keyed, KeyedKind};
use crate::command::{Action, CommandError};
use crate::resp::Request;

/// Most keys that one SCAN looks at, however many the client asks for.
const SCAN_COUNT_MAX: u32 = 65_536;
/// How many it looks at if the client does not say.
const SCAN_COUNT_DEFAULT: u32 = 10;

type Parsed<'a> = Result<Action<'a>, CommandError<'a>>;

pub(super) fn keyed(kind: KeyedKind, request: Request<'_>) -> Parsed<'_> {
    if request.args(1).step_by(kind.step()).any(|key| key.len() > KEY_BYTES_MAX) {
        return Err(CommandError::KeyTooLong);
    }
    Ok(Action::Keyed(Keyed::new(kind, request)))
}

pub(in crate::command) fn del(request: Request<'_>) -> Parsed<'_> {
    keyed(KeyedKind::Del, request)
}

pub(in crate::command) fn exists(request: Request<'_>) -> Parsed<'_> {
    keyed(KeyedKind::Exists, request)
}

pub(in crate::command) fn rename(request: Request<'_>) -> Parsed<'_> {
    keyed(KeyedKind::Rename, request)
}

pub(in crate::command) fn renamenx(request: Request<'_>) -> Parsed<'_> {
    keyed(KeyedKind::RenameNx, request)
}

pub(in crate::command) fn copy(request: Request<'_>) -> Parsed<'_> {
    let mut replace = false;
    let mut options = request.args(3);
    while let Some(option) = options.next() {
        if is(option, "replace") {
            replace = true;
        } else if is(option, "db")
            && let Some(database) = options.next()
        {
            database_zero(database)?;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let (from, to) = (request.arg(1), request.arg(2));
    if from == to {
        return Err(CommandError::Text("ERR source and destination objects are the same"));
    }
    if from.len().max(to.len()) > KEY_BYTES_MAX {
        return Err(CommandError::KeyTooLong);
    }
    Ok(Action::Keyed(Keyed::new(KeyedKind::Copy { replace }, request)))
}

/// There is one database.
fn database_zero(number: &[u8]) -> Result<(), CommandError<'_>> {
    match i32::try_from(integer(number)?) {
        Ok(0) => Ok(()),
        Ok(_) => Err(CommandError::Text("ERR DB index is out of range")),
        Err(_) => Err(CommandError::Text(
            "ERR value is out of range, value must between -2147483648 and 2147483647",
        )),
    }
}

pub(in crate::command) fn kind(request: Request<'_>) -> Parsed<'_> {
    Ok(Action::Read(Read::Type { key: key(&request)? }))
}

pub(in crate::command) fn ttl(request: Request<'_>) -> Parsed<'_> {
    Ok(Action::Read(Read::Ttl { key: key(&request)?, in_millis: false, absolute: false }))
}

pub(in crate::command) fn pttl(request: Request<'_>) -> Parsed<'_> {
    Ok(Action::Read(Read::Ttl { key: key(&request)?, in_millis: true, absolute: false }))
}

pub(in crate::command) fn expiretime(request: Request<'_>) -> Parsed<'_> {
    Ok(Action::Read(Read::Ttl { key: key(&request)?, in_millis: false, absolute: true }))
}

pub(in crate::command) fn pexpiretime(request: Request<'_>) -> Parsed<'_> {
    Ok(Action::Read(Read::Ttl { key: key(&request)?, in_millis: true, absolute: true }))
}

pub(in crate::command) fn persist(request: Request<'_>) -> Parsed<'_> {
    Ok(Action::Write(Command::Persist { key: key(&request)? }))
}

pub(in crate::command) fn expire(request: Request<'_>) -> Parsed<'_> {
    expiry("expire", Unit::Seconds, Expire::In, request)
}

pub(in crate::command) fn pexpire(request: Request<'_>) -> Parsed<'_> {
    expiry("pexpire", Unit::Millis, Expire::In, request)
}

pub(in crate::command) fn expireat(request: Request<'_>) -> Parsed<'_> {
    expiry("expireat", Unit::Seconds, Expire::At, request)
}

pub(in crate::command) fn pexpireat(request: Request<'_>) -> Parsed<'_> {
    expiry("pexpireat", Unit::Millis, Expire::At, request)
}

/// A time in the past is not refused: it deletes the key.
fn expiry<'a>(name: &'static str, unit: Unit, expire: fn(i64) -> Expire, request: Request<'a>) -> Parsed<'a> {
    let when = expire_when(&request)?;
    let amount = integer(request.arg(2))?;
    let millis = match unit {
        Unit::Seconds => amount.checked_mul(1000).ok_or(CommandError::InvalidExpire(name))?,
        Unit::Millis => amount,
    };
    Ok(Action::Write(Command::Expire { key: key(&request)?, expire: expire(millis), when }))
}

fn expire_when<'a>(request: &Request<'a>) -> Result<ExpireWhen, CommandError<'a>> {
    let (mut nx, mut xx, mut gt, mut lt) = (false, false, false, false);
    for option in request.args(3) {
        match option {
            _ if is(option, "nx") => nx = true,
            _ if is(option, "xx") => xx = true,
            _ if is(option, "gt") => gt = true,
            _ if is(option, "lt") => lt = true,
            _ => return Err(CommandError::UnsupportedOption(option)),
        }
    }
    if nx && (xx || gt || lt) {
        let text = "ERR NX and XX, GT or LT options at the same time are not compatible";
        return Err(CommandError::Text(text));
    }
    if gt && lt {
        return Err(CommandError::Text("ERR GT and LT options at the same time are not compatible"));
    }
    Ok(match (nx, xx, gt, lt) {
        (true, ..) => ExpireWhen::None,
        (_, _, true, _) => ExpireWhen::Later,
        (_, true, _, true) => ExpireWhen::SomeEarlier,
        (_, _, _, true) => ExpireWhen::Earlier,
        (_, true, ..) => ExpireWhen::Some,
        _ => ExpireWhen::Always,
    })
}

pub(in crate::command) fn dbsize(_: Request<'_>) -> Parsed<'_> {
    Ok(Action::DbSize)
}

pub(in crate::command) fn keys(request: Request<'_>) -> Parsed<'_> {
    let pattern = pattern(request.arg(1))?;
    if pattern.is_empty() {
        // No pattern matches all keys; an empty one matches none but the empty key.
        return Ok(Action::Keys { pattern, kind: TypeFilter::Other });
    }
    Ok(Action::Keys { pattern, kind: TypeFilter::Any })
}

pub(in crate::command) fn flushall(request: Request<'_>) -> Parsed<'_> {
    match request.get(1) {
        None => Ok(Action::FlushAll),
        Some(mode) if request.len() == 2 && (is(mode, "sync") || is(mode, "async")) => Ok(Action::FlushAll),
        Some(_) => Err(CommandError::Syntax),
    }
}

pub(in crate::command) fn scan(request: Request<'_>) -> Parsed<'_> {
    let cursor = scan_cursor(request.arg(1)).ok_or(CommandError::Text("ERR invalid cursor"))?;
    let (mut count, mut matching, mut kind) = (SCAN_COUNT_DEFAULT, b"".as_slice(), TypeFilter::Any);
    let mut empty = false;
    let mut args = request.args(2);
    while let Some(option) = args.next() {
        let value = args.next().ok_or(CommandError::Syntax)?;
        if is(option, "count") {
            let asked = integer(value)?;
            if asked < 1 {
                return Err(CommandError::Syntax);
            }
            count = u32::try_from(asked).map_or(SCAN_COUNT_MAX, |asked| asked.min(SCAN_COUNT_MAX));
        } else if is(option, "match") {
            matching = pattern(value)?;
            empty = value.is_empty();
        } else if is(option, "type") {
            kind = if is(value, "string") { TypeFilter::String } else { TypeFilter::Other };
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if empty {
        // No pattern matches all keys; an empty one matches none but the empty key.
        kind = TypeFilter::Other;
    }
    Ok(Action::Scan { cursor, count, pattern: matching, kind })
}

/// A cursor as the C function `strtoul` reads it: perhaps a sign, then digits; nothing at all is 0.
fn scan_cursor(text: &[u8]) -> Option<u64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return text.is_empty().then_some(0);
    }
    let mut value: u64 = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(if negative { value.wrapping_neg() } else { value })
}
