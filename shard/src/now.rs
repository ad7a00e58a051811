//! The time of a turn.

use pinion_wal::Mono;

/// The clocks of the host, sampled once per turn after its inbox was closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock. All cores of a node share it.
    pub mono: Mono,
    /// The wall clock, in milliseconds since 1970. Only the oracle looks at it.
    pub wall_ms: u64,
}
