//! Commands on the bits of strings. Bit 0 is the highest one of the first byte.

use std::ops::Range;

use super::{Done, Write, as_string};
use crate::limits::VALUE_BYTES_MAX;
use crate::row::Row;
use crate::{BitOp, Reply, ReplyError};

pub(super) fn set_bit<'r>(row: Option<Row<'r>>, cell: &mut Vec<u8>, offset: u64, bit: bool) -> Done<'r> {
    let old = as_string(row)?.unwrap_or(Row::string(b"", None));
    let byte = offset / 8;
    if byte >= VALUE_BYTES_MAX as u64 {
        return Err(ReplyError::StringTooLong);
    }
    let (byte, was) = (byte as usize, bit_at(old.value, offset));
    if was == bit && old.value.len() > byte {
        return Ok((Write::Nothing, Reply::Int(was.into())));
    }
    old.encode(cell);
    let head = cell.len() - old.value.len();
    cell.resize(cell.len().max(head + byte + 1), 0);
    let mask = 0x80 >> (offset % 8);
    if bit {
        cell[head + byte] |= mask;
    } else {
        cell[head + byte] &= !mask;
    }
    Ok((Write::Put, Reply::Int(was.into())))
}

/// Makes `all` what becomes of it and of one more string; `first` is whether there was none before.
pub(crate) fn combine(op: BitOp, all: &mut Vec<u8>, value: &[u8], first: bool) {
    if first {
        all.clear();
        all.extend_from_slice(value);
        if op == BitOp::Not {
            all.iter_mut().for_each(|byte| *byte = !*byte);
        }
        return;
    }
    all.resize(all.len().max(value.len()), 0);
    let (head, tail) = all.split_at_mut(value.len());
    match op {
        BitOp::And => {
            head.iter_mut().zip(value).for_each(|(byte, other)| *byte &= other);
            tail.fill(0);
        }
        BitOp::Or => head.iter_mut().zip(value).for_each(|(byte, other)| *byte |= other),
        BitOp::Xor => head.iter_mut().zip(value).for_each(|(byte, other)| *byte ^= other),
        BitOp::Not => unreachable!("it has one string, as the archive says"),
    }
}

/// Bit `offset`; behind the end there are zeros.
pub(crate) fn bit_at(value: &[u8], offset: u64) -> bool {
    let byte = usize::try_from(offset / 8).ok().and_then(|at| value.get(at));
    byte.is_some_and(|byte| byte & (0x80 >> (offset % 8)) != 0)
}

/// The bits from `start` to `end`, both included, in bytes or in bits; negative ones count from the end. `None` when there is none.
pub(crate) fn bit_range(value: &[u8], start: i64, end: i64, in_bits: bool) -> Option<Range<usize>> {
    let unit = if in_bits { 1 } else { 8 };
    let len = (value.len() * 8 / unit) as i64;
    let from_end = |at: i64| if at < 0 { at.saturating_add(len).max(0) } else { at };
    let (start, end) = (from_end(start), from_end(end).min(len - 1));
    (start <= end).then(|| start as usize * unit..(end as usize + 1) * unit)
}

/// How many of these bits are set.
pub(crate) fn count_bits(value: &[u8], bits: Range<usize>) -> i64 {
    let ones = |byte: u8, kept: u8| i64::from((byte & kept).count_ones());
    let (first, last) = (bits.start / 8, (bits.end - 1) / 8);
    let (head, tail) = (0xff >> (bits.start % 8), tail_mask(bits.end));
    if first == last {
        return ones(value[first], head & tail);
    }
    let (words, rest) = value[first + 1..last].as_chunks();
    let words: i64 = words.iter().map(|word| i64::from(u64::from_le_bytes(*word).count_ones())).sum();
    let rest: i64 = rest.iter().map(|&byte| ones(byte, 0xff)).sum();
    ones(value[first], head) + words + rest + ones(value[last], tail)
}

/// The first of these bits that is `bit`.
pub(crate) fn find_bit(value: &[u8], bits: Range<usize>, bit: bool) -> Option<usize> {
    let other = if bit { 0 } else { 0xff };
    let (first, last) = (bits.start / 8, (bits.end - 1) / 8);
    let found = |at: usize, kept: u8| {
        let differs = (value[at] ^ other) & kept;
        (differs != 0).then(|| at * 8 + differs.leading_zeros() as usize)
    };
    let (head, tail) = (0xff >> (bits.start % 8), tail_mask(bits.end));
    if first == last {
        return found(first, head & tail);
    }
    found(first, head)
        .or_else(|| {
            let within = value[first + 1..last].iter().position(|&byte| byte != other)?;
            found(first + 1 + within, 0xff)
        })
        .or_else(|| found(last, tail))
}

/// The bits of the last byte that lie before `end`.
const fn tail_mask(end: usize) -> u8 {
    match end % 8 {
        0 => 0xff,
        within => !(0xff >> within),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every range of short strings, against one bit after the other.
    #[test]
    fn bits_are_counted_and_found_as_one_by_one() {
        let mut rng = fastrand::Rng::with_seed(1);
        for round in 0..200 {
            let bytes = rng.usize(1..24);
            let value: Vec<u8> = (0..bytes)
                .map(|_| match round % 3 {
                    0 => rng.u8(..),
                    1 => 0,
                    _ => 0xff,
                })
                .collect();
            let mut value = value;
            let at = rng.usize(..bytes);
            value[at] ^= 1 << rng.u8(..8);
            for start in 0..bytes * 8 {
                for end in start + 1..=bytes * 8 {
                    let set: Vec<usize> = (start..end).filter(|&at| bit_at(&value, at as u64)).collect();
                    assert_eq!(count_bits(&value, start..end), set.len() as i64);
                    assert_eq!(find_bit(&value, start..end, true), set.first().copied());
                    let clear = (start..end).find(|&at| !bit_at(&value, at as u64));
                    assert_eq!(find_bit(&value, start..end, false), clear);
                }
            }
        }
    }
}
