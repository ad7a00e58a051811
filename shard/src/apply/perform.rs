//! Performing one command on the tree: looking at its rows, executing, writing.

use pinion_lsm::{Cell, Get, OwnedCell, Probe, Tree};
use pinion_wal::planted;

use super::State;
use super::halt::HaltCause;
use super::state::Owned;
use crate::execute::bits::combine;
use crate::execute::{Env, Footprint, Write, as_string, execute_one};
use crate::key::{Keyspace, REDIS_KEYSPACE, SYSTEM_KEYSPACE};
use crate::limits::{APPLY_CELL_BYTES_KEPT, FLOAT_BYTES_MAX, VALUE_BYTES_MAX};
use crate::row::{Row, RowError};
use crate::{
    BitOp, Command, Control, Key, List, RangeId, Reply, ReplyError, RowKey, RowKind, Slot, Timestamp,
};

/// A row as its tables hold it, read ahead of execution.
pub(super) type Fetched = Option<(Timestamp, OwnedCell)>;

/// What a command found on its way.
pub(super) enum Performed {
    /// It is done, and its reply was given.
    Done,
    /// Nothing was changed: the row of its key number `usize` must be read first.
    Needs(usize, Probe),
}

/// The tree and the state that commands work on.
pub(super) struct Ground<'g> {
    pub tree: &'g Tree,
    pub state: &'g mut State,
    /// A buffer for cells.
    pub cell: &'g mut Vec<u8>,
    /// Bytes of rows written in this run.
    pub written: &'g mut usize,
}

/// A key of a command, encoded.
pub(crate) struct Place {
    pub row: RowKey,
    pub hash: u64,
}

impl Place {
    #[inline]
    pub fn new(keyspace: Keyspace, key: &Key<'_>) -> Self {
        let row = key.row(keyspace, RowKind::Metadata);
        let hash = Tree::hash(&row);
        Self { row, hash }
    }
}

enum Looked<R> {
    Seen(R),
    Needs(Probe),
}

/// The live row in a cell.
pub(crate) fn live<'r>(
    at: Timestamp,
    cell: Cell<'r>,
    forgotten: Timestamp,
    time_ms: u64,
) -> Result<Option<Row<'r>>, RowError> {
    let Cell::Inline(bytes) = cell else { return Ok(None) };
    if at <= forgotten {
        return Ok(None);
    }
    let row = Row::decode(bytes)?;
    Ok(Some(row).filter(|row| !row.expired(time_ms)))
}

