//! Reading tables: from the cache without waiting, or through it from the disk.

use std::cell::{Cell as StdCell, RefCell};
use std::rc::{Rc, Weak};

use pinion_wal::disk::{AlignedBuf, BLOCK_BYTES, Disk, DiskOp, FileId};
use pinion_wal::task::Spawner;

use xxhash_rust::xxh3::Xxh3;

use super::TableInfo;
use super::block::{Block, Found};
use super::envelope::{self, ENVELOPE_BYTES, Kind, Place};
use super::filter::Filter;
use super::footer::{FOOTER_BYTES, Footer};
use super::index::{Handle, Index};
use crate::cache::{Cache, Held};
use crate::cell::Cell;
use crate::error::{Flaw, ReadError};
use crate::format::{corruption, table_path};
use crate::ids::Timestamp;
use crate::slab::{Piece, prefetch};

/// Bytes that a verification reads at once.
const VERIFY_BYTES: u64 = 256 << 10;

/// Index and filter take about this part of a table.
const META_PART: u64 = 16;

/// An open table. The file stays open, and stays on the disk, as long as anyone holds the table.
pub(crate) struct Table {
    pub info: TableInfo,
    path: String,
    file: FileId,
    disk: Disk,
    cache: Cache,
    /// The meta, while it is cached.
    meta: Held<Meta>,
    /// The meta that somebody uses, cached or not: all share one.
    used_meta: RefCell<Weak<Meta>>,
    /// No version names the table any more: its file goes with it.
    obsolete: StdCell<bool>,
    /// A block or the footer was found damaged: compactions leave the table alone.
    damaged: StdCell<bool>,
}

/// Index and filter of a table, and those of its blocks that are cached.
pub(crate) struct Meta {
    pub index: Index,
    filter: Filter,
    pub blocks: Vec<Held<Block>>,
    /// Blocks of the table in the cache: while there are any, the meta stays.
    pub cached_blocks: StdCell<u32>,
}

/// The answer of a table without waiting.
pub(crate) enum Look<R> {
    Found(R),
    Absent,
    /// The disk is needed.
    Wait,
}

impl Table {
    pub fn new(info: TableInfo, file: FileId, disk: Disk, cache: Cache) -> Rc<Self> {
        let path = table_path(info.origin.tree, info.origin.number);
        let (meta, obsolete, damaged) = (Held::default(), StdCell::new(false), StdCell::new(false));
        let used_meta = RefCell::default();
        Rc::new(Self { info, path, file, disk, cache, meta, used_meta, obsolete, damaged })
    }

    /// Lets the file go with the last holder of the table.
    pub fn retire(&self) {
        self.obsolete.set(true);
    }

    pub fn is_damaged(&self) -> bool {
        self.damaged.get()
    }

    pub const fn held_meta(&self) -> &Held<Meta> {
        &self.meta
    }

