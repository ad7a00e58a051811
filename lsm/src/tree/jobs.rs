//! Background work of a tree: flush, compaction, and the edit that installs their results.
//!
//! A job writes new files and syncs them, names included, before the edit that names them. The edit is durable before
//! the tree acts on it; only then do the log below the boundary and the replaced tables become superfluous. What fails
//! before the edit is abandoned whole and built again; a failed edit poisons the engine, unless the disk was just full or too
//! many files were open.

use std::rc::Rc;

use pinion_wal::disk::{Cause, DiskError, FileId, OpKind};
use pinion_wal::task::Class;

use super::TreeShared;
use super::output::Output;
use crate::boundary::Boundary;
use crate::cell::{Cell, CellTag};
use crate::compact::{DropRules, Merge, Pick, TableShape, pick};
use crate::error::{Poison, ReadError};
use crate::format::{FileNumber, tree_dir};
use crate::ids::Timestamp;
use crate::manifest::{CreateError, Edit, Manifest, remove_unfinished};
use crate::memtable::{Memtable, MemtableCursor};
use crate::table::{Table, TableInfo};
use crate::version::Version;

/// The first and the longest pause before a retry, in milliseconds.
const RETRY_MILLIS_MIN: u64 = 10;
const RETRY_MILLIS_MAX: u64 = 2_000;

/// Versions of a key are copied out of a memtable until they have this many bytes.
const COPIED_BYTES: usize = 256 << 10;

/// Pauses that double.
struct Backoff(u64);

impl Backoff {
    const fn new() -> Self {
        Self(RETRY_MILLIS_MIN)
    }

    async fn wait(&mut self, tree: &TreeShared) {
        tree.engine.timer.sleep_millis(self.0).await;
        self.0 = (self.0 * 2).min(RETRY_MILLIS_MAX);
    }
}

impl TreeShared {
    /// Starts what background work there is, unless it runs already.
    pub(crate) fn start_jobs(self: &Rc<Self>) {
        let spawner = &self.engine.spawner;
        if !self.memtables.borrow().sealed.is_empty() && !self.flushing.replace(true) {
            let tree = self.clone();
            spawner.spawn(Class::Background, async move { tree.flush_all().await });
        }
        if self.pick().is_some() && !self.compacting.replace(true) {
            let tree = self.clone();
            spawner.spawn(Class::Background, async move { tree.compact_all().await });
        }
    }

    /// Flushes sealed memtables, oldest first, until there is none.
    async fn flush_all(self: Rc<Self>) {
        let mut backoff = Backoff::new();
        while !self.engine.is_poisoned() {
            let Some((memtable, boundary)) = self.memtables.borrow().sealed.back().cloned() else { break };
            match self.flush(&memtable, boundary).await {
                Ok(Ok(())) => backoff = Backoff::new(),
                Ok(Err(Poison { .. })) => break,
                Err(error) => self.pause_flush(error, &mut backoff).await,
            }
        }
        self.flushing.set(false);
    }

    async fn flush(
        self: &Rc<Self>,
        memtable: &Rc<Memtable>,
        boundary: Boundary,
    ) -> Result<Result<(), Poison>, DiskError> {
        let numbers = || self.take_number();
        let options = &self.engine.options;
        // One table a flush: level 0 then counts flushes.
        let mut output =
            Output::new(&self.engine.disk, self.id, options, options.compression, u64::MAX, &numbers);
        if let Err(error) = self.write_memtable(memtable, &mut output).await {
            output.abandon();
            return self.retried_or_final(error).map(Err);
        }
        let written = output.into_tables();
        let bytes: u64 = written.iter().map(|(info, _)| info.bytes).sum();
        let mut recorded = boundary.clone();
        if pinion_wal::planted::is("replay-from-wrong-index") {
            recorded.index.0 = recorded.index.0.saturating_sub(1).max(self.flushed.borrow().index.0);
        }
        let edit = Edit {
            boundary: Some(recorded),
            added: written.iter().map(|(info, _)| (0, info.clone())).collect(),
            ..Edit::default()
        };
        let tables = self.open_tables(written, 0);
        let installed = self.install(edit, &[], tables, || {
            let popped = self.memtables.borrow_mut().sealed.pop_back();
            assert!(
                popped.is_some_and(|(popped, _)| Rc::ptr_eq(&popped, memtable)),
                "flush order is seal order"
            );
            *self.flushed.borrow_mut() = boundary;
            self.count(|work| {
                work.flushes += 1;
                work.flush_bytes += bytes;
            });
        });
        Ok(installed.await)
    }

