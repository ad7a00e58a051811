//! What a command does: a pure function of the command, the time and timestamp of its batch, and the rows it reads.
//!
//! Nothing here knows a tree, a lane or a clock. A row that has expired, or was forgotten by a FLUSHALL, does not reach this
//! module: it is absent.

pub(crate) mod bits;
mod expiry;
pub(crate) mod float;
mod number;
mod string;
#[cfg(test)]
mod tests;

use crate::row::Row;
use crate::{Command, Key, Reply, ReplyError, Timestamp};

/// When a command executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Env {
    /// Its timestamp: its versions bear it.
    pub at: Timestamp,
    /// The oracle's wall time, from the header of its batch.
    pub time_ms: u64,
}

/// What becomes of the row of a command of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Write {
    /// It stays.
    Nothing,
    /// It becomes what stands in the cell buffer.
    Put,
    /// It goes.
    Delete,
}

/// What a command touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Footprint<'a> {
    /// The row of one key. Without `reads` the command does not look at it.
    One { key: Key<'a>, reads: bool },
    /// The rows of several keys.
    Many,
    /// All rows.
    All,
}

impl<'a> Command<'a> {
    /// What this command touches.
    pub(crate) fn footprint(&self) -> Footprint<'a> {
        use crate::{Expire, SetWhen};
        match *self {
            Self::Set { key, when, expire, get, .. } => {
                let reads = get || when != SetWhen::Always || expire == Expire::Keep;
                Footprint::One { key, reads }
            }
            Self::Append { key, .. }
            | Self::SetRange { key, .. }
            | Self::SetBit { key, .. }
            | Self::IncrBy { key, .. }
            | Self::IncrByFloat { key, .. }
            | Self::GetDel { key }
            | Self::GetEx { key, .. }
            | Self::Expire { key, .. }
            | Self::Persist { key } => Footprint::One { key, reads: true },
            Self::Del { .. } | Self::MSet { .. } | Self::Transfer { .. } | Self::BitOp { .. } => {
                Footprint::Many
            }
            Self::FlushAll => Footprint::All,
        }
    }
}

/// Executes a command of one key. `cell` receives the new content of the row; `answer` is called exactly once.
///
/// # Panics
/// When the command has several keys.
pub(crate) fn execute_one(
    command: &Command<'_>,
    env: &Env,
    row: Option<Row<'_>>,
    cell: &mut Vec<u8>,
    answer: impl FnOnce(Reply<'_>),
) -> Write {
    let (write, reply) = match try_execute(command, env, row, cell) {
        Ok(done) => done,
        Err(error) => (Write::Nothing, Reply::Error(error)),
    };
    match (command, write) {
        // It answers what it wrote.
        (Command::IncrByFloat { .. }, Write::Put) => {
            answer(Reply::Bulk(Row::decode(cell).expect("it was just written").value));
        }
        _ => answer(reply),
    }
    write
}

type Done<'r> = Result<(Write, Reply<'r>), ReplyError>;

fn try_execute<'r>(command: &Command<'_>, env: &Env, row: Option<Row<'r>>, cell: &mut Vec<u8>) -> Done<'r> {
    match *command {
        Command::Set { value, when, expire, get, .. } => {
            string::set(env, row, cell, &string::Set { value, when, expire, get })
        }
        Command::Append { value, .. } => string::append(row, cell, value),
        Command::SetRange { offset, value, .. } => string::set_range(row, cell, offset, value),
        Command::SetBit { offset, bit, .. } => bits::set_bit(row, cell, offset, bit),
        Command::IncrBy { delta, .. } => number::incr_by(row, cell, delta),
        Command::IncrByFloat { delta, .. } => float::incr_by(row, cell, delta),
        Command::GetDel { .. } => string::get_del(row),
        Command::GetEx { expire, .. } => string::get_ex(env, row, cell, expire),
        Command::Expire { expire, when, .. } => expiry::expire(env, row, cell, expire, when),
        Command::Persist { .. } => Ok(expiry::persist(row, cell)),
        Command::Del { .. }
        | Command::MSet { .. }
        | Command::Transfer { .. }
        | Command::BitOp { .. }
        | Command::FlushAll => {
            panic!("{command:?} does not touch one row")
        }
    }
}

/// The row as a string, which it must be.
pub(crate) fn as_string(row: Option<Row<'_>>) -> Result<Option<Row<'_>>, ReplyError> {
    match row {
        Some(row) if row.kind != crate::row::ValueType::String => Err(ReplyError::WrongType),
        other => Ok(other),
    }
}
