//! Reads at a timestamp: straight from memory when it has the rows, else as a task that awaits the disk.
//!
//! A read judges expiry by the time it is given and sees the last FLUSHALL at or below its timestamp. What it sees is what
//! was published at that timestamp; rows above it, of commands in flight, are invisible.

mod glob;
mod page;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pinion_lsm::{Get, Hint, Probe, Tree};
use pinion_wal::task::{Class, Spawner};

pub use glob::glob_matches;

use crate::apply::{Apply, Place, live};
use crate::key::REDIS_KEYSPACE;
use crate::limits::{READ_BYTES_MAX, READ_ROWS_IN_FLIGHT};
use crate::reply::OwnedReply;
use crate::row::{Row, RowError};
use crate::{Key, List, Read, Replies, Reply, ReplyError, ReplyTo, Timestamp, ValueType};

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
                    Ok(row) => out.reply(to, answer_one(&prepared.read, row, time_ms)),
                    Err(error) => failed = Some(error),
                }
            });
            match (got, failed) {
                (Get::Found(()), None) => return None,
                (Get::Absent, _) => {
                    out.reply(to, answer_one(&prepared.read, None, time_ms));
                    return None;
                }
                (_, Some(error)) => {
                    return Some(PendingRead(Box::pin(std::future::ready(Err(error.into())))));
                }
                (Get::OnDisk(_), None) => {}
            }
        }
        let snapshot = self.snapshot(at, time_ms, forgotten);
        if let Read::MGet { keys } | Read::Exists { keys } = prepared.read
            && let Some(reply) = snapshot.many_in_memory(&prepared.read, keys)
        {
            reply.deliver(to, out);
            return None;
        }
        let mut archive = Vec::new();
        prepared.read.archive(&mut archive);
        Some(PendingRead(Box::pin(async move {
            let read = Read::open(&archive).expect("it was just archived");
            snapshot.answer(&read).await
        })))
    }

    fn snapshot(&self, at: Timestamp, time_ms: u64, forgotten: Timestamp) -> Snapshot {
        Snapshot { tree: self.tree().clone(), spawner: self.spawner().clone(), at, time_ms, forgotten }
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
        | Read::Ttl { key, .. } => Some(key),
        Read::MGet { .. } | Read::Exists { .. } | Read::Scan { .. } | Read::DbSize { .. } => None,
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
        Read::Type { .. } => Reply::Simple(row.map_or("none", |row| row.kind.name()).as_bytes()),
        Read::Ttl { in_millis, absolute, .. } => Reply::Int(ttl(row, in_millis, absolute, time_ms)),
        Read::MGet { .. } | Read::Exists { .. } | Read::Scan { .. } | Read::DbSize { .. } => {
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

/// What TTL and its kin answer. Seconds are rounded to the nearest, as in Redis.
fn ttl(row: Option<Row<'_>>, in_millis: bool, absolute: bool, time_ms: u64) -> i64 {
    let Some(row) = row else { return -2 };
    let Some(expiry) = row.expiry_ms else { return -1 };
    let millis = if absolute { expiry } else { expiry.saturating_sub(time_ms) };
    let millis = i64::try_from(millis).unwrap_or(i64::MAX);
    if in_millis { millis } else { millis.saturating_add(500) / 1000 }
}

/// The answers to a read of several keys, row by row.
fn answer_many(read: &Read<'_>, rows: impl Iterator<Item = Option<Vec<u8>>>) -> OwnedReply {
    match read {
        Read::MGet { .. } => OwnedReply::Array(
            rows.map(|row| row.map_or(OwnedReply::Plain(Reply::Nil), OwnedReply::Bulk)).collect(),
        ),
        _ => OwnedReply::Plain(Reply::Int(rows.flatten().count() as i64)),
    }
}

/// What a read of several keys keeps of a live row: the value for MGET (strings only), that it is there for EXISTS.
fn keep(read: &Read<'_>, row: Option<Row<'_>>) -> Option<Vec<u8>> {
    let row = row?;
    match read {
        Read::MGet { .. } => (row.kind == ValueType::String).then(|| row.value.to_vec()),
        _ => Some(Vec::new()),
    }
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

    async fn row<R>(&self, key: &Key<'_>, see: impl Fn(Option<Row<'_>>) -> R) -> Result<R, ReadFailure> {
        match self.try_row(key, &see) {
            Ok(seen) => Ok(seen?),
            Err(probe) => Ok(match self.tree.read(probe).await? {
                Some((at, cell)) => see(live(at, cell.borrow(), self.forgotten, self.time_ms)?),
                None => see(None),
            }),
        }
    }

    /// The answer to a read of several keys, if memory has all of their rows.
    fn many_in_memory(&self, read: &Read<'_>, keys: List<'_>) -> Option<OwnedReply> {
        let mut rows = Kept::default();
        for key in keys.keys() {
            if !rows.push(self.try_row(&key, |row| keep(read, row)).ok()?.ok()?) {
                return Some(TOO_MUCH);
            }
        }
        Some(answer_many(read, rows.rows.into_iter()))
    }

    async fn answer(&self, read: &Read<'_>) -> Result<OwnedReply, ReadFailure> {
        match *read {
            Read::MGet { keys } | Read::Exists { keys } => self.many(read, keys).await,
            Read::Scan { cursor, count, pattern, kind } => self.scan(cursor, count, pattern, kind).await,
            Read::DbSize { cursor, count } => self.db_size(cursor, count).await,
            _ => {
                let key = one_key(read).expect("the others have one key");
                self.row(&key, |row| OwnedReply::from(answer_one(read, row, self.time_ms))).await
            }
        }
    }

    /// Reads several rows, some of their disk reads in flight at once.
    async fn many(&self, read: &Read<'_>, keys: List<'_>) -> Result<OwnedReply, ReadFailure> {
        let mut rows = Kept::default();
        let mut keys = keys.keys().peekable();
        while keys.peek().is_some() {
            let mut found = Vec::with_capacity(READ_ROWS_IN_FLIGHT);
            for key in keys.by_ref().take(READ_ROWS_IN_FLIGHT) {
                found.push(self.try_row(&key, |row| keep(read, row)).map_err(|probe| {
                    let tree = self.tree.clone();
                    self.spawner.spawn_join(Class::Client, async move { tree.read(probe).await })
                }));
            }
            for found in found {
                let row = match found {
                    Ok(row) => row?,
                    Err(join) => match join.await? {
                        Some((at, cell)) => {
                            keep(read, live(at, cell.borrow(), self.forgotten, self.time_ms)?)
                        }
                        None => None,
                    },
                };
                if !rows.push(row) {
                    return Ok(TOO_MUCH);
                }
            }
        }
        Ok(answer_many(read, rows.rows.into_iter()))
    }
}

/// The answer to a read of more than [`READ_BYTES_MAX`].
const TOO_MUCH: OwnedReply = OwnedReply::Plain(Reply::Error(ReplyError::AnswerTooLong));

/// What a read of several keys has kept of their rows so far.
#[derive(Default)]
struct Kept {
    rows: Vec<Option<Vec<u8>>>,
    bytes: usize,
}

impl Kept {
    /// Adds a row; answers whether that was not too much.
    fn push(&mut self, row: Option<Vec<u8>>) -> bool {
        self.bytes += row.as_ref().map_or(0, Vec::len);
        self.rows.push(row);
        self.bytes <= READ_BYTES_MAX
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
