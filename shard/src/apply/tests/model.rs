//! What a single-threaded Redis would hold and answer: a map of strings with expiry, written for clarity alone.

use std::collections::BTreeMap;

use crate::limits::VALUE_BYTES_MAX;
use crate::reply::OwnedReply;
use crate::{BitOp, Command, Expire, ExpireWhen, List, ObjectField, Read, Reply, ReplyError, SetWhen};

#[derive(Clone, Default)]
pub struct Model {
    keys: BTreeMap<Vec<u8>, Entry>,
}

#[derive(Clone, Default)]
struct Entry {
    value: Vec<u8>,
    expiry: Option<i64>,
}

fn int(int: i64) -> OwnedReply {
    OwnedReply::Plain(Reply::Int(int))
}

fn bulk(value: Option<&[u8]>) -> OwnedReply {
    value.map_or(OwnedReply::Plain(Reply::Nil), |value| OwnedReply::Bulk(value.to_vec()))
}

fn error(error: ReplyError) -> OwnedReply {
    OwnedReply::Plain(Reply::Error(error))
}

const OK: OwnedReply = OwnedReply::Plain(Reply::Ok);

impl Model {
    fn live(&self, key: &[u8], now: i64) -> Option<&Entry> {
        self.keys.get(key).filter(|entry| entry.expiry.is_none_or(|expiry| now <= expiry))
    }

    /// The keys that are there.
    pub fn live_keys(&self, now: i64) -> Vec<Vec<u8>> {
        self.keys.keys().filter(|key| self.live(key, now).is_some()).cloned().collect()
    }

