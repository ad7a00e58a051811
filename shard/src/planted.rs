//! Bugs planted on purpose in this crate, by name; see `pinion_wal::planted` for how they are chosen.
//!
//! | name | what goes wrong |
//! |---|---|
//! | `replay-from-wrong-index` | recovery applies the entry at the boundary a second time |
//! | `vote-not-persisted` | the hard state of an election is not logged |
//! | `report-before-stable` | a Ready counts as persisted when it was appended |
//! | `stamp-below-served` | a stamp at or below a timestamp that was served is used |
//! | `rehome-forgets-entries` | re-homing carries the hard state and not the entries behind the rows |

pub use pinion_wal::planted::is;
#[cfg(feature = "planted")]
pub use pinion_wal::planted::plant;