impl Ground<'_> {
    /// Shows `see` the newest live row at `place`. Memory is asked first: what was fetched counts only where memory holds
    /// nothing newer.
    #[inline]
    fn look<R>(
        &self,
        place: &Place,
        time_ms: u64,
        fetched: Option<&Fetched>,
        see: impl FnOnce(Option<Row<'_>>) -> R,
    ) -> Result<Looked<R>, HaltCause> {
        let forgotten = self.state.forgotten(Timestamp::MAX);
        let mut see = Some(see);
        let mut once = |row: Option<Row<'_>>| see.take().expect("a row is seen once")(row);
        let got = self.tree.get(&place.row, place.hash, Timestamp::MAX, |at, cell| {
            live(at, cell, forgotten, time_ms).map(&mut once)
        });
        match (got, fetched) {
            (_, Some(Some((at, cell)))) if planted::is("stale-fetch") => {
                Ok(Looked::Seen(once(live(*at, cell.borrow(), forgotten, time_ms)?)))
            }
            (Get::Found(seen), _) => Ok(Looked::Seen(seen?)),
            (Get::Absent, _) | (Get::OnDisk(_), Some(None)) => Ok(Looked::Seen(once(None))),
            (Get::OnDisk(_), Some(Some((at, cell)))) => {
                Ok(Looked::Seen(once(live(*at, cell.borrow(), forgotten, time_ms)?)))
            }
            (Get::OnDisk(probe), None) => Ok(Looked::Needs(probe)),
        }
    }

    #[inline]
    fn write(&mut self, place: &Place, at: Timestamp, write: Write) {
        let cell = match write {
            Write::Nothing => return,
            Write::Put => Cell::Inline(self.cell),
            Write::Delete => Cell::Tombstone,
        };
        self.state.digest.add(&place.row, at, cell);
        self.tree.put(&place.row, place.hash, at, cell);
        *self.written += place.row.len() + cell.bytes().len();
        if self.cell.capacity() > APPLY_CELL_BYTES_KEPT {
            *self.cell = Vec::new();
        }
    }

    /// The most that a command may write, if its row is no larger than `row_bytes` says: `None` when only the disk knows.
    pub fn written_bytes_max(
        &self,
        command: &Command<'_>,
        archive_bytes: usize,
        row_bytes: impl FnOnce(Option<usize>) -> usize,
    ) -> usize {
        let (key, grown) = match *command {
            Command::Append { key, .. }
            | Command::GetEx { key, .. }
            | Command::Expire { key, .. }
            | Command::Persist { key } => (key, 0),
            Command::SetRange { key, offset, .. } => (key, VALUE_BYTES_MAX.min(offset as usize)),
            Command::SetBit { key, offset, .. } => (key, VALUE_BYTES_MAX.min((offset / 8) as usize + 1)),
            Command::Transfer { keys, .. } => (keys.keys().next().expect("there are two"), 0),
            Command::BitOp { keys, .. } => return archive_bytes + row_bytes(self.longest(keys)),
            Command::IncrByFloat { .. } => return archive_bytes + FLOAT_BYTES_MAX,
            // The others write what they bring.
            _ => return archive_bytes,
        };
        let place = Place::new(REDIS_KEYSPACE, &key);
        let known = match self.tree.get(&place.row, place.hash, Timestamp::MAX, |_, cell| cell.bytes().len())
        {
            Get::Found(bytes) => Some(bytes),
            Get::Absent => Some(0),
            Get::OnDisk(_) => None,
        };
        archive_bytes + row_bytes(known).max(grown)
    }

    /// The longest row among those of all keys but the first; `None` when the disk has one of them.
    fn longest(&self, keys: List<'_>) -> Option<usize> {
        keys.keys().skip(1).try_fold(0, |longest, key| {
            let place = Place::new(REDIS_KEYSPACE, &key);
            match self.tree.get(&place.row, place.hash, Timestamp::MAX, |_, cell| cell.bytes().len()) {
                Get::Found(bytes) => Some(longest.max(bytes)),
                Get::Absent => Some(longest),
                Get::OnDisk(_) => None,
            }
        })
    }

    /// Performs a command whose rows are in memory or among the fetched; `place` is that of its key, if it has just one.
    #[inline]
    pub fn command(
        &mut self,
        command: &Command<'_>,
        place: Option<&Place>,
        env: &Env,
        fetched: &[(usize, Fetched)],
        answer: impl FnOnce(Reply<'_>),
    ) -> Result<Performed, HaltCause> {
        match command.footprint() {
            Footprint::One { key, reads } => {
                if !self.state.owns(key.slot()) {
                    answer(moved(key.slot()));
                    return Ok(Performed::Done);
                }
                let place = place.expect("a command of one key comes with its place");
                self.one(command, place, reads, env, fetched, answer)
            }
            Footprint::Many => self.many(command, env, fetched, answer),
            Footprint::All => {
                self.state.flush_all(env.at);
                answer(Reply::Ok);
                Ok(Performed::Done)
            }
        }
    }

    #[inline]
    fn one(
        &mut self,
        command: &Command<'_>,
        place: &Place,
        reads: bool,
        env: &Env,
        fetched: &[(usize, Fetched)],
        answer: impl FnOnce(Reply<'_>),
    ) -> Result<Performed, HaltCause> {
        let mut cell = std::mem::take(self.cell);
        let looked = if reads {
            let fetched = fetched.first().map(|(_, fetched)| fetched);
            self.look(place, env.time_ms, fetched, |row| execute_one(command, env, row, &mut cell, answer))
        } else {
            Ok(Looked::Seen(execute_one(command, env, None, &mut cell, answer)))
        };
        *self.cell = cell;
        match looked? {
            Looked::Seen(write) => {
                self.write(place, env.at, write);
                Ok(Performed::Done)
            }
            Looked::Needs(probe) => Ok(Performed::Needs(0, probe)),
        }
    }

    fn many(
        &mut self,
        command: &Command<'_>,
        env: &Env,
        fetched: &[(usize, Fetched)],
        answer: impl FnOnce(Reply<'_>),
    ) -> Result<Performed, HaltCause> {
        let (keys, stride) = match command {
            Command::Del { keys } | Command::Transfer { keys, .. } | Command::BitOp { keys, .. } => {
                (*keys, 1)
            }
            Command::MSet { pairs, .. } => (*pairs, 2),
            other => panic!("{other:?} has no list of keys"),
        };
        if let Some(key) = keys.iter().step_by(stride).map(Key::new).find(|key| !self.state.owns(key.slot()))
        {
            answer(moved(key.slot()));
            return Ok(Performed::Done);
        }
        let done = match *command {
            Command::Del { keys } => self.delete(keys, env, fetched)?.map_err(Reply::Int),
            Command::MSet { pairs, only_new } => {
                self.set_many(pairs, only_new, env, fetched)?.map_err(|set| match only_new {
                    true => Reply::Int(set.into()),
                    false => Reply::Ok,
                })
            }
            Command::Transfer { keys, replace, remove } => {
                self.transfer(keys, replace, remove, env, fetched)?
            }
            Command::BitOp { op, keys } => self.combine(op, keys, env, fetched)?,
            _ => unreachable!("matched above"),
        };
        match done {
            Ok(needs) => Ok(needs),
            Err(reply) => {
                answer(reply);
                Ok(Performed::Done)
            }
        }
    }

    /// Deletes what is there of these keys: `Err` is how many there were.
    fn delete(
        &mut self,
        keys: List<'_>,
        env: &Env,
        fetched: &[(usize, Fetched)],
    ) -> Result<Result<Performed, i64>, HaltCause> {
        let mut found = Vec::new();
        for (number, key) in keys.keys().enumerate() {
            let place = Place::new(REDIS_KEYSPACE, &key);
            match self.exists(number, &place, env, fetched)? {
                Looked::Seen(true) => found.push(place),
                Looked::Seen(false) => {}
                Looked::Needs(probe) => return Ok(Ok(Performed::Needs(number, probe))),
            }
        }
        // A key named twice is there once.
        let mut deleted = 0;
        for place in found {
            if !self.wrote(&place, env.at) {
                self.write(&place, env.at, Write::Delete);
                deleted += 1;
            }
        }
        Ok(Err(deleted))
    }

    /// Sets these keys, unless one of them must not be there: `Err` is whether they were set.
    fn set_many(
        &mut self,
        pairs: List<'_>,
        only_new: bool,
        env: &Env,
        fetched: &[(usize, Fetched)],
    ) -> Result<Result<Performed, bool>, HaltCause> {
        if only_new {
            for (number, (key, _)) in pairs.pairs().enumerate() {
                match self.exists(number, &Place::new(REDIS_KEYSPACE, &key), env, fetched)? {
                    Looked::Seen(true) => return Ok(Err(false)),
                    Looked::Seen(false) => {}
                    Looked::Needs(probe) => return Ok(Ok(Performed::Needs(number, probe))),
                }
            }
        }
        // Of a key named twice the last value counts, and its row is written once (T13).
        let pairs: Vec<_> = pairs.pairs().collect();
        for (key, value) in pairs.into_iter().rev() {
            let place = Place::new(REDIS_KEYSPACE, &key);
            if !self.wrote(&place, env.at) || planted::is("key-written-twice") {
                Row::string(value, None).encode(self.cell);
                self.write(&place, env.at, Write::Put);
            }
        }
        Ok(Err(true))
    }

    /// Gives the second key what the first one holds: `Err` is the reply.
    fn transfer(
        &mut self,
        keys: List<'_>,
        replace: bool,
        remove: bool,
        env: &Env,
        fetched: &[(usize, Fetched)],
    ) -> Result<Result<Performed, Reply<'static>>, HaltCause> {
        let mut keys = keys.keys();
        let [from, to] =
            [keys.next(), keys.next()].map(|key| key.expect("there are two, as the archive says"));
        let same = from.bytes() == to.bytes();
        let [from, to] = [from, to].map(|key| Place::new(REDIS_KEYSPACE, &key));
        let mut cell = std::mem::take(self.cell);
        let source = fetched.iter().find(|(of, _)| *of == 0).map(|(_, fetched)| fetched);
        let looked = self.look(&from, env.time_ms, source, |row| match row {
            Some(row) => {
                row.encode(&mut cell);
                true
            }
            None => false,
        });
        *self.cell = cell;
        match looked? {
            Looked::Seen(true) => {}
            Looked::Seen(false) if remove => return Ok(Err(Reply::Error(ReplyError::NoSuchKey))),
            Looked::Seen(false) => return Ok(Err(Reply::Int(0))),
            Looked::Needs(probe) => return Ok(Ok(Performed::Needs(0, probe))),
        }
        if !replace && !same {
            match self.exists(1, &to, env, fetched)? {
                Looked::Seen(true) => return Ok(Err(Reply::Int(0))),
                Looked::Seen(false) => {}
                Looked::Needs(probe) => return Ok(Ok(Performed::Needs(1, probe))),
            }
        }
        if !same {
            self.write(&to, env.at, Write::Put);
            if remove {
                self.write(&from, env.at, Write::Delete);
            }
        }
        Ok(Err(if replace && remove { Reply::Ok } else { Reply::Int((!same).into()) }))
    }

    /// Gives the first key what becomes of the strings of the others: `Err` is the reply. Rows are numbered from the second
    /// key on.
    fn combine(
        &mut self,
        op: BitOp,
        keys: List<'_>,
        env: &Env,
        fetched: &[(usize, Fetched)],
    ) -> Result<Result<Performed, Reply<'static>>, HaltCause> {
        let mut all = Vec::new();
        for (number, key) in keys.keys().skip(1).enumerate() {
            let place = Place::new(REDIS_KEYSPACE, &key);
            let fetched = fetched.iter().find(|(of, _)| *of == number).map(|(_, fetched)| fetched);
            let looked = self.look(&place, env.time_ms, fetched, |row| {
                let row = as_string(row)?;
                combine(op, &mut all, row.map_or(b"", |row| row.value), number == 0);
                Ok(())
            })?;
            match looked {
                Looked::Seen(Ok(())) => {}
                Looked::Seen(Err(error)) => return Ok(Err(Reply::Error(error))),
                Looked::Needs(probe) => return Ok(Ok(Performed::Needs(number, probe))),
            }
        }
        let to = Place::new(REDIS_KEYSPACE, &keys.keys().next().expect("there are two"));
        if all.is_empty() {
            self.write(&to, env.at, Write::Delete);
        } else {
            Row::string(&all, None).encode(self.cell);
            self.write(&to, env.at, Write::Put);
        }
        Ok(Err(Reply::Int(all.len() as i64)))
    }

    /// The reads that a command needs from the disk.
    pub fn probes_of_command(&self, command: &Command<'_>) -> Vec<(usize, Probe)> {
        match *command {
            Command::Del { keys } => self.probes(&mut keys.keys()),
            // What is replaced need not be known.
            Command::Transfer { keys, replace, .. } => {
                self.probes(&mut keys.keys().take(if replace { 1 } else { 2 }))
            }
            Command::BitOp { keys, .. } => self.probes(&mut keys.keys().skip(1)),
            Command::MSet { pairs, only_new: true } => self.probes(&mut pairs.pairs().map(|(key, _)| key)),
            _ => match command.footprint() {
                Footprint::One { key, reads: true } => self.probes(&mut std::iter::once(key)),
                _ => Vec::new(),
            },
        }
    }

    /// The reads that a control needs from the disk.
    pub fn probes_of_control(&self, control: &Control<'_>) -> Vec<(usize, Probe)> {
        match control {
            Control::Reap { keys } => self.probes(&mut keys.keys()),
            _ => Vec::new(),
        }
    }

    fn probes(&self, keys: &mut dyn Iterator<Item = Key<'_>>) -> Vec<(usize, Probe)> {
        let probe = |(number, key): (usize, Key<'_>)| {
            let place = Place::new(REDIS_KEYSPACE, &key);
            match self.tree.get(&place.row, place.hash, Timestamp::MAX, |_, _| ()) {
                Get::OnDisk(probe) => Some((number, probe)),
                Get::Found(()) | Get::Absent => None,
            }
        };
        keys.enumerate().filter_map(probe).collect()
    }

    fn exists(
        &self,
        number: usize,
        place: &Place,
        env: &Env,
        fetched: &[(usize, Fetched)],
    ) -> Result<Looked<bool>, HaltCause> {
        let fetched = fetched.iter().find(|(of, _)| *of == number).map(|(_, fetched)| fetched);
        self.look(place, env.time_ms, fetched, |row| row.is_some())
    }

    /// Whether the command at `at` has written this row already.
    fn wrote(&self, place: &Place, at: Timestamp) -> bool {
        let newest = self.tree.get(&place.row, place.hash, Timestamp::MAX, |newest, _| newest);
        matches!(newest, Get::Found(newest) if newest == at)
    }

    /// Performs a control.
    pub fn control(
        &mut self,
        control: &Control<'_>,
        env: &Env,
        fetched: &[(usize, Fetched)],
        answer: impl FnOnce(Reply<'_>),
    ) -> Result<Performed, HaltCause> {
        match *control {
            Control::Own { range, version, first_slot, last_slot } => self.state.own(Owned {
                range: RangeId(range),
                version,
                first: Slot(first_slot),
                last: Slot(last_slot),
            }),
            Control::SafePoint { at } => {
                self.state.move_safe_point(Timestamp(at));
                hand_over(self.tree, self.state.safe_point);
            }
            Control::Reap { keys } => return self.reap(keys, env, fetched, answer),
            Control::Ceiling { ceiling, time_ms } => {
                self.state.ceiling = self.state.ceiling.max(Timestamp(ceiling));
                self.state.ceiling_time_ms = self.state.ceiling_time_ms.max(time_ms);
            }
            Control::PutRow { key, value } => {
                self.cell.clear();
                self.cell.extend_from_slice(value);
                let write = if value.is_empty() { Write::Delete } else { Write::Put };
                self.write(&Place::new(SYSTEM_KEYSPACE, &key), env.at, write);
            }
            Control::Nothing => {}
        }
        answer(Reply::Ok);
        Ok(Performed::Done)
    }

    /// Deletes those of these rows that have expired by the time of the batch. What was written since the leader looked stays.
    fn reap(
        &mut self,
        keys: List<'_>,
        env: &Env,
        fetched: &[(usize, Fetched)],
        answer: impl FnOnce(Reply<'_>),
    ) -> Result<Performed, HaltCause> {
        let mut expired = Vec::new();
        for (number, key) in keys.keys().enumerate() {
            let place = Place::new(REDIS_KEYSPACE, &key);
            let fetched = fetched.iter().find(|(of, _)| *of == number).map(|(_, fetched)| fetched);
            match self.look(&place, 0, fetched, |row| row.is_some_and(|row| row.expired(env.time_ms)))? {
                Looked::Seen(true) => expired.push(place),
                Looked::Seen(false) => {}
                Looked::Needs(probe) => return Ok(Performed::Needs(number, probe)),
            }
        }
        let mut reaped = 0;
        for place in expired {
            if !self.wrote(&place, env.at) {
                self.write(&place, env.at, Write::Delete);
                reaped += 1;
            }
        }
        answer(Reply::Int(reaped));
        Ok(Performed::Done)
    }
}

/// Tells the tree what its compactions may drop. A FLUSHALL counts once the tables reach beyond it: until then a replay
/// executes commands from before it, and they must find what they found (T12).
pub(super) fn hand_over(tree: &Tree, safe_point: Timestamp) {
    tree.set_safe_point(safe_point);
    let tables = State::decode(&tree.flushed().state).expect("it was read at the opening, or encoded since");
    let forgotten = tables.forgotten(safe_point);
    if forgotten > Timestamp::ZERO {
        tree.set_drop_below(&[REDIS_KEYSPACE.kind, REDIS_KEYSPACE.id], forgotten);
    }
}

const fn moved(slot: Slot) -> Reply<'static> {
    Reply::Error(ReplyError::Moved { slot: slot.0 })
}
