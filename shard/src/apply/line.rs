//! Commands in flight: admitted in the order of the log, executed when their lanes and rows allow, published in order.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use pinion_lsm::{OwnedCell, Probe, ReadError, Tree};
use pinion_wal::planted;
use pinion_wal::task::{Class, Join, Spawner};

use super::decode::Item;
use super::halt::{Halt, HaltCause};
use super::perform::{Fetched, Ground, Performed, Place};
use crate::execute::Footprint;
use crate::key::REDIS_KEYSPACE;
use crate::limits::{APPLY_FETCHED_BYTES_MAX, APPLY_READS_AGAIN_MAX, APPLY_ROW_BYTES, APPLY_STEPS_MAX};
use crate::reply::OwnedReply;
use crate::{BatchError, Command, Control, Key, Kind, LogIndex, Reply, ReplyError, Term};

/// The lanes of a group, by key hash: commands that share one keep their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lanes(u32);

impl Lanes {
    /// That many lanes: 1, 2, 4 or 8.
    #[must_use]
    pub const fn new(count: u32) -> Option<Self> {
        if matches!(count, 1 | 2 | 4 | 8) { Some(Self(count)) } else { None }
    }

    const fn all(self) -> u8 {
        (u8::MAX as u32 >> (8 - self.0)) as u8
    }

    const fn of(self, key: &Key<'_>) -> u8 {
        1 << (key.hash() % self.0 as u64)
    }
}

impl Default for Lanes {
    fn default() -> Self {
        Self(8)
    }
}

/// The lanes that a command holds.
fn lanes_of(lanes: Lanes, command: &Command<'_>) -> u8 {
    let union = |keys: &mut dyn Iterator<Item = Key<'_>>| keys.fold(0, |held, key| held | lanes.of(&key));
    match (command.footprint(), command) {
        (Footprint::One { key, .. }, _) => lanes.of(&key),
        (
            Footprint::Many,
            Command::Del { keys } | Command::Transfer { keys, .. } | Command::BitOp { keys, .. },
        ) => union(&mut keys.keys()),
        (Footprint::Many, Command::MSet { pairs, .. }) => union(&mut pairs.pairs().map(|(key, _)| key)),
        (Footprint::Many | Footprint::All, _) => lanes.all(),
    }
}

/// A command, or the end of an entry, in the line.
pub(super) struct Step {
    entry: LogIndex,
    work: Work,
}

enum Work {
    Waiting(Box<Waiting>),
    Done(Item, OwnedReply),
    /// Every command of the entry stands before it.
    End(Term),
}

struct Waiting {
    data: Bytes,
    item: Item,
    lanes: u8,
    fetches: Vec<(usize, Fetch)>,
    fetched: Vec<(usize, Fetched)>,
    /// Reads that failed and are tried again.
    failures: u32,
    /// The most that it may write.
    charge: usize,
}

/// What leaves the front of the line.
pub(super) enum Published {
    Command(LogIndex, Item, OwnedReply),
    Entry(LogIndex, Term),
}

/// What the pipeline has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Commands that were executed at once.
    pub straight: u64,
    /// Commands that stood in line.
    pub queued: u64,
    /// Commands that were executed while one before them waited for the disk.
    pub overtook: u64,
    /// Rows that were fetched from the disk.
    pub fetched: u64,
}

/// See the module page.
pub(super) struct Line {
    pub metrics: Metrics,
    steps: VecDeque<Step>,
    lanes: Lanes,
    spawner: Spawner,
    shared: Rc<Shared>,
    /// The most that commands in line may write.
    charged: usize,
    /// The largest row that one of them may leave to those behind it.
    largest: usize,
    /// Bytes of the replies of executed commands in line.
    answered_bytes: usize,
    /// They kept commands from being executed that could be.
    held_back: bool,
}

/// What fetches tell the line.
struct Shared {
    /// Whether something may be executed that could not be when the line was last walked: set by every step that is
    /// admitted and by every fetch that ends.
    stirred: Cell<bool>,
    /// Rows that are being read.
    fetching: Cell<usize>,
    /// Bytes of the rows that were read and not used yet.
    fetched_bytes: Cell<usize>,
    /// What a row that is being read is taken for.
    row_bytes: Cell<usize>,
}

impl Shared {
    fn fetched(&self, row: &Fetched) {
        let bytes = bytes_of(row);
        self.stirred.set(true);
        self.fetching.set(self.fetching.get() - 1);
        self.fetched_bytes.set(self.fetched_bytes.get() + bytes);
        // The largest, fading.
        self.row_bytes.set(bytes.max(self.row_bytes.get() / 8 * 7));
    }
}

fn bytes_of(row: &Fetched) -> usize {
    match row {
        Some((_, OwnedCell::Inline(bytes))) => bytes.len(),
        Some((_, OwnedCell::Tombstone)) | None => 0,
    }
}

