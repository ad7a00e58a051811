//! The load of the crash harness, and the model that says what must be there after a crash.
//!
//! Every batch counts up a counter of its group, so that the number of batches that survived can be read, and a batch
//! executed twice is seen.

use std::collections::{BTreeMap, VecDeque};

use super::SimNode;
use crate::{
    After, BatchBuilder, Command, CoreId, Expire, GroupId, Key, Kind, Layout, List, NodeId, Origin,
    OwnedReply, Read, Reply, ReplyError, ReplyTo, SetWhen,
};

const KEYS: usize = 6;

/// What a batch does to one key.
#[derive(Clone, Debug)]
enum Act {
    Set(Vec<u8>),
    Append(Vec<u8>),
    Delete,
}

#[derive(Clone, Debug)]
struct Sent {
    slot: u32,
    /// The number of a key, and what happens to it.
    acts: Vec<(usize, Act)>,
}

/// The batches of one group that were not refused, in the order of submission.
#[derive(Clone, Debug, Default)]
struct GroupLoad {
    counter: String,
    keys: Vec<String>,
    sent: Vec<Sent>,
    /// How many of the first ones were acknowledged.
    acknowledged: usize,
    /// Those that wait for their answers.
    open: VecDeque<usize>,
}

/// How many batches were acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged(pub u64);

/// See the module page.
#[derive(Clone, Debug)]
pub struct Load {
    rand: fastrand::Rng,
    next_slot: u32,
    groups: BTreeMap<GroupId, GroupLoad>,
    data_groups: u32,
}

impl Load {
    /// A load for a node with so many data groups.
    #[must_use]
    pub fn new(seed: u64, data_groups: u32) -> Self {
        Self { rand: fastrand::Rng::with_seed(seed), next_slot: 0, groups: BTreeMap::new(), data_groups }
    }

    /// Batches that were acknowledged.
    #[must_use]
    pub fn acknowledged_count(&self) -> u64 {
        self.groups.values().map(|group| group.acknowledged as u64).sum()
    }

    /// Submits batches and takes their answers. Answers whether all were answered before the disk stopped.
    ///
    /// # Panics
    /// When an answer is wrong.
    pub fn drive(&mut self, node: &mut SimNode, batches: u32) -> bool {
        if !node.run_ready() {
            return false;
        }
        self.choose_keys(node.layout());
        let mut left = batches;
        while left > 0 {
            for _ in 0..self.rand.u32(1..=3).min(left) {
                self.submit(node);
                left -= 1;
            }
            for _ in 0..self.rand.u32(1..=6) {
                if !node.step() || stopped(node) {
                    self.collect(node);
                    return false;
                }
            }
            self.collect(node);
        }
        let ended = node.run_idle();
        self.collect(node);
        ended && self.groups.values().all(|group| group.open.is_empty())
    }

    fn choose_keys(&mut self, layout: &Layout) {
        assert_eq!(layout.groups.len(), self.data_groups as usize);
        for spec in &layout.groups {
            let group = self.groups.entry(spec.id).or_default();
            if !group.keys.is_empty() {
                continue;
            }
            let names = (0..).map(|n| format!("key:{n}"));
            let mut own =
                names.filter(|name| layout.group_of(Key::new(name.as_bytes()).slot()).id == spec.id);
            group.counter = own.next().expect("names never end");
            group.keys = own.take(KEYS).collect();
        }
    }

    fn submit(&mut self, node: &mut SimNode) {
        let at = self.rand.usize(0..self.groups.len());
        let Some((&id, group)) = self.groups.iter_mut().nth(at) else { return };
        let slot = self.next_slot;
        self.next_slot += 1;
        let mut builder = BatchBuilder::default();
        builder.push(&Command::IncrBy { key: Key::new(group.counter.as_bytes()), delta: 1 });
        let mut acts = Vec::new();
        for number in 0..self.rand.usize(1..=3) {
            let which = self.rand.usize(0..KEYS);
            let bytes = vec![b'a' + (slot % 26) as u8; self.rand.usize(1..400)];
            let value = [format!("{slot}.{number}:").as_bytes(), &bytes].concat();
            let act = match self.rand.u8(0..8) {
                0 => Act::Delete,
                1 => Act::Append(value),
                _ => Act::Set(value),
            };
            let key = Key::new(group.keys[which].as_bytes());
            let name = [group.keys[which].as_bytes()];
            match &act {
                Act::Set(value) => builder.push(&Command::Set {
                    key,
                    value,
                    when: SetWhen::Always,
                    expire: Expire::Clear,
                    get: false,
                }),
                Act::Append(value) => builder.push(&Command::Append { key, value }),
                Act::Delete => builder.push(&Command::Del { keys: List::new(&name) }),
            };
            acts.push((which, act));
        }
        let origin = Origin { node: NodeId(1), core: CoreId(0), slot };
        group.open.push_back(group.sent.len());
        group.sent.push(Sent { slot, acts });
        node.submit(id, builder.finish(Kind::Commands, origin));
    }

