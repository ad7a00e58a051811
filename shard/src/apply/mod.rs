//! The apply pipeline: from committed entries to rows and replies.
//!
//! Stages: decode (in place) -> fetch (rows that only the disk has; many reads in flight) -> execute -> publish (contiguous
//! prefix: replies, applied index, published timestamp). While nothing is in flight and the rows are in memory, commands go
//! straight through, without a queue and without an allocation.
//!
//! | holds | why |
//! |---|---|
//! | `published <= last stamped timestamp`; rows above `published` are invisible to readers at it | execution may run ahead of publication |
//! | commands that share a lane execute in the order of the log | results depend on the log alone |
//! | the memtable is sealed only when nothing is in flight | it then holds exactly what was executed up to the boundary |
//! | it is sealed at the end of an entry, or within one when memory has no room for the rest of it | an entry of small commands may write more than fits; what was executed of it is passed over when it is replayed |
//! | a command is executed only while memtables have room; one in line is, and counts before it is admitted | what one entry writes is bounded by nothing else |
//! | no seal lies between the fetch and the execution of a command | so what memory holds is newer than what was fetched |
//! | each entry is the one after the last | commands are not idempotent |

mod decode;
mod halt;
mod in_flight;
mod line;
mod perform;
mod state;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use pinion_lsm::{Boundary, Tree};
use pinion_wal::task::Spawner;

pub use halt::{Halt, HaltCause};
use in_flight::InFlight;
pub use line::{Lanes, Metrics};
pub use state::{Owned, State, StateError};

use crate::limits::{APPLY_WRITTEN_BYTES_MAX, PREFETCH_COMMANDS};
use crate::{BatchError, Command, Digest, Kind, LogIndex, Replies, Term, Timestamp};
use decode::{Item, Reading};
use line::{Line, Published, malformed, perform, place_of};
use perform::{Ground, Performed};
pub(crate) use perform::{Place, live};

/// An entry that is committed and stable.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Its index: the one after the last submitted.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// Its batches; empty for an entry that changes nothing.
    pub data: Bytes,
    /// Whether its replies are wanted here.
    pub answer: bool,
}

impl std::fmt::Debug for Apply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Apply")
            .field("applied", &self.applied)
            .field("last_submitted", &self.last_submitted)
            .field("reading", &self.reading.as_ref().map(|reading| reading.index))
            .field("in_line", &self.line.len())
            .field("sealing", &self.sealing)
            .field("halted", &self.halted)
            .finish_non_exhaustive()
    }
}

/// How many keys reads found, and how many they did not find.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    hits: Cell<u64>,
    misses: Cell<u64>,
}

impl Lookups {
    /// Counts a key that was looked for.
    #[inline]
    pub fn note(&self, found: bool) {
        let count = if found { &self.hits } else { &self.misses };
        count.set(count.get() + 1);
    }

    /// Found, and not found.
    pub const fn counts(&self) -> (u64, u64) {
        (self.hits.get(), self.misses.get())
    }
}

enum Waiting {
    Entry(Committed),
    /// The configuration of the group from this entry on.
    Configuration(LogIndex, Term, Bytes),
}

/// The state machine of one group. See the module page.
pub struct Apply {
    tree: Tree,
    state: State,
    submitted: VecDeque<Waiting>,
    submitted_bytes: usize,
    last_submitted: LogIndex,
    reading: Option<Reading>,
    line: Line,
    applied: (LogIndex, Term),
    published: Timestamp,
    /// The entry whose command was published last.
    published_of: LogIndex,
    sealing: bool,
    /// Of the entry behind the boundary that was opened: its commands up to here are executed.
    executed: Option<Timestamp>,
    /// Bytes that memtables had room for when this run began, and what it has written since.
    room_bytes: usize,
    written_bytes: usize,
    halted: Option<Halt>,
    in_flight: InFlight,
    lookups: Rc<Lookups>,
    cell: Vec<u8>,
}

impl Apply {
    /// The state machine as the tables of `tree` hold it: at `boundary`. The first entry to submit is the one after it.
    ///
    /// # Errors
    /// When the state in the boundary was written by a newer version.
    pub fn open(tree: Tree, boundary: &Boundary, lanes: Lanes, spawner: Spawner) -> Result<Self, StateError> {
        let mut state = State::decode(&boundary.state)?;
        let executed = std::mem::take(&mut state.within_entry).then_some(state.last);
        perform::hand_over(&tree, state.safe_point);
        let mut applied = boundary.index;
        if pinion_wal::planted::is("replay-from-wrong-index") {
            applied.0 = applied.0.saturating_sub(1);
        }
        Ok(Self {
            tree,
            published: state.last,
            state,
            submitted: VecDeque::new(),
            submitted_bytes: 0,
            last_submitted: applied,
            reading: None,
            line: Line::new(lanes, spawner),
            applied: (applied, boundary.term),
            published_of: applied,
            sealing: false,
            executed,
            room_bytes: usize::MAX,
            written_bytes: 0,
            halted: None,
            in_flight: InFlight::default(),
            lookups: Rc::default(),
            cell: Vec::new(),
        })
    }

