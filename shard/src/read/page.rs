//! Pages of SCAN and DBSIZE: a cursor is the place of the first key that was not looked at.
//!
//! Keys that share a place (48 equal bits of hash in one slot) always stand on one page, so a place says exactly where the next
//! page begins. A key that is there from the first page to the last is met exactly once.

use pinion_lsm::{Cursor, KeyRange};

use super::{ReadFailure, Snapshot, glob_matches};
use crate::apply::live;
use crate::key::{REDIS_KEYSPACE, RowKind, ScanPosition, decode_row};
use crate::limits::PAGE_BYTES_MAX;
use crate::reply::OwnedReply;
use crate::{Reply, TypeFilter, ValueType};

/// Rows between two offers to let other tasks run.
const ROWS_PER_PACE: u32 = 32;

/// A page whose rows are pinned.
pub(super) struct Page {
    snapshot: Snapshot,
    rows: Cursor,
}

impl Page {
    /// The page that begins at the place `cursor`.
    pub(super) fn pin(snapshot: Snapshot, cursor: u64) -> Self {
        Self::pin_until(snapshot, cursor, &[REDIS_KEYSPACE.kind, REDIS_KEYSPACE.id + 1])
    }

    /// The same, with rows of `slot` only.
    pub(super) fn pin_slot(snapshot: Snapshot, cursor: u64, slot: u16) -> Self {
        let to = ScanPosition((u64::from(slot) + 1) << 48).first_row(REDIS_KEYSPACE);
        Self::pin_until(snapshot, cursor, &to)
    }

    fn pin_until(snapshot: Snapshot, cursor: u64, to: &[u8]) -> Self {
        let from = ScanPosition(cursor).first_row(REDIS_KEYSPACE);
        let rows = snapshot.tree.cursor(KeyRange { from: &from, to: Some(to) }, snapshot.at);
        Self { snapshot, rows }
    }

    pub(super) async fn scan(
        self,
        count: u32,
        pattern: &[u8],
        kind: TypeFilter,
    ) -> Result<OwnedReply, ReadFailure> {
        let mut keys = Vec::new();
        let wanted = |raw: &[u8], found: ValueType| {
            let typed = match kind {
                TypeFilter::Any => true,
                TypeFilter::String => found == ValueType::String,
                TypeFilter::Other => false,
            };
            typed && (pattern.is_empty() || glob_matches(pattern, raw))
        };
        let visit = |raw: &mut Vec<u8>, found| {
            let bytes = raw.len();
            if wanted(raw, found) {
                keys.push(std::mem::take(raw));
            }
            bytes
        };
        // A pattern may take as long as many rows.
        let rows_per_pace = if pattern.is_empty() { ROWS_PER_PACE } else { 1 };
        let next = self.visit(count, rows_per_pace, visit).await?;
        Ok(OwnedReply::Page(next, keys))
    }

    pub(super) async fn db_size(self, count: u32) -> Result<OwnedReply, ReadFailure> {
        let mut keys = 0;
        let visit = |_: &mut Vec<u8>, _| {
            keys += 1;
            0
        };
        let cursor = self.visit(count, ROWS_PER_PACE, visit).await?;
        Ok(OwnedReply::Plain(Reply::Page { cursor, count: keys }))
    }

    /// Visits the live keys of about `count` rows, fewer when `visit` says that they have many bytes; answers the next cursor,
    /// 0 after the last row.
    async fn visit(
        self,
        count: u32,
        rows_per_pace: u32,
        mut visit: impl FnMut(&mut Vec<u8>, ValueType) -> usize,
    ) -> Result<u64, ReadFailure> {
        let Self { snapshot, mut rows } = self;
        let (mut looked, mut bytes, mut last, mut raw) = (0, 0, None, Vec::new());
        while let Some(row) = rows.next().await? {
            raw.clear();
            let parts = decode_row(row.key, &mut raw).filter(|parts| parts.kind == RowKind::Metadata as u8);
            let Some(parts) = parts else { continue };
            let full = looked >= count.max(1) || bytes >= PAGE_BYTES_MAX;
            if full && last != Some(parts.position) {
                return Ok(parts.position.0);
            }
            looked += 1;
            last = Some(parts.position);
            let cell = pinion_lsm::Cell::Inline(row.value);
            if let Some(found) = live(row.at, cell, snapshot.forgotten, snapshot.time_ms)? {
                bytes += visit(&mut raw, found.kind);
            }
            if looked % rows_per_pace == 0 {
                snapshot.spawner.pace().await;
            }
        }
        Ok(0)
    }
}
