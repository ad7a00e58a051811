//! What the owner of a key answers, typed. The core that holds the connection turns it into the client's protocol.

use crate::CoreId;

/// An answer, or the head of one. Values are borrowed from where they stand: the receiver copies them once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// OK.
    Ok,
    /// No value.
    Nil,
    /// A number.
    Int(i64),
    /// A value.
    Bulk(&'a [u8]),
    /// A status word.
    Simple(&'a [u8]),
    /// An error.
    Error(ReplyError),
    /// That many replies follow to the same [`ReplyTo`], before any other reply.
    Array(u32),
    /// A page of SCAN or DBSIZE. For SCAN that many bulks follow, as after an array; for DBSIZE `count` is the answer.
    Page {
        /// Where the next page begins; 0 after the last.
        cursor: u64,
        /// How many keys.
        count: u32,
    },
}

/// Why a command was not carried out. None of them changed a row, except `Unknown`, which may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The key holds another type.
    #[error("the key holds the wrong kind of value")]
    WrongType,
    /// The value is no 64-bit integer.
    #[error("the value is not an integer or out of range")]
    NotAnInteger,
    /// The value is no number of INCRBYFLOAT.
    #[error("the value is not a valid float")]
    NotAFloat,
    /// The sum of INCRBYFLOAT is no number.
    #[error("the increment would produce NaN or infinity")]
    NotFinite,
    /// The sum does not fit 64 bits.
    #[error("the increment or decrement would overflow")]
    Overflow,
    /// The string would grow beyond the limit.
    #[error("the string exceeds the maximum allowed size")]
    StringTooLong,
    /// The answer would have more than [`READ_BYTES_MAX`](crate::limits::READ_BYTES_MAX).
    #[error("the values of these keys have more than 64 MiB in one group: ask for fewer keys")]
    AnswerTooLong,
    /// The expiry does not fit.
    #[error("the expire time is invalid")]
    InvalidExpire,
    /// The key does not exist.
    #[error("there is no such key")]
    NoSuchKey,
    /// The keys of a write lie in several slots.
    #[error("the keys do not hash to the same slot")]
    CrossSlot,
    /// The group does not own this slot: route anew.
    #[error("slot {slot} is not owned here")]
    Moved {
        /// The slot.
        slot: u16,
    },
    /// Not now (no leader, no lease, no timestamp): try again.
    #[error("the group cannot answer now: try again")]
    TryAgain,
    /// A queue or budget is full: try again later.
    #[error("overloaded: try again later")]
    Overloaded,
    /// The disk is full: writes are refused, reads go on.
    #[error("no space is left on the disk: writes are refused until there is some")]
    NoSpace,
    /// The group does not take writes.
    #[error("the group is read-only")]
    ReadOnly,
    /// A disk failed: the group has stopped.
    #[error("a disk operation failed: the group has stopped")]
    Poisoned,
    /// Acknowledged records of the group are damaged: it refuses to serve.
    #[error(
        "records of the group are damaged: it refuses to serve; the server said at its start which and what to do"
    )]
    Damaged,
    /// The group that keeps the time refuses to serve: no write gets a timestamp.
    #[error(
        "group 1, which keeps the time, refuses to serve: reads go on, no write is taken; the server said at its start why; restore the data directory, or give up what the group lost with --accept-loss 1"
    )]
    NoClock,
    /// A block with this key does not verify.
    #[error("a block that this key needs is damaged")]
    Corrupt,
    /// Damaged tables cannot be merged, and those above them wait for that.
    #[error(
        "tables of the group are damaged and hold up the others: it takes no write, rows that are sound can be read; restore the data directory"
    )]
    TablesDamaged,
    /// The deadline passed before execution.
    #[error("the deadline passed before the command was executed")]
    DeadlinePassed,
    /// The leader changed: the command may or may not have been carried out.
    #[error("the outcome is not known")]
    Unknown,
}

impl ReplyError {
    /// Whether the same request may succeed later, unchanged.
    #[must_use]
    pub const fn retryable(self) -> bool {
        matches!(self, Self::TryAgain | Self::Overloaded | Self::NoSpace | Self::Moved { .. })
    }
}

/// Where an answer belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyTo {
    /// The core that holds the connection.
    pub core: CoreId,
    /// Its slot: of the batch, or as given with a read.
    pub slot: u32,
    /// The number of the command within the batch, or as given with a read.
    pub index: u32,
}

/// Takes answers.
pub trait Replies {
    /// Takes one answer, or the next part of an array.
    fn reply(&mut self, to: ReplyTo, reply: Reply<'_>);

    /// Hears that the batch in `slot` of `core` is committed and stable, and that its answers come later: something it must
    /// know is read from the disk, or there is much of it. A batch that is answered in the turn in which that is found out
    /// is not told of.
    fn committed(&mut self, _core: CoreId, _slot: u32) {}
}

impl<F: FnMut(ReplyTo, Reply<'_>)> Replies for F {
    fn reply(&mut self, to: ReplyTo, reply: Reply<'_>) {
        self(to, reply);
    }
}

/// An answer that borrows nothing: of what could not be answered at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedReply {
    /// One that holds no bytes.
    Plain(Reply<'static>),
    /// A value.
    Bulk(Vec<u8>),
    /// A status word.
    Simple(Vec<u8>),
    /// Several.
    Array(Vec<OwnedReply>),
    /// A page of SCAN: the next cursor and the keys.
    Page(u64, Vec<Vec<u8>>),
}

impl OwnedReply {
    /// Bytes of values and keys that it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Bulk(bytes) | Self::Simple(bytes) => bytes.len(),
            Self::Array(items) => items.iter().map(Self::bytes).sum(),
            Self::Page(_, keys) => keys.iter().map(Vec::len).sum(),
        }
    }
}

impl From<Reply<'_>> for OwnedReply {
    /// Takes a reply that is complete in itself: not the head of an array, nor that of a page with keys.
    fn from(reply: Reply<'_>) -> Self {
        match reply {
            Reply::Bulk(bytes) => Self::Bulk(bytes.to_vec()),
            Reply::Simple(word) => Self::Simple(word.to_vec()),
            Reply::Ok => Self::Plain(Reply::Ok),
            Reply::Nil => Self::Plain(Reply::Nil),
            Reply::Int(int) => Self::Plain(Reply::Int(int)),
            Reply::Error(error) => Self::Plain(Reply::Error(error)),
            Reply::Array(count) => Self::Plain(Reply::Array(count)),
            Reply::Page { cursor, count } => Self::Plain(Reply::Page { cursor, count }),
        }
    }
}

impl OwnedReply {
    /// Hands the answer out, part by part.
    pub fn deliver(&self, to: ReplyTo, out: &mut impl Replies) {
        match self {
            Self::Plain(reply) => out.reply(to, *reply),
            Self::Bulk(bytes) => out.reply(to, Reply::Bulk(bytes)),
            Self::Simple(word) => out.reply(to, Reply::Simple(word)),
            Self::Array(items) => {
                out.reply(to, Reply::Array(u32::try_from(items.len()).expect("limits bound arguments")));
                for item in items {
                    item.deliver(to, out);
                }
            }
            Self::Page(cursor, keys) => {
                let count = u32::try_from(keys.len()).expect("a page is small");
                out.reply(to, Reply::Page { cursor: *cursor, count });
                for key in keys {
                    out.reply(to, Reply::Bulk(key));
                }
            }
        }
    }
}