    /// The last entry that was applied and published whole, and its term.
    #[must_use]
    pub const fn applied(&self) -> (LogIndex, Term) {
        self.applied
    }

    /// The timestamp up to which everything is published: reads at it see exactly that.
    #[must_use]
    pub const fn published(&self) -> Timestamp {
        self.published
    }

    /// The replicated state. While commands are in flight it runs ahead of what is published.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The digest, when nothing is in flight: it then belongs to the applied index.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        let settled = self.reading.is_none() && self.line.is_empty() && self.halted.is_none();
        settled.then_some(self.state.digest)
    }

    /// The tree that holds the rows.
    #[must_use]
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// What the pipeline has done since it was opened.
    #[must_use]
    pub const fn metrics(&self) -> Metrics {
        self.line.metrics
    }

    /// What reads looked for.
    pub(crate) const fn lookups(&self) -> &Rc<Lookups> {
        &self.lookups
    }

    pub(crate) const fn spawner(&self) -> &Spawner {
        self.line.spawner()
    }

    /// Whether everything submitted is applied.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.submitted.is_empty() && self.reading.is_none() && self.line.is_empty() && !self.sealing
    }

    /// Whether a seal was asked for and is not done.
    #[must_use]
    pub const fn is_sealing(&self) -> bool {
        self.sealing
    }

    /// Whether commands wait until memtables have reached the disk.
    #[must_use]
    pub fn waits_for_room(&self) -> bool {
        self.is_starved() && (self.reading.is_some() || !self.submitted.is_empty()) && self.halted.is_none()
    }

    /// Whether [`Apply::run`] has something to do because a row was read: tasks that read rows tell nobody else.
    #[must_use]
    pub fn is_stirred(&self) -> bool {
        self.halted.is_none() && self.line.is_stirred()
    }

    /// Bytes of entries that were submitted and not decoded yet.
    #[must_use]
    pub const fn submitted_bytes(&self) -> usize {
        self.submitted_bytes
    }

    /// Why the replica has stopped executing, if it has.
    #[must_use]
    pub const fn halted(&self) -> Option<&Halt> {
        self.halted.as_ref()
    }

    /// Halts for a reason that stands outside of the pipeline. What is submitted from now on is owed an answer only.
    pub fn halt(&mut self, halt: Halt) {
        self.halted.get_or_insert(halt);
    }

    /// Takes the next committed entry; [`Apply::run`] executes it. One that is not the next halts the replica. Whoever waits for
    /// an entry that comes after a halt is answered by [`Apply::abandon`].
    ///
    /// # Errors
    /// When the replica has halted: the entry is not executed.
    pub fn submit(&mut self, entry: Committed) -> Result<(), Halt> {
        let next = self.follow(entry.index);
        if entry.answer {
            self.in_flight.push(entry.index, entry.data.clone());
        }
        next?;
        self.submitted_bytes += entry.data.len();
        self.submitted.push_back(Waiting::Entry(entry));
        Ok(())
    }

    /// Takes the next committed entry, which changes the configuration of the group to `configuration`.
    ///
    /// # Errors
    /// When the replica has halted: the entry is not executed.
    pub fn submit_configuration(
        &mut self,
        index: LogIndex,
        term: Term,
        configuration: Bytes,
    ) -> Result<(), Halt> {
        self.follow(index)?;
        self.submitted.push_back(Waiting::Configuration(index, term, configuration));
        Ok(())
    }

    fn follow(&mut self, index: LogIndex) -> Result<(), Halt> {
        let last = self.last_submitted;
        if index != last.next() {
            self.halt(Halt { index, cause: HaltCause::Gap { last } });
        }
        if let Some(halt) = &self.halted {
            return Err(halt.clone());
        }
        self.last_submitted = index;
        Ok(())
    }

    /// Asks for the memtable to be sealed at the next entry boundary at which nothing is in flight, or before, when there is
    /// no room for what comes until then; [`Apply::run`] does it, and begins no entry until then.
    pub const fn request_seal(&mut self) {
        self.sealing = true;
    }

    /// Executes, for about `commands_max` commands, and publishes what is done. Answers whether there is more to do at once: what
    /// waits for the disk goes on in a later run. Somebody must ask for a seal while the commands wait for room.
    ///
    /// # Errors
    /// When an entry cannot be executed: for ever, and nothing after it is.
    pub fn run(&mut self, commands_max: usize, out: &mut impl Replies) -> Result<bool, Halt> {
        if let Some(halt) = &self.halted {
            return Err(halt.clone());
        }
        // Most runs of most groups find nothing to execute.
        let nothing = self.submitted.is_empty() && self.reading.is_none();
        self.room_bytes = if nothing { usize::MAX } else { self.tree.room_bytes() };
        self.written_bytes = 0;
        let result = self.advance(commands_max, out);
        if let Err(halt) = &result {
            self.halted = Some(halt.clone());
        }
        self.in_flight.forget(self.applied.0);
        self.in_flight.tell(out);
        result
    }

    /// Answers every submitted command that has no answer yet with `Unknown`: the replica has halted, and what the log holds is
    /// executed when it starts again.
    pub fn abandon(&mut self, out: &mut impl Replies) {
        assert!(self.halted.is_some(), "a replica that goes on answers by itself");
        self.in_flight.abandon((self.published_of, self.published), out);
    }

    fn advance(&mut self, commands_max: usize, out: &mut impl Replies) -> Result<bool, Halt> {
        let mut left = commands_max;
        loop {
            self.progress(out)?;
            self.seal_if_asked();
            let mut admitted = 0;
            while admitted < left && self.line_has_room() {
                match self.admit(left - admitted, out)? {
                    0 => break,
                    more => admitted += more,
                }
            }
            // What is in line waits for the disk, and nothing can be added to it.
            if admitted == 0 {
                let paused = left == 0 || (!self.may_write() && !self.is_starved());
                return Ok(paused && (!self.submitted.is_empty() || self.reading.is_some()));
            }
            left = left.saturating_sub(admitted);
        }
    }

    /// Whether there is no room in memtables for what another command may write.
    const fn is_starved(&self) -> bool {
        self.written_bytes >= self.room_bytes
    }

    /// Whether this run may write more.
    const fn may_write(&self) -> bool {
        !self.is_starved() && self.written_bytes < APPLY_WRITTEN_BYTES_MAX
    }

    fn line_has_room(&self) -> bool {
        self.line.has_room(self.room_bytes.saturating_sub(self.written_bytes))
    }

    fn ground(&mut self) -> Ground<'_> {
        let Self { tree, state, cell, written_bytes: written, .. } = self;
        Ground { tree, state, cell, written }
    }

    /// Executes and publishes what is in flight.
    fn progress(&mut self, out: &mut impl Replies) -> Result<(), Halt> {
        while !self.line.is_empty() {
            let Self { tree, state, cell, written_bytes: written, line, .. } = self;
            line.progress(&mut Ground { tree, state, cell, written })?;
            self.publish(out);
            if !self.line.goes_on() {
                break;
            }
        }
        Ok(())
    }

    fn publish(&mut self, out: &mut impl Replies) {
        while let Some(published) = self.line.publish() {
            match published {
                Published::Command(entry, item, reply) => {
                    self.published = item.env.at;
                    self.published_of = entry;
                    if let Some(to) = item.to {
                        reply.deliver(to, out);
                    }
                }
                Published::Entry(index, term) => self.applied = (index, term),
            }
        }
    }

    fn seal_if_asked(&mut self) -> bool {
        let begun = self.reading.as_ref().is_some_and(|reading| !reading.is_at_start());
        let now = self.sealing && self.line.is_empty() && (!begun || self.is_starved());
        if now {
            let (index, term) = self.applied;
            let resumed = self.reading.as_ref().map_or(self.executed, Reading::executed).is_some();
            let within = begun || resumed;
            // Nothing is in flight: what is published is all that was executed.
            let state = match within {
                true => self.state.within_entry(self.published).encode(),
                false => self.state.encode(),
            };
            self.tree.seal(Boundary { index, term, state });
            self.sealing = false;
        }
        now
    }

    /// Decodes some commands; executes them when nothing is in flight, else puts them in line. Answers how many units of work
    /// that was: 0 when it must wait.
    fn admit(&mut self, left: usize, out: &mut impl Replies) -> Result<usize, Halt> {
        let Some(mut reading) = self.next_entry() else { return Ok(0) };
        // Controls write next to nothing, and others wait for them.
        if !self.may_write() && reading.next_kind() == Some(Kind::Commands) {
            self.reading = Some(reading);
            return Ok(0);
        }
        let index = reading.index;
        let halt = |cause: HaltCause| Halt { index, cause };
        let admitted = if self.line.is_empty() {
            self.straight(&mut reading, left, out).map_err(halt)?
        } else {
            self.queued(&mut reading, left).map_err(halt)?
        };
        if !reading.is_done() {
            self.reading = Some(reading);
        } else if self.line.is_empty() {
            self.applied = (index, reading.term);
        } else {
            self.line.end(index, reading.term);
        }
        Ok(admitted.max(1))
    }

    fn next_entry(&mut self) -> Option<Reading> {
        if let Some(reading) = self.reading.take() {
            return Some(reading);
        }
        if self.sealing {
            return None;
        }
        let next = self.submitted.pop_front()?;
        let executed = self.executed.take();
        match next {
            Waiting::Entry(entry) => {
                self.submitted_bytes -= entry.data.len();
                Some(Reading::new(entry, executed))
            }
            Waiting::Configuration(index, term, configuration) => {
                // Nothing that is in flight looks at it, and it is written out only when nothing is.
                self.state.configuration = configuration;
                Some(Reading::new(Committed { index, term, data: Bytes::new(), answer: false }, None))
            }
        }
    }

    /// Executes commands of an entry one after the other, until one of them needs the disk or this run has written enough.
    fn straight(
        &mut self,
        reading: &mut Reading,
        left: usize,
        out: &mut impl Replies,
    ) -> Result<usize, HaltCause> {
        let data = reading.data.clone();
        let mut done = 0;
        loop {
            let mut window: [Option<Opened<'_>>; PREFETCH_COMMANDS] = [const { None }; PREFETCH_COMMANDS];
            let opened = self.open_window(reading, &data, &mut window)?;
            for (number, opened) in window.into_iter().flatten().enumerate() {
                if number > 0 && !(self.line.is_empty() && self.may_write()) {
                    reading.rewind(&opened.item, &mut self.state);
                    return Ok(done);
                }
                self.execute(reading.index, &data, opened, out)?;
                done += 1;
            }
            if opened == 0 || done >= left || !(self.line.is_empty() && self.may_write()) {
                return Ok(done);
            }
        }
    }

    /// Opens the next commands and asks for the memory that they will look at: first all index slots, then all entries.
    fn open_window<'d>(
        &mut self,
        reading: &mut Reading,
        data: &'d Bytes,
        window: &mut [Option<Opened<'d>>],
    ) -> Result<usize, HaltCause> {
        let mut opened = 0;
        for slot in window.iter_mut() {
            let Some(item) = reading.next(&mut self.state)? else { break };
            opened += 1;
            let command = match item.kind {
                Kind::Commands if !item.late => Some(open_command(data, &item)?),
                _ => None,
            };
            let place = command.as_ref().and_then(place_of);
            if let Some(place) = &place {
                self.tree.prefetch_slot(place.hash);
            }
            *slot = Some(Opened { item, command, place });
        }
        for opened in window.iter().flatten() {
            if let Some(place) = &opened.place {
                self.tree.prefetch_put(&place.row, place.hash);
            }
        }
        Ok(opened)
    }

    #[inline]
    fn execute(
        &mut self,
        entry: LogIndex,
        data: &Bytes,
        opened: Opened<'_>,
        out: &mut impl Replies,
    ) -> Result<(), HaltCause> {
        let Opened { item, command, place } = opened;
        let answer = |reply: crate::Reply<'_>| {
            if let Some(to) = item.to {
                out.reply(to, reply);
            }
        };
        let mut ground = self.ground();
        let performed = match &command {
            Some(command) => ground.command(command, place.as_ref(), &item.env, &[], answer)?,
            None => perform(&mut ground, data, &item, &[], answer)?,
        };
        if matches!(performed, Performed::Done) {
            self.line.metrics.straight += 1;
            self.published = item.env.at;
            self.published_of = entry;
            return Ok(());
        }
        self.put_in_line(entry, data, item)
    }

    fn put_in_line(&mut self, entry: LogIndex, data: &Bytes, item: Item) -> Result<(), HaltCause> {
        let Self { tree, state, cell, written_bytes: written, line, .. } = self;
        Ok(line.admit(&Ground { tree, state, cell, written }, entry, data, item)?)
    }

    /// Puts commands of an entry in line, as many as it takes.
    fn queued(&mut self, reading: &mut Reading, left: usize) -> Result<usize, HaltCause> {
        let mut done = 0;
        while done < left && self.line_has_room() {
            let Some(item) = reading.next(&mut self.state)? else { break };
            self.put_in_line(reading.index, &reading.data, item)?;
            done += 1;
        }
        Ok(done)
    }
}

/// A command that is about to be executed.
struct Opened<'d> {
    item: Item,
    /// `None` for a control, and for a command that came too late.
    command: Option<Command<'d>>,
    place: Option<Place>,
}

#[inline]
fn open_command<'d>(data: &'d [u8], item: &Item) -> Result<Command<'d>, BatchError> {
    Command::open(&data[item.span.clone()]).map_err(|_| malformed(item))
}
