//! Reads of several keys: MGET and EXISTS.

use pinion_lsm::{OwnedCell, Probe};
use pinion_wal::task::{Class, Join};

use super::{ReadFailure, Snapshot};
use crate::apply::{Place, live};
use crate::key::REDIS_KEYSPACE;
use crate::limits::{READ_BYTES_MAX, READ_ROWS_IN_FLIGHT};
use crate::reply::OwnedReply;
use crate::row::{Row, RowError};
use crate::{Key, List, Reply, ReplyError, Timestamp, ValueType};

/// What is kept of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The values of strings: MGET.
    Values,
    /// That they are there: EXISTS.
    Presence,
}

impl Wanted {
    /// What to keep of a live row; none of what the answer takes for absent.
    fn keep(self, row: Option<Row<'_>>) -> Option<Vec<u8>> {
        let row = row?;
        match self {
            Self::Values => (row.kind == ValueType::String).then(|| row.value.to_vec()),
            Self::Presence => Some(Vec::new()),
        }
    }
}

impl Snapshot {
    /// Counts a row that was looked for, and keeps what is wanted of it.
    fn keep(&self, wanted: Wanted, row: Option<Row<'_>>) -> Option<Vec<u8>> {
        self.lookups.note(row.is_some());
        wanted.keep(row)
    }
}

/// A row that the disk has.
struct OnDisk;

/// The rows of one read.
pub(super) struct Many {
    wanted: Wanted,
    rows: Vec<Result<Option<Vec<u8>>, OnDisk>>,
    /// Bytes of the values kept so far.
    bytes: usize,
    /// The read of the first row that the disk has: it pins the tables for all of them.
    first: Option<Probe>,
}

impl Many {
    /// Looks at every row, until there is too much of them.
    pub(super) fn pin(snapshot: &Snapshot, wanted: Wanted, keys: List<'_>) -> Result<Self, RowError> {
        let mut many = Self { wanted, rows: Vec::new(), bytes: 0, first: None };
        for key in keys.keys() {
            match snapshot.try_row(&key, |row| snapshot.keep(wanted, row)) {
                Ok(row) => {
                    let row = row?;
                    many.bytes += bytes_of(&row);
                    many.rows.push(Ok(row));
                }
                Err(probe) => {
                    many.first.get_or_insert(probe);
                    many.rows.push(Err(OnDisk));
                }
            }
            if many.bytes > READ_BYTES_MAX {
                break;
            }
        }
        Ok(many)
    }

    /// The answer, if it waits for no disk.
    pub(super) fn in_memory(self) -> Result<OwnedReply, Self> {
        if self.bytes > READ_BYTES_MAX {
            return Ok(TOO_MUCH);
        }
        if self.first.is_some() {
            return Err(self);
        }
        Ok(answer(self.wanted, self.rows))
    }

    /// Reads what the disk has, some rows at once. `keys` are those that were given before.
    pub(super) async fn read(self, snapshot: &Snapshot, keys: List<'_>) -> Result<OwnedReply, ReadFailure> {
        let Self { wanted, mut rows, mut bytes, first } = self;
        let mut missing = keys.keys().zip(&mut rows).filter(|(_, row)| row.is_err());
        loop {
            let reads: Vec<_> = missing.by_ref().take(READ_ROWS_IN_FLIGHT).collect();
            if reads.is_empty() {
                break;
            }
            let first = first.as_ref().expect("a row is on the disk");
            let reads: Vec<_> =
                reads.into_iter().map(|(key, row)| (row, spawn_read(snapshot, first, &key))).collect();
            for (row, read) in reads {
                let found = read.await?;
                let seen = found
                    .as_ref()
                    .map(|(at, cell)| live(*at, cell.borrow(), snapshot.forgotten, snapshot.time_ms));
                let kept = snapshot.keep(wanted, seen.transpose()?.flatten());
                bytes += bytes_of(&kept);
                *row = Ok(kept);
                if bytes > READ_BYTES_MAX {
                    return Ok(TOO_MUCH);
                }
            }
        }
        Ok(answer(wanted, rows))
    }
}

fn spawn_read(snapshot: &Snapshot, first: &Probe, key: &Key<'_>) -> Join<Found> {
    let place = Place::new(REDIS_KEYSPACE, key);
    let (tree, probe) = (snapshot.tree.clone(), first.of(&place.row, place.hash));
    snapshot.spawner.spawn_join(Class::Client, async move { tree.read(probe).await })
}

type Found = Result<Option<(Timestamp, OwnedCell)>, pinion_lsm::ReadError>;

/// The answer to a read of more than [`READ_BYTES_MAX`].
const TOO_MUCH: OwnedReply = OwnedReply::Plain(Reply::Error(ReplyError::AnswerTooLong));

fn bytes_of(row: &Option<Vec<u8>>) -> usize {
    row.as_ref().map_or(0, Vec::len)
}

fn answer(wanted: Wanted, rows: Vec<Result<Option<Vec<u8>>, OnDisk>>) -> OwnedReply {
    let rows = rows.into_iter().map(|row| row.ok().flatten());
    match wanted {
        Wanted::Values => OwnedReply::Array(
            rows.map(|row| row.map_or(OwnedReply::Plain(Reply::Nil), OwnedReply::Bulk)).collect(),
        ),
        Wanted::Presence => OwnedReply::Plain(Reply::Int(rows.flatten().count() as i64)),
    }
}
