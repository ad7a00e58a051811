//! The file `HEAD`: which incarnations of the log count, where each was cut, and what else must be known of the log when
//! its segments tell nothing: how far it was stable, and damage that nobody has accepted.
//!
//! It is replaced in place ([twin]) at every open, before the first append, and when a segment is begun. A block
//! counts only if `start <= number < end` of its incarnation; so nothing that was cut can come back.

use crate::LogId;
use crate::disk::twin::{self, TwinError};
use crate::disk::{Disk, DiskError};

use super::error::{Damage, OpenError};
use super::format::{BlockHeader, u32_at, u64_at};
use super::group::LossMark;
use super::ids::{BlockNumber, Epoch, Incarnation};
use super::wal::Wal;

const MAGIC: u32 = u32::from_le_bytes(*b"PWHD");
const VERSION: u32 = 2;
const HEADER_BYTES: usize = 64;
const LIFE_BYTES: usize = 24;

/// The blocks that one incarnation wrote and that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    pub incarnation: Incarnation,
    pub start: BlockNumber,
    /// One past the last; `u64::MAX` for the incarnation that is open.
    pub end: BlockNumber,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// By incarnation; the last one is open.
    pub lives: Vec<Life>,
    /// No segment with a lower epoch was needed when this was written. A block that told so may have been cut since, and
    /// the files of such segments are used again.
    pub oldest: Epoch,
    /// Every block below was durable: if no segment holds them, they are lost.
    pub stable: BlockNumber,
    /// Damage below this block was accepted; the summaries that begin here say what each group has.
    pub accepted: BlockNumber,
    /// Damage that was found and nobody has accepted. What told it may be gone.
    pub damage: Option<LossMark>,
}

impl Head {
    pub fn incarnation(&self) -> Incarnation {
        self.lives.last().map_or(Incarnation(0), |life| life.incarnation)
    }

    pub fn counts(&self, incarnation: Incarnation, number: BlockNumber) -> bool {
        self.lives
            .iter()
            .any(|life| life.incarnation == incarnation && life.start <= number && number < life.end)
    }

    /// Whether what a block holds may be needed.
    pub fn needs(&self, block: &BlockHeader) -> bool {
        block.epoch >= self.oldest && self.counts(block.incarnation, block.number)
    }

    /// The head after an open that cut at `end` and needs no segment below `oldest` and no block below
    /// `base`, and knows of `damage`.
    pub fn reopened(
        &self,
        oldest: Epoch,
        base: BlockNumber,
        end: BlockNumber,
        damage: Option<LossMark>,
    ) -> Self {
        let mut lives = self.lives.clone();
        for life in &mut lives {
            life.end = life.end.min(end);
        }
        lives.retain(|life| life.start < life.end && life.end > base);
        let incarnation = Incarnation(self.incarnation().0 + 1);
        lives.push(Life { incarnation, start: end, end: BlockNumber(u64::MAX) });
        Self { lives, oldest, stable: end, accepted: self.accepted, damage }
    }

    pub fn encode(&self, log: LogId) -> Vec<u8> {
        let mut to = Vec::with_capacity(HEADER_BYTES + self.lives.len() * LIFE_BYTES);
        to.extend_from_slice(&MAGIC.to_le_bytes());
        to.extend_from_slice(&VERSION.to_le_bytes());
        to.extend_from_slice(&log.0.to_le_bytes());
        let count = u32::try_from(self.lives.len()).expect("fewer lives than segments");
        to.extend_from_slice(&count.to_le_bytes());
        to.extend_from_slice(&self.oldest.0.to_le_bytes());
        to.extend_from_slice(&self.stable.0.to_le_bytes());
        to.extend_from_slice(&self.accepted.0.to_le_bytes());
        to.extend_from_slice(&u32::from(self.damage.is_some()).to_le_bytes());
        let damage = self.damage.unwrap_or_default();
        to.extend_from_slice(&damage.file.to_le_bytes());
        to.extend_from_slice(&damage.offset.to_le_bytes());
        to.extend_from_slice(&damage.expected.to_le_bytes());
        to.extend_from_slice(&damage.found.to_le_bytes());
        for life in &self.lives {
            to.extend_from_slice(&life.incarnation.0.to_le_bytes());
            to.extend_from_slice(&life.start.0.to_le_bytes());
            to.extend_from_slice(&life.end.0.to_le_bytes());
        }
        to
    }

