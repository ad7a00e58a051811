//! Walking the keys of a sorted run of tables, both ways, through the cache.

use std::rc::Rc;

use super::block::Block;
use super::{Meta, Table};
use crate::cell::Cell;
use crate::error::ReadError;
use crate::ids::Timestamp;

/// Stands at a key of tables that follow one another, or at none, and knows its newest visible version.
pub(crate) struct RunWalk {
    tables: Vec<Rc<Table>>,
    at: Timestamp,
    key: Vec<u8>,
    valid: bool,
    /// The block and row of the newest visible version of the key.
    visible: Option<(Rc<Block>, usize)>,
    /// The first row, in the way of the walk, that is not of the key.
    next: Option<Spot>,
}

#[derive(Clone)]
struct Spot {
    table: usize,
    meta: Rc<Meta>,
    number: usize,
    block: Rc<Block>,
    row: usize,
}

impl RunWalk {
    /// A walk at no key, which sees versions at or before `at`.
    pub const fn new(tables: Vec<Rc<Table>>, at: Timestamp) -> Self {
        Self { tables, at, key: Vec::new(), valid: false, visible: None, next: None }
    }

    /// The key it stands at.
    pub fn key(&self) -> Option<&[u8]> {
        self.valid.then_some(&self.key)
    }

    /// The newest visible version of the key it stands at.
    pub fn visible(&self) -> Option<(Timestamp, Cell<'_>)> {
        let (block, row) = self.visible.as_ref()?;
        let row = block.row(*row);
        Some((row.at, row.cell))
    }

    /// Moves to the first key at or after `key`.
    pub async fn seek(&mut self, key: &[u8]) -> Result<(), ReadError> {
        let table = self.tables.partition_point(|table| *table.info.max < *key);
        self.next = match self.tables.get(table) {
            None => None,
            Some(found) => {
                let meta = found.meta().await?;
                let number = if *found.info.min >= *key { 0 } else { meta.index.seek(key).unwrap_or(0) };
                let block = found.block(&meta, number).await?;
                let row = block.lower_bound(key);
                Some(Spot { table, meta, number, block, row })
            }
        };
        self.next().await
    }

    /// Moves to the last key before `key`, or to the last of all.
    pub async fn seek_before(&mut self, key: Option<&[u8]>) -> Result<(), ReadError> {
        let end = self.tables.len();
        let after = key.map_or(end, |key| self.tables.partition_point(|table| *table.info.min < *key));
        self.next = match after.checked_sub(1) {
            None => None,
            Some(table) => {
                let meta = self.tables[table].meta().await?;
                // The index knows keys within the table only.
                let within = key.filter(|key| **key <= *self.tables[table].info.max);
                let number = within.and_then(|key| meta.index.seek(key));
                let number = number.unwrap_or(meta.index.len() - 1);
                let block = self.tables[table].block(&meta, number).await?;
                let row = key.map_or(block.count(), |key| block.lower_bound(key));
                self.before(Spot { table, meta, number, block, row }).await?
            }
        };
        self.previous().await
    }

    /// Moves to the next key. Only after [`RunWalk::seek`] and itself.
    pub async fn next(&mut self) -> Result<(), ReadError> {
        self.visible = None;
        let start = match self.next.take() {
            Some(spot) => self.settled(spot).await?,
            None => None,
        };
        let Some(mut spot) = start else {
            self.valid = false;
            return Ok(());
        };
        self.valid = true;
        spot.block.copy_key(spot.row, &mut self.key);
        loop {
            if self.visible.is_none() && spot.block.row(spot.row).at <= self.at {
                self.visible = Some((spot.block.clone(), spot.row));
            }
            spot.row += 1;
            match self.settled(spot).await? {
                Some(next) if next.block.key_is(next.row, &self.key) => spot = next,
                other => {
                    self.next = other;
                    return Ok(());
                }
            }
        }
    }

    /// Moves to the previous key. Only after [`RunWalk::seek_before`] and itself.
    pub async fn previous(&mut self) -> Result<(), ReadError> {
        self.visible = None;
        let Some(mut spot) = self.next.take() else {
            self.valid = false;
            return Ok(());
        };
        self.valid = true;
        spot.block.copy_key(spot.row, &mut self.key);
        loop {
            // From the oldest version to the newest: the last visible one counts.
            if spot.block.row(spot.row).at <= self.at {
                self.visible = Some((spot.block.clone(), spot.row));
            }
            match self.before(spot).await? {
                Some(next) if next.block.key_is(next.row, &self.key) => spot = next,
                other => {
                    self.next = other;
                    return Ok(());
                }
            }
        }
    }

    /// The spot itself, or the first row of the next block if it is past its block.
    async fn settled(&self, spot: Spot) -> Result<Option<Spot>, ReadError> {
        if spot.row < spot.block.count() {
            return Ok(Some(spot));
        }
        let Spot { table, meta, number, .. } = spot;
        let (table, meta, number) = if number + 1 < meta.index.len() {
            (table, meta, number + 1)
        } else {
            let Some(next) = self.tables.get(table + 1) else { return Ok(None) };
            (table + 1, next.meta().await?, 0)
        };
        let block = self.tables[table].block(&meta, number).await?;
        Ok(Some(Spot { table, meta, number, block, row: 0 }))
    }

    /// The row before the spot.
    async fn before(&self, spot: Spot) -> Result<Option<Spot>, ReadError> {
        if spot.row > 0 {
            return Ok(Some(Spot { row: spot.row - 1, ..spot }));
        }
        let Spot { table, meta, number, .. } = spot;
        let (table, meta, number) = if number > 0 {
            (table, meta, number - 1)
        } else {
            let Some(table) = table.checked_sub(1) else { return Ok(None) };
            let meta = self.tables[table].meta().await?;
            let last = meta.index.len() - 1;
            (table, meta, last)
        };
        let block = self.tables[table].block(&meta, number).await?;
        let row = block.count() - 1;
        Ok(Some(Spot { table, meta, number, block, row }))
    }
}
