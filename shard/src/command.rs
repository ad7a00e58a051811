//! What clients ask: [`Command`]s change rows and are logged, [`Read`]s do neither. [`Control`]s are logged by the system
//! itself.
//!
//! Everything borrows from the bytes it was parsed from. In a batch, or between cores, each one stands as an rkyv archive;
//! keys and lists are written there as plain bytes. Variants are append-only: their numbers stand in logs.
//!
//! Amounts of time are milliseconds. Semantics are those of redis-server 7.0.15; the parser has already refused what can
//! be refused without looking at a row.

use rkyv::{Archive, Serialize};

use crate::archive::{Raw, append, root};
use crate::{Key, List};

/// Changes rows of one group. Logged as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize)]
pub enum Command<'a> {
    /// SET, SETNX, SETEX, PSETEX, GETSET: writes a string. Answers Ok, or Nil when the condition fails; with `get`, the
    /// old value or Nil either way.
    Set {
        /// The key.
        key: Key<'a>,
        /// The new value.
        #[rkyv(with = Raw)]
        value: &'a [u8],
        /// The condition.
        when: SetWhen,
        /// What becomes of the expiry.
        expire: Expire,
        /// Whether the old value is the answer.
        get: bool,
    },
    /// APPEND: answers the new length.
    Append {
        /// The key.
        key: Key<'a>,
        /// The bytes to append.
        #[rkyv(with = Raw)]
        value: &'a [u8],
    },
    /// SETRANGE: overwrites from `offset` on, zero-padding; answers the new length. An empty value changes nothing.
    SetRange {
        /// The key.
        key: Key<'a>,
        /// The first byte to overwrite.
        offset: u64,
        /// The new bytes.
        #[rkyv(with = Raw)]
        value: &'a [u8],
    },
    /// INCR, DECR, INCRBY, DECRBY: answers the sum.
    IncrBy {
        /// The key.
        key: Key<'a>,
        /// What to add.
        delta: i64,
    },
    /// GETDEL: answers the value, or Nil.
    GetDel {
        /// The key.
        key: Key<'a>,
    },
    /// GETEX with an option: answers the value, or Nil. `Expire::Clear` is PERSIST.
    GetEx {
        /// The key.
        key: Key<'a>,
        /// What becomes of the expiry.
        expire: Expire,
    },
    /// DEL, UNLINK: answers how many keys there were.
    Del {
        /// The keys.
        keys: List<'a>,
    },
    /// EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT: answers 1 when the expiry was set (or the key deleted, if it lies in the past),
    /// else 0.
    Expire {
        /// The key.
        key: Key<'a>,
        /// When: `At` or `In`.
        expire: Expire,
        /// The condition.
        when: ExpireWhen,
    },
    /// PERSIST: answers 1 when an expiry was removed, else 0.
    Persist {
        /// The key.
        key: Key<'a>,
    },
    /// MSET, MSETNX: key, value, key, value. Answers Ok; MSETNX answers 1, or 0 when any key exists.
    MSet {
        /// Keys and values in turn.
        pairs: List<'a>,
        /// Whether it is MSETNX.
        only_new: bool,
    },
    /// FLUSHALL, FLUSHDB: forgets all keys of the group. Answers Ok.
    FlushAll,
    /// SETBIT: answers what the bit was.
    SetBit {
        /// The key.
        key: Key<'a>,
        /// Which bit; 0 is the highest one of the first byte.
        offset: u64,
        /// What it becomes.
        bit: bool,
    },
    /// INCRBYFLOAT: answers the sum, as text.
    IncrByFloat {
        /// The key.
        key: Key<'a>,
        /// What to add, as the client wrote it.
        #[rkyv(with = Raw)]
        delta: &'a [u8],
    },
    /// RENAME, RENAMENX, COPY: what the first key holds, expiry included, becomes what the second one holds. RENAME answers
    /// Ok; the others answer 1, or 0 when nothing was done.
    Transfer {
        /// Two keys: from and to.
        keys: List<'a>,
        /// Whether a second key that is there is replaced.
        replace: bool,
        /// Whether the first key goes. Then it must be there.
        remove: bool,
    },
    /// BITOP: writes what becomes of the strings of all keys but the first to the first, which goes if that is empty. Answers
    /// its length.
    BitOp {
        /// What becomes of them.
        op: BitOp,
        /// Where to, then from where: two keys at least, and two for [`BitOp::Not`].
        keys: List<'a>,
    },
}

