//! Edits: what a record of a manifest says, as fields that readers may know or not.
//!
//! | field | bytes | |
//! |---|---|---|
//! | tag | 1 | |
//! | flags | 1 | bit 0: a reader that does not know the tag must refuse the file |
//! | length | 4 | |
//! | contents | | |
//!
//! | tag | contents |
//! |---|---|
//! | 1 tree | format version 4, creator version 4, tree 4: the first field of the first record |
//! | 2 next number | 8: no file has this number or a higher one |
//! | 3 boundary | index 8, term 8, state |
//! | 4 table added | level 1, tree 4, number 8, bytes 8, hash 8, rows 8, tombstones 8, timestamps 8 + 8, first key 4 + n, last key 4 + n |
//! | 5 table removed | number 8 |
//!
//! The first record of a file holds the whole state; each later one changes it.

use bytes::Bytes;
use pinion_wal::{LogIndex, Term};

use crate::boundary::Boundary;
use crate::error::{Flaw, OpenError};
use crate::format::{CREATOR_VERSION, FORMAT_VERSION, FileNumber, Origin, Put, Take, corruption};
use crate::ids::{Timestamp, TreeId};
use crate::table::TableInfo;

const MUST_KNOW: u8 = 1;

const TREE: u8 = 1;
const NEXT_NUMBER: u8 = 2;
const BOUNDARY: u8 = 3;
const TABLE_ADDED: u8 = 4;
const TABLE_REMOVED: u8 = 5;

/// One atomic change of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edit {
    /// In the first edit of a file.
    pub tree: Option<TreeId>,
    pub next_number: Option<FileNumber>,
    pub boundary: Option<Boundary>,
    /// Tables with their levels.
    pub added: Vec<(usize, TableInfo)>,
    pub removed: Vec<FileNumber>,
}

impl Edit {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(tree) = self.tree {
            let mut field = Vec::new();
            [FORMAT_VERSION, CREATOR_VERSION, tree.0].into_iter().for_each(|number| field.put_u32(number));
            put_field(&mut out, TREE, &field);
        }
        if let Some(number) = self.next_number {
            put_field(&mut out, NEXT_NUMBER, &number.0.to_le_bytes());
        }
        if let Some(boundary) = &self.boundary {
            let mut field = Vec::new();
            field.put_u64(boundary.index.0);
            field.put_u64(boundary.term.0);
            field.put(&boundary.state);
            put_field(&mut out, BOUNDARY, &field);
        }
        for (level, table) in &self.added {
            put_field(&mut out, TABLE_ADDED, &encode_table(*level, table));
        }
        for number in &self.removed {
            put_field(&mut out, TABLE_REMOVED, &number.0.to_le_bytes());
        }
        out
    }

    /// Reads an edit that stands in `file` in the record that ends before `offset`.
    pub fn decode(bytes: &[u8], file: &str, offset: u64) -> Result<Self, OpenError> {
        let mut edit = Self::default();
        let mut take = Take::new(bytes);
        let broken = |at: usize| corruption(file, offset, Flaw::Layout, 0u64, at);
        while !take.rest.is_empty() {
            let at = bytes.len() - take.rest.len();
            let field = (|| Some((take.u8()?, take.u8()?, take.string()?)))();
            let (tag, flags, contents) = field.ok_or_else(|| broken(at))?;
            let known = edit.take_field(tag, contents, file)?.ok_or_else(|| broken(at))?;
            if !known && flags & MUST_KNOW != 0 {
                let (file, number) = (file.to_owned(), tag.into());
                return Err(OpenError::Unsupported { file, what: "the edit", number });
            }
        }
        Ok(edit)
    }

    /// Answers whether the tag is known; `None` when the contents make no sense.
    fn take_field(&mut self, tag: u8, contents: &[u8], file: &str) -> Result<Option<bool>, OpenError> {
        let mut take = Take::new(contents);
        let taken = match tag {
            TREE => {
                let version = take.u32().unwrap_or(0);
                if version != FORMAT_VERSION {
                    let (file, number) = (file.to_owned(), version.into());
                    return Err(OpenError::Unsupported { file, what: "format version", number });
                }
                take.u32().and_then(|_creator| take.u32()).map(|tree| self.tree = Some(TreeId(tree)))
            }
            NEXT_NUMBER => take.u64().map(|number| self.next_number = Some(FileNumber(number))),
            BOUNDARY => (|| {
                let (index, term) = (LogIndex(take.u64()?), Term(take.u64()?));
                self.boundary = Some(Boundary { index, term, state: Bytes::copy_from_slice(take.rest) });
                take.rest = &[];
                Some(())
            })(),
            TABLE_ADDED => decode_table(&mut take).map(|table| self.added.push(table)),
            TABLE_REMOVED => take.u64().map(|number| self.removed.push(FileNumber(number))),
            _ => return Ok(Some(false)),
        };
        Ok(taken.filter(|()| take.rest.is_empty()).map(|()| true))
    }
}

