//! A batch: a fixed header and the commands behind it. It is encoded once, where it was parsed; the same bytes cross the
//! mesh, stand in the log, reach the followers and are executed. FORMAT.md gives the bytes.
//!
//! | holds | where |
//! |---|---|
//! | `body length <= BATCH_BYTES_MAX - HEADER_BYTES`, `count <= BATCH_COMMANDS_MAX` | builder, reader |
//! | the header's crc covers every header byte before it | [`Header::encode`], [`Header::decode`] |
//! | the body's crc is computed once, by the builder, and checked by every replica before it executes | [`Batch::check_body`] |
//! | command i executes at `base + i` | apply |

use crate::command::{Command, Control};
use crate::key::{REDIS_KEYSPACE, SYSTEM_KEYSPACE};
use crate::limits::{BATCH_BYTES_MAX, BATCH_COMMANDS_MAX};
use crate::{CoreId, Malformed, NodeId};

mod header;
#[cfg(test)]
mod tests;

pub use header::{EXEC_LEVEL, HEADER_BYTES, Header, Kind, MAGIC, Origin, SCHEMA_ID, Stamp};
use header::{core, count, get, node, slot};

/// Why bytes are no batch that this replica can execute. Either way it halts: it never skips.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The bytes end within the header or the body.
    #[error("the batch is cut off: {needed} bytes are needed, {got} are there")]
    Truncated {
        /// Bytes needed.
        needed: usize,
        /// Bytes there.
        got: usize,
    },
    /// The first four bytes are others.
    #[error("not a batch: it starts with {found:#010x}, not {MAGIC:#010x}")]
    Magic {
        /// What stands there.
        found: u32,
    },
    /// The header does not match its crc.
    #[error("the header's crc32c is {found:#010x}, not {expected:#010x}")]
    HeaderCrc {
        /// As computed.
        expected: u32,
        /// As stored.
        found: u32,
    },
    /// The body does not match its crc.
    #[error("the body's crc32c is {found:#010x}, not {expected:#010x}")]
    BodyCrc {
        /// As stored in the header.
        expected: u32,
        /// As computed.
        found: u32,
    },
    /// Written by a newer version: a header field has a value that this one does not know.
    #[error("{field} {found} is not known to this version: a newer one wrote it")]
    Unknown {
        /// The field.
        field: &'static str,
        /// Its value.
        found: u64,
    },
    /// Command `index` is malformed, or there are more or fewer than the header says.
    #[error("command {index} of the batch is malformed")]
    Malformed {
        /// Its number in the batch.
        index: u32,
    },
}

/// A batch that was encoded here, not yet stamped.
#[derive(Debug, PartialEq, Eq)]
pub struct BatchBuf {
    bytes: Vec<u8>,
}

impl BatchBuf {
    /// Takes bytes that came from another core.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, BatchError> {
        let (_, rest) = Batch::split(&bytes)?;
        if !rest.is_empty() {
            return Err(BatchError::Truncated { needed: bytes.len() - rest.len(), got: bytes.len() });
        }
        Ok(Self { bytes })
    }

    /// Writes the owner's stamp into the header.
    pub fn stamp(&mut self, stamp: &Stamp) {
        stamp.write(&mut self.bytes);
    }

    /// How many commands there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        get!(self.bytes, count)
    }

    /// Where replies go.
    #[must_use]
    pub fn origin(&self) -> Origin {
        let node = NodeId(get!(self.bytes, node));
        Origin { node, core: CoreId(get!(self.bytes, core)), slot: get!(self.bytes, slot) }
    }

    /// The encoded bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The encoded bytes; give the vector back to [`BatchBuilder::reuse`] when it is done with.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Encodes commands one by one into one growing buffer: nothing is kept borrowed, nothing is allocated per command.
#[derive(Debug)]
pub struct BatchBuilder {
    bytes: Vec<u8>,
    count: u32,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::reuse(Vec::with_capacity(4096))
    }
}

impl BatchBuilder {
    /// An empty builder in an old buffer.
    #[must_use]
    pub fn reuse(mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        bytes.resize(HEADER_BYTES, 0);
        Self { bytes, count: 0 }
    }

    /// Commands so far.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Whether there is no command yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Encoded bytes so far, header included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether one more command with `argument_bytes` of arguments keeps the limits; if not, finish and start another batch.
    #[must_use]
    pub const fn has_room(&self, argument_bytes: usize) -> bool {
        (self.count as usize) < BATCH_COMMANDS_MAX
            && self.bytes.len() + argument_bytes + 256 <= BATCH_BYTES_MAX
    }

    /// Appends a command; answers its number.
    pub fn push(&mut self, command: &Command<'_>) -> u32 {
        self.framed(|bytes| command.archive(bytes))
    }

