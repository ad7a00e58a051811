//! What can be set about the groups of a core.

use crate::limits::{ENTRY_BYTES_MAX, WAIT_MS_MAX};

/// Options of the groups of a core. The default suits a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// The log.
    pub wal: pinion_wal::Options,
    /// Lanes of the apply pipeline of each group: 1, 2, 4 or 8.
    pub lanes: u32,
    /// Batches of a turn are proposed as one entry up to this many bytes.
    pub entry_bytes_max: usize,
    /// Bytes of batches and waiting reads of all groups of the core that may wait or be in flight; more are refused as
    /// overload.
    pub proposal_bytes_max: usize,
    /// How long a write waits for a timestamp, and a read for its group, in milliseconds.
    pub wait_ms_max: u64,
    /// How often a group that was written to moves its safe point, in milliseconds. Reads may be so old.
    pub safe_point_ms: u64,
    /// How long a group rests between two sweeps for keys that expired, in milliseconds.
    pub reap_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            wal: pinion_wal::Options::default(),
            lanes: 4,
            entry_bytes_max: ENTRY_BYTES_MAX,
            proposal_bytes_max: 128 << 20,
            wait_ms_max: WAIT_MS_MAX,
            safe_point_ms: 5_000,
            reap_ms: 30_000,
        }
    }
}
