//! Time: one oracle hands out timestamps and says what time it is.
//!
//! The oracle is the leader of the clock group. It owns a replicated ceiling, which it renews long before it is reached, and
//! may issue timestamps up to it while it holds its lease. On its own node every core takes ranges itself, by adding
//! to the shared [`Word`]; lease and ceiling are checked in the turn that issues.
//!
//! | invariant | requirement |
//! |---|---|
//! | no timestamp is issued at or above the newest applied ceiling, or after the lease ended | T4 |
//! | a new oracle starts above every ceiling that any predecessor could have used | T3 |
//! | no two calls are given the same timestamp; a later call gets later ones | T13 |
//! | the time of a core never goes back; forward jumps above one second are slewed | T6 |

mod oracle;
mod sync;
#[cfg(test)]
mod tests;
mod word;

pub use oracle::{Oracle, Stored};
pub use word::{Anchor, Grant, Issued, NoTime, Rate, Word};
