//! When records go to the disk, and when they are stable.
//!
//! ```text
//! stable <= submitted <= appended        in positions; stable is a prefix: flights complete in any order, and count in
//!                                        the order of submission
//! oldest <= every epoch that is needed   and it is told to the disk before a segment below it is used again
//! ```

use std::task::{Context, Poll, Waker};

use crate::disk::{AlignedBuf, DiskError, DiskOp, Done, OpId};
use crate::{GroupId, Mono, planted};

use super::background::{Outcome, build_segment, remove_segment};
use super::error::{Poison, Unwritable};
use super::format::BlockHeader;
use super::ids::{BlockNumber, Position};
use super::metrics::Metrics;
use super::wal::{Flight, Segment, Wal};

/// Flushing, and what completions bring.
impl Wal {
    /// Submits what the policy says; called at the end of each turn. `idle` tells that no more input waits.
    ///
    /// Nothing in flight: at once, unless more records are expected within the wait. Something in flight: when the wait
    /// is over or `wait_bytes` are there, up to `flights_max` flights; beyond that records gather in the open flush.
    pub fn flush(&mut self, now: Mono, idle: bool) {
        self.now = self.now.max(now);
        if self.poison.is_some() {
            return;
        }
        self.note_rate();
        if self.flush_is_due(idle) {
            self.close_buffer();
        }
        self.submit_closed();
        self.mark_when_idle();
    }

    fn note_rate(&mut self) {
        let Some(open) = &mut self.open else { return };
        if open.since.is_none() {
            open.since = Some(self.now);
            let gap = self.now.nanos_since(self.last_append).min(1_000_000_000);
            self.gap_nanos = (self.gap_nanos * 7 + gap) / 8;
            self.last_append = self.now;
        }
    }

    fn flush_is_due(&self, idle: bool) -> bool {
        let Some(open) = &self.open else { return false };
        let under_way = self.flights.len() + self.closed.len();
        if under_way >= self.options.flights_max {
            return false;
        }
        let waited = open.since.is_some_and(|since| self.now >= self.waited_at(since));
        if waited || open.buffer.len() >= self.options.wait_bytes {
            return true;
        }
        let pays = self.gap_nanos * 2 <= self.options.wait_micros * 1_000;
        under_way == 0 && (idle || !pays)
    }

    fn submit_closed(&mut self) {
        while self.flights.len() < self.options.flights_max {
            let Some(epoch) = self.closed.front().map(|closed| closed.epoch) else { return };
            let Self { segments, background, .. } = self;
            let segment = segments.iter_mut().rev().find(|segment| segment.epoch == epoch);
            let segment = segment.expect("a segment lives while flushes for it wait");
            if segment.file.is_none() {
                segment.file = background.ready.pop();
            }
            // An empty pool: the flush waits until a segment is ready.
            let Some(file) = segment.file else { return };
            let base = segment.base;
            let closed = self.closed.pop_front().expect("seen above");
            let header = BlockHeader {
                log: self.id,
                incarnation: self.incarnation,
                epoch,
                number: closed.start,
                stable: self.stable_block,
                oldest: self.oldest,
                flush_blocks: 0,
                flush_index: 0,
                flush_bytes: 0,
            };
            let end = closed.start.plus(closed.buffer.blocks() as u64);
            let (buf, len) = closed.buffer.seal(header);
            let bytes = buf.capacity();
            let offset = (closed.start.0 - base.0) * crate::disk::BLOCK_BYTES as u64;
            let op = DiskOp::Write { file: file.file, offset, buf, len, durable: true };
            let op = self.disk.submit(op, self.mailbox);
            self.metrics.flushes += 1;
            self.metrics.flush_bytes += len as u64;
            self.metrics.flushes_overlapped += u64::from(!self.flights.is_empty());
            self.flights.push_back(Flight { op, end, last: closed.last, done: false, bytes });
            if planted::is("acknowledge-before-sync") {
                self.stable = closed.last;
            }
        }
    }