impl Line {
    pub fn new(lanes: Lanes, spawner: Spawner) -> Self {
        let shared = Shared {
            stirred: Cell::new(false),
            fetching: Cell::new(0),
            fetched_bytes: Cell::new(0),
            row_bytes: Cell::new(APPLY_ROW_BYTES),
        };
        let (metrics, steps, shared) = (Metrics::default(), VecDeque::new(), Rc::new(shared));
        Self {
            metrics,
            steps,
            lanes,
            spawner,
            shared,
            charged: 0,
            largest: 0,
            answered_bytes: 0,
            held_back: false,
        }
    }

    pub const fn spawner(&self) -> &Spawner {
        &self.spawner
    }

    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Bytes of rows that were read for commands in line.
    pub fn fetched_bytes(&self) -> usize {
        self.shared.fetched_bytes.get()
    }

    /// Bytes of replies that wait for those before them.
    #[cfg(test)]
    pub const fn answered_bytes(&self) -> usize {
        self.answered_bytes
    }

    /// Whether one more command may be admitted: one always may, others while all together may write no more than
    /// `room_bytes`. What is in line is executed in any case: no memtable is sealed before.
    pub fn has_room(&self, room_bytes: usize) -> bool {
        let expected = self.shared.fetching.get().saturating_mul(self.shared.row_bytes.get());
        self.is_empty()
            || self.len() < APPLY_STEPS_MAX
                && self.charged < room_bytes.min(APPLY_FETCHED_BYTES_MAX)
                && self.answered_bytes < APPLY_FETCHED_BYTES_MAX
                && self.fetched_bytes().saturating_add(expected) < APPLY_FETCHED_BYTES_MAX
    }

    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether [`Line::progress`] has something to look at: a fetch has ended since it did.
    pub fn is_stirred(&self) -> bool {
        !self.is_empty() && self.shared.stirred.get() && !planted::is("missed-wake-of-a-fetch")
    }

    pub fn end(&mut self, entry: LogIndex, term: Term) {
        self.steps.push_back(Step { entry, work: Work::End(term) });
    }

    /// Admits a command and starts to read the rows that it needs from the disk.
    pub fn admit(
        &mut self,
        ground: &Ground<'_>,
        entry: LogIndex,
        data: &Bytes,
        item: Item,
    ) -> Result<(), BatchError> {
        let archive = &data[item.span.clone()];
        let (lanes, probes, charge) = match item.kind {
            Kind::Commands => {
                let command = Command::open(archive).map_err(|_| malformed(&item))?;
                let charge = self.charge(ground, &command, archive.len());
                (lanes_of(self.lanes, &command), ground.probes_of_command(&command), charge)
            }
            Kind::Control => {
                let control = Control::open(archive).map_err(|_| malformed(&item))?;
                (self.lanes.all(), ground.probes_of_control(&control), archive.len())
            }
        };
        self.charged += charge;
        let fetches: Vec<_> = probes
            .into_iter()
            .map(|(key, probe)| (key, fetch(&self.spawner, &self.shared, ground.tree, probe)))
            .collect();
        self.shared.stirred.set(true);
        self.metrics.queued += 1;
        self.metrics.fetched += fetches.len() as u64;
        let (data, fetched) = (data.clone(), Vec::new());
        let waiting = Waiting { data, item, lanes, fetches, fetched, failures: 0, charge };
        self.steps.push_back(Step { entry, work: Work::Waiting(Box::new(waiting)) });
        Ok(())
    }

    /// The most that a command may write behind those in line. A row that only the disk knows is taken for one like the last.
    fn charge(&mut self, ground: &Ground<'_>, command: &Command<'_>, archive_bytes: usize) -> usize {
        if self.is_empty() {
            self.largest = 0;
        }
        let (largest, guess) = (self.largest, self.shared.row_bytes.get());
        let mut guessed = false;
        let charge = ground.written_bytes_max(command, archive_bytes, |known| {
            guessed = known.is_none();
            known.unwrap_or(guess).max(largest)
        });
        if !guessed {
            self.largest = largest.max(charge);
        }
        charge
    }