    /// Appends a control; answers its number. A batch holds commands or controls, never both.
    pub fn push_control(&mut self, control: &Control<'_>) -> u32 {
        self.framed(|bytes| control.archive(bytes))
    }

    fn framed(&mut self, archive: impl FnOnce(&mut Vec<u8>)) -> u32 {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        archive(&mut self.bytes);
        let len = u32::try_from(self.bytes.len() - at - 4).expect("limits bound every command");
        self.bytes[at..at + 4].copy_from_slice(&len.to_le_bytes());
        self.count += 1;
        self.count - 1
    }

    /// Writes the header.
    ///
    /// # Panics
    /// When the batch is empty or exceeds its limits.
    #[must_use]
    pub fn finish(mut self, kind: Kind, origin: Origin) -> BatchBuf {
        assert!(self.count > 0 && self.count as usize <= BATCH_COMMANDS_MAX, "{} commands", self.count);
        assert!(self.bytes.len() <= BATCH_BYTES_MAX, "a batch of {} bytes", self.bytes.len());
        let body = &self.bytes[HEADER_BYTES..];
        let header = Header {
            kind,
            schema: SCHEMA_ID,
            exec_level: EXEC_LEVEL,
            flags: 0,
            key_id: 0,
            keyspace: match kind {
                Kind::Commands => REDIS_KEYSPACE,
                Kind::Control => SYSTEM_KEYSPACE,
            },
            count: self.count,
            stamp: Stamp::default(),
            trace_id: 0,
            origin,
            deadline_ms: 0,
            client_id: 0,
            client_sequence: 0,
            body_bytes: u32::try_from(body.len()).expect("bounded by the batch limit"),
            body_crc: crc32c::crc32c(body),
        };
        self.bytes[..HEADER_BYTES].copy_from_slice(&header.encode());
        BatchBuf { bytes: self.bytes }
    }
}

/// A batch as it stands in an entry.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Its header.
    pub header: Header,
    body: &'a [u8],
}

/// The batches of an entry, in order. Iteration ends after the first error.
pub fn batches(mut entry: &[u8]) -> impl Iterator<Item = Result<Batch<'_>, BatchError>> {
    std::iter::from_fn(move || {
        if entry.is_empty() {
            return None;
        }
        let split = Batch::split(entry);
        entry = split.as_ref().map_or(&[], |(_, rest)| rest);
        Some(split.map(|(batch, _)| batch))
    })
}

impl<'a> Batch<'a> {
    /// The first batch in `bytes`, and what stands behind it.
    pub fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), BatchError> {
        let header = Header::decode(bytes)?;
        let rest = &bytes[HEADER_BYTES..];
        let Some((body, rest)) = rest.split_at_checked(header.body_bytes as usize) else {
            let needed = HEADER_BYTES + header.body_bytes as usize;
            return Err(BatchError::Truncated { needed, got: bytes.len() });
        };
        Ok((Self { header, body }, rest))
    }

    /// Compares the body with its crc.
    pub fn check_body(&self) -> Result<(), BatchError> {
        let (expected, found) = (self.header.body_crc, crc32c::crc32c(self.body));
        if expected == found { Ok(()) } else { Err(BatchError::BodyCrc { expected, found }) }
    }

    /// Checks that the body is as many length-prefixed archives as the header counts, at least one, and nothing else.
    pub fn check_lengths(&self) -> Result<(), BatchError> {
        let mut body = self.body;
        for index in 0..self.header.count {
            let malformed = BatchError::Malformed { index };
            let (len, rest) = body.split_first_chunk().ok_or(malformed)?;
            (_, body) = rest.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or(malformed)?;
        }
        if self.header.count == 0 || !body.is_empty() {
            return Err(BatchError::Malformed { index: self.header.count });
        }
        Ok(())
    }

    /// The commands in order; the kind must be [`Kind::Commands`].
    pub fn commands(&self) -> impl Iterator<Item = Result<Command<'a>, BatchError>> + use<'a> {
        assert_eq!(self.header.kind, Kind::Commands);
        self.bodies(Command::open)
    }

    /// The controls in order; the kind must be [`Kind::Control`].
    pub fn controls(&self) -> impl Iterator<Item = Result<Control<'a>, BatchError>> + use<'a> {
        assert_eq!(self.header.kind, Kind::Control);
        self.bodies(Control::open)
    }

    fn bodies<T, F>(self, open: F) -> impl Iterator<Item = Result<T, BatchError>> + use<'a, T, F>
    where
        F: Fn(&'a [u8]) -> Result<T, Malformed>,
    {
        let (mut body, count) = (self.body, self.header.count);
        (0..count).map(move |index| {
            let malformed = BatchError::Malformed { index };
            let (len, rest) = body.split_first_chunk().ok_or(malformed)?;
            let (archive, rest) =
                rest.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or(malformed)?;
            body = rest;
            open(archive).map_err(|Malformed| malformed)
        })
    }
}