    fn mark_when_idle(&mut self) {
        let idle = self.open.is_none() && self.closed.is_empty() && self.flights.is_empty();
        if !idle || self.marked {
            self.idle_since = None;
            return;
        }
        let since = *self.idle_since.get_or_insert(self.now);
        if self.now >= since.plus_micros(self.options.marker_micros) {
            self.put_marker();
            self.submit_closed();
            self.idle_since = None;
        }
    }

    /// Takes completions and moves background work on. Answers the stable position: every record up to it is durable.
    pub fn poll(&mut self, now: Mono) -> Result<Position, Poison> {
        self.now = self.now.max(now);
        self.poll_with(&mut Context::from_waker(Waker::noop()))
    }

    fn poll_with(&mut self, cx: &mut Context<'_>) -> Result<Position, Poison> {
        while let Some((op, outcome)) = self.disk.next_completion(self.mailbox) {
            self.flight_completed(op, outcome);
        }
        if let Some(poison) = &self.poison {
            return Err(poison.clone());
        }
        while self.flights.front().is_some_and(|flight| flight.done) {
            let flight = self.flights.pop_front().expect("seen above");
            self.stable = flight.last;
            self.stable_block = flight.end;
        }
        self.submit_closed();
        self.drop_segments();
        self.run_background(cx);
        self.rewrite_some();
        match &self.poison {
            Some(poison) => Err(poison.clone()),
            None => Ok(self.stable),
        }
    }

    fn flight_completed(&mut self, op: OpId, outcome: Result<Done, DiskError>) {
        let flight = self.flights.iter_mut().find(|flight| flight.op == op);
        let flight = flight.expect("only flights complete in the mailbox of the log");
        match outcome {
            Ok(Done::Buffer(buf)) => {
                flight.done = true;
                flight.bytes = 0;
                self.spare_buffers.push(buf);
                self.drop_spare_buffers();
            }
            Ok(_) => flight.done = true,
            Err(_) if planted::is("ignored-sync-error") => flight.done = true,
            Err(_) if planted::is("retry-failed-sync") => {
                let segment = self.segments.iter().rev().find_map(|segment| segment.file);
                let file = segment.expect("flights have a segment").file;
                flight.op = self.disk.submit(DiskOp::Sync { file }, self.mailbox);
            }
            Err(error) => self.poison(error),
        }
    }

    /// Buffers that no longer fit the budget are given back; what was appended beyond it is never refused.
    fn drop_spare_buffers(&mut self) {
        while self.held_bytes() > self.options.buffer_bytes && self.spare_buffers.pop().is_some() {}
    }

    pub(super) fn poison(&mut self, error: DiskError) {
        self.poison.get_or_insert(Poison { error });
    }

    /// Drops segments that nobody needs, in three steps: the records that made them useless become stable; block
    /// headers tell `oldest`; a flush that told it is stable.
    fn drop_segments(&mut self) {
        // A job may be reading a segment that was dropped meanwhile.
        while !self.background.reads
            && self.retiring.front().is_some_and(|(_, told)| self.stable_block > *told)
        {
            let (segment, _) = self.retiring.pop_front().expect("seen above");
            match segment.file {
                // Of another size when an earlier open had other options.
                Some(file) if file.blocks != self.options.segment_blocks() => {
                    self.background.unfit.push(file)
                }
                Some(file) => {
                    self.background.ready.insert(0, file);
                    self.metrics.segments_recycled += 1;
                }
                None => {}
            }
        }
        if let Some((epoch, after)) = self.dropping
            && self.stable >= after
        {
            self.dropping = None;
            self.oldest = epoch;
            while self.segments.front().is_some_and(|segment| segment.epoch < epoch) {
                let segment = self.segments.pop_front().expect("seen above");
                // The first flush sealed from now on tells it: it starts at or after what waits now.
                let next = self.closed.front().map_or(self.next_block, |closed| closed.start);
                self.retiring.push_back((segment, next));
            }
            // An idle log tells it in a marker.
            self.marked = false;
        }
        if self.dropping.is_none() {
            let needed = self.needed();
            if self.segments.front().is_some_and(|segment| segment.epoch < needed) {
                self.dropping = Some((needed, self.appended));
            }
        }
    }

