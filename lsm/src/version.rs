//! Versions of a tree: which tables it consists of, level by level.
//!
//! Invariants: tables of level 0 may overlap and are ordered newest first; tables of a deeper level are disjoint and
//! ordered by key; of two levels the shallower one holds the newer versions of a key.

use std::rc::Rc;

use crate::ids::Timestamp;
use crate::manifest::LEVELS;
use crate::table::Table;

/// An immutable set of tables. Whoever holds it keeps the files.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub levels: [Vec<Rc<Table>>; LEVELS],
}

/// Where a table stands in a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TablePlace {
    level: usize,
    index: usize,
}

impl Version {
    /// Orders `tables` into levels.
    pub fn new(tables: impl IntoIterator<Item = (usize, Rc<Table>)>) -> Self {
        let mut levels: [Vec<Rc<Table>>; LEVELS] = Default::default();
        for (level, table) in tables {
            levels[level].push(table);
        }
        levels[0].sort_by_key(|table| std::cmp::Reverse(table.info.origin.number));
        levels[1..].iter_mut().for_each(|level| level.sort_by(|a, b| a.info.min.cmp(&b.info.min)));
        let version = Self { levels };
        version.check();
        version
    }

    /// The invariants of the module page that can be checked without reading.
    pub fn check(&self) {
        assert!(self.levels[0].is_sorted_by(|a, b| a.info.origin.number > b.info.origin.number));
        for level in &self.levels[1..] {
            assert!(level.is_sorted_by(|a, b| a.info.max < b.info.min), "tables of a level are disjoint");
        }
    }

    pub fn tables(&self) -> impl Iterator<Item = (usize, &Rc<Table>)> {
        let levels = self.levels.iter().enumerate();
        levels.flat_map(|(level, tables)| tables.iter().map(move |table| (level, table)))
    }

    /// The tables that may hold versions of `key` at or before `at`, newest first.
    #[inline]
    pub fn candidates<'a>(&'a self, key: &'a [u8], at: Timestamp) -> impl Iterator<Item = &'a Rc<Table>> {
        let tables = self.places(key).filter_map(|place| self.table_at(place));
        tables.filter(move |table| table.info.at_min <= at)
    }

    /// Where the tables are that may hold versions of `key`, newest first.
    #[inline]
    pub fn places<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = TablePlace> + 'a {
        let newest = self.levels[0].iter().enumerate().filter(move |(_, table)| table.info.covers(key));
        let deeper = self.levels.iter().enumerate().skip(1);
        let deeper = deeper.filter_map(move |(level, tables)| Some((level, covering(tables, key)?)));
        newest.map(|(index, _)| (0, index)).chain(deeper).map(|(level, index)| TablePlace { level, index })
    }

    #[inline]
    pub fn table_at(&self, place: TablePlace) -> Option<&Rc<Table>> {
        self.levels[place.level].get(place.index)
    }

    /// Whether no level below `level` may hold `key`.
    pub fn is_bottom(&self, level: usize, key: &[u8]) -> bool {
        self.levels[level + 1..].iter().all(|level| covering(level, key).is_none())
    }

    /// Sorted runs of tables, newest first.
    pub fn runs(&self) -> impl Iterator<Item = Vec<Rc<Table>>> {
        let newest = self.levels[0].iter().map(|table| vec![table.clone()]);
        newest.chain(self.levels[1..].iter().filter(|level| !level.is_empty()).cloned())
    }
}

/// The one table of a deeper level that may hold `key`.
fn covering(level: &[Rc<Table>], key: &[u8]) -> Option<usize> {
    let index = level.partition_point(|table| *table.info.max < *key);
    (*level.get(index)?.info.min <= *key).then_some(index)
}
