//! What stands in the files of a log, judged as a start would judge it, without changing a byte: for people who look into
//! the log of a server that is not running.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::disk::twin::{self, TwinError};
use crate::{GroupId, LogId, LogIndex, Term};

use super::error::{Damage, OpenError};
use super::format::{self, Block, RecordType};
use super::head::Head;
use super::ids::HomeEpoch;
use super::open::{dir_of, replay};
use super::read::Scanned;
use super::records::Assembler;
use super::replay::RecoveredGroup;
use super::scan::{self, Chain, Found};
use super::wal::SegmentFile;
use crate::disk::BLOCK_BYTES;

/// The name of the directory of a log, within the data directory.
#[must_use]
pub fn dir_name(log: LogId) -> String {
    dir_of(log)
}

/// The number in the name of a segment file; `None` of other files.
#[must_use]
pub fn segment_number(name: &str) -> Option<u32> {
    name.strip_prefix("segment-")?.parse().ok()
}

/// A log, looked at.
pub struct Survey {
    dir: String,
    files: Vec<Scanned>,
    chain: Chain,
    groups: BTreeMap<GroupId, RecoveredGroup>,
    damage: Vec<Damage>,
    /// Copies of `HEAD` that are not whole, while another one is.
    halves: Vec<Damage>,
}

/// A segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The file, relative to the data directory.
    pub file: String,
    /// Which use of a segment it is in, and the number of its first block; `None` of a file that nothing is needed of.
    pub live: Option<(u64, u64)>,
    /// Blocks that are whole, of this use or an earlier one.
    pub whole: u64,
    /// Blocks that were never written.
    pub zero: u64,
    /// Blocks of which a crash left sectors of several writes.
    pub torn: u64,
    /// Blocks that no write can have left so.
    pub damaged: u64,
}

/// A flush that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flush {
    /// The file, relative to the data directory.
    pub file: String,
    /// Where its first block stands.
    pub offset: u64,
    /// The number of that block in the life of the log.
    pub block: u64,
    /// Its blocks.
    pub blocks: u64,
    /// Bytes of records in it.
    pub bytes: u64,
}

/// A record in a flush that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The file that holds its end, relative to the data directory.
    pub file: String,
    /// Where its header stands; of a record in several pieces that of the last one.
    pub offset: u64,
    /// Its type.
    pub what: RecordType,
    /// Its group.
    pub group: GroupId,
    /// The number of the record among those of its group.
    pub sequence: u32,
    /// Its index.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// What was known to be committed.
    pub commit: LogIndex,
    /// The kind of the entry, as the owner said.
    pub kind: u8,
    /// How often the group had moved.
    pub home: HomeEpoch,
    /// Its contents; `None` when its beginning was in a segment that is gone.
    pub body: Option<Bytes>,
}

/// What a walk through the log meets, in the order of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Met {
    /// A flush; its records follow.
    Flush(Flush),
    /// A record.
    Record(Record),
    /// Records that may have been acknowledged are lost here.
    Damage(Damage),
}

impl Survey {
    /// Judges the bytes of the files of a log: `HEAD`, if there is one, and each segment by its number.
    ///
    /// # Errors
    /// As an open of the log: the head is damaged or missing, or a newer version wrote something.
    pub fn of(log: LogId, head: Option<&[u8]>, segments: &[(u32, &[u8])]) -> Result<Self, OpenError> {
        let dir = dir_of(log);
        let path = format!("{dir}/HEAD");
        let damage = |offset, expected, found| Damage { file: path.clone(), offset, expected, found };
        let (head, halves) = match head {
            None if segments.is_empty() => (Head::default(), Vec::new()),
            None => return Err(OpenError::Head(damage(0, 1, 0))),
            Some(bytes) => match twin::decode(&path, bytes) {
                Ok((content, halves)) => (Head::decode(log, &path, &content)?, halves),
                Err(TwinError::Disk(error)) => return Err(error.into()),
                Err(TwinError::Damaged { expected, found, .. }) => {
                    return Err(OpenError::Head(damage(0, expected, found)));
                }
            },
        };
        let halves = halves.iter().map(|half| damage(half.offset, half.expected, half.found)).collect();
        let read =
            |&(number, bytes): &(u32, &[u8])| Scanned::of_bytes(number, bytes, |block| head.needs(block));
        let files: Vec<Scanned> = segments.iter().map(read).collect();
        let chain = scan::chain(log, &head, &files);
        let outcome = replay(&dir, &head, &chain, &files)?;
        let mut damages = outcome.damages;
        damages.extend(head.damage.filter(|known| !damages.contains(known)));
        let damage = damages.iter().map(|mark| mark.damage(&dir)).collect();
        Ok(Self { dir, files, chain, groups: outcome.groups, damage, halves })
    }