    pub fn execute(&mut self, command: &Command<'_>, now: i64) -> OwnedReply {
        match *command {
            Command::Set { key, value, when, expire, get } => {
                let old = self.live(key.bytes(), now).cloned();
                let expiry = match expire {
                    Expire::Clear => None,
                    Expire::Keep => old.as_ref().and_then(|old| old.expiry),
                    Expire::At(at) => Some(at),
                    Expire::In(after) => match after.checked_add(now) {
                        Some(at) => Some(at),
                        None => return error(ReplyError::InvalidExpire),
                    },
                };
                let old_value = bulk(old.as_ref().map(|old| &old.value[..]));
                if (when == SetWhen::Absent && old.is_some()) || (when == SetWhen::Present && old.is_none()) {
                    return if get { old_value } else { bulk(None) };
                }
                self.keys.insert(key.bytes().to_vec(), Entry { value: value.to_vec(), expiry });
                if get { old_value } else { OK }
            }
            Command::Append { key, value } => {
                let mut entry = self.live(key.bytes(), now).cloned().unwrap_or_default();
                entry.value.extend_from_slice(value);
                let len = entry.value.len();
                self.keys.insert(key.bytes().to_vec(), entry);
                int(len as i64)
            }
            Command::SetRange { key, offset, value } => {
                let mut entry = self.live(key.bytes(), now).cloned().unwrap_or_default();
                if value.is_empty() {
                    return int(entry.value.len() as i64);
                }
                let end = offset as usize + value.len();
                if end > VALUE_BYTES_MAX {
                    return error(ReplyError::StringTooLong);
                }
                entry.value.resize(entry.value.len().max(end), 0);
                entry.value[offset as usize..end].copy_from_slice(value);
                let len = entry.value.len();
                self.keys.insert(key.bytes().to_vec(), entry);
                int(len as i64)
            }
            Command::SetBit { key, offset, bit } => {
                let mut entry = self.live(key.bytes(), now).cloned().unwrap_or_default();
                let at = (offset / 8) as usize;
                if at >= VALUE_BYTES_MAX {
                    return error(ReplyError::StringTooLong);
                }
                entry.value.resize(entry.value.len().max(at + 1), 0);
                let mut bits = bits_of(&entry.value);
                let was = std::mem::replace(&mut bits[offset as usize], bit);
                entry.value = bits
                    .chunks(8)
                    .map(|bits| bits.iter().fold(0, |byte, &bit| byte << 1 | u8::from(bit)))
                    .collect();
                self.keys.insert(key.bytes().to_vec(), entry);
                int(was.into())
            }
            Command::IncrBy { key, delta } => {
                let mut entry = self.live(key.bytes(), now).cloned().unwrap_or_default();
                let text = if entry.value.is_empty() && self.live(key.bytes(), now).is_none() {
                    "0".to_owned()
                } else {
                    String::from_utf8_lossy(&entry.value).into_owned()
                };
                // Exactly what the number would be written as counts as a number.
                let Some(old) = text.parse::<i64>().ok().filter(|old| old.to_string() == text) else {
                    return error(ReplyError::NotAnInteger);
                };
                let Some(sum) = old.checked_add(delta) else { return error(ReplyError::Overflow) };
                entry.value = sum.to_string().into_bytes();
                self.keys.insert(key.bytes().to_vec(), entry);
                int(sum)
            }
            Command::IncrByFloat { key, delta } => {
                let mut entry = self.live(key.bytes(), now).cloned().unwrap_or_default();
                let old = match self.live(key.bytes(), now) {
                    Some(entry) => halves(&entry.value),
                    None => Some(0),
                };
                let Some(old) = old else { return error(ReplyError::NotAFloat) };
                let sum = rounded(old + halves(delta).expect("deltas of the tests are plain"));
                let sign = if sum < 0 { "-" } else { "" };
                let half = if sum % 2 == 0 { "" } else { ".5" };
                entry.value = format!("{sign}{}{half}", sum.unsigned_abs() / 2).into_bytes();
                let reply = bulk(Some(&entry.value));
                self.keys.insert(key.bytes().to_vec(), entry);
                reply
            }
            Command::GetDel { key } => {
                let old = self.live(key.bytes(), now).cloned();
                self.keys.remove(key.bytes());
                bulk(old.as_ref().map(|old| &old.value[..]))
            }
            Command::GetEx { key, expire } => {
                let Some(entry) = self.live(key.bytes(), now).cloned() else { return bulk(None) };
                let expiry = match expire {
                    Expire::Clear => None,
                    Expire::Keep => entry.expiry,
                    Expire::At(at) => Some(at),
                    Expire::In(after) => match after.checked_add(now) {
                        Some(at) => Some(at),
                        None => return error(ReplyError::InvalidExpire),
                    },
                };
                let past = expiry != entry.expiry && expiry.is_some_and(|expiry| expiry <= now);
                let reply = bulk(Some(&entry.value));
                self.replace(key.bytes(), Entry { expiry, ..entry }, past);
                reply
            }
            Command::Del { keys } => {
                let mut deleted = 0;
                for key in keys {
                    deleted += i64::from(self.live(key, now).is_some());
                    self.keys.remove(key);
                }
                int(deleted)
            }
            Command::Expire { key, expire, when } => {
                let at = match expire {
                    Expire::At(at) => at,
                    Expire::In(after) => match after.checked_add(now) {
                        Some(at) => at,
                        None => return error(ReplyError::InvalidExpire),
                    },
                    Expire::Clear | Expire::Keep => unreachable!("never made"),
                };
                let Some(entry) = self.live(key.bytes(), now).cloned() else { return int(0) };
                // As expireGenericCommand of Redis decides, with -1 for none.
                let current = entry.expiry.unwrap_or(-1);
                let refused = match when {
                    ExpireWhen::Always => false,
                    ExpireWhen::None => current != -1,
                    ExpireWhen::Some => current == -1,
                    ExpireWhen::Later => at <= current || current == -1,
                    ExpireWhen::Earlier => current != -1 && at >= current,
                    ExpireWhen::SomeEarlier => current == -1 || at >= current,
                };
                if refused {
                    return int(0);
                }
                self.replace(key.bytes(), Entry { expiry: Some(at), ..entry }, at <= now);
                int(1)
            }
            Command::Persist { key } => {
                let Some(entry) = self.live(key.bytes(), now).cloned() else { return int(0) };
                let had = entry.expiry.is_some();
                self.keys.insert(key.bytes().to_vec(), Entry { expiry: None, ..entry });
                int(had.into())
            }
            Command::MSet { pairs, only_new } => self.set_many(pairs, only_new, now),
            Command::Transfer { keys, replace, remove } => {
                let mut keys = keys.iter();
                let (from, to) = (keys.next().expect("two"), keys.next().expect("two"));
                let Some(entry) = self.live(from, now).cloned() else {
                    return if remove { error(ReplyError::NoSuchKey) } else { int(0) };
                };
                if !replace && self.live(to, now).is_some() {
                    return int(0);
                }
                if remove {
                    self.keys.remove(from);
                }
                let same = from == to;
                self.keys.insert(to.to_vec(), entry);
                if replace && remove { OK } else { int((!same).into()) }
            }
            Command::BitOp { op, keys } => {
                let values: Vec<Vec<u8>> = (keys.iter().skip(1))
                    .map(|key| self.live(key, now).map(|entry| entry.value.clone()).unwrap_or_default())
                    .collect();
                let len = values.iter().map(Vec::len).max().unwrap_or(0);
                let bytes = (0..len).map(|at| {
                    let mut bytes = values.iter().map(|value| value.get(at).copied().unwrap_or(0));
                    match op {
                        BitOp::And => bytes.fold(0xff, |all, byte| all & byte),
                        BitOp::Or => bytes.fold(0, |all, byte| all | byte),
                        BitOp::Xor => bytes.fold(0, |all, byte| all ^ byte),
                        BitOp::Not => 0xff - bytes.next().expect("one"),
                    }
                });
                let (to, value) = (keys.iter().next().expect("two"), bytes.collect());
                self.replace(to, Entry { value, expiry: None }, len == 0);
                int(len as i64)
            }
            Command::FlushAll => {
                self.keys.clear();
                OK
            }
        }
    }

