//! Commands on strings.

use super::expiry::{Moment, ahead, moment};
use super::{Done, Env, Write, as_string};
use crate::limits::VALUE_BYTES_MAX;
use crate::row::Row;
use crate::{Expire, Reply, ReplyError, SetWhen};

pub(super) struct Set<'a> {
    pub value: &'a [u8],
    pub when: SetWhen,
    pub expire: Expire,
    pub get: bool,
}

/// The expiry comes first, then the type of the old value (only GET minds it), then the condition: as in Redis.
pub(super) fn set<'r>(env: &Env, row: Option<Row<'r>>, cell: &mut Vec<u8>, set: &Set<'_>) -> Done<'r> {
    let expiry_ms = match moment(env, set.expire)? {
        Moment::Never => None,
        Moment::Unchanged => row.and_then(|row| row.expiry_ms),
        // One that lies behind is stored as well: the key is there, and has expired.
        Moment::At(at) => Some(u64::try_from(at).unwrap_or(0)),
    };
    let old = match if set.get { as_string(row)? } else { None } {
        Some(old) => Reply::Bulk(old.value),
        None => Reply::Nil,
    };
    let holds = match set.when {
        SetWhen::Always => true,
        SetWhen::Absent => row.is_none(),
        SetWhen::Present => row.is_some(),
    };
    if !holds {
        return Ok((Write::Nothing, old));
    }
    Row::string(set.value, expiry_ms).encode(cell);
    Ok((Write::Put, if set.get { old } else { Reply::Ok }))
}

pub(super) fn append<'r>(row: Option<Row<'r>>, cell: &mut Vec<u8>, tail: &[u8]) -> Done<'r> {
    let old = as_string(row)?.unwrap_or(Row::string(b"", None));
    let len = old.value.len() + tail.len();
    if len > VALUE_BYTES_MAX && row.is_some() {
        return Err(ReplyError::StringTooLong);
    }
    old.encode(cell);
    cell.extend_from_slice(tail);
    Ok((Write::Put, Reply::Int(len as i64)))
}

pub(super) fn set_range<'r>(row: Option<Row<'r>>, cell: &mut Vec<u8>, offset: u64, value: &[u8]) -> Done<'r> {
    let old = as_string(row)?.unwrap_or(Row::string(b"", None));
    if value.is_empty() {
        return Ok((Write::Nothing, Reply::Int(old.value.len() as i64)));
    }
    if offset.saturating_add(value.len() as u64) > VALUE_BYTES_MAX as u64 {
        return Err(ReplyError::StringTooLong);
    }
    old.encode_head(cell);
    let head = cell.len();
    let (start, end) = (offset as usize, offset as usize + value.len());
    let len = old.value.len().max(end);
    cell.extend_from_slice(&old.value[..old.value.len().min(start)]);
    cell.resize(head + start, 0);
    cell.extend_from_slice(value);
    cell.extend_from_slice(old.value.get(end..).unwrap_or_default());
    debug_assert_eq!(cell.len(), head + len);
    Ok((Write::Put, Reply::Int(len as i64)))
}

pub(super) fn get_del(row: Option<Row<'_>>) -> Done<'_> {
    Ok(match as_string(row)? {
        Some(row) => (Write::Delete, Reply::Bulk(row.value)),
        None => (Write::Nothing, Reply::Nil),
    })
}

pub(super) fn get_ex<'r>(env: &Env, row: Option<Row<'r>>, cell: &mut Vec<u8>, expire: Expire) -> Done<'r> {
    let Some(row) = as_string(row)? else { return Ok((Write::Nothing, Reply::Nil)) };
    let expiry_ms = match moment(env, expire)? {
        Moment::Unchanged => return Ok((Write::Nothing, Reply::Bulk(row.value))),
        Moment::Never if row.expiry_ms.is_none() => return Ok((Write::Nothing, Reply::Bulk(row.value))),
        Moment::Never => None,
        Moment::At(at) => match ahead(env, at) {
            None => return Ok((Write::Delete, Reply::Bulk(row.value))),
            ahead => ahead,
        },
    };
    Row { expiry_ms, ..row }.encode(cell);
    Ok((Write::Put, Reply::Bulk(row.value)))
}
