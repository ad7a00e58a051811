//! Reads at a timestamp: straight from memory when it has the rows, else as a task that awaits the disk.
//!
//! A read judges expiry by the time it is given and sees the last FLUSHALL at or below its timestamp. What it sees is what
//! was published at that timestamp; rows above it, of commands in flight, are invisible. Before it waits, it pins all that it
//! will look at: the versions that it sees are dropped once the safe point has passed it, and FLUSHALL drops tables at once.

mod glob;
mod many;
mod page;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pinion_lsm::{Get, Hint, Probe, Tree};
use pinion_wal::task::Spawner;

pub use glob::glob_matches;
use many::{Many, Wanted};
use page::Page;

use crate::apply::{Apply, Lookups, Place, live};
use crate::execute::bits;
use crate::key::REDIS_KEYSPACE;
use crate::reply::OwnedReply;
use crate::row::{Row, RowError};
use crate::{
    Key, List, ObjectField, Read, Replies, Reply, ReplyError, ReplyTo, Timestamp, TypeFilter, ValueType,
};

/// A read whose key is encoded and whose memory is asked for. Prepare all reads of a turn, touch all until
/// none wants more, then answer all.
pub struct Prepared<'a> {
    read: Read<'a>,
    place: Option<Place>,
    hint: Hint,
}

impl<'a> Prepared<'a> {
    /// The read.
    #[must_use]
    pub const fn read(&self) -> &Read<'a> {
        &self.read
    }
}

