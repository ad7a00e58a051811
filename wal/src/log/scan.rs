//! Finding the blocks that count in what stands in the segment files.
//!
//! The rules, in the order in which they are applied:
//! 1. A block counts if it is valid, of this log, and within the life of its incarnation (`HEAD`).
//! 2. The largest `oldest` in any block that counts is where the log begins; the largest `stable`, and the end of every
//!    life that is over, is what was certainly durable.
//! 3. The epoch and base of a file are those that most of its blocks at or above `oldest` have.
//! 4. Flushes follow one another by block number. Where the next flush is not whole: if it lies below the stable mark
//!    it is damage; if one of its blocks is damaged (no write can have left it so) it is damage; else it was torn or
//!    never written, and the log is cut there.
//! 5. After damage the log goes on at the next whole flush. If there is none it ends behind the damage, so that every
//!    later open finds it again.

use std::collections::BTreeMap;

use crate::LogId;
use crate::disk::BLOCK_BYTES;
use crate::planted;

use super::format::{Block, BlockHeader};
use super::group::{LossMark, NO_FILE};
use super::head::Head;
use super::ids::{BlockNumber, Epoch};
use super::read::{Scanned, valid};
use super::wal::Segment;

/// A whole flush, or a place where records were lost.
#[derive(Debug)]
pub(super) enum Found {
    Flush { segment: usize, slot: usize, blocks: usize, bytes: usize },
    Damage { damage: LossMark, start: BlockNumber },
}

/// The flushes of a segment that is in use: slot, blocks and bytes of each.
pub(super) fn flushes_of(log: LogId, segment: &Segment, file: &Scanned) -> Vec<(usize, usize, usize)> {
    let mut flushes = Vec::new();
    let mut slot = 0;
    while let Some(header) = file.blocks.get(slot).and_then(valid) {
        let number = segment.base.plus(slot as u64);
        let blocks = usize::from(header.flush_blocks);
        if header.log != log || header.epoch != segment.epoch || header.number != number || blocks == 0 {
            break;
        }
        flushes.push((slot, blocks, header.flush_bytes as usize));
        slot += blocks;
    }
    flushes
}

/// What counts of a log.
#[derive(Default)]
pub(super) struct Chain {
    /// The segments that are needed, by epoch, each with its index among the scanned files.
    pub segments: Vec<(Segment, usize)>,
    pub found: Vec<Found>,
    /// One past the last block of the last flush; above the beginning of every damage, and not below what was stable.
    pub end: BlockNumber,
    pub oldest: Epoch,
    /// Above every epoch that stands in any block.
    pub next_epoch: Epoch,
}

/// Applies the rules of the module page.
pub(super) fn chain(log: LogId, head: &Head, files: &[Scanned]) -> Chain {
    Walk::new(log, head, files).run()
}

struct Walk<'a> {
    log: LogId,
    head: &'a Head,
    files: &'a [Scanned],
    stable: BlockNumber,
    chain: Chain,
}

impl<'a> Walk<'a> {
    fn new(log: LogId, head: &'a Head, files: &'a [Scanned]) -> Self {
        let chain = Chain { oldest: head.oldest, next_epoch: head.oldest, ..Chain::default() };
        let mut walk = Self { log, head, files, stable: head.stable, chain };
        for header in files.iter().flat_map(|file| file.blocks.iter().filter_map(valid)) {
            if header.log == log {
                walk.chain.next_epoch = walk.chain.next_epoch.max(Epoch(header.epoch.0 + 1));
            }
            if walk.counts(header) {
                walk.chain.oldest = walk.chain.oldest.max(header.oldest);
                walk.stable = walk.stable.max(header.stable);
            }
        }
        for life in head.lives.iter().filter(|life| life.end.0 != u64::MAX) {
            walk.stable = walk.stable.max(life.end);
        }
        walk
    }

    fn counts(&self, header: &BlockHeader) -> bool {
        header.log == self.log && self.head.counts(header.incarnation, header.number)
    }