    async fn write_memtable(
        &self,
        memtable: &Rc<Memtable>,
        output: &mut Output<'_>,
    ) -> Result<(), DiskError> {
        let rules = self.drop_rules();
        let mut walk = MemtableCursor::new(memtable.clone());
        let (mut key, mut bytes, mut rows) =
            (Vec::new(), Vec::new(), Vec::<(Timestamp, CellTag, usize)>::new());
        walk.seek(b"");
        while walk.copy_key(&mut key) {
            let (mut judge, mut versions, mut more) = (rules.judge(&key), walk.versions(), true);
            while more {
                more = walk.walk(&mut versions, |at, cell| {
                    // Older versions may lie in tables: a tombstone must hide them.
                    if judge.keeps(at, cell == Cell::Tombstone, || false) {
                        bytes.extend_from_slice(cell.bytes());
                        rows.push((at, cell.tag(), bytes.len()));
                    }
                    bytes.len() < COPIED_BYTES
                });
                let mut start = 0;
                for (at, tag, end) in rows.drain(..) {
                    output.add(&key, at, Cell::new(tag, &bytes[start..end])).await?;
                    start = end;
                }
                bytes.clear();
                bytes.shrink_to(COPIED_BYTES);
            }
            walk.next();
            self.engine.spawner.pace().await;
        }
        output.finish().await
    }

    /// Compacts until the shape is good.
    async fn compact_all(self: Rc<Self>) {
        let mut backoff = Backoff::new();
        while !self.engine.is_poisoned() {
            // One compaction a core at a time, of each tree in turn: it is the budget of its disk and its time.
            let place = self.engine.compactions.enter(1).await;
            let Some(pick) = self.pick() else { break };
            let compacted = self.compact(pick).await;
            drop(place);
            match compacted {
                Ok(Ok(())) => backoff = Backoff::new(),
                Ok(Err(Poison { .. })) => break,
                // Damage is noted in its table, which is not picked again.
                Err(ReadError::Corruption(_) | ReadError::Unsupported { .. }) => {
                    self.engine.timer.sleep_millis(1).await
                }
                Err(ReadError::Disk(error)) => {
                    self.note_trouble(error);
                    backoff.wait(&self).await;
                }
            }
        }
        self.compacting.set(false);
    }

    async fn compact(self: &Rc<Self>, pick: Pick) -> Result<Result<(), Poison>, ReadError> {
        let version = self.version.borrow().clone();
        let pick = &self.fitting(pick, &version).await?;
        let find = |numbers: &[FileNumber]| -> Vec<Rc<Table>> {
            let tables = version.tables().map(|(_, table)| table);
            tables.filter(|table| numbers.contains(&table.info.origin.number)).cloned().collect()
        };
        let (inputs, below) = (find(&pick.inputs), find(&pick.below));
        let replaced: Vec<FileNumber> = [&pick.inputs[..], &pick.below].concat();
        let last_key = inputs.iter().map(|table| table.info.max.clone()).max().expect("a pick has inputs");
        let edit = Edit { removed: replaced.clone(), ..Edit::default() };
        let done = |bytes: u64| {
            self.compacted.borrow_mut()[pick.level] = last_key;
            self.count(|work| {
                work.compactions += 1;
                work.compaction_bytes += bytes;
            });
        };
        if pick.dead {
            return Ok(self.install(edit, &replaced, Vec::new(), || done(0)).await);
        }
        if pick.is_move() && pick.level > 0 {
            let added = vec![(pick.target(), inputs[0].info.clone())];
            let tables = vec![(pick.target(), inputs[0].clone())];
            return Ok(self.install(Edit { added, ..edit }, &replaced, tables, || done(0)).await);
        }
        let numbers = || self.take_number();
        let options = &self.engine.options;
        let last = pick.target() > 1 && version.levels[pick.target() + 1..].iter().all(Vec::is_empty);
        let compression = if last { options.compression_last } else { options.compression };
        let mut output =
            Output::new(&self.engine.disk, self.id, options, compression, options.table_bytes, &numbers);
        if let Err(error) = self.write_merged(pick, &version, inputs, below, &mut output).await {
            output.abandon();
            let ReadError::Disk(error) = error else { return Err(error) };
            return Ok(Err(self.retried_or_final(error)?));
        }
        let written = output.into_tables();
        let bytes = written.iter().map(|(info, _)| info.bytes).sum();
        let added = written.iter().map(|(info, _)| (pick.target(), info.clone())).collect();
        let tables = self.open_tables(written, pick.target());
        Ok(self.install(Edit { added, ..edit }, &replaced, tables, || done(bytes)).await)
    }