    /// Gives `with` the newest version at or before `at`, if the cache holds the answer.
    #[inline]
    pub fn look<R>(
        &self,
        key: &[u8],
        hash: u64,
        at: Timestamp,
        with: impl FnOnce(Timestamp, Cell<'_>) -> R,
    ) -> Look<R> {
        let Some(meta) = self.meta.used() else { return Look::Wait };
        if !meta.filter.may_hold(hash) {
            return Look::Absent;
        }
        let Some(first) = meta.index.seek(key) else { return Look::Absent };
        for number in first..meta.index.len() {
            let Some(block) = meta.blocks[number].used() else { return Look::Wait };
            self.cache.hit();
            match block.find(key, hash, at) {
                Found::Row(row) => {
                    let row = block.row(row);
                    return Look::Found(with(row.at, row.cell));
                }
                Found::Nothing => return Look::Absent,
                Found::GoOn => {}
            }
        }
        Look::Absent
    }

    /// Asks for the line of the filter that [`Table::look`] will test.
    #[inline]
    pub fn prefetch_filter(&self, hash: u64) {
        if let Some(meta) = self.meta.peek() {
            meta.filter.prefetch(hash);
        }
    }

    /// The block in which [`Table::look`] will search, if it may find something; its place is asked for.
    #[inline]
    pub fn prefetch_place(&self, key: &[u8], hash: u64) -> Option<usize> {
        let meta = self.meta.peek()?;
        if !meta.filter.may_hold(hash) {
            return None;
        }
        let number = meta.index.seek(key)?;
        prefetch(std::ptr::from_ref(&meta.blocks[number]).cast());
        Some(number)
    }

    /// Asks for the tags of a block, if it is cached.
    #[inline]
    pub fn prefetch_block(&self, number: usize) {
        if let Some(meta) = self.meta.peek()
            && let Some(block) = meta.blocks.get(number)
        {
            block.prefetch();
        }
    }

    /// Asks for the row of a block that `hash` points to, if it is cached.
    #[inline]
    pub fn prefetch_row(&self, number: usize, hash: u64) {
        if let Some(meta) = self.meta.peek()
            && let Some(block) = meta.blocks.get(number).and_then(Held::peek)
        {
            block.prefetch_row(hash);
        }
    }

    /// As [`Table::look`], reading what the cache does not hold.
    pub async fn get<R>(
        self: &Rc<Self>,
        key: &[u8],
        hash: u64,
        at: Timestamp,
        with: impl FnOnce(Timestamp, Cell<'_>) -> R,
    ) -> Result<Option<R>, ReadError> {
        let meta = self.meta().await?;
        if !meta.filter.may_hold(hash) {
            return Ok(None);
        }
        let Some(first) = meta.index.seek(key) else { return Ok(None) };
        for number in first..meta.index.len() {
            let block = self.block(&meta, number).await?;
            match block.find(key, hash, at) {
                Found::Row(row) => {
                    let row = block.row(row);
                    return Ok(Some(with(row.at, row.cell)));
                }
                Found::Nothing => return Ok(None),
                Found::GoOn => {}
            }
        }
        Ok(None)
    }

    /// Footer, index and filter.
    pub async fn meta(self: &Rc<Self>) -> Result<Rc<Meta>, ReadError> {
        if let Some(meta) = self.meta.used() {
            return Ok(meta.clone());
        }
        let meta = self.shared_meta().await?;
        Ok(self.cache.insert_meta(self, meta))
    }

    /// The meta that others use, or a fresh one. Many may want it at the same time: it is read once.
    async fn shared_meta(&self) -> Result<Rc<Meta>, ReadError> {
        let part = usize::try_from(self.info.bytes / META_PART).expect("files fit memory");
        let _held = self.cache.reads().enter(part).await;
        let cached = self.meta.used().map(|meta| meta.clone());
        if let Some(meta) = cached.or_else(|| self.used_meta.borrow().upgrade()) {
            return Ok(meta);
        }
        let meta = Rc::new(self.noting_damage(self.load_meta().await)?);
        *self.used_meta.borrow_mut() = Rc::downgrade(&meta);
        Ok(meta)
    }

    /// The meta, without a place in the cache: for scans that must not push out what is hot.
    pub async fn meta_uncached(&self) -> Result<Rc<Meta>, ReadError> {
        match self.meta.used().map(|meta| meta.clone()) {
            Some(meta) => Ok(meta),
            None => self.shared_meta().await,
        }
    }

    /// A data block.
    pub async fn block(self: &Rc<Self>, meta: &Rc<Meta>, number: usize) -> Result<Rc<Block>, ReadError> {
        if let Some(block) = meta.blocks[number].used() {
            self.cache.hit();
            return Ok(block.clone());
        }
        let handle = meta.index.handle(number);
        let _held = self.cache.reads().enter(handle.bytes as usize).await;
        // Whoever was let in before may have brought it.
        if let Some(block) = meta.blocks[number].used() {
            self.cache.hit();
            return Ok(block.clone());
        }
        let bytes = self.read(handle.offset, handle.bytes.into()).await?;
        let block = Rc::new(self.decode_block(&bytes, handle.offset)?);
        self.cache.insert_block(self, meta, number, &block);
        Ok(block)
    }

    /// Verifies and opens the data block at the front of `bytes`, which lie at `offset`.
    pub fn decode_block(&self, bytes: &[u8], offset: u64) -> Result<Block, ReadError> {
        let opened = self.open_envelope(bytes, offset, Kind::Data).and_then(|(piece, len)| {
            let broken = |at| corruption(&self.path, offset, Flaw::Layout, 0u64, at).into();
            Block::parse(piece, len).map_err(broken)
        });
        self.noting_damage(opened)
    }

    /// Reads the whole file and compares it with its checksums.
    pub async fn verify(&self, spawner: &Spawner) -> Result<(), ReadError> {
        let footer_at = self.info.bytes - FOOTER_BYTES as u64;
        self.noting_damage(self.load_meta().await)?;
        let mut hash = Xxh3::new();
        let mut at = 0;
        while at < footer_at {
            let len = (footer_at - at).min(VERIFY_BYTES);
            hash.update(&self.read(at, len).await?);
            at += len;
            spawner.pace().await;
        }
        let (expected, found) = (self.info.file_hash, hash.digest());
        if found != expected {
            let damage = corruption(&self.path, 0, Flaw::Checksum, expected, found);
            return self.noting_damage(Err(damage.into()));
        }
        Ok(())
    }

    async fn load_meta(&self) -> Result<Meta, ReadError> {
        let footer_at = self.info.bytes - FOOTER_BYTES as u64;
        let bytes = self.read(footer_at, FOOTER_BYTES as u64).await?;
        let footer = Footer::decode(&bytes, &self.path, self.info.origin, footer_at)?;
        let TableInfo { rows, tombstones, at_min, at_max, file_hash, .. } = self.info;
        let of_footer = (footer.rows, footer.tombstones, footer.at_min, footer.at_max, footer.file_hash);
        if of_footer != (rows, tombstones, at_min, at_max, file_hash) {
            return Err(corruption(&self.path, footer_at, Flaw::Identity, file_hash, footer.file_hash).into());
        }
        let Footer { filter, index, data_bytes, .. } = footer;
        let bytes = self.read(filter.offset, u64::from(filter.bytes) + u64::from(index.bytes)).await?;
        let (filter_bytes, index_bytes) = bytes.split_at(filter.bytes as usize);
        let layout = |handle: Handle| corruption(&self.path, handle.offset, Flaw::Layout, 0u64, 0u64);
        let (piece, len) = self.open_envelope(filter_bytes, filter.offset, Kind::Filter)?;
        let filter = Filter::parse(piece, len).ok_or_else(|| layout(filter))?;
        let (piece, len) = self.open_envelope(index_bytes, index.offset, Kind::Index)?;
        let parsed = Index::parse(&piece[..len], data_bytes, &self.info.min, &self.info.max);
        let index = parsed.ok_or_else(|| layout(index))?;
        let blocks = std::iter::repeat_with(Held::default).take(index.len()).collect();
        Ok(Meta { index, filter, blocks, cached_blocks: StdCell::new(0) })
    }

    /// Notes that the rows of the block at `offset` do not rise.
    pub fn out_of_order(&self, offset: u64) -> ReadError {
        self.damaged.set(true);
        corruption(&self.path, offset, Flaw::Order, 0u64, 0u64).into()
    }

    fn open_envelope(&self, bytes: &[u8], offset: u64, kind: Kind) -> Result<(Piece, usize), ReadError> {
        let place = Place { file: &self.path, origin: self.info.origin, offset };
        let (piece, len, _) = envelope::open(bytes, kind, place, self.cache.slab())?;
        Ok((piece, len))
    }

    /// Reads any range of the file.
    pub async fn read(&self, offset: u64, len: u64) -> Result<Bytes, ReadError> {
        let start = offset / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
        let end = (offset + len).next_multiple_of(BLOCK_BYTES as u64);
        if end > self.info.bytes {
            return Err(corruption(&self.path, offset, Flaw::Length, self.info.bytes, end).into());
        }
        let span = usize::try_from(end - start).expect("blocks fit memory");
        let buf = self.disk.read(self.file, start, AlignedBuf::zeroed(span), span).await?;
        let skip = usize::try_from(offset - start).expect("less than a block");
        let len = usize::try_from(len).expect("checked with the span");
        Ok(Bytes { buf, skip, len })
    }

    fn noting_damage<T>(&self, result: Result<T, ReadError>) -> Result<T, ReadError> {
        if matches!(result, Err(ReadError::Corruption(_) | ReadError::Unsupported { .. })) {
            self.damaged.set(true);
        }
        result
    }
}

/// Bytes of a file within an aligned buffer.
pub(crate) struct Bytes {
    buf: AlignedBuf,
    skip: usize,
    len: usize,
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buf[self.skip..self.skip + self.len]
    }
}

impl Meta {
    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        self.index.memory_bytes() + self.filter.memory_bytes() + self.blocks.len() * size_of::<Held<Block>>()
    }

    /// The bytes of the envelope of a block.
    pub fn block_range(&self, number: usize) -> (u64, usize) {
        let Handle { offset, bytes } = self.index.handle(number);
        (offset, bytes as usize)
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.cache.forget(self);
        drop(self.disk.start(DiskOp::Close { file: self.file }));
        if self.obsolete.get() {
            // When it fails, the next open finds a leftover and removes it.
            drop(self.disk.start(DiskOp::Remove { path: self.path.clone() }));
        }
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("info", &self.info).finish_non_exhaustive()
    }
}

const _: () = assert!(ENVELOPE_BYTES < BLOCK_BYTES);
