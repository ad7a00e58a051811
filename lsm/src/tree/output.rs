//! Writing new tables. An output that fails is abandoned whole: its files are removed, and a retry uses new numbers.

use pinion_wal::disk::{Access, AlignedBuf, Disk, DiskError, DiskOp, FileId};

use crate::cell::Cell;
use crate::format::{FileNumber, table_path, tree_dir};
use crate::ids::{Timestamp, TreeId};
use crate::options::Options;
use crate::table::envelope::Compression;
use crate::table::{TableBuilder, TableInfo};

/// Bytes written at once.
const WRITE_BYTES: usize = 256 << 10;

/// Tables that a job is writing.
pub(super) struct Output<'a> {
    disk: &'a Disk,
    tree: TreeId,
    options: &'a Options,
    compression: Compression,
    /// A table ends after this many bytes, between keys.
    table_bytes: u64,
    open: Option<Open>,
    done: Vec<(TableInfo, FileId)>,
    numbers: &'a dyn Fn() -> FileNumber,
}

struct Open {
    number: FileNumber,
    file: FileId,
    builder: TableBuilder,
    buf: Option<AlignedBuf>,
    written: u64,
}

impl<'a> Output<'a> {
    pub fn new(
        disk: &'a Disk,
        tree: TreeId,
        options: &'a Options,
        compression: Compression,
        table_bytes: u64,
        numbers: &'a dyn Fn() -> FileNumber,
    ) -> Self {
        Self { disk, tree, options, compression, table_bytes, open: None, done: Vec::new(), numbers }
    }

    /// Adds a row, in the order of a table.
    pub async fn add(&mut self, key: &[u8], at: Timestamp, cell: Cell<'_>) -> Result<(), DiskError> {
        let full =
            |open: &Open| open.builder.file_bytes() >= self.table_bytes && !open.builder.ends_with(key);
        if self.open.as_ref().is_some_and(full) {
            self.end_table().await?;
        }
        if self.open.is_none() {
            self.open = Some(self.start_table().await?);
        }
        let open = self.open.as_mut().expect("just opened");
        open.builder.add(key, at, cell);
        if open.builder.ready_bytes() >= WRITE_BYTES {
            open.write(self.disk, WRITE_BYTES).await?;
        }
        Ok(())
    }

    /// Ends the last table and makes all of them durable, names included.
    pub async fn finish(&mut self) -> Result<(), DiskError> {
        if self.open.is_some() {
            self.end_table().await?;
        }
        if !self.done.is_empty() {
            self.disk.sync_dir(&tree_dir(self.tree)).await?;
        }
        Ok(())
    }

    /// The tables and their open files.
    pub fn into_tables(self) -> Vec<(TableInfo, FileId)> {
        assert!(self.open.is_none(), "finished");
        self.done
    }

    /// Closes and removes everything written. What cannot be removed is a leftover for the next open.
    pub fn abandon(self) {
        let open = self.open.map(|open| (open.number, open.file));
        let done = self.done.into_iter().map(|(info, file)| (info.origin.number, file));
        for (number, file) in done.chain(open) {
            drop(self.disk.start(DiskOp::Close { file }));
            drop(self.disk.start(DiskOp::Remove { path: table_path(self.tree, number) }));
        }
    }

    async fn start_table(&self) -> Result<Open, DiskError> {
        let number = (self.numbers)();
        let (file, _) = self.disk.open(&table_path(self.tree, number), Access::CreateNew).await?;
        let builder = TableBuilder::new(self.tree, number, self.options.block_bytes, self.compression);
        Ok(Open { number, file, builder, buf: None, written: 0 })
    }

    async fn end_table(&mut self) -> Result<(), DiskError> {
        let open = self.open.as_mut().expect("only an open table is ended");
        let info = open.builder.finish();
        while open.builder.ready_bytes() > 0 {
            open.write(self.disk, open.builder.ready_bytes().min(WRITE_BYTES)).await?;
        }
        assert_eq!(open.written, info.bytes);
        self.disk.sync(open.file).await?;
        let open = self.open.take().expect("still open");
        self.done.push((info, open.file));
        Ok(())
    }
}

impl Open {
    async fn write(&mut self, disk: &Disk, len: usize) -> Result<(), DiskError> {
        let mut buf = self.buf.take().unwrap_or_else(|| AlignedBuf::zeroed(WRITE_BYTES));
        self.builder.take(&mut buf[..len]);
        self.buf = Some(disk.write(self.file, self.written, buf, len, false).await?);
        self.written += len as u64;
        Ok(())
    }
}
