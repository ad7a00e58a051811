//! The disk seam: every operation is asynchronous, and its completion is delivered to a later turn.
//!
//! [`Disk`] is the handle that the log, the trees and their jobs hold. It queues [`Submission`]s; a driver (the ring of
//! a host, [the blocking driver of tests](direct) or [the simulated disk](sim)) takes them, carries them out in any order
//! and hands back one completion each. Operations that must follow one another are submitted one after the other's
//! completion: the seam promises no order between operations in flight.
//!
//! | invariant | who keeps it |
//! |---|---|
//! | a buffer belongs to its operation from submission to completion | ownership: it moves |
//! | offsets, lengths and capacities are multiples of [`BLOCK_BYTES`] | asserted at submission |
//! | every submission completes exactly once | driver; asserted in [`Disk::complete`] |
//! | paths are relative to the data directory, with `/` between parts and no `..` | asserted at submission |

mod buffer;
pub mod direct;
mod driver;
mod error;
mod handle;
mod op;
pub mod sim;
mod syncs;
pub mod twin;

pub use buffer::AlignedBuf;
pub use driver::{Driver, Stalled, block_on, run_until};
pub use error::{Cause, DiskError};
pub use handle::{Disk, MailboxId, OpFuture};
pub use op::{Access, DiskOp, Done, FileId, OpId, OpKind, Outcome, Submission};
pub use syncs::{SYNC_KINDS, SyncKind, SyncTimes};

/// The unit of direct I/O, in bytes: offsets, lengths and addresses are multiples of it.
pub const BLOCK_BYTES: usize = 4096;
