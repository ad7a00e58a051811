//! A Raft group and its state machine; time, transactions, routes.
//!
//! This crate knows no socket, ring or thread, reads no clock and draws no randomness: all of it enters as arguments.
//! Read first: [`Command`] (what is logged), [`Batch`] (how it is logged), [`Reply`] (what comes back), [`Groups`] (who runs
//! all groups of a core) and [`Layout`] (which groups there are, and where).

pub mod apply;
mod archive;
mod batch;
pub mod clock;
mod command;
#[cfg(feature = "harness")]
pub mod crash;
mod digest;
mod execute;
mod group;
mod groups;
mod ids;
mod key;
pub mod layout;
pub mod lease;
pub mod limits;
mod load;
pub mod loss;
pub mod node;
mod now;
pub mod planted;
pub mod read;
pub mod rehome;
mod reply;
mod row;
mod slot;
pub mod storage;

pub use apply::{Apply, Committed, Halt, HaltCause, Lanes, Owned, State, StateError};
pub use archive::{List, ListIter};
pub use batch::{
    Batch, BatchBuf, BatchBuilder, BatchError, HEADER_BYTES, Header, Kind, MAGIC, Origin, Stamp, batches,
};
pub use command::{
    BitOp, Command, Control, Expire, ExpireWhen, Malformed, ObjectField, Read, SetWhen, TypeFilter,
};
pub use digest::Digest;
pub use execute::float::is_float;
pub use group::{After, Standing};
pub use groups::{Groups, OpenError, Options, Setup, Stopped};
pub use ids::{
    CATALOG_GROUP, CLOCK_GROUP, ClusterId, CoreId, FIRST_DATA_GROUP, GroupId, LogIndex, NodeId, RangeId,
    ReplicaId, Slot, Term, Timestamp,
};
pub use key::{
    Key, Keyspace, REDIS_KEYSPACE, RowKey, RowKind, RowParts, SYSTEM_KEYSPACE, ScanPosition, decode_row,
};
pub use layout::Layout;
pub use load::{Load, RangeLoad};
pub use now::Now;
pub use read::{PendingRead, Prepared, ReadFailure, glob_matches};
pub use reply::{OwnedReply, Replies, Reply, ReplyError, ReplyTo};
pub use row::{Row, RowError, ValueType};
pub use slot::{SLOT_COUNT, crc16};
