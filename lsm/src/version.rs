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
        let newest = self.levels[0].iter();
        let deeper = self.levels[1..].iter().filter_map(move |level| covering(level, key));
        newest.chain(deeper).filter(move |table| table.info.at_min <= at && table.info.covers(key))
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

fn covering<'a>(level: &'a [Rc<Table>], key: &[u8]) -> Option<&'a Rc<Table>> {
    let table = level.get(level.partition_point(|table| *table.info.max < *key))?;
    (*table.info.min <= *key).then_some(table)
}
