//! Opening a log: recovery, and a new incarnation before the first append.

use std::collections::{BTreeMap, VecDeque};

use crate::disk::{BLOCK_BYTES, Cause, Disk, DiskError};
use crate::{GroupId, LogId, Mono, planted};

use super::background::{Background, build_segment};
use super::error::{Damage, OpenError};
use super::head::Head;
use super::ids::{Incarnation, Position};
use super::options::Options;
use super::read::{self, Scanned};
use super::records::Assembler;
use super::replay::{RecoveredGroup, Replay};
use super::scan::{self, Chain, Found};
use super::wal::{SegmentFile, Wal};

/// What an open found.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// The groups whose home this log is.
    pub groups: BTreeMap<GroupId, RecoveredGroup>,
    /// The incarnation that this open began.
    pub incarnation: Incarnation,
    /// Every damage that was found, now or at an earlier open, and that nobody has
    /// [accepted](Wal::accept_damage) since.
    pub damage: Vec<Damage>,
}

impl Recovered {
    /// Why a group that the owner knows to live in this log must not be served from it as it is: its records are
    /// damaged, or there is damage in which all of them may have stood. `None` of a group that is not in `groups` means
    /// that it never had a record here.
    #[must_use]
    pub fn lost(&self, group: GroupId) -> Option<&Damage> {
        match self.groups.get(&group) {
            Some(found) => found.lost.as_ref(),
            None => self.damage.first(),
        }
    }
}

/// The directory of a log.
pub(super) fn dir_of(log: LogId) -> String {
    format!("log-{:04}", log.0)
}

impl Wal {
    /// Opens the log, creating it when there is none: reads what is there, cuts what was torn, and begins a new
    /// incarnation durably. When it fails nothing that counted is lost, and it may be tried again.
    pub async fn open(disk: &Disk, log: LogId, options: Options) -> Result<(Self, Recovered), OpenError> {
        options.check();
        let dir = dir_of(log);
        let names = list_or_create(disk, &dir).await?;
        let numbers: Vec<u32> =
            names.iter().filter_map(|name| name.strip_prefix("segment-")?.parse().ok()).collect();
        let head = match Head::read(disk, log, &dir).await? {
            Some(head) => head,
            None if numbers.is_empty() => Head::default(),
            None => {
                let file = format!("{dir}/HEAD");
                return Err(OpenError::Head(Damage { file, offset: 0, expected: 1, found: 0 }));
            }
        };
        let files = read::read_segments(disk, &dir, &head, &numbers).await?;
        let chain = scan::chain(log, &head, &files);
        let outcome = replay(&dir, &head, &chain, &files)?;
        let mut damages = outcome.damages;
        // What told it first may be gone since.
        damages.extend(head.damage.filter(|known| !damages.contains(known)));

        for name in names.iter().filter(|name| name.starts_with("new-")) {
            disk.remove(&format!("{dir}/{name}")).await?;
        }
        // A log without segments begins with the next one.
        let oldest = if chain.segments.is_empty() { chain.next_epoch } else { chain.oldest };
        let base = chain.segments.first().map_or(chain.end, |(segment, _)| segment.base);
        let mark = head.damage.or(damages.first().copied());
        let head =
            raise_incarnation(disk, log, &dir, head.reopened(oldest, base, chain.end, mark), head).await?;
        let background = fill_pool(disk, &dir, &options, &chain, &files, &numbers, mark.is_some()).await?;
        let pinned = if mark.is_none() && outcome.states.values().all(|s| s.loss.is_none()) {
            None
        } else {
            Some(chain.oldest)
        };
        let damage = damages.iter().map(|mark| mark.damage(&dir)).collect();
        let recovered = Recovered { groups: outcome.groups, incarnation: head.incarnation(), damage };
        let wal = Self {
            disk: disk.clone(),
            mailbox: disk.mailbox(),
            id: log,
            dir,
            options,
            incarnation: head.incarnation(),
            head,
            accepting: None,
            groups: outcome.states,
            references: outcome.references,
            segments: chain.segments.into_iter().map(|(segment, _)| segment).collect(),
            current: false,
            next_epoch: chain.next_epoch,
            next_block: chain.end,
            oldest,
            dropping: None,
            retiring: VecDeque::new(),
            pinned,
            appended: Position(0),
            stable: Position(0),
            stable_block: chain.end,
            open: None,
            closed: VecDeque::new(),
            flights: VecDeque::new(),
            spare_buffers: Vec::new(),
            touched: Vec::new(),
            marker_since: chain.end,
            marked: true,
            idle_since: None,
            gap_nanos: 1_000_000,
            last_append: Mono::default(),
            now: Mono::default(),
            background,
            poison: None,
            metrics: super::metrics::Metrics::default(),
        };
        wal.check();
        Ok((wal, recovered))
    }