    pub fn decode(log: LogId, file: &str, from: &[u8]) -> Result<Self, OpenError> {
        let damage = |offset: usize, expected: u32, found: u32| {
            OpenError::Head(Damage { file: file.to_owned(), offset: offset as u64, expected, found })
        };
        if from.len() < 8 || u32_at(from, 0) != MAGIC {
            return Err(damage(0, MAGIC, from.first_chunk().map_or(0, |first| u32::from_le_bytes(*first))));
        }
        if u32_at(from, 4) != VERSION {
            let found = u32_at(from, 4);
            return Err(OpenError::Version { file: file.to_owned(), found, known: VERSION });
        }
        let lives = from.get(HEADER_BYTES..).unwrap_or_default();
        if from.len() < HEADER_BYTES || lives.len() != u32_at(from, 12) as usize * LIFE_BYTES {
            return Err(damage(12, (lives.len() / LIFE_BYTES) as u32, u32_at(from, 12)));
        }
        let found = LogId(u32_at(from, 8));
        if found != log {
            return Err(OpenError::WrongLog { file: file.to_owned(), found, expected: log });
        }
        let mark = match u32_at(from, 40) {
            0 => None,
            1 => Some(LossMark {
                file: u32_at(from, 44),
                offset: u64_at(from, 48),
                expected: u32_at(from, 56),
                found: u32_at(from, 60),
            }),
            other => return Err(damage(40, 1, other)),
        };
        let lives = lives.chunks_exact(LIFE_BYTES).map(|life| Life {
            incarnation: Incarnation(u64_at(life, 0)),
            start: BlockNumber(u64_at(life, 8)),
            end: BlockNumber(u64_at(life, 16)),
        });
        Ok(Self {
            lives: lives.collect(),
            oldest: Epoch(u64_at(from, 16)),
            stable: BlockNumber(u64_at(from, 24)),
            accepted: BlockNumber(u64_at(from, 32)),
            damage: mark,
        })
    }

    /// Reads the head of the log in `dir`; `None` if there is none.
    pub async fn read(disk: &Disk, log: LogId, dir: &str) -> Result<Option<Self>, OpenError> {
        let path = format!("{dir}/HEAD");
        match twin::read(disk, &path).await {
            Ok(None) => Ok(None),
            Ok(Some(content)) => Self::decode(log, &path, &content).map(Some),
            Err(TwinError::Disk(error)) => Err(error.into()),
            Err(TwinError::Damaged { path, expected, found }) => {
                Err(OpenError::Head(Damage { file: path, offset: 0, expected, found }))
            }
        }
    }

    /// Replaces the head of the log in `dir`, durably.
    pub async fn replace(&self, disk: &Disk, log: LogId, dir: &str) -> Result<(), DiskError> {
        twin::replace(disk, &format!("{dir}/HEAD"), &self.encode(log)).await
    }
}

/// What a head has to tell while the log is open. One replacement at a time, in the background; what is told is part
/// of the head when its replacement has ended.
impl Wal {
    /// The head that must be written next, if the one on the disk is not good enough: a segment was begun and is stable
    /// in part, or damage was accepted and the summaries that say what is left are stable.
    pub(super) fn head_due(&self) -> Option<Head> {
        let newest = self.segments.back().filter(|_| self.current)?;
        let begun = self.stable_block > newest.base && self.head.stable <= newest.base;
        let accepted = self.accepting.filter(|(_, told)| self.stable >= *told);
        if !begun && accepted.is_none() {
            return None;
        }
        let mut head = Head { stable: self.stable_block, oldest: self.oldest, ..self.head.clone() };
        if let Some((base, _)) = accepted {
            head.accepted = base;
            head.damage = None;
        }
        Some(head)
    }

    pub(super) fn head_told(&mut self, head: Head) {
        if self.accepting.is_some_and(|(base, _)| head.accepted == base) {
            self.accepting = None;
        }
        self.head = head;
    }

    /// A person accepts the damage that was found, after the owner has looked for groups that are not there any more: it
    /// is not told again once [`Wal::settle`] has returned. Answers `false`, and does nothing, while a group has losses
    /// that were not [accepted](Wal::accept_loss).
    pub fn accept_damage(&mut self) -> bool {
        if self.groups.values().any(|state| state.loss.is_some()) {
            return false;
        }
        self.pinned = None;
        if self.head.damage.is_some() && self.accepting.is_none() {
            // A new segment begins with the summaries of all groups: whatever is damaged below them, they tell who lost
            // something.
            self.close_buffer();
            self.current = false;
            self.open_buffer();
            self.marked = false;
            self.accepting = self.segments.back().map(|segment| (segment.base, self.appended));
        }
        true
    }
}
