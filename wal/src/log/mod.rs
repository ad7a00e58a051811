//! The log of all groups of a core: one sequence of records, one flush for what a turn appended.
//!
//! A turn appends ([`Wal::append_entries`], [`Wal::append_hard_state`], [`Wal::append_first`]), then calls [`Wal::flush`]
//! once. [`Wal::poll`] takes the completions and answers the stable [`Position`]: whatever was appended up to it is on
//! the disk and may be acknowledged. A [`Poison`] is final.
//!
//! ```
//! use pinion_wal::disk::sim::{Faults, SimDisk};
//! use pinion_wal::disk::{Disk, Driver, block_on};
//! use pinion_wal::{EntryRef, GroupId, LogId, LogIndex, Mono, Options, Term, Wal};
//!
//! let (disk, mut driver) = (Disk::new(), SimDisk::new(1, Faults::default()));
//! let opened = block_on(&disk, &mut driver, None, Wal::open(&disk, LogId(0), Options::tiny()));
//! let (mut wal, recovered) = opened.expect("an empty directory is a log without groups");
//! assert!(recovered.groups.is_empty());
//!
//! // A turn: append, flush once, and later find out what is stable.
//! let entry = EntryRef { index: LogIndex(1), term: Term(1), kind: 0, data: b"a batch" };
//! let position = wal.append_entries(GroupId(16), LogIndex(0), &[entry]);
//! wal.flush(Mono(0), true);
//! while wal.poll(Mono(0)).expect("no fault was planned") < position {
//!     Driver::drive(&mut driver, &disk);
//! }
//! ```
//!
//! Damage: [`Recovered::lost`] answers, for every group that its owner knows to live in this log, whether it may be served,
//! also for a group of which nothing was found. It is told at every open until the owner has called
//! [`Wal::accept_loss`] for the groups that lost records, and [`Wal::accept_damage`] for what remains.
//!
//! The bytes are in `FORMAT.md`. The way of a record: `wal` (append) -> `buffer` (its place in a block) -> `flush`
//! (when it is written, when it is stable) -> `background` (segments to write to) -> and after a crash `scan` (which
//! blocks count), `records` (which records they hold), `replay` (which groups these make), `open` (the next
//! incarnation).
//!
//! | promise | how |
//! |---|---|
//! | what is stable is found again | segments are written and synced, and so is their directory, before they are used; one durable write per flush; a position counts when all before it are done |
//! | what was cut never comes back | every open raises the incarnation in `HEAD`, with the block at which the older ones end |
//! | damage is not a torn tail | sectors check themselves; later blocks and `HEAD` tell how far the log was stable; an idle log says so in a marker |
//! | damage is not forgotten | it stands in `HEAD` until a person accepts it |
//! | a damaged place concerns as few groups as possible | records of a group are numbered; summaries and markers tell the last number |
//! | a segment is used again only when nobody needs it | needed entries are counted by segment; headers tell the oldest needed segment before an older one is overwritten |

mod background;
mod buffer;
mod error;
mod flush;
mod format;
#[cfg(test)]
mod golden;
mod group;
mod head;
mod ids;
mod metrics;
mod open;
mod options;
mod read;
mod records;
mod rehome;
mod replay;
mod rewrite;
mod scan;
mod sums;
pub mod survey;
#[cfg(test)]
mod tests;
mod wal;

pub use error::{Damage, OpenError, Poison, Unwritable};
pub use format::RecordType;
pub use group::HardState;
pub use ids::{HomeEpoch, Incarnation, Position};
pub use metrics::Metrics;
pub use open::Recovered;
pub use options::Options;
pub use rehome::{Rehomed, logs, rehome};
pub use replay::{Entry, RecoveredGroup};
pub use wal::{EntryRef, Wal};
