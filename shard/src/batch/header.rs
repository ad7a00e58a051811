//! The fixed header of a batch: every field little endian, at a place that never changes. FORMAT.md gives the table.

use super::BatchError;
use crate::key::Keyspace;
use crate::{CoreId, NodeId, RangeId, ReplyTo, Timestamp};

/// The first four bytes of a batch, as a little-endian number: "PINB".
pub const MAGIC: u32 = u32::from_le_bytes(*b"PINB");
/// The version of the header layout.
pub const HEADER_VERSION: u8 = 1;
/// The schema of the bodies that this version writes and understands.
pub const SCHEMA_ID: u16 = 1;
/// The behaviour version that this version executes.
pub const EXEC_LEVEL: u16 = 1;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 136;

/// What a body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// [`Command`]s of clients.
    Commands = 1,
    /// [`Control`]s of the system.
    Control = 2,
}

/// Where the replies of a batch go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The node.
    pub node: NodeId,
    /// The core that holds the connections.
    pub core: CoreId,
    /// The slot of the batch there.
    pub slot: u32,
}

impl Origin {
    /// Where the reply to command `index` goes.
    #[must_use]
    pub const fn reply_to(&self, index: u32) -> ReplyTo {
        ReplyTo { core: self.core, slot: self.slot, index }
    }
}

/// What the owner of the group writes into a header before it proposes the batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The timestamp of the first command; command i has `base + i`.
    pub base: Timestamp,
    /// The oracle's wall time: what has expired by it is absent.
    pub time_ms: u64,
    /// The range that was routed to.
    pub range: RangeId,
    /// Its version.
    pub range_version: u64,
}

/// The header of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the body holds.
    pub kind: Kind,
    /// How bodies are encoded.
    pub schema: u16,
    /// How commands behave; every replica executes exactly this version.
    pub exec_level: u16,
    /// Reserved (compressed, encrypted, fragment): 0.
    pub flags: u16,
    /// Reserved (the key that encrypts the body): 0.
    pub key_id: u32,
    /// The keyspace of the keys in it.
    pub keyspace: Keyspace,
    /// How many commands there are.
    pub count: u32,
    /// What the owner stamped.
    pub stamp: Stamp,
    /// The trace that the batch belongs to, or 0.
    pub trace_id: u128,
    /// Where replies go.
    pub origin: Origin,
    /// Not to be executed after this `time_ms`; 0: no deadline.
    pub deadline_ms: u64,
    /// The client that numbers its writes, or 0.
    pub client_id: u128,
    /// The number of its write.
    pub client_sequence: u64,
    /// Bytes of the body.
    pub body_bytes: u32,
    /// The body's crc32c.
    pub body_crc: u32,
}

macro_rules! fields {
    ($($name:ident: $type:ty = $at:literal;)*) => {
        $(
            pub(super) mod $name {
                pub type Type = $type;
                pub const AT: usize = $at;
            }
        )*
    };
}

fields! {
    magic: u32 = 0;
    version: u8 = 4;
    kind: u8 = 5;
    schema: u16 = 6;
    exec_level: u16 = 8;
    flags: u16 = 10;
    key_id: u32 = 12;
    keyspace_kind: u8 = 16;
    keyspace_id: u8 = 17;
    count: u32 = 20;
    range: u64 = 24;
    range_version: u64 = 32;
    base: u64 = 40;
    time_ms: u64 = 48;
    trace_id: u128 = 56;
    node: u64 = 72;
    core: u16 = 80;
    slot: u32 = 84;
    deadline_ms: u64 = 88;
    client_id: u128 = 96;
    client_sequence: u64 = 112;
    body_bytes: u32 = 120;
    body_crc: u32 = 124;
    header_crc: u32 = 132;
}

macro_rules! put {
    ($out:expr, $field:ident, $value:expr) => {{
        let bytes = ($value as $field::Type).to_le_bytes();
        $out[$field::AT..$field::AT + bytes.len()].copy_from_slice(&bytes);
    }};
}

macro_rules! get {
    ($bytes:expr, $field:ident) => {{
        const BYTES: usize = size_of::<$field::Type>();
        let bytes: [u8; BYTES] =
            $bytes[$field::AT..$field::AT + BYTES].try_into().expect("the range has this length");
        $field::Type::from_le_bytes(bytes)
    }};
}