    /// Rule 3.
    fn identify(&self, file: &Scanned) -> Option<Segment> {
        let mut votes: BTreeMap<(Epoch, u64), u32> = BTreeMap::new();
        for (slot, block) in file.blocks.iter().enumerate() {
            let Some(header) = valid(block).filter(|header| self.counts(header)) else { continue };
            if header.epoch >= self.chain.oldest
                && let Some(base) = header.number.0.checked_sub(slot as u64)
            {
                *votes.entry((header.epoch, base)).or_default() += 1;
            }
        }
        let ((epoch, base), _) = votes.into_iter().max_by_key(|(id, count)| (*count, *id))?;
        Some(Segment { epoch, base: BlockNumber(base), blocks: file.file.blocks, file: Some(file.file) })
    }

    fn run(mut self) -> Chain {
        let mut segments: Vec<(Segment, usize)> = self
            .files
            .iter()
            .enumerate()
            .filter_map(|(index, file)| Some((self.identify(file)?, index)))
            .collect();
        segments.sort_by_key(|(segment, _)| segment.epoch);
        let Some((first, _)) = segments.first() else {
            let start = self.head.lives.last().map_or(BlockNumber(0), |life| life.start);
            self.chain.end = start.max(self.stable);
            self.missing_end(start);
            self.damaged_start(start);
            return self.chain;
        };
        let mut at = first.base;
        if first.epoch != self.chain.oldest {
            // Nothing at all was stable yet: the first segment may have been torn whole.
            if let [life] = self.head.lives[..]
                && self.stable <= life.start
                && !self.files.iter().any(has_damage)
            {
                self.chain.end = life.start;
                return self.chain;
            }
            let damage = no_file(u32::try_from(self.chain.oldest.0).unwrap_or(u32::MAX), first.epoch.0);
            // Somewhere below the first block that is there.
            let start = BlockNumber(at.0.saturating_sub(1));
            self.chain.found.push(Found::Damage { damage, start });
        }
        let mut index = 0;
        let mut used = 0;
        loop {
            if segments.get(index + 1).is_some_and(|(next, _)| next.base <= at) {
                index += 1;
                continue;
            }
            let (segment, file) = &segments[index];
            match self.flush_at(segment, &self.files[*file], at) {
                Ok(header) => {
                    let blocks = usize::from(header.flush_blocks);
                    let slot = slot_of(segment, at).expect("a flush lies in its segment");
                    let bytes = header.flush_bytes as usize;
                    self.chain.found.push(Found::Flush { segment: index, slot, blocks, bytes });
                    at = at.plus(blocks as u64);
                    used = index + 1;
                }
                Err(damage) => {
                    let torn = at >= self.stable && damage.is_none();
                    if torn || planted::is("torn-acknowledged-cut") {
                        break;
                    }
                    let damage = damage.unwrap_or_else(|| lost(segment, &self.files[*file], at));
                    self.chain.found.push(Found::Damage { damage, start: at });
                    used = index + 1;
                    let Some((next, number)) = self.next_flush(&segments, index, at) else {
                        // A life that ended before it would leave the next open nothing to find it by.
                        self.chain.end = at.plus(1).max(self.stable);
                        break;
                    };
                    (index, at) = (next, number);
                }
            }
        }
        self.chain.end = self.chain.end.max(at);
        self.damaged_start(at);
        segments.truncate(used);
        self.chain.segments = segments;
        self.chain
    }

    /// No block counts: that is damage if some should.
    fn missing_end(&mut self, start: BlockNumber) {
        if start < self.stable || self.head.lives.len() > 1 {
            self.chain.found.push(Found::Damage { damage: no_file(0, 0), start });
        }
    }

    /// A segment that began at `at` with a single block, and that block is damaged: nothing in its file tells what it
    /// is but the tags of the sectors that are whole.
    fn damaged_start(&mut self, at: BlockNumber) {
        let last = self.files.iter().flat_map(|file| file.blocks.iter().filter_map(valid));
        let last = last.filter(|header| self.counts(header)).map(|header| header.epoch.0 + 1).max();
        let epochs = [Some(self.chain.next_epoch.0), last].into_iter().flatten();
        let lives = || self.head.lives.iter().map(|life| life.incarnation);
        let tags = epochs.flat_map(|epoch| lives().map(move |incarnation| (epoch, incarnation)));
        let tags: Vec<u32> = tags
            .map(|(epoch, incarnation)| {
                let header = BlockHeader {
                    log: self.log,
                    incarnation,
                    epoch: Epoch(epoch),
                    number: at,
                    stable: BlockNumber(0),
                    oldest: Epoch(0),
                    flush_blocks: 0,
                    flush_index: 0,
                    flush_bytes: 0,
                };
                header.tag()
            })
            .collect();
        for file in self.files {
            if let Some(Block::Damaged { sector, expected, found, tags: of_sectors }) = file.blocks.first()
                && of_sectors.iter().flatten().any(|tag| tags.contains(tag))
            {
                let damage = LossMark {
                    file: file.file.number,
                    offset: (sector * 512) as u64,
                    expected: *expected,
                    found: *found,
                };
                self.chain.found.push(Found::Damage { damage, start: at });
                self.chain.end = self.chain.end.max(at.plus(1));
            }
        }
    }

