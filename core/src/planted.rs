//! Bugs planted on purpose in this crate, by name; see `pinion_wal::planted` for how they are chosen.
//!
//! | name | what goes wrong |
//! |---|---|
//! | `read-forgets-own-write` | a read does not wait for the earlier writes of its connection |
//! | `message-delivered-twice` | a message of requests reaches another core twice |
//! | `reply-out-of-turn` | the reply of a later command leaves before that of an earlier one |

pub use pinion_wal::planted::is;
#[cfg(feature = "planted")]
pub use pinion_wal::planted::plant;
