//! Rows on disk: trees of versioned rows, and the block cache.
//!
//! Read first: [`Engine`] (what the trees of a core share), [`Tree`] (the rows of one group) and [`Cache`].
//!
//! This crate knows no Raft, no socket, ring or thread. It reads no clock and draws no randomness; everything belongs
//! to one core and stays on its thread.

mod boundary;
mod cache;
mod cell;
mod engine;
mod error;
mod hash;
mod ids;
#[cfg_attr(not(test), expect(dead_code, reason = "the flush reads them"))]
mod memtable;
mod options;
mod slab;
mod tree;

pub use boundary::Boundary;
pub use cache::Cache;
pub use cell::{Cell, OwnedCell};
pub use engine::Engine;
pub use error::{OpenError, ReadError};
pub use hash::hash_of;
pub use ids::{Timestamp, TreeId};
pub use options::Options;
pub use slab::{Piece, Slab};
pub use tree::{Cursor, Get, KeyRange, Probe, Row, Tree};
