//! Numbers as INCRBYFLOAT knows them: those of the x87, with 64 bits of precision, as the `long double` of Redis has on
//! x86-64. They are computed in software, so that every replica comes to the same bytes on whatever machine.

use rustc_apfloat::ieee::X87DoubleExtended;
use rustc_apfloat::{Float, Round};

use super::{Done, Write, as_string};
use crate::limits::FLOAT_BYTES_MAX;
use crate::row::Row;
use crate::{Reply, ReplyError};

/// Digits after the point that are written.
const FRACTION_DIGITS: usize = 17;
/// Exponents beyond are as good as this one: any mantissa of [`FLOAT_BYTES_MAX`] overflows or vanishes with it.
const EXPONENT_MAX: u64 = 100_000;

pub(super) fn incr_by<'r>(row: Option<Row<'r>>, cell: &mut Vec<u8>, delta: &[u8]) -> Done<'r> {
    let old = as_string(row)?.unwrap_or(Row::string(b"0", None));
    let value = parse(old.value).ok_or(ReplyError::NotAFloat)?;
    let delta = parse(delta).ok_or(ReplyError::NotAFloat)?;
    let sum = value.add_r(delta, Round::NearestTiesToEven).value;
    if !sum.is_finite() {
        return Err(ReplyError::NotFinite);
    }
    old.encode_head(cell);
    write(sum, cell);
    Ok((Write::Put, Reply::Nil))
}

/// Whether INCRBYFLOAT takes these bytes as a number. Infinity is one.
#[must_use]
pub fn is_float(bytes: &[u8]) -> bool {
    parse(bytes).is_some()
}

/// The number that these bytes are: as `strtold` of the C library reads them, whole, without spaces before them, not NaN,
/// and neither too large nor too small to be told from zero.
fn parse(bytes: &[u8]) -> Option<X87DoubleExtended> {
    if bytes.len() >= FLOAT_BYTES_MAX {
        return None;
    }
    let (negative, unsigned) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let value = if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") {
        X87DoubleExtended::INFINITY
    } else {
        finite(unsigned)?
    };
    Some(if negative { -value } else { value })
}

