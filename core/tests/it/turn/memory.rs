//! Groups in memory: versioned rows, and a log that takes its time. The model of what the turn may expect of groups.

use std::collections::{BTreeMap, VecDeque};

use pinion_core::host::Now;
use pinion_core::message::ReadAfter;
use pinion_core::turn::owner::{Held, Owner, OwnerReport};
use pinion_shard::{Batch, BatchBuf, Command, GroupId, Key, Read, Replies, Reply, ReplyError, ReplyTo};
use pinion_wal::Mono;

/// Bytes of batches that may wait, per group.
const WAITING_BYTES_MAX: usize = 4 << 20;

/// Versions of a key, oldest first; `None` where it was deleted.
type Versions = Vec<(u64, Option<Vec<u8>>)>;

#[derive(Default)]
struct Group {
    rows: BTreeMap<Vec<u8>, Versions>,
    /// Scan position of each key.
    positions: BTreeMap<(u64, Vec<u8>), ()>,
    /// Submitted, not applied: number, base, due.
    log: VecDeque<(u64, u64, Mono, BatchBuf)>,
    waiting: Vec<(u64, u64, ReplyTo, Vec<u8>)>,
    waiting_bytes: usize,
    submitted: u64,
    applied: u64,
    next_timestamp: u64,
    last_base: u64,
    published: u64,
}

/// The groups of one core.
pub struct MemoryGroups {
    groups: BTreeMap<GroupId, Group>,
    rng: fastrand::Rng,
    now: Mono,
    /// Every group's batches wait until this is false.
    pub held: bool,
}

impl MemoryGroups {
    pub fn new(seed: u64, ids: Vec<GroupId>) -> Self {
        let groups =
            ids.into_iter().map(|id| (id, Group { next_timestamp: 1, ..Group::default() })).collect();
        Self { groups, rng: fastrand::Rng::with_seed(seed), now: Mono(0), held: false }
    }
}

impl Group {
    fn value(&self, key: &Key<'_>, at: u64) -> Option<&[u8]> {
        let versions = self.rows.get(key.bytes())?;
        versions.iter().rev().find(|(version, _)| *version <= at)?.1.as_deref()
    }

    fn put(&mut self, key: &Key<'_>, at: u64, value: Option<&[u8]>) {
        self.positions.insert((key.position().0, key.bytes().to_vec()), ());
        self.rows.entry(key.bytes().to_vec()).or_default().push((at, value.map(<[u8]>::to_vec)));
    }

    fn execute(&mut self, command: &Command<'_>, at: u64, to: ReplyTo, out: &mut impl Replies) {
        match *command {
            Command::Set { key, value, .. } => {
                self.put(&key, at, Some(value));
                out.reply(to, Reply::Ok);
            }
            Command::IncrBy { key, delta } => {
                let text = self.value(&key, at).map(|value| String::from_utf8_lossy(value).into_owned());
                match text.map_or(Ok(0), |text| text.parse::<i64>()) {
                    Ok(old) => {
                        self.put(&key, at, Some((old + delta).to_string().as_bytes()));
                        out.reply(to, Reply::Int(old + delta));
                    }
                    Err(_) => out.reply(to, Reply::Error(ReplyError::NotAnInteger)),
                }
            }
            Command::Del { keys } => {
                let mut count = 0;
                for key in keys.keys() {
                    if self.value(&key, at).is_some() {
                        self.put(&key, at, None);
                        count += 1;
                    }
                }
                out.reply(to, Reply::Int(count));
            }
            Command::MSet { pairs, .. } => {
                for (key, value) in pairs.pairs() {
                    self.put(&key, at, Some(value));
                }
                out.reply(to, Reply::Ok);
            }
            Command::FlushAll => {
                let keys: Vec<Vec<u8>> = self.rows.keys().cloned().collect();
                keys.iter().for_each(|key| self.put(&Key::new(key), at, None));
                out.reply(to, Reply::Ok);
            }
            other => panic!("{other:?} is not part of this model"),
        }
    }

    fn look(&self, read: &Read<'_>, at: u64, to: ReplyTo, out: &mut impl Replies) {
        match *read {
            Read::Get { key } => out.reply(to, self.value(&key, at).map_or(Reply::Nil, Reply::Bulk)),
            Read::MGet { keys } => {
                out.reply(to, Reply::Array(keys.len() as u32));
                for key in keys.keys() {
                    out.reply(to, self.value(&key, at).map_or(Reply::Nil, Reply::Bulk));
                }
            }
            Read::Exists { keys } => {
                let count = keys.keys().filter(|key| self.value(key, at).is_some()).count();
                out.reply(to, Reply::Int(count as i64));
            }
            Read::Scan { cursor, count, .. } => {
                let (keys, cursor) = self.page(cursor, count, at);
                out.reply(to, Reply::Page { cursor, count: keys.len() as u32 });
                keys.iter().for_each(|key| out.reply(to, Reply::Bulk(key)));
            }
            Read::DbSize { cursor, .. } => {
                // Small slices, so that a count takes several.
                let (keys, cursor) = self.page(cursor, 3, at);
                out.reply(to, Reply::Page { cursor, count: keys.len() as u32 });
            }
            other => panic!("{other:?} is not part of this model"),
        }
    }

