//! The disk seam, and the log that all groups of a core share.
//!
//! Read first: [`disk::Disk`] (every byte that reaches or leaves a disk passes through it), [`task::Tasks`] (multi-step
//! work inside a turn) and the log itself.
//!
//! This crate knows groups and indexes, but no Raft; it owns no thread, reads no clock and draws no randomness.
//! Everything here belongs to one core and stays on its thread.

#[cfg(any(test, feature = "harness"))]
pub mod crash;
pub mod disk;
mod ids;
pub mod log;
pub mod planted;
pub mod task;
mod time;

pub use ids::{GroupId, LogId, LogIndex, Term};
pub use log::{
    Damage, Entry, EntryRef, HardState, HomeEpoch, Incarnation, OpenError, Options, Poison, Position,
    Recovered, RecoveredGroup, Unwritable, Wal, rehome,
};
pub use time::{Mono, Ticks};