    /// The header of the whole flush at `at`; else the damage in it, if no crash can have left it so.
    fn flush_at(
        &self,
        segment: &Segment,
        file: &Scanned,
        at: BlockNumber,
    ) -> Result<BlockHeader, Option<LossMark>> {
        let Some(slot) = slot_of(segment, at) else { return Err(None) };
        let header = self.block_at(segment, file, slot, at)?;
        let blocks = usize::from(header.flush_blocks);
        if header.flush_index != 0 || blocks == 0 || slot + blocks > file.blocks.len() {
            return Err(None);
        }
        let mut torn = false;
        for index in 1..blocks {
            match self.block_at(segment, file, slot + index, at.plus(index as u64)) {
                Ok(other) if usize::from(other.flush_index) == index => {}
                Ok(_) | Err(None) => torn = true,
                Err(damage) => return Err(damage),
            }
        }
        if torn { Err(None) } else { Ok(header) }
    }

    fn block_at(
        &self,
        segment: &Segment,
        file: &Scanned,
        slot: usize,
        number: BlockNumber,
    ) -> Result<BlockHeader, Option<LossMark>> {
        match &file.blocks[slot] {
            Block::Valid(header) if planted::is("checksum-without-position") => Ok(*header),
            Block::Valid(header) => {
                let right = self.counts(header) && header.epoch == segment.epoch && header.number == number;
                if right { Ok(*header) } else { Err(None) }
            }
            Block::Zero | Block::Torn => Err(None),
            Block::Damaged { sector, expected, found, .. } => Err(Some(LossMark {
                file: file.file.number,
                offset: (slot * BLOCK_BYTES + sector * 512) as u64,
                expected: *expected,
                found: *found,
            })),
        }
    }

    /// The first whole flush above `at`.
    fn next_flush(
        &self,
        segments: &[(Segment, usize)],
        from: usize,
        at: BlockNumber,
    ) -> Option<(usize, BlockNumber)> {
        for (index, (segment, file)) in segments.iter().enumerate().skip(from) {
            let file = &self.files[*file];
            let start = at.plus(1).max(segment.base);
            let end = segments.get(index + 1).map_or(u64::MAX, |(next, _)| next.base.0);
            let end = end.min(segment.base.0 + file.blocks.len() as u64);
            for number in start.0..end {
                if self.flush_at(segment, file, BlockNumber(number)).is_ok() {
                    return Some((index, BlockNumber(number)));
                }
            }
        }
        None
    }
}

fn has_damage(file: &Scanned) -> bool {
    file.blocks.iter().any(|block| matches!(block, Block::Damaged { .. }))
}

/// A block that was durable and is not there: its whole identity is what was expected.
fn lost(segment: &Segment, file: &Scanned, at: BlockNumber) -> LossMark {
    let slot = slot_of(segment, at).unwrap_or(file.blocks.len());
    let found = file.blocks.get(slot).and_then(valid).map_or(0, |header| header.number.0 as u32);
    LossMark { file: file.file.number, offset: (slot * BLOCK_BYTES) as u64, expected: at.0 as u32, found }
}

/// A segment that should be there and is not.
fn no_file(expected: u32, found: u64) -> LossMark {
    LossMark { file: NO_FILE, offset: 0, expected, found: u32::try_from(found).unwrap_or(u32::MAX) }
}

fn slot_of(segment: &Segment, at: BlockNumber) -> Option<usize> {
    let slot = at.0.checked_sub(segment.base.0)?;
    (slot < segment.blocks).then(|| usize::try_from(slot).expect("a segment fits memory"))
}
