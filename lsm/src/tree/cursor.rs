//! Cursors: the rows of a range that are visible at a timestamp, in key order, both ways.
//!
//! A cursor merges its sources, newest first: memtables, then tables. Each source stands at one key; of equal keys the
//! first source that has a visible version decides, because versions of a key are written in their order.

use std::rc::Rc;

use pinion_wal::task::Spawner;

use crate::cell::{Cell, CellTag};
use crate::error::ReadError;
use crate::ids::Timestamp;
use crate::memtable::{Memtable, MemtableCursor};
use crate::table::{RunWalk, Table};

/// Keys that are passed between two offers to let other tasks run.
const KEYS_PER_PACE: u32 = 32;

/// Keys from `from` (inclusive) up to `to` (exclusive; all if none).
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyRange<'a> {
    /// The first key.
    pub from: &'a [u8],
    /// The key after the last, if there is an end.
    pub to: Option<&'a [u8]>,
}

/// A visible row, borrowed from its cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The timestamp of the visible version.
    pub at: Timestamp,
    /// Its value.
    pub value: &'a [u8],
}

/// See the module page. A fresh cursor stands outside the range: `next` answers the first row, `prev` the last one.
pub struct Cursor {
    sources: Vec<Source>,
    from: Vec<u8>,
    to: Option<Vec<u8>>,
    at: Timestamp,
    /// The way the sources were moved last; none when they stand nowhere.
    way: Option<Way>,
    /// The key of the last answer; none outside the range.
    key: Option<Vec<u8>>,
    value: Vec<u8>,
    /// A buffer for the next key.
    spare: Vec<u8>,
    /// Lets other tasks run when many keys without a visible row are passed.
    spawner: Spawner,
    passed: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Forward,
    Backward,
}

enum Source {
    Memtable { walk: MemtableCursor, key: Vec<u8>, valid: bool },
    Tables(RunWalk),
}

impl Cursor {
    pub(super) fn new(
        memtables: impl Iterator<Item = Rc<Memtable>>,
        runs: impl Iterator<Item = Vec<Rc<Table>>>,
        range: KeyRange<'_>,
        at: Timestamp,
        spawner: Spawner,
    ) -> Self {
        let memtables = memtables.map(|table| {
            let walk = MemtableCursor::new(table);
            Source::Memtable { walk, key: Vec::new(), valid: false }
        });
        let sources = memtables.chain(runs.map(|tables| Source::Tables(RunWalk::new(tables, at))));
        Self {
            sources: sources.collect(),
            from: range.from.to_vec(),
            to: range.to.map(<[u8]>::to_vec),
            at,
            way: None,
            key: None,
            value: Vec::new(),
            spare: Vec::new(),
            spawner,
            passed: 0,
        }
    }

    /// The first visible row after the last answer. Once it has answered none, it starts over from the other end of
    /// the range.
    ///
    /// # Errors
    /// When the disk fails or a block is damaged.
    pub async fn next(&mut self) -> Result<Option<Row<'_>>, ReadError> {
        self.step(Way::Forward).await
    }

    /// The last visible row before the last answer; otherwise as [`Cursor::next`].
    ///
    /// # Errors
    /// When the disk fails or a block is damaged.
    pub async fn prev(&mut self) -> Result<Option<Row<'_>>, ReadError> {
        self.step(Way::Backward).await
    }

    async fn step(&mut self, way: Way) -> Result<Option<Row<'_>>, ReadError> {
        if self.way != Some(way) {
            self.way = None;
            for source in &mut self.sources {
                source.position(way, self.key.as_deref(), &self.from, self.to.as_deref()).await?;
            }
            self.way = Some(way);
        }
        loop {
            let Some(best) = self.best(way) else {
                self.key = None;
                self.way = None;
                return Ok(None);
            };
            let mut key = std::mem::take(&mut self.spare);
            key.clear();
            key.extend_from_slice(self.sources[best].key().expect("the best source stands at a key"));
            let found = self.visible(&key);
            // A move that fails leaves the sources apart: the next step positions them anew, beyond the last answer.
            self.way = None;
            for source in &mut self.sources {
                if source.key() == Some(&key) {
                    source.advance(way).await?;
                }
            }
            self.way = Some(way);
            self.spare = self.key.replace(key).unwrap_or_default();
            if let Some((at, CellTag::Inline)) = found {
                let key = self.key.as_deref().expect("just set");
                return Ok(Some(Row { key, at, value: &self.value }));
            }
            self.passed = self.passed.wrapping_add(1);
            if self.passed.is_multiple_of(KEYS_PER_PACE) {
                self.spawner.pace().await;
            }
        }
    }

    /// The source with the nearest key in the range; of equals the newest.
    fn best(&self, way: Way) -> Option<usize> {
        let standing = self.sources.iter().enumerate();
        let standing = standing.filter_map(|(index, source)| Some((index, source.key()?)));
        let best = standing.reduce(|best, other| {
            let nearer = match way {
                Way::Forward => other.1 < best.1,
                Way::Backward => other.1 > best.1,
            };
            if nearer { other } else { best }
        });
        let within = |key: &[u8]| *key >= *self.from && self.to.as_ref().is_none_or(|to| *key < **to);
        best.filter(|(_, key)| within(key)).map(|(index, _)| index)
    }

    fn visible(&mut self, key: &[u8]) -> Option<(Timestamp, CellTag)> {
        let value = &mut self.value;
        let mut take = |at: Timestamp, cell: Cell<'_>| {
            value.clear();
            value.extend_from_slice(cell.bytes());
            (at, cell.tag())
        };
        let mut sources = self.sources.iter().filter(|source| source.key() == Some(key));
        sources.find_map(|source| match source {
            Source::Memtable { walk, .. } => walk.visible(self.at, &mut take),
            Source::Tables(walk) => walk.visible().map(|(at, cell)| take(at, cell)),
        })
    }
}

impl Source {
    fn key(&self) -> Option<&[u8]> {
        match self {
            Self::Memtable { key, valid, .. } => valid.then_some(key),
            Self::Tables(walk) => walk.key(),
        }
    }

    /// Moves to the first key beyond `last`, or the first within the bounds.
    async fn position(
        &mut self,
        way: Way,
        last: Option<&[u8]>,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Result<(), ReadError> {
        match (&mut *self, way) {
            (Self::Memtable { walk, .. }, Way::Forward) => walk.seek(last.unwrap_or(from)),
            (Self::Memtable { walk, .. }, Way::Backward) => walk.seek_before(last.or(to)),
            (Self::Tables(walk), Way::Forward) => walk.seek(last.unwrap_or(from)).await?,
            (Self::Tables(walk), Way::Backward) => walk.seek_before(last.or(to)).await?,
        }
        self.settle();
        if way == Way::Forward && last.is_some() && self.key() == last {
            self.advance(way).await?;
        }
        Ok(())
    }

    async fn advance(&mut self, way: Way) -> Result<(), ReadError> {
        match (&mut *self, way) {
            (Self::Memtable { walk, .. }, Way::Forward) => walk.next(),
            (Self::Memtable { walk, .. }, Way::Backward) => walk.previous(),
            (Self::Tables(walk), Way::Forward) => walk.next().await?,
            (Self::Tables(walk), Way::Backward) => walk.previous().await?,
        }
        self.settle();
        Ok(())
    }

    fn settle(&mut self) {
        if let Self::Memtable { walk, key, valid } = self {
            *valid = walk.copy_key(key);
        }
    }
}
