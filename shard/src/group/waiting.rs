//! Reads that wait: for a write of their own connection, or for their group to be ready.
//!
//! They are kept archived in one buffer, in the order in which they came; what they wait for comes in the same order.

use std::collections::VecDeque;

use pinion_wal::{LogIndex, Mono};

use crate::{Read, ReplyTo, Timestamp};

/// What a read of a connection must see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Whatever is published.
    Nothing,
    /// The commands before `position` of the batch that was submitted last to this group, and nothing behind them of
    /// that batch.
    Batch {
        /// The number of the first command that the read must not see.
        position: u32,
    },
    /// Every batch submitted to this group so far.
    Proposed,
}

/// A batch as it was submitted to its group: the first one is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BatchNumber(pub u64);

/// What a read sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    /// The entry that must be applied.
    pub index: LogIndex,
    /// The timestamp to read at.
    pub at: Timestamp,
    /// The time to judge expiry by: not above that of any batch that came later, or a value could be missed by the read
    /// and found by the batch.
    pub time_ms: u64,
}

/// Where a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Into the entry of `last`, with these timestamps.
    Entry {
        /// Of its first command.
        base: Timestamp,
        /// Of its last command.
        last: Point,
    },
    /// Nowhere: it was refused.
    Refused {
        /// The last command of the batch before it; `None` when there was none.
        before: Option<Point>,
    },
}

impl Place {
    /// The place of a batch that is refused after one that went here.
    pub const fn refused_after(self) -> Self {
        match self {
            Self::Entry { last, .. } => Self::Refused { before: Some(last) },
            Self::Refused { .. } => self,
        }
    }

    /// The same place for those who come when it is `time_ms`.
    pub fn not_before(self, time_ms: u64) -> Self {
        let later = |point: Point| Point { time_ms: point.time_ms.max(time_ms), ..point };
        match self {
            Self::Entry { base, last } => Self::Entry { base, last: later(last) },
            Self::Refused { before } => Self::Refused { before: before.map(later) },
        }
    }

    /// What a read at a position sees: nothing that was submitted later.
    fn point(self, position: Option<u32>) -> Option<Point> {
        match (self, position) {
            (Self::Entry { base, last }, Some(n)) => {
                Some(Point { at: Timestamp(base.0 + u64::from(n) - 1), ..last })
            }
            (Self::Entry { last, .. }, None) => Some(last),
            (Self::Refused { before }, _) => before,
        }
    }
}

/// A read whose time has come.
#[derive(Debug)]
pub(crate) struct Due<'a> {
    pub read: Read<'a>,
    pub to: ReplyTo,
    /// What to see; `None` is what is published.
    pub point: Option<Point>,
}

/// What a read waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    /// This batch, and all before it.
    pub batch: BatchNumber,
    /// The command of it that the read must not see.
    pub position: Option<u32>,
    /// Where the batch went, if that is known.
    pub placed: Option<Place>,
}

#[derive(Debug)]
struct Waiting {
    batch: BatchNumber,
    position: Option<u32>,
    placed: Option<Place>,
    to: ReplyTo,
    since: Mono,
    end: usize,
}

/// The reads of one group that wait. See the module page.
#[derive(Debug, Default)]
pub(crate) struct WaitingReads {
    queue: VecDeque<Waiting>,
    /// The archives, one behind the other; `start` is where the first waiting one begins.
    archives: Vec<u8>,
    start: usize,
    /// How many at the front know where their batch went.
    placed: usize,
}

impl WaitingReads {
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes kept.
    pub fn bytes(&self) -> usize {
        self.archives.len() - self.start
    }

    /// Adds a read that waits for `batch`, to be read at `position` of it.
    pub fn push(&mut self, read: &Read<'_>, to: ReplyTo, wait: Wait, since: Mono) {
        let Wait { batch, position, placed } = wait;
        assert!(self.queue.back().is_none_or(|last| last.batch <= batch), "reads wait in order");
        if placed.is_some() {
            assert_eq!(self.placed, self.queue.len(), "batches are placed in order");
            self.placed += 1;
        }
        read.archive(&mut self.archives);
        let end = self.archives.len();
        self.queue.push_back(Waiting { batch, position, placed, to, since, end });
    }

    /// Tells where `batch` went. Batches are placed in order.
    pub fn place(&mut self, batch: BatchNumber, place: Place) {
        while let Some(waiting) = self.queue.get_mut(self.placed)
            && waiting.batch <= batch
        {
            if waiting.batch == batch {
                waiting.placed = Some(place);
            }
            self.placed += 1;
        }
    }

