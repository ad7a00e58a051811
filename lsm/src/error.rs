//! What can go wrong with trees, and what the caller must do.

use pinion_wal::disk::DiskError;
use thiserror::Error;

use crate::ids::TreeId;

/// A tree could not be opened. Nothing was changed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OpenError {
    /// The disk refused an operation.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The tree is open already: it has one writer.
    #[error("tree {0} is open already")]
    AlreadyOpen(TreeId),
}

/// A read could not be answered. Other reads go on.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReadError {
    /// The disk refused a read.
    #[error(transparent)]
    Disk(#[from] DiskError),
}