    /// Keys from a position on, all of the last position included, and where the next page begins.
    fn page(&self, cursor: u64, count: u32, at: u64) -> (Vec<Vec<u8>>, u64) {
        let (mut keys, mut last) = (Vec::new(), None);
        for (position, raw) in self.positions.range((cursor, Vec::new())..).map(|(place, ())| place) {
            if keys.len() >= count as usize && last != Some(*position) {
                return (keys, *position);
            }
            last = Some(*position);
            if self.value(&Key::new(raw), at).is_some() {
                keys.push(raw.clone());
            }
        }
        (keys, 0)
    }
}

impl Owner for MemoryGroups {
    type Prepared<'a> = Read<'a>;

    fn begin(&mut self, now: Now, out: &mut impl Replies) {
        self.turn(now, out);
    }

    fn submit(&mut self, group: GroupId, batch: BatchBuf, out: &mut impl Replies) {
        let group = self.groups.get_mut(&group).expect("requests are routed to their owner");
        let origin = batch.origin();
        if group.waiting_bytes + batch.as_bytes().len() > WAITING_BYTES_MAX {
            for index in 0..batch.count() {
                let to = ReplyTo { core: origin.core, slot: origin.slot, index };
                out.reply(to, Reply::Error(ReplyError::Overloaded));
            }
            return;
        }
        group.waiting_bytes += batch.as_bytes().len();
        group.submitted += 1;
        group.last_base = group.next_timestamp;
        group.next_timestamp += u64::from(batch.count());
        let after = group.log.back().map_or(self.now, |(_, _, due, _)| *due);
        let due = after.max(self.now).plus_micros(self.rng.u64(..300));
        group.log.push_back((group.submitted, group.last_base, due, batch));
    }

    fn prepare<'a>(&self, group: GroupId, read: Read<'a>) -> Option<Read<'a>> {
        self.groups.contains_key(&group).then_some(read)
    }

    fn absence(&self, _group: GroupId) -> ReplyError {
        ReplyError::TryAgain
    }

    fn touch(&self, group: GroupId, _read: &mut Read<'_>) -> bool {
        assert!(self.groups.contains_key(&group));
        false
    }

    fn read(
        &mut self,
        group: GroupId,
        read: &Read<'_>,
        to: ReplyTo,
        after: ReadAfter,
        out: &mut impl Replies,
    ) {
        let group = self.groups.get_mut(&group).expect("requests are routed to their owner");
        let at = match after {
            ReadAfter::Nothing => return group.look(read, group.published, to, out),
            ReadAfter::Proposed => group.next_timestamp - 1,
            ReadAfter::Batch(position) => group.last_base + u64::from(position) - 1,
        };
        let mut archive = Vec::new();
        read.archive(&mut archive);
        group.waiting.push((group.submitted, at, to, archive));
    }

    fn turn(&mut self, now: Now, out: &mut impl Replies) {
        self.now = now.mono;
        if self.held {
            return;
        }
        for group in self.groups.values_mut() {
            while group.log.front().is_some_and(|(_, _, due, _)| *due <= now.mono) {
                let (number, base, _, batch) = group.log.pop_front().expect("it was seen");
                group.waiting_bytes -= batch.as_bytes().len();
                let origin = batch.origin();
                let (parsed, _) = Batch::split(batch.as_bytes()).expect("it was encoded by the turn");
                parsed.check_body().expect("it was encoded by the turn");
                for (index, command) in (0..).zip(parsed.commands()) {
                    let to = ReplyTo { core: origin.core, slot: origin.slot, index };
                    let command = command.expect("it was encoded by the turn");
                    group.execute(&command, base + u64::from(index), to, out);
                }
                group.applied = number;
                group.published = base + u64::from(batch.count()) - 1;
            }
            let waiting = std::mem::take(&mut group.waiting);
            for (number, at, to, archive) in waiting {
                if number > group.applied {
                    group.waiting.push((number, at, to, archive));
                    continue;
                }
                group.look(&Read::open(&archive).expect("it was archived here"), at, to, out);
            }
        }
    }

    fn loads(&self) -> Vec<pinion_shard::RangeLoad> {
        Vec::new()
    }

    fn next_deadline(&self) -> Option<Mono> {
        if self.held {
            return None;
        }
        self.groups.values().filter_map(|group| group.log.front().map(|(_, _, due, _)| *due)).min()
    }

    fn is_idle(&self) -> bool {
        self.groups.values().all(|group| group.log.is_empty())
    }

    fn poisoned(&self) -> Option<String> {
        None
    }

    fn flush(&mut self) {}

    fn held(&self) -> Held {
        let proposal_bytes = self.groups.values().map(|group| group.waiting_bytes).sum();
        Held { proposal_bytes, ..Held::default() }
    }

    fn set_memtable_bytes_max(&mut self, _bytes: usize) {}

    fn set_cache_bytes_max(&mut self, _bytes: usize) {}

    fn set_proposal_bytes_max(&mut self, _bytes: usize) {}

    fn report(&self) -> OwnerReport {
        let proposal_bytes = self.held().proposal_bytes as u64;
        OwnerReport { groups: self.groups.len() as u64, proposal_bytes, ..OwnerReport::default() }
    }
}
