//! Limits of this crate, tied to each other.

/// Bytes of a key, as a client names it.
pub const KEY_BYTES_MAX: usize = 32 << 10;
/// Bytes of a value.
pub const VALUE_BYTES_MAX: usize = 16 << 20;
/// Bytes of a number of INCRBYFLOAT, read or written: the largest has 4933 digits.
pub const FLOAT_BYTES_MAX: usize = 5 * 1024;
/// Bytes of a batch, header included. One command always fits.
pub const BATCH_BYTES_MAX: usize = 64 << 20;
/// Commands of a batch: each takes one of the 65536 timestamps of a millisecond, and a batch never takes them all.
pub const BATCH_COMMANDS_MAX: usize = 16 << 10;

const _: () = assert!(VALUE_BYTES_MAX + KEY_BYTES_MAX + 4096 <= BATCH_BYTES_MAX);
const _: () = assert!(BATCH_BYTES_MAX <= u32::MAX as usize);
const _: () = assert!(BATCH_COMMANDS_MAX < 1 << 16);

/// A follower that hears nothing for so many ticks (and up to twice as many) campaigns.
pub const ELECTION_TICKS: usize = 10;
/// A leader sends a heartbeat every so many ticks.
pub const HEARTBEAT_TICKS: usize = 2;
/// Committed entries handed out at a time, in bytes.
pub const READY_COMMITTED_BYTES_MAX: u64 = 8 << 20;

/// The oracle may issue so far ahead of the time at which its ceiling was proposed, in milliseconds.
pub const CEILING_WINDOW_MS: u64 = 3_000;
/// It renews its ceiling so often, in milliseconds.
pub const CEILING_RENEWAL_MS: u64 = 1_000;
/// It compares its time with the wall clock at most so often, in milliseconds.
pub const CLOCK_ANCHOR_MS: u64 = 10;
/// A wall clock that is further ahead than this many milliseconds is followed by slewing only.
pub const CLOCK_STEP_MS_MAX: i64 = 1_000;

const _: () = assert!(2 * CEILING_RENEWAL_MS < CEILING_WINDOW_MS);
/// Cores of a node.
pub const CORES_MAX: u16 = 256;
/// Data groups of a node: a slot is never cut.
pub const DATA_GROUPS_MAX: u32 = 1024;

const _: () = assert!(DATA_GROUPS_MAX <= crate::SLOT_COUNT as u32);
/// Commands of a group that may be in flight between admission and publication.
pub const APPLY_STEPS_MAX: usize = 1024;
/// Bytes of rows read from the disk that the commands in flight of a group hold: beyond, no more are admitted. What is
/// still being read counts as much as the largest of the last rows, and as [`APPLY_ROW_BYTES`] at first.
pub const APPLY_FETCHED_BYTES_MAX: usize = 16 << 20;
/// Bytes of a row before any was read.
pub const APPLY_ROW_BYTES: usize = VALUE_BYTES_MAX;
/// Failed reads of rows that one command tries again before its replica halts.
pub const APPLY_READS_AGAIN_MAX: u32 = 8;
/// Commands whose memory is asked for before the first of them is touched.
pub const PREFETCH_COMMANDS: usize = 16;

/// A tick of the election clock, in milliseconds.
pub const TICK_MS: u64 = 100;
/// How long a confirmed round entitles a leader to answer alone, in milliseconds.
pub const LEASE_MS: u64 = 700;

// The margin for clocks that drift: a follower campaigns no earlier than after ELECTION_TICKS.
const _: () = assert!(LEASE_MS + 2 * TICK_MS < ELECTION_TICKS as u64 * TICK_MS);

/// Batches of a turn are proposed as one entry up to this many bytes.
pub const ENTRY_BYTES_MAX: usize = 1 << 20;
/// How long a write waits for a timestamp, and a read for its group to be ready, in milliseconds.
pub const WAIT_MS_MAX: u64 = 2_000;

/// Commands that a group executes at a time before others get their turn.
pub const APPLY_COMMANDS_MAX: usize = 4_096;
/// Bytes of rows that it writes at a time; the last command may exceed it.
pub const APPLY_WRITTEN_BYTES_MAX: usize = 4 << 20;
/// A buffer for rows that has grown beyond this is freed.
pub const APPLY_CELL_BYTES_KEPT: usize = 256 << 10;

/// Bytes of the values that one read of several keys answers: as many as one batch can write.
pub const READ_BYTES_MAX: usize = BATCH_BYTES_MAX;
/// Rows that such a read asks the disk for at the same time.
pub const READ_ROWS_IN_FLIGHT: usize = 16;
/// Bytes of keys after which a page of SCAN, or of a sweep for expired keys, ends.
pub const PAGE_BYTES_MAX: usize = 1 << 20;
/// Bytes of a pattern: what it costs to match one grows with its length times that of the name.
pub const PATTERN_BYTES_MAX: usize = 1 << 10;

/// Rows of a group that a sweep for expired keys looks at in one page.
pub const REAP_ROWS: u32 = 512;
/// Rest between two pages of a sweep, in milliseconds.
pub const REAP_PAUSE_MS: u64 = 10;
