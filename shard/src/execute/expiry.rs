//! Points in time at which keys expire.

use super::{Done, Env, Write};
use crate::row::Row;
use crate::{Expire, ExpireWhen, Reply, ReplyError};

/// What becomes of an expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// There is none.
    Never,
    /// It stays.
    Unchanged,
    /// It is this time, in milliseconds.
    At(i64),
}

/// The moment that `expire` names, as Redis counts: negative times are allowed, overflow is not.
pub(super) fn moment(env: &Env, expire: Expire) -> Result<Moment, ReplyError> {
    let now = i64::try_from(env.time_ms).map_err(|_| ReplyError::InvalidExpire)?;
    let at = match expire {
        Expire::Clear => return Ok(Moment::Never),
        Expire::Keep => return Ok(Moment::Unchanged),
        Expire::At(at) => at,
        Expire::In(after) => after.checked_add(now).ok_or(ReplyError::InvalidExpire)?,
    };
    Ok(Moment::At(at))
}

/// A new expiry as a row holds it; `None` when it is now or lies behind, so that the key goes at once.
pub(super) fn ahead(env: &Env, at: i64) -> Option<u64> {
    u64::try_from(at).ok().filter(|&at| at > env.time_ms)
}

pub(super) fn expire<'r>(
    env: &Env,
    row: Option<Row<'r>>,
    cell: &mut Vec<u8>,
    expire: Expire,
    when: ExpireWhen,
) -> Done<'r> {
    let moment = moment(env, expire)?;
    let Some(row) = row else { return Ok((Write::Nothing, Reply::Int(0))) };
    // The parser makes no other; they would change nothing.
    let Moment::At(at) = moment else { return Ok((Write::Nothing, Reply::Int(0))) };
    let earlier = |old| at < i64::try_from(old).unwrap_or(i64::MAX);
    let later = |old| u64::try_from(at).is_ok_and(|at| at > old);
    let holds = match (when, row.expiry_ms) {
        (ExpireWhen::Always, _) | (ExpireWhen::None | ExpireWhen::Earlier, None) => true,
        (ExpireWhen::Some, Some(_)) => true,
        (ExpireWhen::Earlier | ExpireWhen::SomeEarlier, Some(old)) => earlier(old),
        (ExpireWhen::Later, Some(old)) => later(old),
        (ExpireWhen::None, Some(_)) => false,
        (ExpireWhen::Some | ExpireWhen::Later | ExpireWhen::SomeEarlier, None) => false,
    };
    if !holds {
        return Ok((Write::Nothing, Reply::Int(0)));
    }
    let Some(at) = ahead(env, at) else { return Ok((Write::Delete, Reply::Int(1))) };
    Row { expiry_ms: Some(at), ..row }.encode(cell);
    Ok((Write::Put, Reply::Int(1)))
}

pub(super) fn persist<'r>(row: Option<Row<'r>>, cell: &mut Vec<u8>) -> (Write, Reply<'r>) {
    match row {
        Some(row) if row.expiry_ms.is_some() => {
            Row { expiry_ms: None, ..row }.encode(cell);
            (Write::Put, Reply::Int(1))
        }
        _ => (Write::Nothing, Reply::Int(0)),
    }
}
