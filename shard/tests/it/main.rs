//! The integration tests of this crate.
#![expect(clippy::duplicate_mod, reason = "one source file is checked under two sets of atomics")]

mod accepted;
mod crash;
mod digests;
mod groups;
mod layout;
mod lost;
mod memtables;
#[cfg(feature = "planted")]
mod planted;
mod word_model;