    /// Takes the first read if everything it waits for is applied.
    pub fn next_due(&mut self, applied: LogIndex) -> Option<Due<'_>> {
        let first = self.queue.front()?;
        let point = first.placed?.point(first.position);
        if point.is_some_and(|point| point.index > applied) {
            return None;
        }
        Some(self.take_first(point))
    }

    /// Takes the first read if it came before `limit`.
    pub fn next_overdue(&mut self, limit: Mono) -> Option<ReplyTo> {
        self.queue.front().filter(|first| first.since < limit)?;
        Some(self.take_first(None).to)
    }

    /// When the first read came.
    pub fn oldest(&self) -> Option<Mono> {
        self.queue.front().map(|first| first.since)
    }

    fn take_first(&mut self, point: Option<Point>) -> Due<'_> {
        let first = self.queue.pop_front().expect("the caller saw it");
        self.placed = self.placed.saturating_sub(1);
        let start = std::mem::replace(&mut self.start, first.end);
        let archive = &self.archives[start..first.end];
        let read = Read::open(archive).expect("it was archived here");
        Due { read, to: first.to, point }
    }

    /// Gives memory back when nothing waits. Called once a turn.
    pub fn tidy(&mut self) {
        if self.queue.is_empty() {
            self.archives.clear();
            self.start = 0;
        } else if self.start > self.archives.len() / 2 {
            self.archives.drain(..self.start);
            for waiting in &mut self.queue {
                waiting.end -= self.start;
            }
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CoreId, Key};

    fn to(index: u32) -> ReplyTo {
        ReplyTo { core: CoreId(0), slot: 0, index }
    }

    fn due(reads: &mut WaitingReads, applied: u64) -> Option<(u32, Option<u64>)> {
        let due = reads.next_due(LogIndex(applied))?;
        let Read::Get { key } = due.read else { panic!("another read") };
        assert_eq!(key, Key::new(&[u8::try_from(due.to.index).unwrap(); 3]));
        Some((due.to.index, due.point.map(|point| point.at.0)))
    }

    fn push(reads: &mut WaitingReads, index: u8, batch: u64, position: Option<u32>, placed: Option<Place>) {
        let name = [index; 3];
        let read = Read::Get { key: Key::new(&name) };
        let wait = Wait { batch: BatchNumber(batch), position, placed };
        reads.push(&read, to(index.into()), wait, Mono(u64::from(index)));
    }

    #[test]
    fn reads_wait_for_their_batch_and_see_what_stands_before_them_in_it() {
        let mut reads = WaitingReads::default();
        let entry = |index, base| Place::Entry {
            base: Timestamp(base),
            last: Point { index: LogIndex(index), at: Timestamp(base + 9), time_ms: base },
        };
        let third = entry(6, 500);
        push(&mut reads, 0, 3, Some(1), Some(third));
        push(&mut reads, 1, 4, Some(2), None);
        push(&mut reads, 2, 5, None, None);
        push(&mut reads, 3, 6, Some(0), None);
        assert_eq!(due(&mut reads, 5), None, "not applied yet");
        assert_eq!(due(&mut reads, 100), Some((0, Some(500))));
        assert_eq!(due(&mut reads, 100), None, "not proposed yet");
        reads.place(BatchNumber(4), entry(7, 1_000));
        reads.place(BatchNumber(5), entry(8, 2_000));
        assert_eq!(due(&mut reads, 6), None, "not applied yet");
        assert_eq!(due(&mut reads, 7), Some((1, Some(1_001))));
        reads.tidy();
        assert_eq!(due(&mut reads, 7), None);
        assert_eq!(due(&mut reads, 8), Some((2, Some(2_009))), "what is submitted later is not seen");
        assert_eq!(due(&mut reads, 9), None, "its batch is still open");
        reads.place(BatchNumber(6), entry(9, 3_000).refused_after());
        assert_eq!(due(&mut reads, 8), None, "what stands before a refused batch is waited for");
        assert_eq!(due(&mut reads, 9), Some((3, Some(3_009))), "a refused batch is waited for no more");
        reads.tidy();
        assert!(reads.is_empty() && reads.bytes() == 0);
    }

    #[test]
    fn overdue_reads_are_given_up_in_order() {
        let mut reads = WaitingReads::default();
        push(&mut reads, 1, 0, None, Some(Place::Refused { before: None }));
        push(&mut reads, 2, 0, None, Some(Place::Refused { before: None }));
        assert_eq!(reads.next_overdue(Mono(2)), Some(to(1)));
        assert_eq!(reads.next_overdue(Mono(2)), None);
        assert_eq!(due(&mut reads, 0), Some((2, None)));
    }
}
