//! The entries that clients wait for: what a halted replica still owes an answer.

use std::collections::VecDeque;

use bytes::Bytes;
use pinion_wal::LogIndex;

use crate::batch::{Kind, batches};
use crate::{Replies, Reply, ReplyError, Timestamp};

/// Entries that were submitted and are not applied, oldest first.
#[derive(Default)]
pub(super) struct InFlight {
    entries: VecDeque<(LogIndex, Bytes)>,
    /// Those up to here were told to be committed.
    told: LogIndex,
}

impl InFlight {
    pub fn push(&mut self, index: LogIndex, entry: Bytes) {
        self.entries.push_back((index, entry));
    }

    /// Forgets what is applied.
    pub fn forget(&mut self, applied: LogIndex) {
        while self.entries.front().is_some_and(|(index, _)| *index <= applied) {
            self.entries.pop_front();
        }
    }

    /// Tells who waits for entries that came since the last call that they are committed.
    pub fn tell(&mut self, out: &mut impl Replies) {
        for (_, entry) in self.entries.iter().rev().take_while(|(index, _)| *index > self.told) {
            for header in batches(entry).map_while(Result::ok).map(|batch| batch.header) {
                if header.kind == Kind::Commands {
                    out.committed(header.origin.core, header.origin.slot);
                }
            }
        }
        self.told = self.entries.back().map_or(self.told, |(index, _)| *index);
    }

    /// Answers every command behind the one that was published last, of this entry at this timestamp, with `Unknown`, and
    /// forgets them all. A batch that cannot be read does not say whom to answer.
    pub fn abandon(&mut self, published: (LogIndex, Timestamp), out: &mut impl Replies) {
        for (index, entry) in self.entries.drain(..) {
            let headers = batches(&entry).map_while(Result::ok).map(|batch| batch.header);
            for header in headers.filter(|header| header.kind == Kind::Commands) {
                for command in 0..header.count {
                    if (index, header.stamp.base.plus(u64::from(command))) > published {
                        out.reply(header.origin.reply_to(command), Reply::Error(ReplyError::Unknown));
                    }
                }
            }
        }
    }
}