    /// `pick`, or as much of it as leaves space for what is in memory now, should none of its rows go. A compaction that fills
    /// the disk takes it from the flushes and the log, and is abandoned in the end.
    async fn fitting(&self, mut pick: Pick, version: &Version) -> Result<Pick, DiskError> {
        if pick.dead || pick.is_move() && pick.level > 0 {
            return Ok(pick);
        }
        let engine = &self.engine;
        let free = engine.disk.free_space().await?.saturating_sub(engine.memtable_bytes() as u64);
        let levels = self.shapes(version);
        while pick.bytes(&levels) > free {
            pick = pick.smaller(&levels).ok_or_else(|| DiskError {
                op: OpKind::FreeSpace,
                path: tree_dir(self.id),
                offset: None,
                cause: Cause::NoSpace,
            })?;
        }
        Ok(pick)
    }

    async fn write_merged(
        &self,
        pick: &Pick,
        version: &Version,
        inputs: Vec<Rc<Table>>,
        below: Vec<Rc<Table>>,
        output: &mut Output<'_>,
    ) -> Result<(), ReadError> {
        let rules = self.drop_rules();
        // `inputs` of level 0 overlap and are ordered newest first; deeper ones are one run.
        let inputs = if pick.level == 0 {
            inputs.into_iter().map(|table| vec![table]).collect()
        } else {
            vec![inputs]
        };
        let mut merge = Merge::new(inputs.into_iter().chain([below])).await?;
        let mut current = Vec::new();
        let mut judge = rules.judge(&current);
        let mut first = true;
        while let Some((key, at, cell)) = merge.row() {
            if std::mem::take(&mut first) || key != current {
                current.clear();
                current.extend_from_slice(key);
                judge = rules.judge(key);
            }
            if judge.keeps(at, cell == Cell::Tombstone, || version.is_bottom(pick.target(), key)) {
                output.add(key, at, cell).await?;
            }
            merge.advance().await?;
            self.engine.spawner.pace().await;
        }
        Ok(output.finish().await?)
    }

    /// What follows from an error of an output. Its files are written again under other names; but a directory that could
    /// not be synced may have lost names for good, and a later sync of it would succeed: that is final.
    fn retried_or_final(&self, error: DiskError) -> Result<Poison, DiskError> {
        let is_final = error.op == OpKind::SyncDir && !error.is_out_of_files();
        if is_final { Ok(self.engine.poison(self.id, error)) } else { Err(error) }
    }

    /// Makes `edit` durable, then replaces the tables it removes by `added` and runs `then`.
    async fn install(
        self: &Rc<Self>,
        edit: Edit,
        removed: &[FileNumber],
        added: Vec<(usize, Rc<Table>)>,
        then: impl FnOnce(),
    ) -> Result<(), Poison> {
        let _inside = self.editing.enter().await;
        self.record(&edit).await?;
        let old = self.version.borrow().clone();
        let is_kept = |table: &Table| !removed.contains(&table.info.origin.number);
        let kept =
            old.tables().filter(|(_, table)| is_kept(table)).map(|(level, table)| (level, table.clone()));
        let moved: Vec<FileNumber> = added.iter().map(|(_, table)| table.info.origin.number).collect();
        let new = Version::new(kept.chain(added));
        for (_, table) in old.tables().filter(|(_, table)| !is_kept(table)) {
            if !moved.contains(&table.info.origin.number) {
                table.retire();
            }
        }
        *self.version.borrow_mut() = Rc::new(new);
        then();
        *self.trouble.borrow_mut() = None;
        self.start_jobs();
        Ok(())
    }