    fn replace(&mut self, key: &[u8], entry: Entry, past: bool) {
        if past {
            self.keys.remove(key);
        } else {
            self.keys.insert(key.to_vec(), entry);
        }
    }

    fn set_many(&mut self, pairs: List<'_>, only_new: bool, now: i64) -> OwnedReply {
        let pairs: Vec<_> = pairs.pairs().collect();
        if only_new && pairs.iter().any(|(key, _)| self.live(key.bytes(), now).is_some()) {
            return int(0);
        }
        for (key, value) in pairs {
            self.keys.insert(key.bytes().to_vec(), Entry { value: value.to_vec(), expiry: None });
        }
        if only_new { int(1) } else { OK }
    }

    pub fn read(&self, read: &Read<'_>, now: i64) -> OwnedReply {
        let value = |key: &[u8]| self.live(key, now).map(|entry| &entry.value[..]);
        match *read {
            Read::Get { key } => bulk(value(key.bytes())),
            Read::MGet { keys } => OwnedReply::Array(keys.iter().map(|key| bulk(value(key))).collect()),
            Read::Object { key, field } => {
                let Some(value) = value(key.bytes()) else { return OwnedReply::Plain(Reply::Nil) };
                let text = String::from_utf8_lossy(value);
                let is_number = text.parse::<i64>().is_ok_and(|number| number.to_string() == text);
                let is_small = is_number && text.len() < 5 && !text.starts_with('-');
                match field {
                    ObjectField::Encoding if is_number => bulk(Some(b"int")),
                    ObjectField::Encoding => {
                        bulk(Some(if value.len() < 45 { &b"embstr"[..] } else { b"raw" }))
                    }
                    ObjectField::RefCount => int(if is_small { 2_147_483_647 } else { 1 }),
                    ObjectField::IdleTime => int(0),
                }
            }
            Read::StrLen { key } => int(value(key.bytes()).map_or(0, |value| value.len() as i64)),
            Read::GetRange { key, start, end } => {
                let value = value(key.bytes()).unwrap_or_default();
                let len = value.len() as i64;
                if start < 0 && end < 0 && start > end {
                    return bulk(Some(b""));
                }
                let at = |at: i64| if at < 0 { (len + at).max(0) } else { at };
                let (start, end) = (at(start), at(end).min(len - 1));
                let taken = (start..=end).map(|at| value[at as usize]).collect();
                OwnedReply::Bulk(taken)
            }
            Read::GetBit { key, offset } => {
                let bits = bits_of(value(key.bytes()).unwrap_or_default());
                int(bits.get(offset as usize).copied().unwrap_or(false).into())
            }
            Read::BitCount { key, start, end, in_bits } => {
                let value = value(key.bytes()).unwrap_or_default();
                if start < 0 && end < 0 && start > end {
                    return int(0);
                }
                int(bits_within(value, start, end, in_bits).iter().filter(|(_, bit)| *bit).count() as i64)
            }
            Read::BitPos { key, bit, start, end, in_bits } => {
                let Some(value) = value(key.bytes()) else { return int(if bit { -1 } else { 0 }) };
                let bits = bits_within(value, start, end.unwrap_or(-1), in_bits);
                let found = bits.iter().find(|(_, found)| *found == bit).map(|(at, _)| *at);
                // Zeros follow the string, for who asks for no end.
                let behind = !bit && end.is_none() && !bits.is_empty();
                int(found.or(behind.then_some(value.len() * 8)).map_or(-1, |at| at as i64))
            }
            Read::Exists { keys } => int(keys.iter().filter(|key| value(key).is_some()).count() as i64),
            Read::Type { key } => {
                let word = if value(key.bytes()).is_some() { "string" } else { "none" };
                OwnedReply::Simple(word.as_bytes().to_vec())
            }
            Read::Ttl { key, in_millis, absolute } => {
                let Some(entry) = self.live(key.bytes(), now) else { return int(-2) };
                let Some(expiry) = entry.expiry else { return int(-1) };
                let millis = if absolute { expiry } else { (expiry - now).max(0) };
                int(if in_millis { millis } else { (millis + 500) / 1000 })
            }
            Read::Scan { .. } | Read::DbSize { .. } | Read::InSlot { .. } => {
                unreachable!("compared by their keys")
            }
        }
    }
}

