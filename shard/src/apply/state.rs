//! The replicated state of a group beside its rows: a function of its log alone. A flush installs it with the tables.
//!
//! Encoding, little endian: `u16 version` (1, or 2 when it stands within an entry); `u64` safe point, last timestamp, time floor, ceiling, ceiling's time,
//! idempotence rows; `u128` digest; `u32 count` and that many `u64` flush timestamps, rising; `u32 count` and that many
//! {`u64` range, `u64` version, `u16` first slot, `u16` last slot}; `u32 length` and the configuration. The manifest that
//! holds it has the checksum.

use bytes::Bytes;

use crate::digest::Digest;
use crate::{RangeId, Slot, Timestamp, planted};

const VERSION: u16 = 1;
/// The same fields, behind some of the commands of the entry after the boundary: those up to the last timestamp.
const VERSION_WITHIN: u16 = 2;

/// See the module page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The configuration of the Raft group, as its wrapper encodes it.
    pub configuration: Bytes,
    /// No read and no transaction below it will come.
    pub safe_point: Timestamp,
    /// The highest timestamp of an executed command.
    pub last: Timestamp,
    /// The highest `time_ms` of an executed batch.
    pub time_ms: u64,
    /// Of the clock group: no timestamp at or above it has been issued.
    pub ceiling: Timestamp,
    /// Of the clock group: the wall time up to which `time_ms` may have gone.
    pub ceiling_time_ms: u64,
    /// How many idempotence rows there are.
    pub idempotence_rows: u64,
    /// Over all row versions ever written.
    pub digest: Digest,
    /// Of a boundary: the commands of the next entry up to `last` are executed as well.
    pub within_entry: bool,
    flushes: Vec<Timestamp>,
    owned: Vec<Owned>,
}

/// A range that the group owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The range.
    pub range: RangeId,
    /// Its version.
    pub version: u64,
    /// Its first slot.
    pub first: Slot,
    /// Its last slot, included.
    pub last: Slot,
}

/// The bytes are no replicated state that this version knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the replicated state (version {version}, {bytes} bytes) {}",
    if self.is_newer() { "is not one that this version knows; open it with the version that wrote it" }
    else { "is malformed; restore the whole data directory" }
)]
pub struct StateError {
    /// The version it names.
    pub version: u16,
    /// Its length.
    pub bytes: usize,
}

impl StateError {
    /// Whether a newer version wrote it. Otherwise it is damaged.
    #[must_use]
    pub const fn is_newer(&self) -> bool {
        self.version > VERSION_WITHIN
    }
}

impl State {
    /// Versions of Redis keys at or below this timestamp are invisible to a read at `at`: the last FLUSHALL before it.
    #[must_use]
    #[inline]
    pub fn forgotten(&self, at: Timestamp) -> Timestamp {
        self.flushes.iter().rev().copied().find(|&flush| flush <= at).unwrap_or(Timestamp::ZERO)
    }

    /// Whether the group owns `slot`.
    #[must_use]
    #[inline]
    pub fn owns(&self, slot: Slot) -> bool {
        self.owned.iter().any(|owned| (owned.first..=owned.last).contains(&slot))
            || planted::is("ownership-unchecked")
    }

    /// The ranges that the group owns.
    #[must_use]
    pub fn owned(&self) -> &[Owned] {
        &self.owned
    }

    /// Takes note of a FLUSHALL.
    pub(crate) fn flush_all(&mut self, at: Timestamp) {
        self.flushes.push(at);
        self.trim();
    }

    /// Takes note of an `Own`: a newer version of a range replaces the older one.
    pub(crate) fn own(&mut self, owned: Owned) {
        match self.owned.iter_mut().find(|old| old.range == owned.range) {
            Some(old) if old.version < owned.version => *old = owned,
            Some(_) => {}
            None => self.owned.push(owned),
        }
        self.owned.sort_by_key(|owned| owned.range);
    }

    /// Moves the safe point up.
    pub(crate) fn move_safe_point(&mut self, at: Timestamp) {
        self.safe_point = self.safe_point.max(at);
        self.trim();
    }

    /// Keeps of the flushes that every reader has behind it only the last.
    fn trim(&mut self) {
        let behind = self.flushes.partition_point(|&flush| flush <= self.safe_point);
        self.flushes.drain(..behind.saturating_sub(1));
    }

    /// This state, when of the entry at hand only the commands up to `executed` are.
    pub(crate) fn within_entry(&self, executed: Timestamp) -> Self {
        Self { within_entry: true, last: executed, ..self.clone() }
    }