/// Looks at rows of one group. Never logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize)]
pub enum Read<'a> {
    /// GET: Bulk or Nil.
    Get {
        /// The key.
        key: Key<'a>,
    },
    /// MGET: Array, one Bulk or Nil a key.
    MGet {
        /// The keys.
        keys: List<'a>,
    },
    /// STRLEN: Int.
    StrLen {
        /// The key.
        key: Key<'a>,
    },
    /// GETRANGE, SUBSTR: Bulk, perhaps empty.
    GetRange {
        /// The key.
        key: Key<'a>,
        /// The first byte; negative counts from the end.
        start: i64,
        /// The last byte, included; negative counts from the end.
        end: i64,
    },
    /// EXISTS: Int, how many of the keys there are, repetitions counted.
    Exists {
        /// The keys.
        keys: List<'a>,
    },
    /// TYPE: Simple.
    Type {
        /// The key.
        key: Key<'a>,
    },
    /// TTL, PTTL, EXPIRETIME, PEXPIRETIME: Int; -2 without the key, -1 without an expiry.
    Ttl {
        /// The key.
        key: Key<'a>,
        /// Whether milliseconds are the unit; else seconds.
        in_millis: bool,
        /// Whether the answer is a point in time; else what is left.
        absolute: bool,
    },
    /// SCAN: Page, with one Bulk a key.
    Scan {
        /// Where to begin: the cursor of the last page, or 0.
        cursor: u64,
        /// About how many keys to look at.
        count: u32,
        /// The glob that keys must match; empty matches all.
        #[rkyv(with = Raw)]
        pattern: &'a [u8],
        /// The type that keys must have.
        kind: TypeFilter,
    },
    /// DBSIZE, in slices: Page without bulks: how many keys, and where to go on (0: all were counted).
    DbSize {
        /// Where to begin.
        cursor: u64,
        /// How many rows to look at.
        count: u32,
    },
    /// GETBIT: Int.
    GetBit {
        /// The key.
        key: Key<'a>,
        /// Which bit; 0 is the highest one of the first byte.
        offset: u64,
    },
    /// BITCOUNT: Int, how many bits are set.
    BitCount {
        /// The key.
        key: Key<'a>,
        /// The first byte or bit; negative counts from the end.
        start: i64,
        /// The last byte or bit, included; negative counts from the end.
        end: i64,
        /// Whether these are bits; else bytes.
        in_bits: bool,
    },
    /// BITPOS: Int, the place of the first such bit; -1 if there is none.
    BitPos {
        /// The key.
        key: Key<'a>,
        /// The bit that is looked for.
        bit: bool,
        /// The first byte or bit; negative counts from the end.
        start: i64,
        /// The last byte or bit, included; without one zeros follow the string.
        end: Option<i64>,
        /// Whether these are bits; else bytes.
        in_bits: bool,
    },
    /// The keys of one slot, in slices: Page, with one Bulk a key if keys are wanted, else as DBSIZE.
    InSlot {
        /// The slot.
        slot: u16,
        /// Where to begin: a place in the slot.
        cursor: u64,
        /// How many rows to look at.
        count: u32,
        /// Whether the keys are wanted, or only how many there are.
        keys: bool,
    },
    /// OBJECT ENCODING, REFCOUNT, IDLETIME: Bulk, Int, Int; Nil without the key.
    Object {
        /// The key.
        key: Key<'a>,
        /// What is asked.
        field: ObjectField,
    },
}

/// What the system itself writes to the log of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize)]
pub enum Control<'a> {
    /// The group owns these slots from now on, as this version of this range.
    Own {
        /// The range.
        range: u64,
        /// Its version.
        version: u64,
        /// Its first slot.
        first_slot: u16,
        /// Its last slot, included.
        last_slot: u16,
    },
    /// Reads and transactions below this timestamp are over: older versions may be dropped.
    SafePoint {
        /// The timestamp.
        at: u64,
    },
    /// Deletes those of these keys that have expired by the time of the batch.
    Reap {
        /// The keys.
        keys: List<'a>,
    },
    /// The clock group's ceiling: no timestamp at or above it has been issued.
    Ceiling {
        /// The ceiling.
        ceiling: u64,
        /// The wall time up to which `time_ms` may have gone.
        time_ms: u64,
    },
    /// Writes a row of the group's own (catalog rows); an empty value deletes it.
    PutRow {
        /// Its key.
        key: Key<'a>,
        /// Its value.
        #[rkyv(with = Raw)]
        value: &'a [u8],
    },
    /// Changes nothing. A new leader writes one.
    Nothing,
}

/// The condition of a SET.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize)]
pub enum SetWhen {
    /// None.
    Always,
    /// NX: the key is absent.
    Absent,
    /// XX: the key is there.
    Present,
}

/// What OBJECT tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize)]
pub enum ObjectField {
    /// How the oracle would hold such a value, written by SET.
    Encoding,
    /// How many use it there: small whole numbers are shared.
    RefCount,
    /// Seconds since it was last used; 0, nobody counts them.
    IdleTime,
}

