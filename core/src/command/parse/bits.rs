//! Commands on the bits of strings.

use pinion_shard::{BitOp, Command, Read};

use super::keyspace::keyed;
use super::{integer, is, key};
use crate::command::{Action, CommandError, KeyedKind};
use crate::resp::{Request, parse_i64};

type Parsed<'a> = Result<Action<'a>, CommandError<'a>>;

/// Bits that the oracle can address: those of 512 MiB.
const BITS_MAX: i64 = 512 << 23;

pub(in crate::command) fn setbit(request: Request<'_>) -> Parsed<'_> {
    let offset = offset(request.arg(2))?;
    let bit = bit(request.arg(3)).ok_or(CommandError::Text("ERR bit is not an integer or out of range"))?;
    Ok(Action::Write(Command::SetBit { key: key(&request)?, offset, bit }))
}

pub(in crate::command) fn getbit(request: Request<'_>) -> Parsed<'_> {
    let offset = offset(request.arg(2))?;
    Ok(Action::Read(Read::GetBit { key: key(&request)?, offset }))
}

pub(in crate::command) fn bitop(request: Request<'_>) -> Parsed<'_> {
    let op = match request.arg(1) {
        name if is(name, "and") => BitOp::And,
        name if is(name, "or") => BitOp::Or,
        name if is(name, "xor") => BitOp::Xor,
        name if is(name, "not") => BitOp::Not,
        _ => return Err(CommandError::Syntax),
    };
    if op == BitOp::Not && request.len() != 4 {
        return Err(CommandError::Text("ERR BITOP NOT must be called with a single source key."));
    }
    keyed(KeyedKind::BitOp(op), request)
}

pub(in crate::command) fn bitcount(request: Request<'_>) -> Parsed<'_> {
    let key = key(&request)?;
    let (start, end, in_bits) = match request.len() {
        2 => (0, -1, false),
        4 | 5 => (integer(request.arg(2))?, integer(request.arg(3))?, unit(&request, 4)?),
        _ => return Err(CommandError::Syntax),
    };
    Ok(Action::Read(Read::BitCount { key, start, end, in_bits }))
}

pub(in crate::command) fn bitpos(request: Request<'_>) -> Parsed<'_> {
    let key = key(&request)?;
    integer(request.arg(2))?;
    let bit = bit(request.arg(2)).ok_or(CommandError::Text("ERR The bit argument must be 1 or 0."))?;
    if request.len() > 6 {
        return Err(CommandError::Syntax);
    }
    let start = if request.len() > 3 { integer(request.arg(3))? } else { 0 };
    let in_bits = unit(&request, 5)?;
    let end = if request.len() > 4 { Some(integer(request.arg(4))?) } else { None };
    Ok(Action::Read(Read::BitPos { key, bit, start, end, in_bits }))
}

fn offset<'a>(bytes: &[u8]) -> Result<u64, CommandError<'a>> {
    let offset = parse_i64(bytes).filter(|offset| (0..BITS_MAX).contains(offset));
    let offset = offset.and_then(|offset| u64::try_from(offset).ok());
    offset.ok_or(CommandError::Text("ERR bit offset is not an integer or out of range"))
}

fn bit(bytes: &[u8]) -> Option<bool> {
    match bytes {
        b"0" => Some(false),
        b"1" => Some(true),
        _ => None,
    }
}

/// Whether argument `index` says that a range is one of bits; bytes if there is none.
fn unit<'a>(request: &Request<'a>, index: usize) -> Result<bool, CommandError<'a>> {
    if request.len() <= index || is(request.arg(index), "byte") {
        return Ok(false);
    }
    if is(request.arg(index), "bit") { Ok(true) } else { Err(CommandError::Syntax) }
}
