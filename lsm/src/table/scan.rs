//! Reading all rows of a sorted run of tables once, past the cache: the input of a compaction.

use std::collections::VecDeque;
use std::rc::Rc;

use super::Table;
use super::block::{Block, BlockRow};
use super::read::{Bytes, Meta};
use crate::error::ReadError;

/// Bytes read at once.
const WINDOW_BYTES: usize = 256 << 10;

/// A walk over the rows of tables that follow one another, in order.
pub(crate) struct TableScan {
    tables: VecDeque<Rc<Table>>,
    meta: Option<Rc<Meta>>,
    next_block: usize,
    window: Option<(u64, Bytes)>,
    block: Option<Block>,
    row: usize,
    key: Vec<u8>,
}

impl TableScan {
    pub fn new(tables: impl IntoIterator<Item = Rc<Table>>) -> Self {
        let tables = tables.into_iter().collect();
        Self { tables, meta: None, next_block: 0, window: None, block: None, row: 0, key: Vec::new() }
    }

    /// Moves to the next row; answers whether there is one.
    pub async fn advance(&mut self) -> Result<bool, ReadError> {
        loop {
            if let Some(block) = &self.block
                && self.row + 1 < block.count()
            {
                self.row += 1;
                block.copy_key(self.row, &mut self.key);
                return Ok(true);
            }
            if !self.next_block().await? {
                return Ok(false);
            }
            if let Some(block) = &self.block {
                self.row = 0;
                block.copy_key(0, &mut self.key);
                return Ok(true);
            }
        }
    }

    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The current row; its suffix is not its key.
    pub fn row(&self) -> BlockRow<'_> {
        self.block.as_ref().expect("the scan stands on a row").row(self.row)
    }

    /// The current row does not follow the one before: its table is damaged.
    pub fn out_of_order(&self) -> ReadError {
        let table = self.tables.front().expect("the scan stands on a row");
        let meta = self.meta.as_ref().expect("a block was read by the index");
        let (offset, _) = meta.block_range(self.next_block - 1);
        table.out_of_order(offset)
    }

    /// Loads the next block, or steps to the next table; false at the end of all.
    async fn next_block(&mut self) -> Result<bool, ReadError> {
        self.block = None;
        let Some(table) = self.tables.front().cloned() else { return Ok(false) };
        let meta = match &self.meta {
            Some(meta) => meta.clone(),
            None => self.meta.insert(table.meta_uncached().await?).clone(),
        };
        if self.next_block == meta.index.len() {
            self.tables.pop_front();
            (self.meta, self.window, self.next_block) = (None, None, 0);
            return Ok(true);
        }
        let (offset, len) = meta.block_range(self.next_block);
        let within = |(start, bytes): &(u64, Bytes)| {
            let skip = usize::try_from(offset - start).expect("blocks follow one another");
            (skip + len <= bytes.len()).then_some(skip)
        };
        let skip = match self.window.as_ref().and_then(within) {
            Some(skip) => skip,
            None => {
                let bytes = WINDOW_BYTES.max(len) as u64;
                let bytes = bytes.min(table.info.bytes - offset);
                self.window = Some((offset, table.read(offset, bytes).await?));
                0
            }
        };
        let (_, bytes) = self.window.as_ref().expect("just read");
        self.block = Some(table.decode_block(&bytes[skip..skip + len], offset)?);
        self.next_block += 1;
        Ok(true)
    }
}