/// What BITOP makes of strings. A shorter one goes on with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize)]
pub enum BitOp {
    /// Bits that are set in all.
    And,
    /// Bits that are set in any.
    Or,
    /// Bits that are set in an odd number of them.
    Xor,
    /// Bits that are not set in the only one.
    Not,
}

/// What becomes of an expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize)]
pub enum Expire {
    /// It is removed.
    Clear,
    /// It stays.
    Keep,
    /// It is this point in time.
    At(i64),
    /// It is this long after the time of the batch.
    In(i64),
}

/// The condition of an EXPIRE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize)]
pub enum ExpireWhen {
    /// None.
    Always,
    /// NX: there is no expiry.
    None,
    /// XX: there is one.
    Some,
    /// GT, with or without XX: it is later than the one there is. No expiry counts as never.
    Later,
    /// LT: it is earlier than the one there is. No expiry counts as never.
    Earlier,
    /// XX LT: there is one, and the new one is earlier.
    SomeEarlier,
}

/// The type asked for in a SCAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize)]
pub enum TypeFilter {
    /// All types.
    Any,
    /// Strings.
    String,
    /// A type that no key has.
    Other,
}

/// The bytes are no archive of the expected kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the archived command is malformed")]
pub struct Malformed;

impl<'a> Command<'a> {
    /// Appends the archive of this command to `out`.
    pub fn archive(&self, out: &mut Vec<u8>) {
        append(self, out);
    }

    /// Opens an archive in place, after checking it whole.
    pub fn open(archive: &'a [u8]) -> Result<Self, Malformed> {
        Ok(match root::<ArchivedCommand<'a>>(archive)? {
            ArchivedCommand::Set { key, value, when, expire, get } => Self::Set {
                key: key.key(archive)?,
                value: value.bytes(archive)?,
                when: when.open(),
                expire: expire.open(),
                get: *get,
            },
            ArchivedCommand::Append { key, value } => {
                Self::Append { key: key.key(archive)?, value: value.bytes(archive)? }
            }
            ArchivedCommand::SetRange { key, offset, value } => Self::SetRange {
                key: key.key(archive)?,
                offset: offset.to_native(),
                value: value.bytes(archive)?,
            },
            ArchivedCommand::IncrBy { key, delta } => {
                Self::IncrBy { key: key.key(archive)?, delta: delta.to_native() }
            }
            ArchivedCommand::GetDel { key } => Self::GetDel { key: key.key(archive)? },
            ArchivedCommand::GetEx { key, expire } => {
                Self::GetEx { key: key.key(archive)?, expire: expire.open() }
            }
            ArchivedCommand::Del { keys } => Self::Del { keys: keys.list(archive)? },
            ArchivedCommand::Expire { key, expire, when } => {
                Self::Expire { key: key.key(archive)?, expire: expire.open(), when: when.open() }
            }
            ArchivedCommand::Persist { key } => Self::Persist { key: key.key(archive)? },
            ArchivedCommand::MSet { pairs, only_new } => {
                let pairs = pairs.list(archive)?;
                if pairs.len() % 2 == 1 {
                    return Err(Malformed);
                }
                Self::MSet { pairs, only_new: *only_new }
            }
            ArchivedCommand::FlushAll => Self::FlushAll,
            ArchivedCommand::SetBit { key, offset, bit } => {
                Self::SetBit { key: key.key(archive)?, offset: offset.to_native(), bit: *bit }
            }
            ArchivedCommand::IncrByFloat { key, delta } => {
                Self::IncrByFloat { key: key.key(archive)?, delta: delta.bytes(archive)? }
            }
            ArchivedCommand::Transfer { keys, replace, remove } => {
                let keys = keys.list(archive)?;
                if keys.len() != 2 {
                    return Err(Malformed);
                }
                Self::Transfer { keys, replace: *replace, remove: *remove }
            }
            ArchivedCommand::BitOp { op, keys } => {
                let (op, keys) = (op.open(), keys.list(archive)?);
                if keys.len() < 2 || (op == BitOp::Not && keys.len() > 2) {
                    return Err(Malformed);
                }
                Self::BitOp { op, keys }
            }
        })
    }
}

impl<'a> Read<'a> {
    /// Appends the archive of this read to `out`.
    pub fn archive(&self, out: &mut Vec<u8>) {
        append(self, out);
    }

