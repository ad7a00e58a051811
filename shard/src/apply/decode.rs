//! Decoding: from an entry to commands, one by one, with the time and timestamp of each.

use std::ops::Range;

use bytes::Bytes;

use super::{Committed, State};
use crate::apply::halt::HaltCause;
use crate::batch::HEADER_BYTES;
use crate::execute::Env;
use crate::{Batch, BatchError, Header, Kind, LogIndex, ReplyTo, Term, Timestamp};

/// An entry that is being decoded.
pub(super) struct Reading {
    pub index: LogIndex,
    pub term: Term,
    pub data: Bytes,
    answer: bool,
    /// Commands up to here were executed before the rows were written out, and are passed over.
    executed: Option<Timestamp>,
    /// Where the batch at hand begins, and its header if its commands are not all decoded.
    batch_at: usize,
    batch: Option<Header>,
    /// The command after the last decoded one, in its batch.
    next: u32,
    /// The first byte that is not decoded.
    at: usize,
}

/// A command within its entry.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// Where its archive stands.
    pub span: Range<usize>,
    /// Where its batch begins.
    batch_at: usize,
    /// Its number in its batch.
    pub number: u32,
    pub kind: Kind,
    pub env: Env,
    /// Where the reply goes, if it goes anywhere.
    pub to: Option<ReplyTo>,
    /// Its deadline passed before it was stamped.
    pub late: bool,
}

impl Reading {
    pub fn new(entry: Committed, executed: Option<Timestamp>) -> Self {
        let Committed { index, term, data, answer } = entry;
        Self { index, term, data, answer, executed, batch_at: 0, batch: None, next: 0, at: 0 }
    }

    /// The next command of the entry. The first of a batch moves time in `state` forward.
    #[inline]
    pub fn next(&mut self, state: &mut State) -> Result<Option<Item>, HaltCause> {
        let header = match self.batch {
            Some(header) => header,
            None => {
                self.pass_over_batches()?;
                if self.at == self.data.len() {
                    return Ok(None);
                }
                self.start_batch(state)?
            }
        };
        let index = self.next;
        let span = self.step(&header)?;
        Ok(Some(Item {
            span,
            batch_at: self.batch_at,
            number: index,
            kind: header.kind,
            env: Env { at: header.stamp.base.plus(u64::from(index)), time_ms: header.stamp.time_ms },
            to: (self.answer && header.kind == Kind::Commands).then(|| header.origin.reply_to(index)),
            late: header.deadline_ms != 0 && header.stamp.time_ms > header.deadline_ms,
        }))
    }

    /// Goes back, so that `item` of this entry is the next.
    pub fn rewind(&mut self, item: &Item, state: &mut State) {
        let (batch, _) = Batch::split(&self.data[item.batch_at..]).expect("it was decoded before");
        (self.batch_at, self.next, self.at) = (item.batch_at, item.number, item.span.start - 4);
        self.batch = Some(batch.header);
        state.last = last_of(&batch.header);
        state.time_ms = batch.header.stamp.time_ms;
    }

    /// The kind of the next command, if there is one and its batch is sound so far.
    pub fn next_kind(&self) -> Option<Kind> {
        let ahead = || Header::decode(&self.data[self.at..]).ok();
        self.batch.or_else(ahead).map(|header| header.kind)
    }

    /// Up to where commands will be passed over.
    pub const fn executed(&self) -> Option<Timestamp> {
        self.executed
    }

    /// Whether no command has been decoded.
    pub const fn is_at_start(&self) -> bool {
        self.at == 0
    }

    /// Whether every command has been decoded.
    pub fn is_done(&self) -> bool {
        self.batch.is_none() && self.at == self.data.len()
    }

    /// The span of the next command of the batch at hand, which is then the one before the next.
    #[inline]
    fn step(&mut self, header: &Header) -> Result<Range<usize>, BatchError> {
        let malformed = BatchError::Malformed { index: self.next };
        let (len, rest) = self.data[self.at..].split_first_chunk().ok_or(malformed)?;
        let (start, len) = (self.at + 4, u32::from_le_bytes(*len) as usize);
        if len > rest.len() {
            return Err(malformed);
        }
        self.at = start + len;
        self.next += 1;
        if self.next == header.count {
            self.batch = None;
        }
        Ok(start..self.at)
    }

    /// Passes over batches of which every command is executed.
    fn pass_over_batches(&mut self) -> Result<(), BatchError> {
        while let Some(executed) = self.executed
            && self.at < self.data.len()
        {
            let (batch, rest) = Batch::split(&self.data[self.at..])?;
            if last_of(&batch.header) > executed {
                break;
            }
            self.at = self.data.len() - rest.len();
        }
        Ok(())
    }

    fn start_batch(&mut self, state: &mut State) -> Result<Header, HaltCause> {
        let (batch, _) = Batch::split(&self.data[self.at..])?;
        batch.check_body()?;
        batch.check_lengths()?;
        let (header, stamp) = (batch.header, batch.header.stamp);
        let executed = match self.executed.take().filter(|&executed| executed >= stamp.base) {
            Some(executed) => executed.0 - stamp.base.0 + 1,
            None => 0,
        };
        if (stamp.base <= state.last && executed == 0) || stamp.time_ms < state.time_ms {
            let (last, last_ms) = (state.last, state.time_ms);
            return Err(HaltCause::Disorder { base: stamp.base, time_ms: stamp.time_ms, last, last_ms });
        }
        state.last = last_of(&header);
        state.time_ms = stamp.time_ms;
        self.batch_at = self.at;
        self.at += HEADER_BYTES;
        self.next = 0;
        self.batch = Some(header);
        for _ in 0..executed {
            self.step(&header)?;
        }
        Ok(header)
    }
}

/// The timestamp of the last command of a batch.
const fn last_of(header: &Header) -> Timestamp {
    header.stamp.base.plus(header.count as u64 - 1)
}