pub(super) use get;

impl Header {
    /// The bytes of this header, its crc included.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        put!(out, magic, MAGIC);
        put!(out, version, HEADER_VERSION);
        put!(out, kind, self.kind);
        put!(out, schema, self.schema);
        put!(out, exec_level, self.exec_level);
        put!(out, flags, self.flags);
        put!(out, key_id, self.key_id);
        put!(out, keyspace_kind, self.keyspace.kind);
        put!(out, keyspace_id, self.keyspace.id);
        put!(out, count, self.count);
        put!(out, trace_id, self.trace_id);
        put!(out, node, self.origin.node.0);
        put!(out, core, self.origin.core.0);
        put!(out, slot, self.origin.slot);
        put!(out, deadline_ms, self.deadline_ms);
        put!(out, client_id, self.client_id);
        put!(out, client_sequence, self.client_sequence);
        put!(out, body_bytes, self.body_bytes);
        put!(out, body_crc, self.body_crc);
        self.stamp.write(&mut out);
        out
    }

    /// Reads a header and checks that this version can execute what stands behind it.
    pub fn decode(bytes: &[u8]) -> Result<Self, BatchError> {
        let got = bytes.len();
        let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(BatchError::Truncated { needed: HEADER_BYTES, got });
        };
        let found = get!(bytes, magic);
        if found != MAGIC {
            return Err(BatchError::Magic { found });
        }
        known("header version", get!(bytes, version).into(), HEADER_VERSION.into())?;
        let (expected, found) = (crc32c::crc32c(&bytes[..header_crc::AT]), get!(bytes, header_crc));
        if expected != found {
            return Err(BatchError::HeaderCrc { expected, found });
        }
        let header = Self::read(bytes)?;
        known("schema", header.schema.into(), SCHEMA_ID.into())?;
        known("exec level", header.exec_level.into(), EXEC_LEVEL.into())?;
        known("flags", header.flags.into(), 0)?;
        known("key id", header.key_id.into(), 0)?;
        Ok(header)
    }

    fn read(bytes: &[u8; HEADER_BYTES]) -> Result<Self, BatchError> {
        let kind = match get!(bytes, kind) {
            1 => Kind::Commands,
            2 => Kind::Control,
            found => return Err(BatchError::Unknown { field: "kind", found: found.into() }),
        };
        Ok(Self {
            kind,
            schema: get!(bytes, schema),
            exec_level: get!(bytes, exec_level),
            flags: get!(bytes, flags),
            key_id: get!(bytes, key_id),
            keyspace: Keyspace { kind: get!(bytes, keyspace_kind), id: get!(bytes, keyspace_id) },
            count: get!(bytes, count),
            stamp: Stamp {
                base: Timestamp(get!(bytes, base)),
                time_ms: get!(bytes, time_ms),
                range: RangeId(get!(bytes, range)),
                range_version: get!(bytes, range_version),
            },
            trace_id: get!(bytes, trace_id),
            origin: Origin {
                node: NodeId(get!(bytes, node)),
                core: CoreId(get!(bytes, core)),
                slot: get!(bytes, slot),
            },
            deadline_ms: get!(bytes, deadline_ms),
            client_id: get!(bytes, client_id),
            client_sequence: get!(bytes, client_sequence),
            body_bytes: get!(bytes, body_bytes),
            body_crc: get!(bytes, body_crc),
        })
    }
}

fn known(field: &'static str, found: u64, known: u64) -> Result<(), BatchError> {
    if found == known { Ok(()) } else { Err(BatchError::Unknown { field, found }) }
}

impl Stamp {
    /// Writes this stamp into an encoded header, in place, and renews the header's crc.
    ///
    /// # Panics
    /// When `header` is shorter than a header.
    pub fn write(&self, header: &mut [u8]) {
        put!(header, base, self.base.0);
        put!(header, time_ms, self.time_ms);
        put!(header, range, self.range.0);
        put!(header, range_version, self.range_version);
        let crc = crc32c::crc32c(&header[..header_crc::AT]);
        put!(header, header_crc, crc);
    }
}