    /// Executes what can be executed.
    pub fn progress(&mut self, ground: &mut Ground<'_>) -> Result<(), Halt> {
        if !self.shared.stirred.replace(false) {
            return Ok(());
        }
        let (mut held, all) = (0, self.lanes.all());
        let blind_to_lanes = planted::is("lanes-do-not-hold");
        for at in 0..self.steps.len() {
            if at > 0 && self.answered_bytes >= APPLY_FETCHED_BYTES_MAX {
                self.held_back = true;
                break;
            }
            let Step { entry, work } = &mut self.steps[at];
            let Work::Waiting(waiting) = work else { continue };
            let halt = |cause: HaltCause| Halt { index: *entry, cause };
            waiting.collect().map_err(|error| halt(error.into()))?;
            let barred = waiting.lanes & held != 0 && !blind_to_lanes;
            if barred || !waiting.fetches.is_empty() {
                held |= waiting.lanes;
            } else {
                let mut reply = None;
                match waiting.perform(ground, |given| reply = Some(OwnedReply::from(given))).map_err(halt)? {
                    Performed::Done => {
                        let used: usize = waiting.fetched.iter().map(|(_, row)| bytes_of(row)).sum();
                        self.shared.fetched_bytes.set(self.shared.fetched_bytes.get() - used);
                        self.charged -= waiting.charge;
                        let reply = reply.expect("a performed command has answered");
                        self.answered_bytes += reply.bytes();
                        *work = Work::Done(waiting.item.clone(), reply);
                        self.metrics.overtook += u64::from(held != 0);
                    }
                    Performed::Needs(key, probe) => {
                        held |= waiting.lanes;
                        waiting.fetches.push((key, fetch(&self.spawner, &self.shared, ground.tree, probe)));
                        self.metrics.fetched += 1;
                    }
                }
            }
            if held == all && !blind_to_lanes {
                break;
            }
        }
        Ok(())
    }

    /// Whether [`Line::progress`] was kept from something that it can do now, since replies have left.
    pub fn goes_on(&mut self) -> bool {
        let goes_on = self.held_back && self.answered_bytes < APPLY_FETCHED_BYTES_MAX;
        if goes_on {
            self.held_back = false;
            self.shared.stirred.set(true);
        }
        goes_on
    }

    /// What stands at the front and is done.
    pub fn publish(&mut self) -> Option<Published> {
        if matches!(self.steps.front()?.work, Work::Waiting(_)) {
            return None;
        }
        let Step { entry, work } = self.steps.pop_front()?;
        Some(match work {
            Work::Done(item, reply) => {
                self.answered_bytes -= reply.bytes();
                Published::Command(entry, item, reply)
            }
            Work::End(term) => Published::Entry(entry, term),
            Work::Waiting(_) => unreachable!("looked at above"),
        })
    }
}

/// A row that is being read from the disk.
type Fetch = Join<Result<Fetched, ReadError>>;

fn fetch(spawner: &Spawner, shared: &Rc<Shared>, tree: &Tree, probe: Probe) -> Fetch {
    let (tree, shared) = (tree.clone(), shared.clone());
    shared.fetching.set(shared.fetching.get() + 1);
    spawner.spawn_join(Class::Apply, async move {
        let row = tree.read(probe).await;
        shared.fetched(row.as_ref().unwrap_or(&None));
        row
    })
}

impl Waiting {
    /// Takes the rows that have come. One whose read failed is asked for anew when the command is performed, a few times.
    fn collect(&mut self) -> Result<(), ReadError> {
        let mut at = 0;
        while at < self.fetches.len() {
            match self.fetches[at].1.take() {
                None => at += 1,
                Some(result) => {
                    let (key, _) = self.fetches.swap_remove(at);
                    match result {
                        Ok(row) => self.fetched.push((key, row)),
                        Err(_) if self.failures < APPLY_READS_AGAIN_MAX => self.failures += 1,
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(())
    }

    fn perform(
        &self,
        ground: &mut Ground<'_>,
        answer: impl FnOnce(Reply<'_>),
    ) -> Result<Performed, HaltCause> {
        perform(ground, &self.data, &self.item, &self.fetched, answer)
    }
}

/// Opens and performs a command.
pub(super) fn perform(
    ground: &mut Ground<'_>,
    data: &[u8],
    item: &Item,
    fetched: &[(usize, Fetched)],
    answer: impl FnOnce(Reply<'_>),
) -> Result<Performed, HaltCause> {
    let archive = &data[item.span.clone()];
    if item.late {
        answer(Reply::Error(ReplyError::DeadlinePassed));
        return Ok(Performed::Done);
    }
    match item.kind {
        Kind::Commands => {
            let command = Command::open(archive).map_err(|_| malformed(item))?;
            let place = place_of(&command);
            ground.command(&command, place.as_ref(), &item.env, fetched, answer)
        }
        Kind::Control => {
            let control = Control::open(archive).map_err(|_| malformed(item))?;
            ground.control(&control, &item.env, fetched, answer)
        }
    }
}

/// The place of the one key of a command, if it has just one.
#[inline]
pub(super) fn place_of(command: &Command<'_>) -> Option<Place> {
    match command.footprint() {
        Footprint::One { key, .. } => Some(Place::new(REDIS_KEYSPACE, &key)),
        Footprint::Many | Footprint::All => None,
    }
}

pub(super) fn malformed(item: &Item) -> BatchError {
    BatchError::Malformed { index: item.number }
}
