//! Compaction: what may go goes, and a key is found in fewer places.
//!
//! [`pick`] chooses, [`merge`] reads, [`rules`] decide which versions stay. A job reads immutable files and writes new
//! ones; the tree changes only by the one edit that installs its result.

mod merge;
mod pick;
mod rules;

pub(crate) use merge::Merge;
pub(crate) use pick::{Pick, TableShape, pick};
pub(crate) use rules::DropRules;
