//! Why a replica stops executing its log. It never skips an entry, so each of these ends it.

use pinion_lsm::ReadError;

use crate::row::RowError;
use crate::{BatchError, LogIndex, Timestamp};

/// What cannot be executed, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {index} cannot be executed: {cause}")]
pub struct Halt {
    /// The entry.
    pub index: LogIndex,
    /// Why not.
    pub cause: HaltCause,
}

/// Why an entry cannot be executed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HaltCause {
    /// Its bytes are damaged, or a newer version wrote them.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// It is not the one after the last.
    #[error("the entry after {last} was expected")]
    Gap {
        /// The last entry.
        last: LogIndex,
    },
    /// Its timestamps do not rise above what was executed, or its time goes back.
    #[error("its batch at {base} and time {time_ms} follows {last} and time {last_ms}")]
    Disorder {
        /// Its base timestamp.
        base: Timestamp,
        /// Its time.
        time_ms: u64,
        /// The last timestamp before it.
        last: Timestamp,
        /// The last time before it.
        last_ms: u64,
    },
    /// A row that it must read cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A row that it must read is malformed.
    #[error(transparent)]
    Row(#[from] RowError),
}