    /// Opens an archive in place, after checking it whole.
    pub fn open(archive: &'a [u8]) -> Result<Self, Malformed> {
        Ok(match root::<ArchivedRead<'a>>(archive)? {
            ArchivedRead::Get { key } => Self::Get { key: key.key(archive)? },
            ArchivedRead::MGet { keys } => Self::MGet { keys: keys.list(archive)? },
            ArchivedRead::StrLen { key } => Self::StrLen { key: key.key(archive)? },
            ArchivedRead::GetRange { key, start, end } => {
                Self::GetRange { key: key.key(archive)?, start: start.to_native(), end: end.to_native() }
            }
            ArchivedRead::Exists { keys } => Self::Exists { keys: keys.list(archive)? },
            ArchivedRead::Type { key } => Self::Type { key: key.key(archive)? },
            ArchivedRead::Ttl { key, in_millis, absolute } => {
                Self::Ttl { key: key.key(archive)?, in_millis: *in_millis, absolute: *absolute }
            }
            ArchivedRead::Scan { cursor, count, pattern, kind } => Self::Scan {
                cursor: cursor.to_native(),
                count: count.to_native(),
                pattern: pattern.bytes(archive)?,
                kind: match kind {
                    ArchivedTypeFilter::Any => TypeFilter::Any,
                    ArchivedTypeFilter::String => TypeFilter::String,
                    ArchivedTypeFilter::Other => TypeFilter::Other,
                },
            },
            ArchivedRead::DbSize { cursor, count } => {
                Self::DbSize { cursor: cursor.to_native(), count: count.to_native() }
            }
            ArchivedRead::GetBit { key, offset } => {
                Self::GetBit { key: key.key(archive)?, offset: offset.to_native() }
            }
            ArchivedRead::BitCount { key, start, end, in_bits } => Self::BitCount {
                key: key.key(archive)?,
                start: start.to_native(),
                end: end.to_native(),
                in_bits: *in_bits,
            },
            ArchivedRead::BitPos { key, bit, start, end, in_bits } => Self::BitPos {
                key: key.key(archive)?,
                bit: *bit,
                start: start.to_native(),
                end: end.as_ref().map(|end| end.to_native()),
                in_bits: *in_bits,
            },
            ArchivedRead::InSlot { slot, cursor, count, keys } => Self::InSlot {
                slot: slot.to_native(),
                cursor: cursor.to_native(),
                count: count.to_native(),
                keys: *keys,
            },
            ArchivedRead::Object { key, field } => Self::Object {
                key: key.key(archive)?,
                field: match field {
                    ArchivedObjectField::Encoding => ObjectField::Encoding,
                    ArchivedObjectField::RefCount => ObjectField::RefCount,
                    ArchivedObjectField::IdleTime => ObjectField::IdleTime,
                },
            },
        })
    }
}

impl<'a> Control<'a> {
    /// Appends the archive of this control to `out`.
    pub fn archive(&self, out: &mut Vec<u8>) {
        append(self, out);
    }

    /// Opens an archive in place, after checking it whole.
    pub fn open(archive: &'a [u8]) -> Result<Self, Malformed> {
        Ok(match root::<ArchivedControl<'a>>(archive)? {
            ArchivedControl::Own { range, version, first_slot, last_slot } => Self::Own {
                range: range.to_native(),
                version: version.to_native(),
                first_slot: first_slot.to_native(),
                last_slot: last_slot.to_native(),
            },
            ArchivedControl::SafePoint { at } => Self::SafePoint { at: at.to_native() },
            ArchivedControl::Reap { keys } => Self::Reap { keys: keys.list(archive)? },
            ArchivedControl::Ceiling { ceiling, time_ms } => {
                Self::Ceiling { ceiling: ceiling.to_native(), time_ms: time_ms.to_native() }
            }
            ArchivedControl::PutRow { key, value } => {
                Self::PutRow { key: key.key(archive)?, value: value.bytes(archive)? }
            }
            ArchivedControl::Nothing => Self::Nothing,
        })
    }
}

impl ArchivedBitOp {
    const fn open(&self) -> BitOp {
        match self {
            Self::And => BitOp::And,
            Self::Or => BitOp::Or,
            Self::Xor => BitOp::Xor,
            Self::Not => BitOp::Not,
        }
    }
}

impl ArchivedSetWhen {
    const fn open(&self) -> SetWhen {
        match self {
            Self::Always => SetWhen::Always,
            Self::Absent => SetWhen::Absent,
            Self::Present => SetWhen::Present,
        }
    }
}

impl ArchivedExpire {
    const fn open(&self) -> Expire {
        match self {
            Self::Clear => Expire::Clear,
            Self::Keep => Expire::Keep,
            Self::At(at) => Expire::At(at.to_native()),
            Self::In(after) => Expire::In(after.to_native()),
        }
    }
}

impl ArchivedExpireWhen {
    const fn open(&self) -> ExpireWhen {
        match self {
            Self::Always => ExpireWhen::Always,
            Self::None => ExpireWhen::None,
            Self::Some => ExpireWhen::Some,
            Self::Later => ExpireWhen::Later,
            Self::Earlier => ExpireWhen::Earlier,
            Self::SomeEarlier => ExpireWhen::SomeEarlier,
        }
    }
}
