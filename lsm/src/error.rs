//! What can go wrong with trees, and what the caller must do.

use std::fmt;

use pinion_wal::LogIndex;
use pinion_wal::disk::DiskError;
use thiserror::Error;

use crate::ids::TreeId;

/// Bytes on the disk are not what was written there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// The file, relative to the data directory.
    pub file: String,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What does not fit.
    pub what: Flaw,
    /// What it should be.
    pub expected: u64,
    /// What it is.
    pub found: u64,
}

/// Which property of some bytes is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The checksum, bound to file and offset.
    Checksum,
    /// A magic number.
    Magic,
    /// A length or size.
    Length,
    /// The inner layout; `found` is the offset of the first byte that makes no sense.
    Layout,
    /// A kind of block.
    Kind,
    /// The identity of a file.
    Identity,
    /// The order of edits in a manifest.
    Sequence,
    /// A file that the manifest names does not exist.
    Missing,
    /// The number of a file, above every number that is given out.
    Number,
    /// The level of a table; `expected` is the deepest.
    Level,
    /// The counts of rows of a table: none, or more tombstones than rows.
    Rows,
    /// The first key of a table lies behind its last, or the lowest timestamp above the highest.
    Span,
    /// Two tables of one level overlap: their numbers.
    Overlap,
    /// A manifest removes a table that is not there, or adds one that is: its number is `found`.
    Table,
    /// The boundary goes back: from the entry `expected` to the entry `found`, or to a lower term.
    Boundary,
    /// The order of rows in a table.
    Order,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Checksum => "checksum",
            Self::Magic => "magic number",
            Self::Length => "length",
            Self::Layout => "layout",
            Self::Kind => "block kind",
            Self::Identity => "identity",
            Self::Sequence => "edit sequence",
            Self::Missing => "presence",
            Self::Number => "file number",
            Self::Level => "level of a table",
            Self::Rows => "count of rows of a table",
            Self::Span => "span of keys or timestamps of a table",
            Self::Overlap => "number of a table that overlaps another one of its level",
            Self::Table => "number of a table that is added twice or removed without being there",
            Self::Boundary => "boundary in the log",
            Self::Order => "order of rows",
        })
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, what, expected, found } = self;
        write!(f, "{file} is damaged at byte {offset}: {what} is {found:#x}, expected {expected:#x}")?;
        f.write_str("; restore the file, or rebuild this replica from its peers")
    }
}

impl std::error::Error for Corruption {}

/// A tree could not be opened. It was not changed, save that leftovers may be gone.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OpenError {
    /// The disk refused an operation.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The tree is damaged.
    #[error(transparent)]
    Corruption(#[from] Corruption),
    /// The log begins behind the rows: the end of the manifest is lost, or the log is not that of the tree. Nothing was
    /// removed.
    #[error(
        "the manifest of tree {tree} ends at entry {rows}, but the log begins at {first}: the end of the manifest is lost, or the files do not belong together; restore the whole data directory"
    )]
    Behind {
        /// The tree.
        tree: TreeId,
        /// The last entry that the rows contain.
        rows: LogIndex,
        /// The first entry of the log.
        first: LogIndex,
    },
    /// A newer version wrote something that this version must not ignore.
    #[error(
        "{file} holds {what} {number}, which this version does not know; open it with the version that wrote it"
    )]
    Unsupported {
        /// The file, relative to the data directory.
        file: String,
        /// What kind of thing.
        what: &'static str,
        /// Its number.
        number: u64,
    },
    /// The tree is open already: it has one writer.
    #[error("tree {0} is open already")]
    AlreadyOpen(TreeId),
    /// The engine has stopped writing: see [`Poison`].
    #[error(transparent)]
    Poisoned(#[from] Poison),
}

/// A read could not be answered. Other reads go on.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReadError {
    /// The disk refused a read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A block is damaged.
    #[error(transparent)]
    Corruption(#[from] Corruption),
    /// A newer version wrote something that this version does not know.
    #[error("{file} holds {what} {number}, which this version does not know")]
    Unsupported {
        /// The file, relative to the data directory.
        file: String,
        /// What kind of thing.
        what: &'static str,
        /// Its number.
        number: u64,
    },
}

impl From<ReadError> for OpenError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Disk(error) => Self::Disk(error),
            ReadError::Corruption(error) => Self::Corruption(error),
            ReadError::Unsupported { file, what, number } => Self::Unsupported { file, what, number },
        }
    }
}

/// A write or sync of a manifest or directory failed: what is durable is unknown. Nothing more is written; the process
/// must stop, and recover by opening again.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("tree {tree} stopped: {cause}; what is durable is unknown, so restart once the disk works")]
pub struct Poison {
    /// The tree.
    pub tree: TreeId,
    /// What failed.
    pub cause: DiskError,
}
