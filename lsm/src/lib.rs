//! Rows on disk: trees of versioned rows, and the block cache.
//!
//! Read first: [`Engine`] (what the trees of a core share), [`Tree`] (the rows of one group) and [`Cache`].
//!
//! This crate knows no Raft, no socket, ring or thread. It reads no clock and draws no randomness; everything belongs
//! to one core and stays on its thread.
//!
//! | invariant | where |
//! |---|---|
//! | versions of a key are put in the order of their timestamps, so a newer place holds newer versions | [`Tree::put`] |
//! | a memtable holds exactly the entries between two boundaries; one edit installs its tables and its boundary | `tree::jobs` |
//! | a file is whole and durable, name included, before an edit names it | `tree::output` |
//! | whoever reads pins a set of memtables and tables; files go when nobody holds them | `version` |
//! | no byte is used before its checksum, bound to file and offset, was verified | `table::envelope` |
//! | versions go by the applied safe point and by what the owner declared dead, by nothing else | `compact::rules` |
//!
//! The owner calls [`Engine::tick`] every turn (retries wait for time), and stops the process when
//! [`Engine::poisoned`] says why. The bytes are described in `FORMAT.md`.

mod boundary;
mod cache;
mod cell;
mod compact;
mod engine;
mod error;
mod format;
mod gate;
#[cfg(feature = "harness")]
pub mod harness;
mod hash;
mod ids;
mod manifest;
mod memtable;
mod metrics;
mod options;
mod regions;
mod slab;
mod table;
#[cfg(test)]
mod testing;
mod tree;
mod version;

pub use boundary::Boundary;
pub use cache::{Cache, CacheMetrics};
pub use cell::{Cell, OwnedCell};
pub use engine::Engine;
pub use error::{Corruption, Flaw, OpenError, Poison, ReadError};
pub use hash::hash_of;
pub use ids::{Timestamp, TreeId};
pub use metrics::{TreeMetrics, Work};
pub use options::Options;
pub use slab::{Piece, Slab};
pub use table::envelope::Compression;
pub use table::survey;
pub use tree::{Cursor, FlushState, Get, Hint, KeyRange, Probe, Row, Tree};
