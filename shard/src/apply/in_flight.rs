//! The entries that clients wait for: what a halted replica still owes an answer.

use std::collections::VecDeque;

use bytes::Bytes;
use pinion_wal::LogIndex;

use crate::batch::{Kind, batches};
use crate::{Replies, Reply, ReplyError, Timestamp};

/// Entries that were submitted and are not applied, oldest first.
#[derive(Default)]
pub(super) struct InFlight(VecDeque<(LogIndex, Bytes)>);

impl InFlight {
    pub fn push(&mut self, index: LogIndex, entry: Bytes) {
        self.0.push_back((index, entry));
    }

    /// Forgets what is applied.
    pub fn forget(&mut self, applied: LogIndex) {
        while self.0.front().is_some_and(|(index, _)| *index <= applied) {
            self.0.pop_front();
        }
    }

    /// Answers every command behind the one that was published last, of this entry at this timestamp, with `Unknown`, and
    /// forgets them all. A batch that cannot be read does not say whom to answer.
    pub fn abandon(&mut self, published: (LogIndex, Timestamp), out: &mut impl Replies) {
        for (index, entry) in self.0.drain(..) {
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