    /// The oldest segment that must stay.
    fn needed(&self) -> super::ids::Epoch {
        let Some(newest) = self.segments.back().filter(|_| self.current) else { return self.oldest };
        let oldest = self.references.oldest().unwrap_or(newest.epoch).min(newest.epoch);
        oldest.min(self.pinned.unwrap_or(oldest))
    }

    fn run_background(&mut self, cx: &mut Context<'_>) {
        loop {
            self.start_telling();
            if !self.background.has_job() && !self.start_job() && !self.background.is_telling() {
                return;
            }
            match self.background.poll(cx) {
                None => return,
                Some(Ok(Outcome::Built(file))) => {
                    self.background.retry = None;
                    self.background.ready.push(file);
                    self.metrics.segments_created += 1;
                    self.submit_closed();
                }
                Some(Ok(Outcome::Removed)) => {}
                Some(Ok(Outcome::Read(laggards))) => self.background.laggards = Some(laggards),
                Some(Ok(Outcome::Told(head))) => self.head_told(head),
                Some(Err(error)) if error.is_full() && !planted::is("full-disk-poisons") => {
                    let millis = self.options.no_space_retry_millis;
                    self.background.retry = Some(self.now.plus_millis(millis));
                }
                Some(Err(error)) => return self.poison(error),
            }
        }
    }

    fn start_telling(&mut self) {
        if !self.background.is_telling()
            && let Some(head) = self.head_due()
        {
            let (disk, dir, log) = (self.disk.clone(), self.dir.clone(), self.id);
            self.background.tell(async move {
                head.replace(&disk, log, &dir).await?;
                Ok(Outcome::Told(head))
            });
        }
    }

    /// Starts the most urgent job there is, if any.
    fn start_job(&mut self) -> bool {
        let unbound = self.segments.iter().filter(|segment| segment.file.is_none()).count();
        let (disk, dir) = (self.disk.clone(), self.dir.clone());
        let wanted = self.options.pool_segments + unbound;
        if self.background.ready.len() >= wanted {
            // Recycled segments are as good as new ones.
            self.background.retry = None;
        }
        let refused = self.background.retry.is_some_and(|retry| self.now < retry);
        if let Some(file) = self.background.unfit.pop() {
            self.background
                .start(async move { remove_segment(disk, dir, file).await.map(|()| Outcome::Removed) });
        } else if self.background.ready.len() < wanted && !refused {
            let number = self.background.next_number;
            self.background.next_number += 1;
            let bytes = self.options.segment_bytes;
            self.background
                .start(async move { build_segment(disk, dir, number, bytes).await.map(Outcome::Built) });
        } else if self.background.ready.len() > wanted + 2 && self.has_files_beyond_its_size() {
            let file = self.background.ready.remove(0);
            self.background
                .start(async move { remove_segment(disk, dir, file).await.map(|()| Outcome::Removed) });
        } else if self.background.rewrite_wanted {
            return self.start_rewrite();
        } else {
            return false;
        }
        true
    }

    /// Whether there are more segment files than a log of its largest size needs. A log that is cut and grows again
    /// takes the files it had: a device that is told of freed space (a mount with `discard`) holds up every flush
    /// meanwhile, 10 ms for a segment of 64 MiB here.
    fn has_files_beyond_its_size(&self) -> bool {
        let bound = self.segments.iter().filter(|segment| segment.file.is_some()).count();
        let files = bound + self.retiring.len() + self.background.ready.len();
        // It grows on while what it asked for makes it shorter.
        let size = self.options.retained_bytes_max / self.options.segment_bytes * 5 / 4;
        files as u64 > size + self.options.pool_segments as u64
    }

