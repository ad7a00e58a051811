//! Numbers in strings.

use std::io::Write as _;

use super::{Done, Write, as_string};
use crate::row::Row;
use crate::{Reply, ReplyError};

pub(super) fn incr_by<'r>(row: Option<Row<'r>>, cell: &mut Vec<u8>, delta: i64) -> Done<'r> {
    let old = as_string(row)?.unwrap_or(Row::string(b"0", None));
    let value = parse_int(old.value).ok_or(ReplyError::NotAnInteger)?;
    let sum = value.checked_add(delta).ok_or(ReplyError::Overflow)?;
    old.encode_head(cell);
    write!(cell, "{sum}").expect("writing to memory does not fail");
    Ok((Write::Put, Reply::Int(sum)))
}

/// The integer that these bytes are, written as Redis writes it: no spaces, no plus, no leading zeros, no `-0`.
pub(super) fn parse_int(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        b"0" => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if !matches!(digits, [b'1'..=b'9', ..]) || digits.len() > 19 {
        return None;
    }
    let mut magnitude = 0u64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        magnitude = magnitude * 10 + u64::from(digit);
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}
