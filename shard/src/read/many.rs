//! Reads of several keys: MGET and EXISTS.

use pinion_lsm::Probe;
use pinion_wal::task::Class;

use super::{ReadFailure, Snapshot};
use crate::apply::live;
use crate::limits::{READ_BYTES_MAX, READ_ROWS_IN_FLIGHT};
use crate::reply::OwnedReply;
use crate::row::{Row, RowError};
use crate::{List, Reply, ReplyError, ValueType};

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

/// The rows of one read, each as memory had it or pinned where the disk has it.
pub(super) struct Many {
    wanted: Wanted,
    rows: Vec<Result<Option<Vec<u8>>, Probe>>,
    /// Bytes of the values kept so far.
    bytes: usize,
}

impl Many {
    /// Looks at every row, until there is too much of them.
    pub(super) fn pin(snapshot: &Snapshot, wanted: Wanted, keys: List<'_>) -> Result<Self, RowError> {
        let mut many = Self { wanted, rows: Vec::new(), bytes: 0 };
        for key in keys.keys() {
            let row = match snapshot.try_row(&key, |row| wanted.keep(row)) {
                Ok(row) => Ok(row?),
                Err(probe) => Err(probe),
            };
            many.bytes += row.as_ref().map_or(0, bytes_of);
            many.rows.push(row);
            if many.is_too_much() {
                break;
            }
        }
        Ok(many)
    }

    /// The answer, if it waits for no disk.
    pub(super) fn in_memory(self) -> Result<OwnedReply, Self> {
        if self.is_too_much() {
            return Ok(TOO_MUCH);
        }
        if self.rows.iter().any(Result::is_err) {
            return Err(self);
        }
        Ok(answer(self.wanted, self.rows.into_iter().map(|row| row.expect("just looked at"))))
    }

    /// Reads what the disk has, some rows at once.
    pub(super) async fn read(mut self, snapshot: &Snapshot) -> Result<OwnedReply, ReadFailure> {
        let mut pinned = std::mem::take(&mut self.rows).into_iter();
        let mut rows = Vec::with_capacity(pinned.len());
        while pinned.len() > 0 {
            let reads = pinned.by_ref().take(READ_ROWS_IN_FLIGHT).map(|row| {
                row.map_err(|probe| {
                    let tree = snapshot.tree.clone();
                    snapshot.spawner.spawn_join(Class::Client, async move { tree.read(probe).await })
                })
            });
            for read in reads.collect::<Vec<_>>() {
                let join = match read {
                    Ok(row) => {
                        rows.push(row);
                        continue;
                    }
                    Err(join) => join,
                };
                let found = join.await?;
                let row = found
                    .as_ref()
                    .map(|(at, cell)| live(*at, cell.borrow(), snapshot.forgotten, snapshot.time_ms));
                let row = self.wanted.keep(row.transpose()?.flatten());
                self.bytes += bytes_of(&row);
                rows.push(row);
                if self.is_too_much() {
                    return Ok(TOO_MUCH);
                }
            }
        }
        Ok(answer(self.wanted, rows.into_iter()))
    }

    const fn is_too_much(&self) -> bool {
        self.bytes > READ_BYTES_MAX
    }
}

/// The answer to a read of more than [`READ_BYTES_MAX`].
const TOO_MUCH: OwnedReply = OwnedReply::Plain(Reply::Error(ReplyError::AnswerTooLong));

fn bytes_of(row: &Option<Vec<u8>>) -> usize {
    row.as_ref().map_or(0, Vec::len)
}

fn answer(wanted: Wanted, rows: impl Iterator<Item = Option<Vec<u8>>>) -> OwnedReply {
    match wanted {
        Wanted::Values => OwnedReply::Array(
            rows.map(|row| row.map_or(OwnedReply::Plain(Reply::Nil), OwnedReply::Bulk)).collect(),
        ),
        Wanted::Presence => OwnedReply::Plain(Reply::Int(rows.flatten().count() as i64)),
    }
}
