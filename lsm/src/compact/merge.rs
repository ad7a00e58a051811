//! Merging sorted runs: all versions of all keys, each key once, newest version first.

use std::cmp::Reverse;
use std::rc::Rc;

use crate::cell::Cell;
use crate::error::ReadError;
use crate::ids::Timestamp;
use crate::table::{Table, TableScan};

/// Runs of tables, newest first, read as one.
pub(crate) struct Merge {
    scans: Vec<TableScan>,
    /// Scans that stand on a row.
    live: Vec<bool>,
    current: Option<usize>,
}

impl Merge {
    pub async fn new(runs: impl Iterator<Item = Vec<Rc<Table>>>) -> Result<Self, ReadError> {
        let mut scans: Vec<TableScan> = runs.map(TableScan::new).collect();
        let mut live = Vec::with_capacity(scans.len());
        for scan in &mut scans {
            live.push(scan.advance().await?);
        }
        let mut merge = Self { scans, live, current: None };
        merge.current = merge.best();
        Ok(merge)
    }

    /// The current row; none at the end.
    pub fn row(&self) -> Option<(&[u8], Timestamp, Cell<'_>)> {
        let scan = &self.scans[self.current?];
        let row = scan.row();
        Some((scan.key(), row.at, row.cell))
    }

    /// Moves to the next row; of equal versions only the newest run's is seen.
    pub async fn advance(&mut self) -> Result<(), ReadError> {
        let Some(current) = self.current else { return Ok(()) };
        let place = (self.scans[current].key().to_vec(), self.scans[current].row().at);
        for index in 0..self.scans.len() {
            let scan = &mut self.scans[index];
            if self.live[index] && scan.row().at == place.1 && scan.key() == place.0 {
                self.live[index] = scan.advance().await?;
            }
        }
        self.current = self.best();
        if let Some(next) = self.current.map(|next| &self.scans[next])
            && (next.key(), Reverse(next.row().at)) <= (&place.0, Reverse(place.1))
        {
            // Checksums say that the bytes are what was written, not that they make sense.
            return Err(next.out_of_order());
        }
        Ok(())
    }

    fn best(&self) -> Option<usize> {
        let live = (0..self.scans.len()).filter(|&index| self.live[index]);
        live.reduce(|best, other| {
            let (a, b) = (&self.scans[best], &self.scans[other]);
            let order = a.key().cmp(b.key()).then_with(|| b.row().at.cmp(&a.row().at));
            if order.is_gt() { other } else { best }
        })
    }
}