/// Why a read has no answer. Other reads go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadFailure {
    /// The disk failed or a block is damaged.
    #[error(transparent)]
    Disk(#[from] pinion_lsm::ReadError),
    /// The row is malformed.
    #[error(transparent)]
    Row(#[from] RowError),
}

/// A read that awaits the disk. Spawn it as work of clients and deliver what it answers; a failure is
/// [`ReplyError::Corrupt`] to the client.
#[must_use = "the client waits for the answer"]
pub struct PendingRead(Pin<Box<dyn Future<Output = Result<OwnedReply, ReadFailure>>>>);

impl PendingRead {
    fn new(read: impl Future<Output = Result<OwnedReply, ReadFailure>> + 'static) -> Self {
        Self(Box::pin(read))
    }

    fn failed(error: RowError) -> Self {
        Self::new(std::future::ready(Err(error.into())))
    }

    /// A read of one key, whose row the disk has.
    fn one(snapshot: Snapshot, read: &Read<'_>, probe: Probe) -> Self {
        let mut archive = Vec::new();
        read.archive(&mut archive);
        Self::new(async move {
            let read = Read::open(&archive).expect("it was just archived");
            let found = snapshot.tree.read(probe).await?;
            let row = match &found {
                Some((at, cell)) => live(*at, cell.borrow(), snapshot.forgotten, snapshot.time_ms)?,
                None => None,
            };
            snapshot.lookups.note(row.is_some());
            Ok(OwnedReply::from(answer_one(&read, row, snapshot.time_ms)))
        })
    }
}

impl Future for PendingRead {
    type Output = Result<OwnedReply, ReadFailure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

/// What a read sees.
#[derive(Clone)]
struct Snapshot {
    tree: Tree,
    spawner: Spawner,
    at: Timestamp,
    time_ms: u64,
    forgotten: Timestamp,
    lookups: Rc<Lookups>,
}

impl Apply {
    /// Encodes the key of a read and asks for the first memory it will look at.
    #[inline]
    pub fn prepare<'a>(&self, read: Read<'a>) -> Prepared<'a> {
        let place = one_key(&read).map(|key| Place::new(REDIS_KEYSPACE, &key));
        if let Some(place) = &place {
            self.tree().prefetch_slot(place.hash);
        }
        Prepared { read, place, hint: Hint::default() }
    }

    /// Asks for the next memory that a read will look at; answers whether it will look at more.
    #[inline]
    pub fn touch(&self, prepared: &mut Prepared<'_>) -> bool {
        let Some(place) = &prepared.place else { return false };
        self.tree().prefetch_next(&place.row, place.hash, &mut prepared.hint)
    }

    /// Answers a read at `at`, judging expiry by `time_ms`; or gives it back as a future when the disk must be asked.
    ///
    /// `at` must not lie above [`Apply::published`], nor below the safe point.
    #[inline]
    pub fn read(
        &self,
        prepared: &Prepared<'_>,
        at: Timestamp,
        time_ms: u64,
        to: ReplyTo,
        out: &mut impl Replies,
    ) -> Option<PendingRead> {
        debug_assert!(at <= self.published() && at >= self.state().safe_point);
        if let Some(slot) = self.not_owned(&prepared.read) {
            out.reply(to, Reply::Error(ReplyError::Moved { slot }));
            return None;
        }
        let forgotten = self.state().forgotten(at);
        if let Some(place) = &prepared.place {
            let mut failed = None;
            let got = self.tree().get(&place.row, place.hash, at, |version, cell| {
                match live(version, cell, forgotten, time_ms) {
                    Ok(row) => {
                        self.lookups().note(row.is_some());
                        out.reply(to, answer_one(&prepared.read, row, time_ms));
                    }
                    Err(error) => failed = Some(error),
                }
            });
            match (got, failed) {
                (Get::Found(()), None) => return None,
                (Get::Absent, _) => {
                    self.lookups().note(false);
                    out.reply(to, answer_one(&prepared.read, None, time_ms));
                    return None;
                }
                (_, Some(error)) => {
                    return Some(PendingRead::failed(error));
                }
                (Get::OnDisk(probe), None) => {
                    let snapshot = self.snapshot(at, time_ms, forgotten);
                    return Some(PendingRead::one(snapshot, &prepared.read, probe));
                }
            }
        }
        let snapshot = self.snapshot(at, time_ms, forgotten);
        match prepared.read {
            Read::MGet { keys } => snapshot.many(Wanted::Values, keys, to, out),
            Read::Exists { keys } => snapshot.many(Wanted::Presence, keys, to, out),
            Read::Scan { cursor, count, pattern, kind } => {
                let (page, pattern) = (Page::pin(snapshot, cursor), pattern.to_vec());
                Some(PendingRead::new(async move { page.scan(count, &pattern, kind).await }))
            }
            Read::DbSize { cursor, count } => {
                let page = Page::pin(snapshot, cursor);
                Some(PendingRead::new(async move { page.db_size(count).await }))
            }
            Read::InSlot { slot, cursor, count, keys } => {
                let page = Page::pin_slot(snapshot, cursor, slot);
                Some(PendingRead::new(async move {
                    if keys {
                        page.scan(count, b"", TypeFilter::Any).await
                    } else {
                        page.db_size(count).await
                    }
                }))
            }
            _ => unreachable!("{:?} has one key and was answered", prepared.read),
        }
    }

    fn snapshot(&self, at: Timestamp, time_ms: u64, forgotten: Timestamp) -> Snapshot {
        let (tree, spawner, lookups) = (self.tree().clone(), self.spawner().clone(), self.lookups().clone());
        Snapshot { tree, spawner, at, time_ms, forgotten, lookups }
    }

    /// A slot of the read that the group does not own.
    #[inline]
    fn not_owned(&self, read: &Read<'_>) -> Option<u16> {
        let state = self.state();
        match (one_key(read), read) {
            (Some(key), _) => (!state.owns(key.slot())).then_some(key.slot().0),
            (None, Read::MGet { keys } | Read::Exists { keys }) => {
                keys.keys().find(|key| !state.owns(key.slot())).map(|key| key.slot().0)
            }
            (None, _) => None,
        }
    }
}

const fn one_key<'a>(read: &Read<'a>) -> Option<Key<'a>> {
    match *read {
        Read::Get { key }
        | Read::StrLen { key }
        | Read::GetRange { key, .. }
        | Read::Type { key }
        | Read::Ttl { key, .. }
        | Read::GetBit { key, .. }
        | Read::Object { key, .. }
        | Read::BitCount { key, .. }
        | Read::BitPos { key, .. } => Some(key),
        Read::MGet { .. }
        | Read::Exists { .. }
        | Read::Scan { .. }
        | Read::DbSize { .. }
        | Read::InSlot { .. } => None,
    }
}

