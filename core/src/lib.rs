//! A pinned core, the node made of cores, client and peer protocols.
//!
//! Read first: [`host::Machine`] (a core is a state machine with a turn), [`Inbox`] and [`Outbox`] (all it sees and all it
//! wants done), and the hosts that drive it.
//!
//! Everything of a core stays on its thread. What cores share, and nothing else: the [`mesh`], budgets that are leased in
//! chunks, the clock's word and published snapshots.

pub mod admin;
pub mod chore;
pub mod cluster;
pub mod command;
pub mod config;
pub mod conn;
pub mod host;
mod ids;
mod inbox;
pub mod info;
pub mod ledger;
pub mod mesh;
pub mod message;
pub mod metrics;
pub mod node;
mod outbox;
pub mod pin;
pub mod planted;
pub mod publish;
pub mod resp;
pub mod route;
pub mod series;
pub mod signal;
pub mod slow;
pub mod spread;
pub mod stages;
pub mod stalls;
pub mod tally;
pub mod turn;
pub mod vitals;

pub use ids::ConnId;
pub use inbox::{Chunk, Event, Inbox, ReceiveEnd};
pub use outbox::{Action, Exit, Outbox};
pub use pinion_shard::CoreId;