/// The bits of a string, the highest of each byte first.
fn bits_of(value: &[u8]) -> Vec<bool> {
    value.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect()
}

/// Those of a range, with their places.
fn bits_within(value: &[u8], start: i64, end: i64, in_bits: bool) -> Vec<(usize, bool)> {
    let unit = if in_bits { 1 } else { 8 };
    let len = (value.len() * 8 / unit) as i64;
    let at = |at: i64| if at < 0 { (len + at).max(0) } else { at };
    let (start, end) = (at(start), at(end).min(len - 1));
    let bits = bits_of(value).into_iter().enumerate();
    bits.filter(|(bit, _)| (start..=end).contains(&((bit / unit) as i64))).collect()
}

/// Twice the number that this text is, if it is written plainly and has no other fraction than a half.
fn halves(text: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, half) = text.strip_suffix(".5").map_or((text, 0), |whole| (whole, 1));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let twice = digits.parse::<i128>().ok()? * 2 + half;
    Some(if whole.starts_with('-') { -twice } else { twice })
}

/// To 64 bits of precision, ties to even.
fn rounded(value: i128) -> i128 {
    let magnitude = value.unsigned_abs();
    let shift = (128 - magnitude.leading_zeros()).saturating_sub(64);
    let unit = 1u128 << shift;
    let (whole, rest) = (magnitude / unit, magnitude % unit);
    let up = rest * 2 > unit || rest * 2 == unit && whole % 2 == 1;
    let rounded = ((whole + u128::from(up)) * unit) as i128;
    if value < 0 { -rounded } else { rounded }
}
