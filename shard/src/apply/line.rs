//! Commands in flight: admitted in the order of the log, executed when their lanes and rows allow, published in order.

use std::collections::VecDeque;

use bytes::Bytes;
use pinion_lsm::{Probe, ReadError, Tree};
use pinion_wal::task::{Class, Join, Spawner};

use super::decode::Item;
use super::halt::{Halt, HaltCause};
use super::perform::{Fetched, Ground, Performed, Place};
use crate::execute::Footprint;
use crate::key::REDIS_KEYSPACE;
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
        (Footprint::Many, Command::Del { keys }) => union(&mut keys.keys()),
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
    fetches: Vec<(usize, Join<Result<Fetched, ReadError>>)>,
    fetched: Vec<(usize, Fetched)>,
}

/// What leaves the front of the line.
pub(super) enum Published {
    Command(Item, OwnedReply),
    Entry(LogIndex, Term),
}

/// See the module page.
pub(super) struct Line {
    steps: VecDeque<Step>,
    lanes: Lanes,
    spawner: Spawner,
}

impl Line {
    pub const fn new(lanes: Lanes, spawner: Spawner) -> Self {
        Self { steps: VecDeque::new(), lanes, spawner }
    }

    pub const fn spawner(&self) -> &Spawner {
        &self.spawner
    }

    pub fn len(&self) -> usize {
        self.steps.len()
    }

    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
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
        let (lanes, probes) = match item.kind {
            Kind::Commands => {
                let command = Command::open(archive).map_err(|_| malformed(&item))?;
                (lanes_of(self.lanes, &command), ground.probes_of_command(&command))
            }
            Kind::Control => {
                let control = Control::open(archive).map_err(|_| malformed(&item))?;
                (self.lanes.all(), ground.probes_of_control(&control))
            }
        };
        let fetches = probes.into_iter().map(|(key, probe)| (key, self.fetch(ground.tree, probe)));
        let fetches = fetches.collect();
        let waiting = Waiting { data: data.clone(), item, lanes, fetches, fetched: Vec::new() };
        self.steps.push_back(Step { entry, work: Work::Waiting(Box::new(waiting)) });
        Ok(())
    }

    fn fetch(&self, tree: &Tree, probe: Probe) -> Join<Result<Fetched, ReadError>> {
        let tree = tree.clone();
        self.spawner.spawn_join(Class::Apply, async move { tree.read(probe).await })
    }

    /// Executes what can be executed.
    pub fn progress(&mut self, ground: &mut Ground<'_>) -> Result<(), Halt> {
        let (mut held, all) = (0, self.lanes.all());
        for at in 0..self.steps.len() {
            let Step { entry, work } = &mut self.steps[at];
            let Work::Waiting(waiting) = work else { continue };
            let halt = |cause: HaltCause| Halt { index: *entry, cause };
            waiting.collect().map_err(|error| halt(error.into()))?;
            if waiting.lanes & held != 0 || !waiting.fetches.is_empty() {
                held |= waiting.lanes;
            } else {
                let mut reply = None;
                match waiting.perform(ground, |given| reply = Some(OwnedReply::from(given))).map_err(halt)? {
                    Performed::Done => {
                        let reply = reply.expect("a performed command has answered");
                        *work = Work::Done(waiting.item.clone(), reply);
                    }
                    Performed::Needs(key, probe) => {
                        held |= waiting.lanes;
                        let tree = ground.tree.clone();
                        let join =
                            self.spawner.spawn_join(Class::Apply, async move { tree.read(probe).await });
                        waiting.fetches.push((key, join));
                    }
                }
            }
            if held == all {
                break;
            }
        }
        Ok(())
    }

    /// What stands at the front and is done.
    pub fn publish(&mut self) -> Option<Published> {
        if matches!(self.steps.front()?.work, Work::Waiting(_)) {
            return None;
        }
        let Step { entry, work } = self.steps.pop_front()?;
        Some(match work {
            Work::Done(item, reply) => Published::Command(item, reply),
            Work::End(term) => Published::Entry(entry, term),
            Work::Waiting(_) => unreachable!("looked at above"),
        })
    }
}

impl Waiting {
    fn collect(&mut self) -> Result<(), ReadError> {
        let mut at = 0;
        while at < self.fetches.len() {
            match self.fetches[at].1.take() {
                None => at += 1,
                Some(result) => {
                    let (key, _) = self.fetches.swap_remove(at);
                    self.fetched.push((key, result?));
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