    /// Flushes everything appended and waits until it is stable. For start and stop; a running core uses
    /// [`Wal::flush`] and [`Wal::poll`].
    pub async fn settle(&mut self) -> Result<(), Unwritable> {
        self.settle_until(|wal| wal.accepting.is_none()).await
    }

    /// Flushes everything, and waits until it is stable and `more` holds.
    async fn settle_until(&mut self, more: impl Fn(&Self) -> bool) -> Result<(), Unwritable> {
        std::future::poll_fn(|cx| {
            self.close_buffer();
            if self.poison.is_none() {
                self.submit_closed();
            }
            match self.poll_with(cx) {
                Err(_) => Poll::Ready(Err(Unwritable::Poisoned)),
                Ok(stable) if stable == self.appended && more(self) => Poll::Ready(Ok(())),
                Ok(_)
                    if self.flights.is_empty()
                        && self.background.retry.is_some()
                        && !self.background.is_busy() =>
                {
                    Poll::Ready(Err(Unwritable::NoSpace))
                }
                Ok(_) => {
                    self.disk.wake_on_completion(self.mailbox, cx.waker());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// As [`Wal::settle`], and then writes the stable marker and tells the head: for a stop in good order.
    pub async fn settle_and_mark(&mut self) -> Result<(), Unwritable> {
        self.settle().await?;
        if !self.marked {
            self.put_marker();
        }
        self.settle_until(|wal| wal.head_due().is_none()).await
    }
}

/// The end of a log.
impl Wal {
    /// Closes the files of a log that [has settled](Wal::settle) or is given up. A job in the background is waited for.
    pub async fn close(mut self) -> Result<(), DiskError> {
        std::future::poll_fn(|cx| {
            // Until nothing is left that ends now: what goes on has been polled, and wakes this.
            while let Some(ended) = self.background.poll(cx) {
                if let Ok(Outcome::Built(file)) = ended {
                    self.background.ready.push(file);
                }
            }
            if self.background.is_busy() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        let retiring = self.retiring.iter().map(|(segment, _)| segment);
        let used = self.segments.iter().chain(retiring).filter_map(|segment| segment.file);
        let unused = self.background.ready.iter().chain(&self.background.unfit).copied();
        for segment in used.chain(unused) {
            self.disk.close(segment.file).await?;
        }
        Ok(())
    }
}

/// What the owner asks.
impl Wal {
    /// Every record up to here is durable.
    #[must_use]
    pub const fn stable(&self) -> Position {
        self.stable
    }

    /// The last record appended.
    #[must_use]
    pub const fn appended(&self) -> Position {
        self.appended
    }

    /// When [`Wal::flush`] and [`Wal::poll`] must be called at the latest, if nothing else happens.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        if self.poison.is_some() {
            return None;
        }
        let can_flush = self.flights.len() + self.closed.len() < self.options.flights_max;
        let open = self.open.as_ref().filter(|_| can_flush);
        // What no flush has seen yet is due at once.
        let wait = open.map(|open| open.since.map_or(self.now, |since| self.waited_at(since)));
        let marker = self.idle_since.map(|since| since.plus_micros(self.options.marker_micros));
        // While a job runs its end brings the next turn.
        let retry = self.background.retry.filter(|_| !self.background.is_busy());
        [wait, marker, retry].into_iter().flatten().min()
    }

    fn waited_at(&self, since: Mono) -> Mono {
        since.plus_micros(self.options.wait_micros)
    }

    /// Whether new entries may be appended. Hard states, truncation and what is in flight always may: on a full disk
    /// the last quarter of a segment is kept for them, and a whole segment for the next start.
    pub fn writable(&self) -> Result<(), Unwritable> {
        if self.poison.is_some() {
            return Err(Unwritable::Poisoned);
        }
        if self.background.retry.is_none() {
            return Ok(());
        }
        let unbound = self.segments.iter().filter(|segment| segment.file.is_none()).count();
        let spare = self.background.ready.len().saturating_sub(unbound);
        let room = spare >= 2 || spare == 1 && self.blocks_left() * 4 >= self.options.segment_blocks();
        if room { Ok(()) } else { Err(Unwritable::NoSpace) }
    }

    /// Why the log has stopped, if it has.
    #[must_use]
    pub const fn poisoned(&self) -> Option<&Poison> {
        self.poison.as_ref()
    }

    /// Bytes of all segments that are needed.
    #[must_use]
    pub fn retained_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.blocks * crate::disk::BLOCK_BYTES as u64).sum()
    }

    /// Bytes of records that are in memory only: appended and not yet submitted.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        let closed: usize = self.closed.iter().map(|closed| closed.buffer.len()).sum();
        closed + self.open.as_ref().map_or(0, |open| open.buffer.len())
    }

    /// Bytes of memory of all buffers: of records that were appended and are not stable, and those kept for use.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let flying: usize = self.flights.iter().map(|flight| flight.bytes).sum();
        flying + self.waiting_buffers() * self.options.flush_bytes_max + self.spare_bytes()
    }

    /// Whether records of so many bytes altogether can be appended within
    /// [`Options::buffer_bytes`](super::Options::buffer_bytes). The owner asks before it admits
    /// a write; an append beyond is not refused (a hard state must be written), it only takes more memory. With nothing
    /// on its way there is always room.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        let held = self.held_bytes() - self.spare_bytes();
        // A buffer is closed when it is half full.
        let half = self.options.flush_bytes_max / 2;
        let room = self.open.as_ref().map_or(0, |open| half.saturating_sub(open.buffer.len()));
        let more = bytes.saturating_sub(room).div_ceil(half) * self.options.flush_bytes_max;
        held == 0 || held + more <= self.options.buffer_bytes
    }