    /// Takes the answers that have come. A refused batch is as if it had never been sent; one whose outcome is not known
    /// may be there or not, as one that was not answered.
    fn collect(&mut self, node: &mut SimNode) {
        for group in self.groups.values_mut() {
            let mut refused = Vec::new();
            while let Some(&at) = group.open.front() {
                let to = ReplyTo { core: CoreId(0), slot: group.sent[at].slot, index: 0 };
                match node.take_reply(to) {
                    None => break,
                    Some(OwnedReply::Plain(Reply::Int(count))) => {
                        let expected = at + 1 - refused.len();
                        assert_eq!(
                            count,
                            i64::try_from(expected).unwrap_or(i64::MAX),
                            "executed out of turn"
                        );
                        group.acknowledged = expected;
                    }
                    Some(OwnedReply::Plain(Reply::Error(ReplyError::Unknown))) => {}
                    Some(OwnedReply::Plain(Reply::Error(_))) => refused.push(at),
                    Some(other) => panic!("a counter answered {other:?}"),
                }
                group.open.pop_front();
            }
            for (before, at) in refused.into_iter().enumerate() {
                group.sent.remove(at - before);
                for open in &mut group.open {
                    *open -= 1;
                }
            }
        }
    }

    /// A person gave up what a group lost: the batches that are there are those that count from now on. Answers how many.
    ///
    /// # Errors
    /// When the group does not answer.
    pub fn give_up(&mut self, node: &mut SimNode, id: GroupId) -> Result<usize, String> {
        let Some(group) = self.groups.get_mut(&id) else { return Ok(0) };
        let count = count(node, id, &group.counter)?;
        group.sent.truncate(count);
        group.acknowledged = group.acknowledged.min(count);
        group.open.clear();
        Ok(count)
    }

    /// Compares what a node holds with the model.
    ///
    /// # Errors
    /// What was lost, invented or executed twice.
    pub fn verify(&self, node: &mut SimNode) -> Result<(), String> {
        for (&id, group) in &self.groups {
            let count = count(node, id, &group.counter)?;
            if count < group.acknowledged {
                return Err(format!(
                    "group {id}: {count} batches are there, {} were acknowledged",
                    group.acknowledged
                ));
            }
            if count > group.sent.len() {
                return Err(format!("group {id}: {count} batches are there, {} were sent", group.sent.len()));
            }
            let mut rows = vec![None; KEYS];
            for (which, act) in group.sent[..count].iter().flat_map(|sent| &sent.acts) {
                perform(&mut rows[*which], act);
            }
            for (name, expected) in group.keys.iter().zip(rows) {
                let found = ask(node, id, name)?;
                if found != expected {
                    return Err(format!(
                        "group {id} after {count} batches: {name} is {found:?}, not {expected:?}"
                    ));
                }
            }
        }
        Ok(())
    }
}

fn perform(row: &mut Option<Vec<u8>>, act: &Act) {
    match act {
        Act::Set(value) => *row = Some(value.clone()),
        Act::Append(value) => row.get_or_insert_default().extend_from_slice(value),
        Act::Delete => *row = None,
    }
}

fn stopped(node: &SimNode) -> bool {
    node.cores().iter().any(|core| core.stopped().is_some())
}

/// How many batches of a group are there.
fn count(node: &mut SimNode, group: GroupId, counter: &str) -> Result<usize, String> {
    match ask(node, group, counter)? {
        None => Ok(0),
        Some(bytes) => {
            String::from_utf8_lossy(&bytes).parse().map_err(|e: std::num::ParseIntError| e.to_string())
        }
    }
}

fn ask(node: &mut SimNode, group: GroupId, name: &str) -> Result<Option<Vec<u8>>, String> {
    let to = ReplyTo { core: CoreId(0), slot: u32::MAX, index: 0 };
    node.read(group, &Read::Get { key: Key::new(name.as_bytes()) }, to, After::Nothing);
    for _ in 0..1_000 {
        match node.take_reply(to) {
            Some(OwnedReply::Bulk(bytes)) => return Ok(Some(bytes)),
            Some(OwnedReply::Plain(Reply::Nil)) => return Ok(None),
            Some(other) => return Err(format!("group {group}: {name} answered {other:?}")),
            None => node.step(),
        };
    }
    Err(format!("group {group}: {name} was never answered: {}", node.describe()))
}