fn finite(unsigned: &[u8]) -> Option<X87DoubleExtended> {
    let (hexadecimal, digits) = match unsigned {
        [b'0', b'x' | b'X', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let is_mark = |byte: u8| byte.eq_ignore_ascii_case(if hexadecimal { &b'p' } else { &b'e' });
    let end = digits.iter().position(|&byte| is_mark(byte)).unwrap_or(digits.len());
    let (mantissa, exponent) = (&digits[..end], digits.get(end + 1..));
    let is_digit = |byte: u8| if hexadecimal { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
    let points = mantissa.iter().filter(|&&byte| byte == b'.').count();
    let count = mantissa.iter().filter(|&&byte| is_digit(byte)).count();
    if count == 0 || points > 1 || count + points != mantissa.len() {
        return None;
    }
    let exponent = exponent.map_or(Some(0), clamped)?;
    let mantissa = std::str::from_utf8(mantissa).expect("digits and a point");
    let text =
        if hexadecimal { format!("0x{mantissa}p{exponent}") } else { format!("{mantissa}e{exponent}") };
    let value = X87DoubleExtended::from_str_r(&text, Round::NearestTiesToEven).ok()?.value;
    let vanished = value.is_zero() && mantissa.bytes().any(|digit| digit != b'0' && digit != b'.');
    (value.is_finite() && !vanished).then_some(value)
}

/// An exponent: a sign or none, and digits.
fn clamped(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let fold = |sum: u64, digit: &u8| (sum * 10 + u64::from(digit - b'0')).min(EXPONENT_MAX);
    let magnitude = digits.iter().fold(0, fold) as i64;
    Some(if negative { -magnitude } else { magnitude })
}

/// Appends a finite number as `%.17Lf` writes it, without the zeros at its end, and without the sign of a zero.
fn write(value: X87DoubleExtended, out: &mut Vec<u8>) {
    let bits = value.to_bits();
    let (significand, biased) = (bits as u64, (bits >> 64) as i32 & 0x7fff);
    // The value is significand * 2^exponent.
    let exponent = biased.max(1) - 16383 - 63;
    let digits = if exponent >= 0 {
        shifted(significand, exponent.unsigned_abs())
    } else {
        fixed(significand, exponent.unsigned_abs())
    };
    if bits >> 79 & 1 == 1 && digits != "0" {
        out.push(b'-');
    }
    out.extend_from_slice(digits.as_bytes());
}

/// The digits of `significand * 2^-shift`, rounded to [`FRACTION_DIGITS`].
fn fixed(significand: u64, shift: u32) -> String {
    const SCALE: u128 = 10u128.pow(FRACTION_DIGITS as u32);
    // 64 and 57 bits: it fits.
    let scaled = u128::from(significand) * SCALE;
    let rounded = if shift >= u128::BITS {
        0
    } else {
        let (whole, rest, half) = (scaled >> shift, scaled & ((1 << shift) - 1), 1 << (shift - 1));
        whole + u128::from(rest > half || rest == half && whole % 2 == 1)
    };
    let text = format!("{}.{:0width$}", rounded / SCALE, rounded % SCALE, width = FRACTION_DIGITS);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The digits of `significand * 2^shift`, by long division.
fn shifted(significand: u64, shift: u32) -> String {
    const CHUNK: u128 = 1_000_000_000_000_000_000;
    // Limbs, the lowest first.
    let mut limbs = vec![0u64; shift as usize / 64];
    let low = u128::from(significand) << (shift % 64);
    limbs.extend([low as u64, (low >> 64) as u64]);
    let mut chunks = Vec::new();
    while limbs.iter().any(|&limb| limb != 0) {
        let mut rest = 0u128;
        for limb in limbs.iter_mut().rev() {
            let part = rest << 64 | u128::from(*limb);
            *limb = (part / CHUNK) as u64;
            rest = part % CHUNK;
        }
        chunks.push(rest);
    }
    let Some(first) = chunks.pop() else { return "0".to_owned() };
    chunks.iter().rev().fold(first.to_string(), |text, chunk| format!("{text}{chunk:018}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(old: &str, delta: &str) -> Result<String, ReplyError> {
        let mut cell = Vec::new();
        incr_by(Some(Row::string(old.as_bytes(), None)), &mut cell, delta.as_bytes())
            .map(|(write, _)| assert_eq!(write, Write::Put))?;
        let row = Row::decode(&cell).expect("a row was written");
        Ok(String::from_utf8(row.value.to_vec()).expect("digits"))
    }

    /// What redis-server 7.0.15 on x86-64 answers.
    #[test]
    fn sums_are_those_of_the_oracle() {
        for (old, delta, expected) in [
            ("1", "1", "2"),
            ("1.5", "1.23", "2.73"),
            ("3", "1.1", "4.1"),
            ("5.0e3", "2.0e2", "5200"),
            ("0", "-0", "0"),
            ("-1", "1", "0"),
            ("17179869184", "1.5", "17179869185.5"),
            ("10.5", "0.1", "10.6"),
            ("0x10", "0x1p-1", "16.5"),
            ("1e-17", "0", "0.00000000000000001"),
            ("1e-18", "0", "0"),
            ("1e30", "1", "1000000000000000000024696061952"),
            ("+.5", "5.", "5.5"),
            ("18446744073709551615", "1", "18446744073709551616"),
        ] {
            assert_eq!(sum(old, delta).as_deref(), Ok(expected), "{old} + {delta}");
        }
        assert_eq!(sum("1e4932", "0").expect("it is finite").len(), 4933);
        assert_eq!(sum("0", "inf"), Err(ReplyError::NotFinite));
        assert_eq!(sum("-inf", "inf"), Err(ReplyError::NotFinite));
        assert_eq!(sum("1e4932", "1e4932"), Err(ReplyError::NotFinite));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "",
            " 1",
            "1 ",
            "1\0",
            "nan",
            "-nan",
            "nan(1)",
            "1e",
            "1e+",
            "e1",
            ".",
            "+",
            "--1",
            "0x",
            "0x.",
            "1.2.3",
            "1e5000",
            "1e-5000",
            "0x1p99999",
            "infinit",
            "1e99999999999999999999",
            "1_0",
        ] {
            assert!(!is_float(text.as_bytes()), "{text:?}");
        }
        for text in ["0e99999999999999999999", "1e-4950", "INF", "-Infinity", "0x.8", "00001", "1E+2"] {
            assert!(is_float(text.as_bytes()), "{text:?}");
        }
        assert!(is_float(&vec![b'1'; 4000]) && !is_float(&vec![b'1'; FLOAT_BYTES_MAX]));
    }
}