    fn waiting_buffers(&self) -> usize {
        self.closed.len() + usize::from(self.open.is_some())
    }

    fn spare_bytes(&self) -> usize {
        self.spare_buffers.iter().map(AlignedBuf::capacity).sum()
    }

    /// Above `retained_bytes_max`: the groups that keep the oldest segment. Their owner flushes their memtables and
    /// calls [`Wal::append_first`], or has their entries moved by [`Wal::rewrite_oldest`].
    #[must_use]
    pub fn needs_truncation(&self) -> Vec<GroupId> {
        if self.retained_bytes() <= self.options.retained_bytes_max {
            return Vec::new();
        }
        self.groups_in_oldest()
    }

    /// The groups that have entries in the oldest segment.
    #[must_use]
    pub fn groups_in_oldest(&self) -> Vec<GroupId> {
        let Some(oldest) = self.segments.front().map(|segment: &Segment| segment.epoch) else {
            return Vec::new();
        };
        let holds = |(group, state): (&GroupId, &super::group::GroupState)| {
            state.runs.iter().any(|run| run.epoch == oldest).then_some(*group)
        };
        self.groups.iter().filter_map(holds).collect()
    }

    /// What the log counted.
    #[must_use]
    pub const fn metrics(&self) -> Metrics {
        self.metrics
    }

    /// Asserts the invariants of the module pages.
    pub fn check(&self) {
        assert!(self.stable <= self.appended);
        assert!(self.stable_block <= self.next_block);
        assert!(self.flights.len() <= self.options.flights_max);
        let mut expected: Option<BlockNumber> = None;
        for segment in &self.segments {
            assert!(segment.epoch >= self.oldest);
            assert!(expected.is_none_or(|base| base <= segment.base));
            expected = Some(segment.base);
        }
        for state in self.groups.values() {
            state.check();
        }
    }
}