    /// The incarnation of this open.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The id of this log.
    #[must_use]
    pub const fn id(&self) -> LogId {
        self.id
    }
}

async fn list_or_create(disk: &Disk, dir: &str) -> Result<Vec<String>, DiskError> {
    match disk.list(dir).await {
        Err(DiskError { cause: Cause::NotFound, .. }) => {
            disk.make_dir(dir).await?;
            disk.sync_dir("").await?;
            Ok(Vec::new())
        }
        // A directory that a crash left with its name not yet durable is given one.
        Ok(names) if names.is_empty() => disk.sync_dir("").await.map(|()| names),
        other => other,
    }
}

pub(super) fn replay(
    dir: &str,
    head: &Head,
    chain: &Chain,
    files: &[Scanned],
) -> Result<super::replay::Outcome, OpenError> {
    let mut replay = Replay::new(dir, head.accepted);
    let mut assembler = Assembler::default();
    for found in &chain.found {
        match found {
            Found::Damage { damage, start } => {
                assembler.interrupt();
                replay.damage(*damage, *start);
            }
            Found::Flush { segment, slot, blocks, bytes } => {
                let (segment, file) = &chain.segments[*segment];
                let file = &files[*file];
                let payload = file.payload(*slot, *blocks, *bytes);
                replay.at(segment.base.plus(*slot as u64));
                assembler.feed(&payload, segment.epoch, |record| replay.record(record)).map_err(
                    |unknown| OpenError::Version {
                        file: SegmentFile::path(dir, file.file.number),
                        found: u32::from(unknown.record),
                        known: 12,
                    },
                )?;
            }
        }
    }
    Ok(replay.finish(chain.oldest))
}

async fn raise_incarnation(
    disk: &Disk,
    log: LogId,
    dir: &str,
    next: Head,
    before: Head,
) -> Result<Head, DiskError> {
    if planted::is("cut-record-comes-back") && !before.lives.is_empty() {
        return Ok(before);
    }
    next.replace(disk, log, dir).await?;
    Ok(next)
}

/// Segments that hold nothing are ready for use, after a sync of the directory (a crash may have left a name that is
/// not durable). At least one is ready when the log is open.
async fn fill_pool(
    disk: &Disk,
    dir: &str,
    options: &Options,
    chain: &Chain,
    files: &[Scanned],
    numbers: &[u32],
    keep_damaged: bool,
) -> Result<Background, DiskError> {
    let next_number = numbers.iter().max().map_or(0, |number| number + 1);
    let mut background = Background::default();
    background.next_number = next_number;
    for (index, scanned) in files.iter().enumerate() {
        if chain.segments.iter().any(|(_, used)| *used == index) {
            continue;
        }
        if keep_damaged && scanned.is_damaged() {
            // Nothing tells what it held; whoever looks into the damage may want it.
            disk.close(scanned.file.file).await?;
        } else if scanned.file.blocks * BLOCK_BYTES as u64 == options.segment_bytes {
            background.ready.push(scanned.file);
        } else {
            disk.close(scanned.file.file).await?;
            disk.remove(&SegmentFile::path(dir, scanned.file.number)).await?;
        }
    }
    if !planted::is("lost-directory-sync") {
        disk.sync_dir(dir).await?;
    }
    if background.ready.is_empty() {
        let number = background.next_number;
        background.next_number += 1;
        match build_segment(disk.clone(), dir.to_owned(), number, options.segment_bytes).await {
            Ok(file) => background.ready.push(file),
            // A full disk: what is there can be read, and writes resume when there is room.
            Err(error) if error.is_full() => background.retry = Some(Mono::default()),
            Err(error) => return Err(error),
        }
    }
    Ok(background)
}
