//! Disk operations as plain values.

use std::fmt;

use super::{AlignedBuf, DiskError};

/// An open file, as the seam numbers it: a small index that is used again after the file was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// An operation in flight. Never used twice by one [`Disk`](super::Disk).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// How a file is opened. Every file is opened for direct I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It must exist; it is only read.
    Read,
    /// It must exist; it is read and written.
    ReadWrite,
    /// It must not exist; it is created, read and written.
    CreateNew,
}

/// One disk operation. See the module page for what holds between operations.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are named as the lines above them name them")]
pub enum DiskOp {
    /// Opens `path` as `file`; answers [`Done::Opened`] with its size.
    Open { file: FileId, path: String, access: Access },
    /// Closes `file`. The number may be used again after the completion.
    Close { file: FileId },
    /// Reserves blocks so that `file` is at least `bytes` long (reads of the reserved part give zeros).
    Preallocate { file: FileId, bytes: u64 },
    /// Reads `len` bytes at `offset` into the front of `buf`. Fewer bytes (end of file) are the error `Short`.
    Read { file: FileId, offset: u64, buf: AlignedBuf, len: usize },
    /// Writes the first `len` bytes of `buf` at `offset`. With `durable`, the data (and what is needed to read it
    /// back) is on stable storage when the operation completes.
    Write { file: FileId, offset: u64, buf: AlignedBuf, len: usize, durable: bool },
    /// Makes all completed writes of `file` durable, its size included.
    Sync { file: FileId },
    /// Renames a file or directory; replaces `to` when it exists.
    Rename { from: String, to: String },
    /// Gives the file `from` a second name.
    Link { from: String, to: String },
    /// Removes a file, or an empty directory.
    Remove { path: String },
    /// Creates a directory; its parent must exist.
    MakeDir { path: String },
    /// Lists the names in a directory, sorted.
    List { dir: String },
    /// Makes creations, renames and removals in a directory durable.
    SyncDir { dir: String },
    /// Asks for the bytes that are free on the file system.
    FreeSpace,
}

/// The kind of an operation, for errors, metrics and planted faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "named as the operations")]
pub enum OpKind {
    Open,
    Close,
    Preallocate,
    Read,
    Write,
    Sync,
    Rename,
    Link,
    Remove,
    MakeDir,
    List,
    SyncDir,
    FreeSpace,
}

impl fmt::Display for OpKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Close => "close",
            Self::Preallocate => "preallocation",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Rename => "rename",
            Self::Link => "link",
            Self::Remove => "removal",
            Self::MakeDir => "creation of directory",
            Self::List => "listing",
            Self::SyncDir => "sync of directory",
            Self::FreeSpace => "query of free space",
        })
    }
}

impl DiskOp {
    /// The kind of this operation.
    #[must_use]
    pub const fn kind(&self) -> OpKind {
        match self {
            Self::Open { .. } => OpKind::Open,
            Self::Close { .. } => OpKind::Close,
            Self::Preallocate { .. } => OpKind::Preallocate,
            Self::Read { .. } => OpKind::Read,
            Self::Write { .. } => OpKind::Write,
            Self::Sync { .. } => OpKind::Sync,
            Self::Rename { .. } => OpKind::Rename,
            Self::Link { .. } => OpKind::Link,
            Self::Remove { .. } => OpKind::Remove,
            Self::MakeDir { .. } => OpKind::MakeDir,
            Self::List { .. } => OpKind::List,
            Self::SyncDir { .. } => OpKind::SyncDir,
            Self::FreeSpace => OpKind::FreeSpace,
        }
    }
}

/// What a successful operation gives back.
#[derive(Debug)]
pub enum Done {
    /// An opened file of `bytes` bytes.
    Opened {
        /// Its size in bytes.
        bytes: u64,
    },
    /// The buffer of a read, filled in its front; or of a write, unchanged.
    Buffer(AlignedBuf),
    /// The names in a directory, sorted.
    Names(Vec<String>),
    /// Free bytes on the file system.
    Free(u64),
    /// Nothing but success.
    Nothing,
}

/// The end of an operation. The buffer of a failed read or write is gone.
pub type Outcome = Result<Done, DiskError>;

/// An operation on its way to the driver.
#[derive(Debug)]
pub struct Submission {
    /// The name under which it completes.
    pub id: OpId,
    /// What is to be done.
    pub op: DiskOp,
}
