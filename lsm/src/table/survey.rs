//! What stands in the files of a tree, without changing a byte: for people who look into the rows of a server that is not
//! running.

use xxhash_rust::xxh3::xxh3_64;

use super::TableInfo;
use super::block::Block;
use super::envelope::{self, Kind, Place};
use super::filter::Filter;
use super::footer::{FOOTER_BYTES, Footer};
use super::index::{Handle, Index};
use crate::boundary::Boundary;
use crate::cell::Cell;
use crate::error::{Flaw, OpenError, ReadError};
use crate::format::{
    FileNumber, Origin, corruption, manifest_name, manifest_path, number_of_name, table_name, table_path,
    tree_dir, tree_of_dir,
};
use crate::hash::hash_of;
use crate::ids::{Timestamp, TreeId};
use crate::manifest;
use crate::slab::{Piece, Slab};

/// The name of the directory of a tree, within the data directory.
#[must_use]
pub fn dir_name(tree: TreeId) -> String {
    tree_dir(tree)
}

/// The tree whose directory has this name.
#[must_use]
pub fn tree_named(name: &str) -> Option<TreeId> {
    tree_of_dir(name)
}

/// The number of the table whose file has this name.
#[must_use]
pub fn table_named(name: &str) -> Option<u64> {
    number_of_name(name).filter(|&number| table_name(number) == name).map(|number| number.0)
}

/// A tree as its manifest describes it.
#[derive(Clone, Debug)]
pub struct Described {
    /// The tree.
    pub tree: TreeId,
    /// The manifest, relative to the data directory.
    pub manifest: String,
    /// How many edits it holds.
    pub edits: usize,
    /// Whether the write of its last edit was cut short.
    pub torn: bool,
    /// How far the tables reach in the log.
    pub boundary: Boundary,
    /// No file has this number or a higher one.
    pub next_number: u64,
    /// The tables, by number.
    pub tables: Vec<DescribedTable>,
}

/// A table as the manifest describes it.
#[derive(Clone, Debug)]
pub struct DescribedTable {
    /// The file, relative to the data directory.
    pub file: String,
    /// Its number.
    pub number: u64,
    /// Its level.
    pub level: usize,
    /// Bytes of the file.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// How many of them say that a key is gone.
    pub tombstones: u64,
    /// The lowest and the highest timestamp.
    pub at: (Timestamp, Timestamp),
    /// The first and the last key.
    pub keys: (Vec<u8>, Vec<u8>),
    info: TableInfo,
}

/// The name of the manifest that counts, from the bytes of `CURRENT`.
///
/// # Errors
/// When they are damaged, or of a newer version.
pub fn current(tree: TreeId, bytes: &[u8]) -> Result<String, OpenError> {
    let path = format!("{}/{}", tree_dir(tree), manifest::CURRENT);
    manifest::named_by(tree, &path, bytes).map(manifest_name)
}

/// What a manifest says, from its name and the bytes of the whole file.
///
/// # Errors
/// When they are damaged, or of a newer version.
pub fn describe(tree: TreeId, name: &str, bytes: &[u8]) -> Result<Described, OpenError> {
    let missing = || corruption(&format!("{}/{name}", tree_dir(tree)), 0, Flaw::Missing, 1u64, 0u64);
    let number = number_of_name(name).ok_or_else(missing)?;
    let (state, edits, torn) = manifest::add_up(tree, number, bytes)?;
    let table = |(number, (level, info)): (FileNumber, (usize, TableInfo))| DescribedTable {
        file: table_path(tree, number),
        number: number.0,
        level,
        bytes: info.bytes,
        rows: info.rows,
        tombstones: info.tombstones,
        at: (info.at_min, info.at_max),
        keys: (info.min.clone(), info.max.clone()),
        info,
    };
    Ok(Described {
        tree,
        manifest: manifest_path(tree, number),
        edits,
        torn,
        boundary: state.boundary,
        next_number: state.next_number,
        tables: state.tables.into_iter().map(table).collect(),
    })
}

/// A row of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SurveyedRow<'a> {
    /// Where its block stands in the file.
    pub offset: u64,
    /// Its key, as it stands in the tree.
    pub key: &'a [u8],
    /// Its timestamp.
    pub at: Timestamp,
    /// What it holds.
    pub cell: Cell<'a>,
}

/// What a table holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Data blocks.
    pub blocks: usize,
    /// Rows.
    pub rows: u64,
    /// Different keys.
    pub keys: u64,
    /// Rows that say that a key is gone.
    pub tombstones: u64,
}

/// Checks the bytes of a whole table, and gives each row to `with` in order until it answers `false`: every checksum, the
/// hash of the file, the order and counts of rows, that the filter lets every key pass, and that footer and index repeat
/// what the manifest says, if it names the table. What was not walked is not checked.
///
/// # Errors
/// The first damage, with its place, or what a newer version wrote.
pub fn walk_table(
    tree: TreeId,
    number: u64,
    described: Option<&DescribedTable>,
    bytes: &[u8],
    with: &mut dyn FnMut(SurveyedRow<'_>) -> bool,
) -> Result<Counted, ReadError> {
    let origin = Origin { tree, number: FileNumber(number) };
    let file = File { path: table_path(tree, origin.number), origin, bytes, slab: Slab::new() };
    let info = described.map(|described| &described.info);
    let (footer, filter, index) = file.meta(info)?;
    let mut walk =
        Walk { counted: Counted::default(), last: None, at_min: Timestamp(u64::MAX), at_max: Timestamp(0) };
    for block in 0..index.len() {
        if !file.rows(index.handle(block), &filter, &mut walk, with)? {
            return Ok(walk.counted);
        }
    }
    walk.counted.blocks = index.len();
    file.whole(&footer, &walk)?;
    Ok(walk.counted)
}

struct File<'a> {
    path: String,
    origin: Origin,
    bytes: &'a [u8],
    slab: Slab,
}