fn put_field(out: &mut Vec<u8>, tag: u8, contents: &[u8]) {
    out.put_u8(tag);
    out.put_u8(MUST_KNOW);
    out.put_string(contents);
}

fn encode_table(level: usize, table: &TableInfo) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_u8(u8::try_from(level).expect("there are a few levels"));
    out.put_u32(table.origin.tree.0);
    let TableInfo { bytes, file_hash, rows, tombstones, .. } = *table;
    let numbers = [table.origin.number.0, bytes, file_hash, rows, tombstones, table.at_min.0, table.at_max.0];
    numbers.into_iter().for_each(|number| out.put_u64(number));
    out.put_string(&table.min);
    out.put_string(&table.max);
    out
}

fn decode_table(take: &mut Take<'_>) -> Option<(usize, TableInfo)> {
    let level = take.u8()?.into();
    let tree = TreeId(take.u32()?);
    let table = TableInfo {
        origin: Origin { tree, number: FileNumber(take.u64()?) },
        bytes: take.u64()?,
        file_hash: take.u64()?,
        rows: take.u64()?,
        tombstones: take.u64()?,
        at_min: Timestamp(take.u64()?),
        at_max: Timestamp(take.u64()?),
        min: take.string()?.to_vec(),
        max: take.string()?.to_vec(),
    };
    Some((level, table))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Edit {
        let table = TableInfo {
            origin: Origin { tree: TreeId(16), number: FileNumber(7) },
            bytes: 8192,
            file_hash: 0x0102_0304_0506_0708,
            rows: 5,
            tombstones: 1,
            at_min: Timestamp(10),
            at_max: Timestamp(20),
            min: b"a".to_vec(),
            max: b"zz".to_vec(),
        };
        Edit {
            tree: Some(TreeId(16)),
            next_number: Some(FileNumber(9)),
            boundary: Some(Boundary {
                index: LogIndex(42),
                term: Term(3),
                state: Bytes::from_static(b"state"),
            }),
            added: vec![(1, table)],
            removed: vec![FileNumber(5)],
        }
    }

    #[test]
    fn edits_come_back_and_their_bytes_never_change() {
        let bytes = full().encode();
        assert_eq!(Edit::decode(&bytes, "f", 0), Ok(full()));
        crate::testing::assert_golden("edit.hex", &crate::testing::hex(&bytes));
    }

    #[test]
    fn an_unknown_field_is_skipped_unless_it_must_be_known() {
        let mut bytes = full().encode();
        bytes.extend_from_slice(&[99, 0, 1, 0, 0, 0, 7]);
        assert_eq!(Edit::decode(&bytes, "f", 0), Ok(full()));
        bytes.extend_from_slice(&[77, MUST_KNOW, 0, 0, 0, 0]);
        let expected = OpenError::Unsupported { file: "f".into(), what: "the edit", number: 77 };
        assert_eq!(Edit::decode(&bytes, "f", 0), Err(expected));
    }

    #[test]
    fn cut_edits_are_refused() {
        let bytes = full().encode();
        let ends: Vec<usize> =
            (0..bytes.len()).filter(|&end| Edit::decode(&bytes[..end], "f", 0).is_ok()).collect();
        assert_eq!(ends.len(), 5, "only between fields: {ends:?}");
    }
}
