//! Decoding: from an entry to commands, one by one, with the time and timestamp of each.

use std::ops::Range;

use bytes::Bytes;

use super::{Committed, State};
use crate::apply::halt::HaltCause;
use crate::batch::HEADER_BYTES;
use crate::execute::Env;
use crate::{Batch, BatchError, Header, Kind, LogIndex, ReplyTo, Term};

/// An entry that is being decoded.
pub(super) struct Reading {
    pub index: LogIndex,
    pub term: Term,
    pub data: Bytes,
    answer: bool,
    /// The batch at hand, if its commands are not all decoded.
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
    pub fn new(entry: Committed) -> Self {
        let Committed { index, term, data, answer } = entry;
        Self { index, term, data, answer, batch: None, next: 0, at: 0 }
    }

    /// The next command of the entry. The first of a batch moves time in `state` forward.
    #[inline]
    pub fn next(&mut self, state: &mut State) -> Result<Option<Item>, HaltCause> {
        let header = match self.batch {
            Some(header) => header,
            None if self.at == self.data.len() => return Ok(None),
            None => self.start_batch(state)?,
        };
        let malformed = BatchError::Malformed { index: self.next };
        let (len, rest) = self.data[self.at..].split_first_chunk().ok_or(malformed)?;
        let (start, len) = (self.at + 4, u32::from_le_bytes(*len) as usize);
        if len > rest.len() {
            return Err(malformed.into());
        }
        let index = self.next;
        self.at = start + len;
        self.next += 1;
        if self.next == header.count {
            self.batch = None;
        }
        Ok(Some(Item {
            span: start..self.at,
            number: index,
            kind: header.kind,
            env: Env { at: header.stamp.base.plus(u64::from(index)), time_ms: header.stamp.time_ms },
            to: (self.answer && header.kind == Kind::Commands).then(|| header.origin.reply_to(index)),
            late: header.deadline_ms != 0 && header.stamp.time_ms > header.deadline_ms,
        }))
    }

    /// Whether every command has been decoded.
    pub fn is_done(&self) -> bool {
        self.batch.is_none() && self.at == self.data.len()
    }

    fn start_batch(&mut self, state: &mut State) -> Result<Header, HaltCause> {
        let (batch, _) = Batch::split(&self.data[self.at..])?;
        batch.check_body()?;
        batch.check_lengths()?;
        let (header, stamp) = (batch.header, batch.header.stamp);
        if stamp.base <= state.last || stamp.time_ms < state.time_ms {
            let (last, last_ms) = (state.last, state.time_ms);
            return Err(HaltCause::Disorder { base: stamp.base, time_ms: stamp.time_ms, last, last_ms });
        }
        state.last = stamp.base.plus(u64::from(header.count) - 1);
        state.time_ms = stamp.time_ms;
        self.at += HEADER_BYTES;
        self.next = 0;
        self.batch = Some(header);
        Ok(header)
    }
}