struct Walk {
    counted: Counted,
    last: Option<(Vec<u8>, Timestamp)>,
    at_min: Timestamp,
    at_max: Timestamp,
}

impl File<'_> {
    fn broken(&self, offset: u64, what: Flaw, expected: u64, found: u64) -> ReadError {
        corruption(&self.path, offset, what, expected, found).into()
    }

    fn part(&self, handle: Handle, kind: Kind) -> Result<(Piece, usize), ReadError> {
        let start = usize::try_from(handle.offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(handle.bytes as usize);
        let short = || self.broken(handle.offset, Flaw::Length, end as u64, self.bytes.len() as u64);
        let bytes = self.bytes.get(start..end).ok_or_else(short)?;
        let place = Place { file: &self.path, origin: self.origin, offset: handle.offset };
        let (piece, len, _) = envelope::open(bytes, kind, place, &self.slab)?;
        Ok((piece, len))
    }

    fn meta(&self, info: Option<&TableInfo>) -> Result<(Footer, Filter, Index), ReadError> {
        let len = self.bytes.len() as u64;
        if let Some(info) = info.filter(|info| info.bytes != len) {
            return Err(self.broken(0, Flaw::Length, info.bytes, len));
        }
        let Some(footer_at) = self.bytes.len().checked_sub(FOOTER_BYTES) else {
            return Err(self.broken(0, Flaw::Length, FOOTER_BYTES as u64, len));
        };
        let footer = Footer::decode(&self.bytes[footer_at..], &self.path, self.origin, footer_at as u64)?;
        if let Some(info) = info {
            let told = (info.rows, info.tombstones, info.at_min, info.at_max, info.file_hash);
            if told != (footer.rows, footer.tombstones, footer.at_min, footer.at_max, footer.file_hash) {
                let (expected, found) = (info.file_hash, footer.file_hash);
                return Err(self.broken(footer_at as u64, Flaw::Identity, expected, found));
            }
        }
        let layout = |handle: Handle| self.broken(handle.offset, Flaw::Layout, 0, 0);
        let (piece, len) = self.part(footer.filter, Kind::Filter)?;
        let filter = Filter::parse(piece, len).ok_or_else(|| layout(footer.filter))?;
        let (piece, len) = self.part(footer.index, Kind::Index)?;
        let (first, last) = match info {
            Some(info) => (&*info.min, &*info.max),
            None => Index::span(&piece[..len]).ok_or_else(|| layout(footer.index))?,
        };
        let index = Index::parse(&piece[..len], footer.data_bytes, first, last);
        Ok((footer, filter, index.ok_or_else(|| layout(footer.index))?))
    }

    fn rows(
        &self,
        handle: Handle,
        filter: &Filter,
        walk: &mut Walk,
        with: &mut dyn FnMut(SurveyedRow<'_>) -> bool,
    ) -> Result<bool, ReadError> {
        let offset = handle.offset;
        let (piece, len) = self.part(handle, Kind::Data)?;
        let block = Block::parse(piece, len).map_err(|at| self.broken(offset, Flaw::Layout, 0, at as u64))?;
        let mut key = Vec::new();
        for number in 0..block.count() {
            block.copy_key(number, &mut key);
            let row = block.row(number);
            let (new_key, in_order) = match &walk.last {
                None => (true, true),
                Some((last, at)) => (*last != key, *last < key || *last == key && *at > row.at),
            };
            if !in_order || !filter.may_hold(hash_of(&key)) {
                return Err(self.broken(offset, Flaw::Order, 0, number as u64));
            }
            walk.counted.rows += 1;
            walk.counted.keys += u64::from(new_key);
            walk.counted.tombstones += u64::from(row.cell == Cell::Tombstone);
            (walk.at_min, walk.at_max) = (walk.at_min.min(row.at), walk.at_max.max(row.at));
            let go_on = with(SurveyedRow { offset, key: &key, at: row.at, cell: row.cell });
            let (last, at) = walk.last.get_or_insert_default();
            last.clone_from(&key);
            *at = row.at;
            if !go_on {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What only the whole file shows.
    fn whole(&self, footer: &Footer, walk: &Walk) -> Result<(), ReadError> {
        let footer_at = (self.bytes.len() - FOOTER_BYTES) as u64;
        let Counted { rows, keys, tombstones, .. } = walk.counted;
        for (expected, found) in [(footer.rows, rows), (footer.keys, keys), (footer.tombstones, tombstones)] {
            if expected != found {
                return Err(self.broken(footer_at, Flaw::Rows, expected, found));
            }
        }
        if (footer.at_min, footer.at_max) != (walk.at_min, walk.at_max) {
            return Err(self.broken(footer_at, Flaw::Span, footer.at_max.0, walk.at_max.0));
        }
        let found = xxh3_64(&self.bytes[..self.bytes.len() - FOOTER_BYTES]);
        if found != footer.file_hash {
            return Err(self.broken(0, Flaw::Checksum, footer.file_hash, found));
        }
        Ok(())
    }
}
