//! Why the groups of a core cannot be opened, and why they stop.

use pinion_wal::disk::{Cause, DiskError};
use pinion_wal::{LogId, LogIndex, Poison, Term};

use crate::GroupId;
use crate::apply::StateError;

/// Why the groups of a core cannot be opened. Nothing is served; what the disk holds is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The log cannot be opened.
    #[error("log {log}: {error}")]
    Log {
        /// The log.
        log: LogId,
        /// Why not.
        error: pinion_wal::OpenError,
    },
    /// The rows of a group cannot be opened.
    #[error("rows of group {group}: {error}")]
    Rows {
        /// The group.
        group: GroupId,
        /// Why not.
        error: pinion_lsm::OpenError,
    },
    /// The replicated state that stands with the rows makes no sense, or a newer version wrote it.
    #[error("rows of group {group}: {error}")]
    State {
        /// The group.
        group: GroupId,
        /// What is wrong with it.
        error: StateError,
    },
    /// The rows of the log fill the memory that they may take, and the disk is full or fails: some of them, not necessarily of
    /// this group, cannot be moved to tables.
    #[error(
        "rows of group {group}: the log holds more rows than fit into memory, and those that are there cannot be moved to tables: {error}; {}, or start with more memory",
        if error.cause == Cause::NoSpace { "make room on the disk" } else { "repair or replace the disk" }
    )]
    NoRoom {
        /// The group.
        group: GroupId,
        /// What stands in the way.
        error: DiskError,
    },
    /// The log does not continue where the rows end.
    #[error(
        "group {group}: its rows contain everything up to entry {rows}, but its log holds {first} to {last}: the files do not belong together; restore the whole data directory"
    )]
    Gap {
        /// The group.
        group: GroupId,
        /// The last entry that the rows contain.
        rows: LogIndex,
        /// The first entry of the log.
        first: LogIndex,
        /// The last entry of the log.
        last: LogIndex,
    },
    /// The log knows nothing of a group that lives here, and tells no damage: it is not the log that was here.
    #[error(
        "log-{log:04} knows nothing of group {group}: it was emptied or replaced, and acknowledged writes are gone with it; put it back, restore the whole data directory, or give up what is lost of it with --accept-loss {group}"
    )]
    Unknown {
        /// The log.
        log: LogId,
        /// The group.
        group: GroupId,
    },
    /// The log has entries of a term in which this replica never voted.
    #[error(
        "group {group}: its log has entries of term {entry}, but its hard state ends at term {term}: the log is damaged; restore the whole data directory"
    )]
    Vote {
        /// The group.
        group: GroupId,
        /// The term of the hard state.
        term: Term,
        /// The term of the last entry.
        entry: Term,
    },
    /// The layout says that the group lives here, but another log holds it: the move between logs was not finished.
    #[error(
        "log {log} holds group {group}, which does not live on this core: open the directory with the number of cores it was used with"
    )]
    Stray {
        /// The log.
        log: LogId,
        /// The group.
        group: GroupId,
    },
}

impl OpenError {
    /// Whether what is on disk is wrong for one group only: that group refuses to serve, for ever, and the others need not know.
    pub(super) const fn concerns_one_group(&self) -> bool {
        match self {
            // What another version wrote is not damage: nothing of this directory is for this build.
            Self::Rows { error, .. } => {
                matches!(error, pinion_lsm::OpenError::Corruption(_) | pinion_lsm::OpenError::Behind { .. })
            }
            Self::State { error, .. } => !error.is_newer(),
            Self::Gap { .. } | Self::Vote { .. } => true,
            _ => false,
        }
    }
}

/// Why the groups of a core have stopped: a write or sync failed. Nothing is acknowledged after it; the process must say
/// so and exit, and recover from what is on disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// Of the log.
    #[error("{0}")]
    Log(Poison),
    /// Of a manifest or directory of the rows.
    #[error("{0}")]
    Rows(pinion_lsm::Poison),
}