/// What OBJECT tells of a value, as if SET had written it.
fn object(value: &[u8], field: ObjectField) -> Reply<'static> {
    /// The longest string that the oracle holds beside its head, in bytes.
    const EMBEDDED_BYTES_MAX: usize = 44;
    /// The oracle holds whole numbers below this once.
    const SHARED: i64 = 10_000;
    let text = str::from_utf8(value).ok();
    // As it would be written, and so without leading zeros or a plus.
    let number = text.and_then(|text| text.parse::<i64>().ok().filter(|number| number.to_string() == text));
    match field {
        ObjectField::Encoding if number.is_some() => Reply::Bulk(b"int"),
        ObjectField::Encoding if value.len() <= EMBEDDED_BYTES_MAX => Reply::Bulk(b"embstr"),
        ObjectField::Encoding => Reply::Bulk(b"raw"),
        ObjectField::RefCount if number.is_some_and(|number| (0..SHARED).contains(&number)) => {
            Reply::Int(i64::from(i32::MAX))
        }
        ObjectField::RefCount => Reply::Int(1),
        ObjectField::IdleTime => Reply::Int(0),
    }
}

/// The answer to a read of one key, from its live row.
///
/// # Panics
/// When the read has not just one key.
#[inline]
fn answer_one<'r>(read: &Read<'_>, row: Option<Row<'r>>, time_ms: u64) -> Reply<'r> {
    let string = |absent, answer: &dyn Fn(&'r [u8]) -> Reply<'r>| match row {
        None => absent,
        Some(row) if row.kind == ValueType::String => answer(row.value),
        Some(_) => Reply::Error(ReplyError::WrongType),
    };
    match *read {
        Read::Get { .. } => string(Reply::Nil, &Reply::Bulk),
        Read::StrLen { .. } => string(Reply::Int(0), &|value| Reply::Int(value.len() as i64)),
        Read::GetRange { start, end, .. } => {
            string(Reply::Bulk(b""), &|value| Reply::Bulk(range(value, start, end)))
        }
        Read::GetBit { offset, .. } => {
            string(Reply::Int(0), &|value| Reply::Int(bits::bit_at(value, offset).into()))
        }
        Read::BitCount { start, end, in_bits, .. } => {
            string(Reply::Int(0), &|value| Reply::Int(bit_count(value, start, end, in_bits)))
        }
        Read::BitPos { bit, start, end, in_bits, .. } => {
            let absent = Reply::Int(if bit { -1 } else { 0 });
            string(absent, &|value| Reply::Int(bit_pos(value, bit, start, end, in_bits)))
        }
        Read::Object { field, .. } => row.map_or(Reply::Nil, |row| object(row.value, field)),
        Read::Type { .. } => Reply::Simple(row.map_or("none", |row| row.kind.name()).as_bytes()),
        Read::Ttl { in_millis, absolute, .. } => Reply::Int(ttl(row, in_millis, absolute, time_ms)),
        Read::MGet { .. }
        | Read::Exists { .. }
        | Read::Scan { .. }
        | Read::DbSize { .. }
        | Read::InSlot { .. } => {
            panic!("{read:?} has not one key")
        }
    }
}

/// The bytes from `start` to `end`, both included; negative ones count from the end.
fn range(value: &[u8], start: i64, end: i64) -> &[u8] {
    let len = value.len() as i64;
    if start < 0 && end < 0 && start > end {
        return b"";
    }
    let from_end = |at: i64| if at < 0 { at.saturating_add(len).max(0) } else { at };
    let (start, end) = (from_end(start), from_end(end).min(len - 1));
    if start > end { b"" } else { &value[start as usize..=end as usize] }
}

fn bit_count(value: &[u8], start: i64, end: i64, in_bits: bool) -> i64 {
    if start < 0 && end < 0 && start > end {
        return 0;
    }
    bits::bit_range(value, start, end, in_bits).map_or(0, |bits| bits::count_bits(value, bits))
}

/// The place of the first such bit. Without an end, a zero follows the string.
fn bit_pos(value: &[u8], bit: bool, start: i64, end: Option<i64>, in_bits: bool) -> i64 {
    let Some(within) = bits::bit_range(value, start, end.unwrap_or(-1), in_bits) else { return -1 };
    match bits::find_bit(value, within, bit) {
        Some(at) => at as i64,
        None if bit || end.is_some() => -1,
        None => value.len() as i64 * 8,
    }
}

/// What TTL and its kin answer. Seconds are rounded to the nearest, as in Redis.
fn ttl(row: Option<Row<'_>>, in_millis: bool, absolute: bool, time_ms: u64) -> i64 {
    let Some(row) = row else { return -2 };
    let Some(expiry) = row.expiry_ms else { return -1 };
    let millis = if absolute { expiry } else { expiry.saturating_sub(time_ms) };
    let millis = i64::try_from(millis).unwrap_or(i64::MAX);
    if in_millis { millis } else { millis.saturating_add(500) / 1000 }
}

impl Snapshot {
    fn try_row<R>(
        &self,
        key: &Key<'_>,
        see: impl FnOnce(Option<Row<'_>>) -> R,
    ) -> Result<Result<R, RowError>, Probe> {
        let place = Place::new(REDIS_KEYSPACE, key);
        let mut see = Some(see);
        let mut once = |row: Option<Row<'_>>| see.take().expect("a row is seen once")(row);
        let got = self.tree.get(&place.row, place.hash, self.at, |at, cell| {
            live(at, cell, self.forgotten, self.time_ms).map(&mut once)
        });
        match got {
            Get::Found(seen) => Ok(seen),
            Get::Absent => Ok(Ok(once(None))),
            Get::OnDisk(probe) => Err(probe),
        }
    }

    /// Answers a read of several keys, or pins their rows.
    fn many(
        self,
        wanted: Wanted,
        keys: List<'_>,
        to: ReplyTo,
        out: &mut impl Replies,
    ) -> Option<PendingRead> {
        match Many::pin(&self, wanted, keys).map(Many::in_memory) {
            Ok(Ok(reply)) => {
                reply.deliver(to, out);
                None
            }
            Ok(Err(many)) => {
                let mut archive = Vec::new();
                Read::MGet { keys }.archive(&mut archive);
                Some(PendingRead::new(async move {
                    let Ok(Read::MGet { keys }) = Read::open(&archive) else { unreachable!("just archived") };
                    many.read(&self, keys).await
                }))
            }
            Err(error) => Some(PendingRead::failed(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As GETRANGE of Redis answers.
    #[test]
    fn ranges_count_from_both_ends() {
        let golden: [(i64, i64, &[u8]); 10] = [
            (0, 3, b"This"),
            (-3, -1, b"ing"),
            (0, -1, b"This is a string"),
            (10, 100, b"string"),
            (-1, -3, b""),
            (5, 3, b""),
            (-100, 3, b"This"),
            (-100, -50, b"T"),
            (100, 200, b""),
            (i64::MIN, i64::MAX, b"This is a string"),
        ];
        for (start, end, expected) in golden {
            assert_eq!(range(b"This is a string", start, end), expected, "{start} {end}");
        }
        assert_eq!(range(b"", 0, -1), b"");
    }

    #[test]
    fn seconds_are_rounded_to_the_nearest() {
        let row = Some(Row::string(b"", Some(10_499)));
        let seen = [(false, false), (true, false), (false, true), (true, true)]
            .map(|(in_millis, absolute)| ttl(row, in_millis, absolute, 9_000));
        assert_eq!(seen, [1, 1_499, 10, 10_499]);
        assert_eq!(ttl(None, true, true, 0), -2);
        assert_eq!(ttl(Some(Row::string(b"", None)), true, true, 0), -1);
    }
}
