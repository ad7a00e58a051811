//! What the log does beside the commit path, one job at a time: filling the pool of segments, giving files back,
//! reading what a laggard still needs. The head is told beside the job: until it is, a segment that vanishes may be one
//! that never was, and a build may take long.
//!
//! A job is a future over the disk alone; the log polls it in its own `poll` and acts on the result.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::Mono;
use crate::disk::{Access, AlignedBuf, BLOCK_BYTES, Cause, Disk, DiskError};
use crate::planted;

use super::head::Head;
use super::rewrite::Laggards;
use super::wal::SegmentFile;

/// Bytes of zeros written at once into a new segment.
const ZERO_BYTES: usize = 1 << 20;

pub(super) enum Outcome {
    Built(SegmentFile),
    Removed,
    Read(Laggards),
    Told(Head),
}

type Job = Pin<Box<dyn Future<Output = Result<Outcome, DiskError>>>>;

#[derive(Default)]
pub(super) struct Background {
    job: Option<Job>,
    /// The replacement of the head that is under way.
    telling: Option<Job>,
    /// The job reads segments, which must not be written again meanwhile.
    pub reads: bool,
    /// Segments ready for use: their names and contents are durable.
    pub ready: Vec<SegmentFile>,
    /// Files that nobody needs and whose size is not that of a segment: they are removed.
    pub unfit: Vec<SegmentFile>,
    /// The number of the next file.
    pub next_number: u32,
    /// When a full disk is asked again.
    pub retry: Option<Mono>,
    /// The oldest segment is to be rewritten.
    pub rewrite_wanted: bool,
    /// Entries that were read and are still to be appended.
    pub laggards: Option<Laggards>,
}

impl Background {
    pub const fn is_busy(&self) -> bool {
        self.has_job() || self.is_telling()
    }

    pub const fn has_job(&self) -> bool {
        self.job.is_some()
    }

    pub const fn is_telling(&self) -> bool {
        self.telling.is_some()
    }

    pub fn start(&mut self, job: impl Future<Output = Result<Outcome, DiskError>> + 'static) {
        assert!(self.job.is_none(), "one job at a time");
        self.job = Some(Box::pin(job));
    }

    pub fn tell(&mut self, head: impl Future<Output = Result<Outcome, DiskError>> + 'static) {
        assert!(self.telling.is_none(), "one replacement at a time");
        self.telling = Some(Box::pin(head));
    }

    /// What has ended, if something has.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Option<Result<Outcome, DiskError>> {
        let told = poll_slot(&mut self.telling, cx);
        if told.is_some() {
            return told;
        }
        let ended = poll_slot(&mut self.job, cx);
        self.reads &= ended.is_none();
        ended
    }
}

fn poll_slot(slot: &mut Option<Job>, cx: &mut Context<'_>) -> Option<Result<Outcome, DiskError>> {
    match slot.as_mut()?.as_mut().poll(cx) {
        Poll::Ready(outcome) => {
            *slot = None;
            Some(outcome)
        }
        Poll::Pending => None,
    }
}

/// Makes a segment: written with zeros and synced under a name of its own, then renamed, and the directory synced. Only
/// then may it be used: a write into it needs no metadata to be found again.
pub(super) async fn build_segment(
    disk: Disk,
    dir: String,
    number: u32,
    bytes: u64,
) -> Result<SegmentFile, DiskError> {
    let new = format!("{dir}/new-{number:08}");
    let path = SegmentFile::path(&dir, number);
    match fill(&disk, &new, bytes).await {
        Err(error) if error.is_full() => match disk.remove(&new).await {
            Err(other) if other.cause != Cause::NotFound => return Err(other),
            _ => return Err(error),
        },
        other => other?,
    }
    disk.rename(&new, &path).await?;
    if !planted::is("lost-directory-sync") {
        disk.sync_dir(&dir).await?;
    }
    let (file, _) = disk.open(&path, Access::ReadWrite).await?;
    Ok(SegmentFile { file, number, blocks: bytes / BLOCK_BYTES as u64 })
}

async fn fill(disk: &Disk, path: &str, bytes: u64) -> Result<(), DiskError> {
    let (file, _) = disk.open(path, Access::CreateNew).await?;
    let filled = async {
        disk.preallocate(file, bytes).await?;
        let chunk = ZERO_BYTES.min(usize::try_from(bytes).unwrap_or(ZERO_BYTES));
        let mut buf = AlignedBuf::zeroed(chunk);
        let mut offset = 0;
        while offset < bytes {
            let len = chunk.min(usize::try_from(bytes - offset).unwrap_or(chunk));
            buf = disk.write(file, offset, buf, len, false).await?;
            offset += len as u64;
        }
        disk.sync(file).await
    };
    let filled = filled.await;
    disk.close(file).await?;
    filled
}

/// Gives the space of a segment back.
pub(super) async fn remove_segment(disk: Disk, dir: String, segment: SegmentFile) -> Result<(), DiskError> {
    disk.close(segment.file).await?;
    disk.remove(&SegmentFile::path(&dir, segment.number)).await?;
    disk.sync_dir(&dir).await
}
