//! What can go wrong on a disk, with enough around it for a person to act.

use std::fmt;

use super::OpKind;

/// A failed disk operation: what was tried, on which file, where, and why it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskError {
    /// The operation.
    pub op: OpKind,
    /// Its file or directory, relative to the data directory.
    pub path: String,
    /// The byte offset, for reads and writes.
    pub offset: Option<u64>,
    /// The reason.
    pub cause: Cause,
}

impl DiskError {
    /// Whether the disk was full and the same may be tried again once it is not. A sync of a directory is no such case:
    /// names that it should have made durable may be lost, and a later one would not tell.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.cause == Cause::NoSpace && self.op != OpKind::SyncDir
    }

    /// Whether too many files were open for one more. The operation did not reach the disk, whichever it was.
    #[must_use]
    pub const fn is_out_of_files(&self) -> bool {
        matches!(self.cause, Cause::Os(libc::EMFILE | libc::ENFILE))
    }
}

/// Why a disk operation failed. Callers branch on this, never on text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The file or directory does not exist.
    NotFound,
    /// It exists already.
    Exists,
    /// The file system has no room left (or a quota is used up).
    NoSpace,
    /// Fewer bytes were written than asked, or a read ended before the asked length.
    Short {
        /// Bytes asked for.
        expected: usize,
        /// Bytes transferred.
        got: usize,
    },
    /// Any other error, as the operating system numbers it.
    Os(i32),
}

impl Cause {
    /// The cause for an `errno` value.
    #[must_use]
    pub const fn from_errno(errno: i32) -> Self {
        match errno {
            libc::ENOENT => Self::NotFound,
            libc::EEXIST => Self::Exists,
            libc::ENOSPC | libc::EDQUOT => Self::NoSpace,
            other => Self::Os(other),
        }
    }

    /// Whether a read that failed so met a place that cannot be read, as opposed to a disk that is gone or a wrong call.
    #[must_use]
    pub const fn is_unreadable(self) -> bool {
        matches!(self, Self::Os(libc::EIO | libc::EILSEQ | libc::ENODATA | libc::EREMOTEIO))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("it does not exist"),
            Self::Exists => f.write_str("it exists already"),
            Self::NoSpace => f.write_str("no space is left on the file system"),
            Self::Short { expected, got } => write!(f, "{got} of {expected} bytes were transferred"),
            Self::Os(errno) => write!(f, "{}", std::io::Error::from_raw_os_error(*errno)),
        }
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.op, self.path)?;
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        write!(f, " failed: {}", self.cause)
    }
}

impl std::error::Error for DiskError {}