    /// The bytes of this state.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(128);
        let version = if self.within_entry { VERSION_WITHIN } else { VERSION };
        out.extend_from_slice(&version.to_le_bytes());
        let words = [
            self.safe_point.0,
            self.last.0,
            self.time_ms,
            self.ceiling.0,
            self.ceiling_time_ms,
            self.idempotence_rows,
        ];
        for word in words {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.digest.0.to_le_bytes());
        put_count(&mut out, self.flushes.len());
        for flush in &self.flushes {
            out.extend_from_slice(&flush.0.to_le_bytes());
        }
        put_count(&mut out, self.owned.len());
        for owned in &self.owned {
            out.extend_from_slice(&owned.range.0.to_le_bytes());
            out.extend_from_slice(&owned.version.to_le_bytes());
            out.extend_from_slice(&owned.first.0.to_le_bytes());
            out.extend_from_slice(&owned.last.0.to_le_bytes());
        }
        put_count(&mut out, self.configuration.len());
        out.extend_from_slice(&self.configuration);
        out.into()
    }

    /// Reads a state; no bytes at all are the state before the first entry.
    pub fn decode(bytes: &Bytes) -> Result<Self, StateError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let mut rest: &[u8] = bytes;
        let version = take(&mut rest).map(u16::from_le_bytes);
        let error = StateError { version: version.unwrap_or(0), bytes: bytes.len() };
        if ![Some(VERSION), Some(VERSION_WITHIN)].contains(&version) {
            return Err(error);
        }
        let mut state = Self::decode_fields(&mut rest).ok_or(error)?;
        state.within_entry = version == Some(VERSION_WITHIN);
        if rest.is_empty() { Ok(state) } else { Err(error) }
    }

    fn decode_fields(rest: &mut &[u8]) -> Option<Self> {
        let word = |rest: &mut &[u8]| take(rest).map(u64::from_le_bytes);
        let half = |rest: &mut &[u8]| take(rest).map(u16::from_le_bytes);
        let mut state = Self {
            safe_point: Timestamp(word(rest)?),
            last: Timestamp(word(rest)?),
            time_ms: word(rest)?,
            ceiling: Timestamp(word(rest)?),
            ceiling_time_ms: word(rest)?,
            idempotence_rows: word(rest)?,
            digest: Digest(take(rest).map(u128::from_le_bytes)?),
            ..Self::default()
        };
        for _ in 0..take(rest).map(u32::from_le_bytes)? {
            state.flushes.push(Timestamp(word(rest)?));
        }
        for _ in 0..take(rest).map(u32::from_le_bytes)? {
            let (range, version) = (RangeId(word(rest)?), word(rest)?);
            state.owned.push(Owned { range, version, first: Slot(half(rest)?), last: Slot(half(rest)?) });
        }
        let len = take(rest).map(u32::from_le_bytes)? as usize;
        let (configuration, behind) = rest.split_at_checked(len)?;
        state.configuration = Bytes::copy_from_slice(configuration);
        *rest = behind;
        Some(state)
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).expect("a handful");
    out.extend_from_slice(&count.to_le_bytes());
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> State {
        let mut state = State {
            configuration: Bytes::from_static(b"voters"),
            last: Timestamp(2),
            time_ms: 3,
            ceiling: Timestamp(4),
            ceiling_time_ms: 5,
            idempotence_rows: 6,
            digest: Digest(7),
            ..State::default()
        };
        state.flush_all(Timestamp(10));
        state.flush_all(Timestamp(20));
        state.own(Owned { range: RangeId(8), version: 1, first: Slot(0), last: Slot(0x0fff) });
        state
    }

    #[test]
    fn golden_bytes() {
        let hex: String = sample().encode().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, include_str!("../../testdata/state.hex").trim_end());
    }

    #[test]
    fn it_comes_back_and_nothing_shorter_or_longer_does() {
        let state = sample();
        let bytes = state.encode();
        assert_eq!(State::decode(&bytes), Ok(state));
        assert_eq!(State::decode(&Bytes::new()), Ok(State::default()));
        for len in 1..bytes.len() {
            assert!(State::decode(&bytes.slice(..len)).is_err(), "{len}");
        }
        assert!(State::decode(&[&bytes[..], &[0]].concat().into()).is_err());
    }

    #[test]
    fn within_an_entry_it_has_a_version_of_its_own() {
        let state = State { within_entry: true, ..sample() };
        let bytes = state.encode();
        assert_eq!((bytes[0], &bytes[2..]), (2, &sample().encode()[2..]));
        assert_eq!(State::decode(&bytes), Ok(state));
    }

    #[test]
    fn a_read_sees_what_the_last_flush_before_it_left() {
        let mut state = sample();
        let seen: Vec<u64> = [9, 10, 19, 20, u64::MAX].map(|at| state.forgotten(Timestamp(at)).0).to_vec();
        assert_eq!(seen, [0, 10, 10, 20, 20]);
        for (safe_point, forgotten, left) in [(5, 0, 2), (15, 10, 2), (20, 20, 1)] {
            state.move_safe_point(Timestamp(safe_point));
            assert_eq!(state.forgotten(Timestamp(safe_point)), Timestamp(forgotten));
            assert_eq!(state.flushes.len(), left);
        }
    }

    /// S1: an older version of a range changes nothing.
    #[test]
    fn ownership_follows_the_newest_version() {
        let mut state = sample();
        assert!(state.owns(Slot(0x0fff)) && !state.owns(Slot(0x1000)));
        let moved = Owned { range: RangeId(8), version: 3, first: Slot(5), last: Slot(6) };
        state.own(moved);
        state.own(Owned { version: 2, first: Slot(0), last: Slot(100), ..moved });
        assert_eq!(state.owned(), [moved]);
        assert!(!state.owns(Slot(4)));
    }
}