    /// The groups whose home this log is.
    #[must_use]
    pub const fn groups(&self) -> &BTreeMap<GroupId, RecoveredGroup> {
        &self.groups
    }

    /// Damage to what may have been acknowledged, and that nobody has accepted: what a start would tell.
    #[must_use]
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// Damage to what is not needed: copies of `HEAD` beside a whole one, and blocks that do not count. A start passes over
    /// it.
    #[must_use]
    pub fn dead(&self) -> Vec<Damage> {
        let mut dead = self.halves.clone();
        for file in &self.files {
            let path = self.path(file);
            for (slot, block) in file.blocks.iter().enumerate() {
                if let Block::Damaged { sector, expected, found, .. } = block {
                    let offset = (slot * BLOCK_BYTES + sector * format::SECTOR_BYTES) as u64;
                    let damage = Damage { file: path.clone(), offset, expected: *expected, found: *found };
                    if !self.damage.contains(&damage) {
                        dead.push(damage);
                    }
                }
            }
        }
        dead
    }

    /// Every segment file, in the order they were given.
    #[must_use]
    pub fn segments(&self) -> Vec<Segment> {
        let each = self.files.iter().enumerate().map(|(index, file)| {
            let used = self.chain.segments.iter().find(|(_, used)| *used == index);
            let count = |is: fn(&Block) -> bool| file.blocks.iter().filter(|block| is(block)).count() as u64;
            Segment {
                file: self.path(file),
                live: used.map(|(segment, _)| (segment.epoch.0, segment.base.0)),
                whole: count(|block| matches!(block, Block::Valid(_))),
                zero: count(|block| matches!(block, Block::Zero)),
                torn: count(|block| matches!(block, Block::Torn)),
                damaged: count(|block| matches!(block, Block::Damaged { .. })),
            }
        });
        each.collect()
    }

    /// Walks through what counts, in the order of the log, until `with` answers `false`.
    pub fn walk(&self, with: &mut dyn FnMut(Met) -> bool) {
        let mut assembler = Assembler::default();
        for found in &self.chain.found {
            let go_on = match found {
                Found::Damage { damage, .. } => {
                    assembler.interrupt();
                    with(Met::Damage(damage.damage(&self.dir)))
                }
                Found::Flush { segment, slot, blocks, bytes } => {
                    self.flush(*segment, (*slot, *blocks, *bytes), &mut assembler, with)
                }
            };
            if !go_on {
                return;
            }
        }
    }

    fn flush(
        &self,
        segment: usize,
        (slot, blocks, bytes): (usize, usize, usize),
        assembler: &mut Assembler,
        with: &mut dyn FnMut(Met) -> bool,
    ) -> bool {
        let (segment, file) = &self.chain.segments[segment];
        let file = &self.files[*file];
        let (path, begin) = (self.path(file), slot * BLOCK_BYTES);
        let flush = Flush {
            file: path.clone(),
            offset: begin as u64,
            block: segment.base.plus(slot as u64).0,
            blocks: blocks as u64,
            bytes: bytes as u64,
        };
        let mut go_on = with(Met::Flush(flush));
        let payload = file.payload(slot, blocks, bytes);
        let known = assembler.feed(&payload, segment.epoch, |record| {
            let header = record.header;
            let record = Record {
                file: path.clone(),
                offset: (begin + format::place_of(record.at)) as u64,
                what: header.record,
                group: header.group,
                sequence: header.sequence,
                index: header.index,
                term: header.term,
                commit: header.commit,
                kind: header.kind,
                home: header.home,
                body: record.body,
            };
            go_on = go_on && with(Met::Record(record));
        });
        known.expect("the same flushes were replayed");
        go_on
    }

    fn path(&self, file: &Scanned) -> String {
        SegmentFile::path(&self.dir, file.file.number)
    }
}
