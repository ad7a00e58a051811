//! The file `HEAD`: which incarnations of the log count, and where each was cut.
//!
//! It is replaced at every open, before the first append: write beside it, sync, rename, sync the directory. A block
//! counts only if `start <= number < end` of its incarnation; so nothing that was cut can come back.

use crate::LogId;
use crate::disk::{Access, AlignedBuf, BLOCK_BYTES, Cause, Disk, DiskError, FileId};

use super::error::{Damage, OpenError};
use super::format::{u32_at, u64_at};
use super::ids::{BlockNumber, Epoch, Incarnation};

const MAGIC: u32 = u32::from_le_bytes(*b"PWHD");
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 32;
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
    /// No segment with a lower epoch was needed at the last open. A block that told so may have been cut since, and the
    /// files of such segments are used again.
    pub oldest: Epoch,
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

    /// The head after an open that cut at `end` and needs no segment below `oldest` and no block below
    /// `base`.
    pub fn reopened(&self, oldest: Epoch, base: BlockNumber, end: BlockNumber) -> Self {
        let mut lives = self.lives.clone();
        for life in &mut lives {
            life.end = life.end.min(end);
        }
        lives.retain(|life| life.start < life.end && life.end > base);
        let incarnation = Incarnation(self.incarnation().0 + 1);
        lives.push(Life { incarnation, start: end, end: BlockNumber(u64::MAX) });
        Self { lives, oldest }
    }

    pub fn encode(&self, log: LogId) -> Vec<u8> {
        let bytes = (HEADER_BYTES + self.lives.len() * LIFE_BYTES + 4).next_multiple_of(BLOCK_BYTES);
        let mut to = Vec::with_capacity(bytes);
        to.extend_from_slice(&MAGIC.to_le_bytes());
        to.extend_from_slice(&VERSION.to_le_bytes());
        to.extend_from_slice(&log.0.to_le_bytes());
        let count = u32::try_from(self.lives.len()).expect("fewer lives than segments");
        to.extend_from_slice(&count.to_le_bytes());
        to.extend_from_slice(&self.oldest.0.to_le_bytes());
        to.resize(HEADER_BYTES, 0);
        for life in &self.lives {
            to.extend_from_slice(&life.incarnation.0.to_le_bytes());
            to.extend_from_slice(&life.start.0.to_le_bytes());
            to.extend_from_slice(&life.end.0.to_le_bytes());
        }
        to.resize(bytes - 4, 0);
        let crc = crc32c::crc32c(&to);
        to.extend_from_slice(&crc.to_le_bytes());
        to
    }

    pub fn decode(log: LogId, file: &str, from: &[u8]) -> Result<Self, OpenError> {
        let damage = |offset: usize, expected: u32, found: u32| {
            OpenError::Head(Damage { file: file.to_owned(), offset: offset as u64, expected, found })
        };
        let Some(end) = from.len().checked_sub(4).filter(|end| *end > HEADER_BYTES) else {
            return Err(damage(0, MAGIC, 0));
        };
        let (expected, found) = (u32_at(from, end), crc32c::crc32c(&from[..end]));
        if expected != found {
            return Err(damage(0, expected, found));
        }
        if u32_at(from, 0) != MAGIC {
            return Err(damage(0, MAGIC, u32_at(from, 0)));
        }
        if u32_at(from, 4) != VERSION {
            let found = u32_at(from, 4);
            return Err(OpenError::Version { file: file.to_owned(), found, known: VERSION });
        }
        let found = LogId(u32_at(from, 8));
        if found != log {
            return Err(OpenError::WrongLog { file: file.to_owned(), found, expected: log });
        }
        let count = u32_at(from, 12) as usize;
        if HEADER_BYTES + count * LIFE_BYTES > end {
            return Err(damage(12, 0, u32_at(from, 12)));
        }
        let lives = from[HEADER_BYTES..].chunks_exact(LIFE_BYTES).take(count).map(|life| Life {
            incarnation: Incarnation(u64_at(life, 0)),
            start: BlockNumber(u64_at(life, 8)),
            end: BlockNumber(u64_at(life, 16)),
        });
        Ok(Self { lives: lives.collect(), oldest: Epoch(u64_at(from, 16)) })
    }

    /// Reads the head of the log in `dir`; `None` if there is none.
    pub async fn read(disk: &Disk, log: LogId, dir: &str) -> Result<Option<Self>, OpenError> {
        let path = format!("{dir}/HEAD");
        let (file, bytes) = match disk.open(&path, Access::Read).await {
            Err(DiskError { cause: Cause::NotFound, .. }) => return Ok(None),
            other => other?,
        };
        let head = Self::read_open(disk, log, &path, file, bytes).await;
        disk.close(file).await?;
        head.map(Some)
    }

    async fn read_open(
        disk: &Disk,
        log: LogId,
        path: &str,
        file: FileId,
        bytes: u64,
    ) -> Result<Self, OpenError> {
        let len = usize::try_from(bytes).unwrap_or(usize::MAX);
        if len == 0 || !len.is_multiple_of(BLOCK_BYTES) || len > 16 << 20 {
            return Self::decode(log, path, &[]);
        }
        let buf = disk.read(file, 0, AlignedBuf::zeroed(len), len).await?;
        Self::decode(log, path, &buf[..len])
    }

    /// Replaces the head of the log in `dir`, durably.
    pub async fn replace(&self, disk: &Disk, log: LogId, dir: &str) -> Result<(), DiskError> {
        let new = format!("{dir}/HEAD.new");
        match disk.remove(&new).await {
            Err(error) if error.cause != Cause::NotFound => return Err(error),
            _ => {}
        }
        let bytes = self.encode(log);
        let mut buf = AlignedBuf::zeroed(bytes.len());
        buf[..bytes.len()].copy_from_slice(&bytes);
        let (file, _) = disk.open(&new, Access::CreateNew).await?;
        disk.write(file, 0, buf, bytes.len(), false).await?;
        disk.sync(file).await?;
        disk.close(file).await?;
        disk.rename(&new, &format!("{dir}/HEAD")).await?;
        disk.sync_dir(dir).await
    }
}
