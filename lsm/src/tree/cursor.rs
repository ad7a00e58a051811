//! Cursors: the rows of a range that are visible at a timestamp, in key order, both ways.
//!
//! A cursor merges its sources, newest first: memtables, then tables. Each source stands at one key; of equal keys the
//! first source that has a visible version decides, because versions of a key are written in their order.

use std::rc::Rc;

use crate::cell::{Cell, CellTag};
use crate::error::ReadError;
use crate::ids::Timestamp;
use crate::memtable::{Memtable, MemtableCursor};

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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Forward,
    Backward,
}

struct Source {
    walk: MemtableCursor,
    /// The key it stands at, if `valid`.
    key: Vec<u8>,
    valid: bool,
}

impl Cursor {
    pub(super) fn new(
        memtables: impl Iterator<Item = Rc<Memtable>>,
        range: KeyRange<'_>,
        at: Timestamp,
    ) -> Self {
        let sources =
            memtables.map(|table| Source { walk: MemtableCursor::new(table), key: Vec::new(), valid: false });
        Self {
            sources: sources.collect(),
            from: range.from.to_vec(),
            to: range.to.map(<[u8]>::to_vec),
            at,
            way: None,
            key: None,
            value: Vec::new(),
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
            self.position(way);
            self.way = Some(way);
        }
        loop {
            let Some(best) = self.best(way) else {
                self.key = None;
                self.way = None;
                return Ok(None);
            };
            let mut key = self.key.take().unwrap_or_default();
            key.clone_from(&self.sources[best].key);
            let found = self.visible(&key);
            for source in self.sources.iter_mut().filter(|source| source.valid && source.key == key) {
                source.advance(way);
            }
            self.key = Some(key);
            if let Some((at, CellTag::Inline)) = found {
                let key = self.key.as_deref().expect("just set");
                return Ok(Some(Row { key, at, value: &self.value }));
            }
        }
    }

    /// Puts every source on the first key beyond the last answer.
    fn position(&mut self, way: Way) {
        for source in &mut self.sources {
            match (way, &self.key) {
                (Way::Forward, None) => source.walk.seek(&self.from),
                (Way::Forward, Some(key)) => {
                    source.walk.seek(key);
                    if source.settle() && source.key == *key {
                        source.walk.next();
                    }
                }
                (Way::Backward, None) => source.walk.seek_before(self.to.as_deref()),
                (Way::Backward, Some(key)) => source.walk.seek_before(Some(key)),
            }
            source.settle();
        }
    }

    /// The source with the nearest key in the range; of equals the newest.
    fn best(&self, way: Way) -> Option<usize> {
        let mut best: Option<usize> = None;
        for (index, source) in self.sources.iter().enumerate().filter(|(_, source)| source.valid) {
            let nearer = best.is_none_or(|best| match way {
                Way::Forward => source.key < self.sources[best].key,
                Way::Backward => source.key > self.sources[best].key,
            });
            if nearer {
                best = Some(index);
            }
        }
        best.filter(|&best| {
            let key = &self.sources[best].key;
            *key >= self.from && self.to.as_ref().is_none_or(|to| key < to)
        })
    }

    fn visible(&mut self, key: &[u8]) -> Option<(Timestamp, CellTag)> {
        let value = &mut self.value;
        self.sources.iter().filter(|source| source.valid && source.key == key).find_map(|source| {
            source.walk.visible(self.at, |at, cell: Cell<'_>| {
                value.clear();
                value.extend_from_slice(cell.bytes());
                (at, cell.tag())
            })
        })
    }
}

impl Source {
    fn settle(&mut self) -> bool {
        self.valid = self.walk.copy_key(&mut self.key);
        self.valid
    }

    fn advance(&mut self, way: Way) {
        match way {
            Way::Forward => self.walk.next(),
            Way::Backward => self.walk.previous(),
        }
        self.settle();
    }
}
