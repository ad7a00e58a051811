//! What cores tell each other.
//!
//! A message is one kind byte and then items, back to back, little endian. It is written into a pooled buffer while the
//! turn runs and read in place by the receiver; one message per owner and turn carries requests, one carries replies.
//!
//! | kind | item | bytes |
//! |---|---|---|
//! | 1 requests | 1 read | group u32, flight u32, number u32, after u32, length u32, rkyv archive of a `Read` |
//! | | 2 batch | group u32, length u32, the batch as it will stand in the log |
//! | 2 replies | 3 trail | flight u32, eight marks u64 |
//! | | 4 reply | flight u32, number u32, tag u8, then by tag: number u64, length u32 and bytes, or nothing |
//! | 3 question | | gathering u32, part u32, subject u8 |
//! | 4 answer | | gathering u32, part u32, bytes to the end |
//! | 5 quiet | | none: the sender was stopped and asks nothing any more |
//!
//! Items stand in the order in which the owner carries them out: a read that waits for a batch of its own turn stands
//! behind that batch. Sender and receiver are cores of one process, so a malformed message is an error of ours.

use pinion_shard::{GroupId, Read, Reply, ReplyError};

use crate::stages::{MARK_COUNT, Trail};

const REQUESTS: u8 = 1;
const REPLIES: u8 = 2;
const QUESTION: u8 = 3;
const ANSWER: u8 = 4;
const QUIET: u8 = 5;

const READ: u8 = 1;
const BATCH: u8 = 2;
const TRAIL: u8 = 3;
const REPLY: u8 = 4;

/// Which of the connection's earlier writes a read must see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadAfter {
    /// None is in flight.
    Nothing,
    /// All that the owner has taken in so far.
    Proposed,
    /// The first so many commands of the batch before it in the message.
    Batch(u32),
}

impl ReadAfter {
    const fn encode(self) -> u32 {
        match self {
            Self::Nothing => 0,
            Self::Proposed => 1,
            Self::Batch(position) => position + 2,
        }
    }

    const fn decode(code: u32) -> Self {
        match code {
            0 => Self::Nothing,
            1 => Self::Proposed,
            position => Self::Batch(position - 2),
        }
    }
}

/// What one core asks of another about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Its stages, as text.
    Stages,
    /// Its counters.
    Counters,
    /// To forget its stages.
    ResetStages,
    /// To flush its memtables.
    Flush,
    /// Its counters, with those of every command.
    Tally,
    /// What its slow log keeps.
    SlowLog,
    /// To forget that.
    ResetSlowLog,
    /// Its slowest requests.
    Slowest,
    /// To forget them.
    ResetSlowest,
    /// All that it measured.
    Latency,
    /// To count from zero in INFO.
    ResetStatistics,
}

impl Subject {
    const fn decode(code: u8) -> Self {
        match code {
            0 => Self::Stages,
            1 => Self::Counters,
            2 => Self::ResetStages,
            3 => Self::Flush,
            4 => Self::Tally,
            5 => Self::SlowLog,
            6 => Self::ResetSlowLog,
            7 => Self::Slowest,
            8 => Self::ResetSlowest,
            9 => Self::Latency,
            10 => Self::ResetStatistics,
            _ => panic!("a sibling core asked an unknown question"),
        }
    }
}

/// A message, opened.
pub enum Message<'a> {
    /// Requests for groups of the receiver.
    Requests(Items<'a>),
    /// Replies to requests of the receiver.
    Replies(Items<'a>),
    /// A question about the receiver.
    Question {
        /// What the sender calls it.
        gathering: u32,
        /// The part that the receiver gives.
        part: u32,
        /// What about.
        subject: Subject,
    },
    /// The answer to a question of the receiver.
    Answer {
        /// The gathering that asked.
        gathering: u32,
        /// The part.
        part: u32,
        /// The answer.
        bytes: &'a [u8],
    },
    /// The sender was stopped and asks nothing any more.
    Quiet,
}

impl<'a> Message<'a> {
    /// Opens a message.
    ///
    /// # Panics
    /// When it is malformed.
    #[must_use]
    pub fn open(bytes: &'a [u8]) -> Self {
        let mut items = Items { rest: bytes };
        match items.u8() {
            REQUESTS => Self::Requests(items),
            REPLIES => Self::Replies(items),
            QUESTION => Self::Question {
                gathering: items.u32(),
                part: items.u32(),
                subject: Subject::decode(items.u8()),
            },
            ANSWER => Self::Answer { gathering: items.u32(), part: items.u32(), bytes: items.rest },
            QUIET => Self::Quiet,
            kind => panic!("a sibling core sent a message of unknown kind {kind}"),
        }
    }
}

/// One item of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A read.
    Read {
        /// Its group.
        group: GroupId,
        /// The sender's flight.
        flight: u32,
        /// Its number there.
        index: u32,
        /// What it waits for.
        after: ReadAfter,
        /// The read.
        read: Read<'a>,
    },
    /// A batch of writes; it names its flight itself, as its origin.
    Batch {
        /// Its group.
        group: GroupId,
        /// The encoded batch.
        bytes: &'a [u8],
    },
    /// How far a flight of the receiver came.
    Trail {
        /// The flight.
        flight: u32,
        /// Its marks so far.
        trail: Trail,
    },
    /// A reply, or a part of one.
    Reply {
        /// The receiver's flight.
        flight: u32,
        /// The number there.
        index: u32,
        /// The reply.
        reply: Reply<'a>,
    },
}

