//! Commands on strings.

use pinion_shard::{Command, Expire, Read, SetWhen, is_float};

use super::{integer, is, key};
use crate::command::action::KeyedKind;
use crate::command::{Action, CommandError};
use crate::resp::Request;

type Parsed<'a> = Result<Action<'a>, CommandError<'a>>;

pub(in crate::command) fn get(request: Request<'_>) -> Parsed<'_> {
    Ok(Action::Read(Read::Get { key: key(&request)? }))
}

pub(in crate::command) fn strlen(request: Request<'_>) -> Parsed<'_> {
    Ok(Action::Read(Read::StrLen { key: key(&request)? }))
}

pub(in crate::command) fn getrange(request: Request<'_>) -> Parsed<'_> {
    let (start, end) = (integer(request.arg(2))?, integer(request.arg(3))?);
    Ok(Action::Read(Read::GetRange { key: key(&request)?, start, end }))
}

pub(in crate::command) fn mget(request: Request<'_>) -> Parsed<'_> {
    super::keyspace::keyed(KeyedKind::MGet, request)
}

pub(in crate::command) fn mset(request: Request<'_>) -> Parsed<'_> {
    pairs(KeyedKind::MSet, "mset", request)
}

pub(in crate::command) fn msetnx(request: Request<'_>) -> Parsed<'_> {
    pairs(KeyedKind::MSetNx, "msetnx", request)
}

fn pairs<'a>(kind: KeyedKind, name: &'static str, request: Request<'a>) -> Parsed<'a> {
    if request.len().is_multiple_of(2) {
        return Err(CommandError::Arity(name));
    }
    super::keyspace::keyed(kind, request)
}

pub(in crate::command) fn set(request: Request<'_>) -> Parsed<'_> {
    let (key, value) = (key(&request)?, request.arg(2));
    if request.len() == 3 {
        return Ok(write(Command::Set {
            key,
            value,
            when: SetWhen::Always,
            expire: Expire::Clear,
            get: false,
        }));
    }
    let options = Options::parse(&request, 3, true)?;
    let expire = match options.time {
        Some(time) => time.expire("set")?,
        None if options.keep => Expire::Keep,
        None => Expire::Clear,
    };
    Ok(write(Command::Set { key, value, when: options.when, expire, get: options.get }))
}

pub(in crate::command) fn setnx(request: Request<'_>) -> Parsed<'_> {
    let (key, value) = (key(&request)?, request.arg(2));
    Ok(write(Command::Set { key, value, when: SetWhen::Absent, expire: Expire::Clear, get: false }))
}

pub(in crate::command) fn getset(request: Request<'_>) -> Parsed<'_> {
    let (key, value) = (key(&request)?, request.arg(2));
    Ok(write(Command::Set { key, value, when: SetWhen::Always, expire: Expire::Clear, get: true }))
}

pub(in crate::command) fn setex(request: Request<'_>) -> Parsed<'_> {
    set_with_time(Unit::Seconds, "setex", request)
}

pub(in crate::command) fn psetex(request: Request<'_>) -> Parsed<'_> {
    set_with_time(Unit::Millis, "psetex", request)
}

fn set_with_time<'a>(unit: Unit, name: &'static str, request: Request<'a>) -> Parsed<'a> {
    let (key, value) = (key(&request)?, request.arg(3));
    let expire = Time { unit, absolute: false, amount: request.arg(2) }.expire(name)?;
    Ok(write(Command::Set { key, value, when: SetWhen::Always, expire, get: false }))
}

pub(in crate::command) fn getdel(request: Request<'_>) -> Parsed<'_> {
    Ok(write(Command::GetDel { key: key(&request)? }))
}

pub(in crate::command) fn getex(request: Request<'_>) -> Parsed<'_> {
    let options = Options::parse(&request, 2, false)?;
    let key = key(&request)?;
    Ok(match options.time {
        Some(time) => write(Command::GetEx { key, expire: time.expire("getex")? }),
        None if options.persist => write(Command::GetEx { key, expire: Expire::Clear }),
        None => Action::Read(Read::Get { key }),
    })
}

pub(in crate::command) fn append(request: Request<'_>) -> Parsed<'_> {
    Ok(write(Command::Append { key: key(&request)?, value: request.arg(2) }))
}

pub(in crate::command) fn setrange(request: Request<'_>) -> Parsed<'_> {
    let offset = integer(request.arg(2))?;
    let offset = u64::try_from(offset).map_err(|_| CommandError::Text("ERR offset is out of range"))?;
    Ok(write(Command::SetRange { key: key(&request)?, offset, value: request.arg(3) }))
}

pub(in crate::command) fn incr(request: Request<'_>) -> Parsed<'_> {
    Ok(write(Command::IncrBy { key: key(&request)?, delta: 1 }))
}

pub(in crate::command) fn decr(request: Request<'_>) -> Parsed<'_> {
    Ok(write(Command::IncrBy { key: key(&request)?, delta: -1 }))
}

pub(in crate::command) fn incrby(request: Request<'_>) -> Parsed<'_> {
    let delta = integer(request.arg(2))?;
    Ok(write(Command::IncrBy { key: key(&request)?, delta }))
}

pub(in crate::command) fn decrby(request: Request<'_>) -> Parsed<'_> {
    let delta = integer(request.arg(2))?;
    let delta = delta.checked_neg().ok_or(CommandError::Text("ERR decrement would overflow"))?;
    Ok(write(Command::IncrBy { key: key(&request)?, delta }))
}

pub(in crate::command) fn incrbyfloat(request: Request<'_>) -> Parsed<'_> {
    let delta = request.arg(2);
    if !is_float(delta) {
        return Err(CommandError::Text("ERR value is not a valid float"));
    }
    Ok(write(Command::IncrByFloat { key: key(&request)?, delta }))
}

fn write(command: Command<'_>) -> Action<'_> {
    Action::Write(command)
}

/// Units of time that clients use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Millis,
}

/// A time as an option gives it.
#[derive(Clone, Copy, Debug)]
struct Time<'a> {
    unit: Unit,
    absolute: bool,
    amount: &'a [u8],
}

impl<'a> Time<'a> {
    /// The time in milliseconds. Whether it lies too far in the future of the batch is seen when it is executed.
    fn expire(self, name: &'static str) -> Result<Expire, CommandError<'a>> {
        let invalid = CommandError::InvalidExpire(name);
        let amount = integer(self.amount)?;
        if amount <= 0 {
            return Err(invalid);
        }
        let millis = match self.unit {
            Unit::Seconds => amount.checked_mul(1000).ok_or(invalid)?,
            Unit::Millis => amount,
        };
        Ok(if self.absolute { Expire::At(millis) } else { Expire::In(millis) })
    }
}

/// The options of SET and GETEX. Of options that exclude each other the second is a syntax error; the same one may come
/// again, and the last one counts.
struct Options<'a> {
    when: SetWhen,
    get: bool,
    keep: bool,
    persist: bool,
    time: Option<Time<'a>>,
}

impl<'a> Options<'a> {
    fn parse(request: &Request<'a>, first: usize, set: bool) -> Result<Options<'a>, CommandError<'a>> {
        let mut options =
            Options { when: SetWhen::Always, get: false, keep: false, persist: false, time: None };
        let mut args = request.args(first);
        while let Some(option) = args.next() {
            if let Some((unit, absolute)) = time_option(option) {
                let other = options.time.is_some_and(|time| (time.unit, time.absolute) != (unit, absolute));
                let amount = args.next();
                let (Some(amount), false) = (amount, other || options.keep || options.persist) else {
                    return Err(CommandError::Syntax);
                };
                options.time = Some(Time { unit, absolute, amount });
            } else if set && is(option, "nx") && options.when != SetWhen::Present {
                options.when = SetWhen::Absent;
            } else if set && is(option, "xx") && options.when != SetWhen::Absent {
                options.when = SetWhen::Present;
            } else if set && is(option, "get") {
                options.get = true;
            } else if set && is(option, "keepttl") && options.time.is_none() {
                options.keep = true;
            } else if !set && is(option, "persist") && options.time.is_none() {
                options.persist = true;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }
}

fn time_option(option: &[u8]) -> Option<(Unit, bool)> {
    match option.len() {
        2 if is(option, "ex") => Some((Unit::Seconds, false)),
        2 if is(option, "px") => Some((Unit::Millis, false)),
        4 if is(option, "exat") => Some((Unit::Seconds, true)),
        4 if is(option, "pxat") => Some((Unit::Millis, true)),
        _ => None,
    }
}
