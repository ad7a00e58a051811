//! What can go wrong with a log.

use thiserror::Error;

use crate::disk::DiskError;
use crate::{GroupId, LogId};

/// Records that may have been acknowledged and cannot be read any more.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{file} is damaged at byte {offset}: expected checksum {expected:08x}, found {found:08x}")]
pub struct Damage {
    /// The file, relative to the data directory.
    pub file: String,
    /// The first damaged byte: the start of a sector or block.
    pub offset: u64,
    /// The checksum that should stand there.
    pub expected: u32,
    /// The checksum of what stands there.
    pub found: u32,
}

/// A log that cannot be opened. Nothing that counts was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// The disk failed; try again when it is repaired.
    #[error("the log cannot be opened: {0}")]
    Disk(#[from] DiskError),
    /// The small file that tells which incarnations count is damaged or missing: restore it or the whole directory.
    #[error("the log cannot be opened: {0}; restore the file from a copy of the data directory")]
    Head(Damage),
    /// The log was written by another version of this program: use that version.
    #[error(
        "{file} has format version {found}, this program knows {known}; open it with the version that wrote it"
    )]
    Version {
        /// The file.
        file: String,
        /// The version in the file.
        found: u32,
        /// The newest version known.
        known: u32,
    },
    /// The directory holds the records of another log: it was moved or copied.
    #[error("{file} belongs to log {found}, not to log {expected}")]
    WrongLog {
        /// The file.
        file: String,
        /// The log it says it belongs to.
        found: LogId,
        /// The log that was opened.
        expected: LogId,
    },
    /// The log cannot be written.
    #[error("the log cannot be written: {0}")]
    Unwritable(#[from] Unwritable),
    /// Groups that must be moved to another log have lost records. Open the logs as they are, or discard the loss.
    #[error("group {group} cannot be moved to another log: {damage}")]
    Lost {
        /// The group.
        group: GroupId,
        /// What was lost.
        damage: Damage,
    },
}

/// The end of a log: a write, sync or directory operation failed. Nothing is acknowledged after it, nothing is tried
/// again; the process must stop and recover from what is on disk (D2).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the log has stopped: {error}; nothing more is acknowledged, restart when the disk is repaired")]
pub struct Poison {
    /// The operation that failed.
    pub error: DiskError,
}

/// Why the log takes no new entries for now (D6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unwritable {
    /// The file system has no room for another segment; free some, and writes resume without a restart.
    #[error("no space is left for the log; free space on the file system, writes resume by themselves")]
    NoSpace,
    /// The log was poisoned.
    #[error("the log has stopped after a failed disk operation")]
    Poisoned,
}