/// The items of a message.
#[derive(Clone)]
pub struct Items<'a> {
    rest: &'a [u8],
}

impl<'a> Items<'a> {
    /// The items in a buffer of items alone (see [`put_read`]).
    #[must_use]
    pub const fn of(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at_checked(len).expect("a sibling core sends whole messages");
        self.rest = rest;
        taken
    }

    fn u8(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().expect("four bytes were taken"))
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().expect("eight bytes were taken"))
    }

    fn bytes(&mut self) -> &'a [u8] {
        let len = self.u32() as usize;
        self.take(len)
    }

    fn read(&mut self) -> Item<'a> {
        let (group, flight, index) = (GroupId(self.u32()), self.u32(), self.u32());
        let after = ReadAfter::decode(self.u32());
        let read = Read::open(self.bytes()).expect("a sibling core archived it");
        Item::Read { group, flight, index, after, read }
    }

    fn trail(&mut self) -> Item<'a> {
        let flight = self.u32();
        let marks: [u64; MARK_COUNT] = std::array::from_fn(|_| self.u64());
        Item::Trail { flight, trail: Trail::from_marks(marks) }
    }

    fn reply(&mut self) -> Item<'a> {
        let (flight, index) = (self.u32(), self.u32());
        let reply = match self.u8() {
            0 => Reply::Ok,
            1 => Reply::Nil,
            2 => Reply::Int(self.u64() as i64),
            3 => Reply::Bulk(self.bytes()),
            4 => Reply::Simple(self.bytes()),
            5 => Reply::Error(decode_error(self.u32())),
            6 => Reply::Array(self.u32()),
            7 => Reply::Page { cursor: self.u64(), count: self.u32() },
            tag => panic!("a sibling core sent a reply with the unknown tag {tag}"),
        };
        Item::Reply { flight, index, reply }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        Some(match self.u8() {
            READ => self.read(),
            BATCH => Item::Batch { group: GroupId(self.u32()), bytes: self.bytes() },
            TRAIL => self.trail(),
            REPLY => self.reply(),
            tag => panic!("a sibling core sent an unknown item {tag}"),
        })
    }
}

/// Begins a message of requests in an empty buffer.
pub fn begin_requests(out: &mut Vec<u8>) {
    debug_assert!(out.is_empty());
    out.push(REQUESTS);
}

/// Begins a message of replies in an empty buffer.
pub fn begin_replies(out: &mut Vec<u8>) {
    debug_assert!(out.is_empty());
    out.push(REPLIES);
}

fn put(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, u32::try_from(bytes.len()).expect("limits bound every value"));
    out.extend_from_slice(bytes);
}

/// Appends a read.
pub fn put_read(
    out: &mut Vec<u8>,
    group: GroupId,
    flight: u32,
    index: u32,
    after: ReadAfter,
    read: &Read<'_>,
) {
    out.push(READ);
    for number in [group.0, flight, index, after.encode(), 0] {
        put(out, number);
    }
    let at = out.len();
    read.archive(out);
    let len = u32::try_from(out.len() - at).expect("limits bound every argument");
    out[at - 4..at].copy_from_slice(&len.to_le_bytes());
}

/// Appends a batch.
pub fn put_batch(out: &mut Vec<u8>, group: GroupId, bytes: &[u8]) {
    out.push(BATCH);
    put(out, group.0);
    put_bytes(out, bytes);
}

/// Appends the trail of a flight.
pub fn put_trail(out: &mut Vec<u8>, flight: u32, trail: &Trail) {
    out.push(TRAIL);
    put(out, flight);
    for mark in trail.marks() {
        out.extend_from_slice(&mark.to_le_bytes());
    }
}

