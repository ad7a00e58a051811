//! Limits of this crate, tied to each other.

/// Bytes of a key, as a client names it.
pub const KEY_BYTES_MAX: usize = 32 << 10;
/// Bytes of a value.
pub const VALUE_BYTES_MAX: usize = 16 << 20;
/// Bytes of a batch, header included. One command always fits.
pub const BATCH_BYTES_MAX: usize = 64 << 20;
/// Commands of a batch: each takes one of the 65536 timestamps of a millisecond, and a batch never takes them all.
pub const BATCH_COMMANDS_MAX: usize = 16 << 10;

const _: () = assert!(VALUE_BYTES_MAX + KEY_BYTES_MAX + 4096 <= BATCH_BYTES_MAX);
const _: () = assert!(BATCH_BYTES_MAX <= u32::MAX as usize);
const _: () = assert!(BATCH_COMMANDS_MAX < 1 << 16);