    /// Appends `edit` to the manifest, or to a new one; waits while the disk is full or no more files can be open.
    async fn record(&self, edit: &Edit) -> Result<(), Poison> {
        let mut next = self.state.borrow().clone();
        next.next_number = self.next_number.get();
        let mut edit = edit.clone();
        edit.next_number = Some(FileNumber(next.next_number));
        next.apply(self.id, &edit).expect("an edit of our own fits our state");
        let mut backoff = Backoff::new();
        loop {
            if let Some(poison) = self.engine.poisoned() {
                return Err(poison);
            }
            let mut manifest = self.manifest.borrow_mut().take().expect("only one edit at a time");
            let result = if manifest.must_roll_over(self.engine.options.manifest_bytes_max) {
                let number = self.take_number();
                next.next_number = self.next_number.get();
                match Manifest::create(&self.engine.disk, self.id, number, &next).await {
                    Ok(new) => {
                        std::mem::replace(&mut manifest, new).remove().await;
                        self.count(|work| work.rollovers += 1);
                        Ok(())
                    }
                    Err(CreateError::Before(error)) if error.is_full() || error.is_out_of_files() => {
                        remove_unfinished(&self.engine.disk, self.id, number).await;
                        Err(error)
                    }
                    Err(error) => return Err(self.engine.poison(self.id, error.into_disk())),
                }
            } else {
                manifest.append(&edit).await
            };
            *self.manifest.borrow_mut() = Some(manifest);
            match result {
                Ok(()) => break,
                // Whichever job waits here, no flush is installed before it.
                Err(error) if error.is_full() || error.is_out_of_files() => {
                    self.pause_flush(error, &mut backoff).await;
                }
                Err(error) => return Err(self.engine.poison(self.id, error)),
            }
        }
        *self.state.borrow_mut() = next;
        Ok(())
    }

    fn open_tables(&self, written: Vec<(TableInfo, FileId)>, level: usize) -> Vec<(usize, Rc<Table>)> {
        let open = |(info, file)| Table::new(info, file, self.engine.disk.clone(), self.engine.cache.clone());
        written.into_iter().map(|written| (level, open(written))).collect()
    }

    fn take_number(&self) -> FileNumber {
        let number = self.next_number.get();
        self.next_number.set(number + 1);
        FileNumber(number)
    }

    fn drop_rules(&self) -> DropRules {
        DropRules { safe_point: self.safe_point.get(), drop_below: self.drop_below.borrow().clone() }
    }

    /// Starts the removal of tables that have become dead.
    pub(super) fn bury(self: &Rc<Self>) {
        let rules = self.drop_rules();
        if self.version.borrow().tables().any(|(_, table)| rules.is_dead(&table.info)) {
            self.start_jobs();
        }
    }

    fn pick(&self) -> Option<Pick> {
        let levels = self.shapes(&self.version.borrow());
        pick(&levels, &*self.compacted.borrow(), &self.engine.options)
    }

    fn shapes(&self, version: &Version) -> Vec<Vec<TableShape>> {
        let rules = self.drop_rules();
        let shape = |table: &Rc<Table>| TableShape {
            number: table.info.origin.number,
            bytes: table.info.bytes,
            min: table.info.min.clone(),
            max: table.info.max.clone(),
            damaged: table.is_damaged(),
            dead: rules.is_dead(&table.info),
        };
        version.levels.iter().map(|level| level.iter().map(shape).collect()).collect()
    }

    fn note_trouble(&self, error: DiskError) {
        self.count(|work| work.abandoned += 1);
        *self.trouble.borrow_mut() = Some(error);
    }

    async fn pause_flush(&self, error: DiskError, backoff: &mut Backoff) {
        self.note_trouble(error.clone());
        *self.paused.borrow_mut() = Some(error);
        backoff.wait(self).await;
        *self.paused.borrow_mut() = None;
    }

    fn count(&self, change: impl FnOnce(&mut crate::metrics::Work)) {
        let mut work = self.work.get();
        change(&mut work);
        self.work.set(work);
    }
}