/// Appends a reply, or a part of one.
pub fn put_reply(out: &mut Vec<u8>, flight: u32, index: u32, reply: Reply<'_>) {
    out.push(REPLY);
    put(out, flight);
    put(out, index);
    match reply {
        Reply::Ok => out.push(0),
        Reply::Nil => out.push(1),
        Reply::Int(number) => {
            out.push(2);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Reply::Bulk(bytes) => {
            out.push(3);
            put_bytes(out, bytes);
        }
        Reply::Simple(bytes) => {
            out.push(4);
            put_bytes(out, bytes);
        }
        Reply::Error(error) => {
            out.push(5);
            put(out, encode_error(error));
        }
        Reply::Array(len) => {
            out.push(6);
            put(out, len);
        }
        Reply::Page { cursor, count } => {
            out.push(7);
            out.extend_from_slice(&cursor.to_le_bytes());
            put(out, count);
        }
    }
}

/// Writes a question into an empty buffer.
pub fn put_question(out: &mut Vec<u8>, gathering: u32, part: u32, subject: Subject) {
    out.push(QUESTION);
    put(out, gathering);
    put(out, part);
    out.push(subject as u8);
}

/// Begins the answer to a question in an empty buffer; its bytes are appended behind.
pub fn begin_answer(out: &mut Vec<u8>, gathering: u32, part: u32) {
    out.push(ANSWER);
    put(out, gathering);
    put(out, part);
}

/// Writes into an empty buffer that this core asks nothing any more.
pub fn put_quiet(out: &mut Vec<u8>) {
    out.push(QUIET);
}

/// Errors without a field, by their code; `Moved` is [`MOVED`] plus its slot.
const ERRORS: [ReplyError; 21] = [
    ReplyError::WrongType,
    ReplyError::NotAnInteger,
    ReplyError::NotAFloat,
    ReplyError::NotFinite,
    ReplyError::Overflow,
    ReplyError::StringTooLong,
    ReplyError::AnswerTooLong,
    ReplyError::InvalidExpire,
    ReplyError::NoSuchKey,
    ReplyError::CrossSlot,
    ReplyError::TryAgain,
    ReplyError::Overloaded,
    ReplyError::NoSpace,
    ReplyError::ReadOnly,
    ReplyError::Poisoned,
    ReplyError::Damaged,
    ReplyError::NoClock,
    ReplyError::Corrupt,
    ReplyError::TablesDamaged,
    ReplyError::DeadlinePassed,
    ReplyError::Unknown,
];
const MOVED: u32 = 1 << 16;

fn encode_error(error: ReplyError) -> u32 {
    if let ReplyError::Moved { slot } = error {
        return MOVED + u32::from(slot);
    }
    ERRORS.iter().position(|&known| known == error).expect("every error without a field is listed") as u32
}

fn decode_error(code: u32) -> ReplyError {
    if code >= MOVED {
        return ReplyError::Moved { slot: (code - MOVED) as u16 };
    }
    ERRORS[code as usize]
}

#[cfg(test)]
mod tests {
    use pinion_shard::Key;

    use super::*;

    #[test]
    fn requests_come_out_as_they_went_in() {
        let mut bytes = Vec::new();
        begin_requests(&mut bytes);
        let read = Read::Get { key: Key::new(b"key") };
        for after in [ReadAfter::Nothing, ReadAfter::Proposed, ReadAfter::Batch(7)] {
            put_read(&mut bytes, GroupId(16), 3, 4, after, &read);
        }
        put_batch(&mut bytes, GroupId(17), b"a batch");
        let Message::Requests(mut items) = Message::open(&bytes) else { panic!("not requests") };
        for after in [ReadAfter::Nothing, ReadAfter::Proposed, ReadAfter::Batch(7)] {
            let expected = Item::Read { group: GroupId(16), flight: 3, index: 4, after, read };
            assert_eq!(items.next(), Some(expected));
        }
        assert_eq!(items.next(), Some(Item::Batch { group: GroupId(17), bytes: b"a batch" }));
        assert_eq!(items.next(), None);
    }

    #[test]
    fn every_reply_comes_out_as_it_went_in() {
        let mut replies = vec![
            Reply::Ok,
            Reply::Nil,
            Reply::Int(-3),
            Reply::Bulk(b"value"),
            Reply::Bulk(b""),
            Reply::Simple(b"string"),
            Reply::Array(2),
            Reply::Page { cursor: u64::MAX, count: 9 },
            Reply::Error(ReplyError::Moved { slot: 16383 }),
            Reply::Error(ReplyError::Moved { slot: 0 }),
        ];
        replies.extend(ERRORS.map(Reply::Error));
        let mut bytes = Vec::new();
        begin_replies(&mut bytes);
        let mut trail = Trail::default();
        trail.mark(crate::stages::Stage::Route, 77);
        put_trail(&mut bytes, 5, &trail);
        for &reply in &replies {
            put_reply(&mut bytes, 5, 6, reply);
        }
        let Message::Replies(mut items) = Message::open(&bytes) else { panic!("not replies") };
        assert_eq!(items.next(), Some(Item::Trail { flight: 5, trail }));
        for reply in replies {
            assert_eq!(items.next(), Some(Item::Reply { flight: 5, index: 6, reply }));
        }
        assert_eq!(items.next(), None);
    }

    #[test]
    fn questions_and_answers_name_their_gathering() {
        for subject in [
            Subject::Stages,
            Subject::Counters,
            Subject::ResetStages,
            Subject::Flush,
            Subject::Tally,
            Subject::SlowLog,
            Subject::ResetSlowLog,
            Subject::Slowest,
            Subject::ResetSlowest,
            Subject::Latency,
            Subject::ResetStatistics,
        ] {
            let mut bytes = Vec::new();
            put_question(&mut bytes, 8, 1, subject);
            let Message::Question { gathering: 8, part: 1, subject: found } = Message::open(&bytes) else {
                panic!("not that question")
            };
            assert_eq!(found, subject);
        }
        let mut bytes = Vec::new();
        begin_answer(&mut bytes, 8, 1);
        bytes.extend_from_slice(b"text");
        assert!(matches!(Message::open(&bytes), Message::Answer { gathering: 8, part: 1, bytes: b"text" }));
    }
}
