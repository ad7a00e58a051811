//! Moving groups between logs, when the directory is opened with another number of cores (M9).
//!
//! Every group is carried from the log that holds it to the log of its new core: {adopt, home epoch + 1, hard state,
//! live entries}, made durable, and only then released where it was. While this is under way the file `NODE` says so;
//! a crash at any point leaves every group whole in one log at least, the one with its highest home epoch counts, and
//! the next start finishes the move, whatever number of cores it wants then.

use std::collections::BTreeMap;

use pinion_wal::disk::{Cause, Disk, DiskError};
use pinion_wal::{EntryRef, HomeEpoch, LogId, LogIndex, RecoveredGroup, Wal};

use crate::layout::{self, Layout, LayoutError};
use crate::{CoreId, GroupId, planted};

/// Why the groups could not be moved. What the disk holds is whole: the move can be tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RehomeError {
    /// The file `NODE` could not be replaced.
    #[error("{0}")]
    Layout(#[from] LayoutError),
    /// A log cannot be opened.
    #[error("log {log}: {error}")]
    Log {
        /// The log.
        log: LogId,
        /// Why not.
        error: pinion_wal::OpenError,
    },
    /// The disk failed.
    #[error("{0}")]
    Disk(#[from] DiskError),
    /// A log could not be written.
    #[error("log {log}: {error}")]
    Write {
        /// The log.
        log: LogId,
        /// Why not.
        error: pinion_wal::Unwritable,
    },
    /// Acknowledged records of a group are damaged: it stays where it is.
    #[error(
        "group {group} cannot be moved to another core: {damage}; open the directory with {cores} cores, as before"
    )]
    Damaged {
        /// The group.
        group: GroupId,
        /// What is damaged.
        damage: pinion_wal::Damage,
        /// The number of cores it was used with.
        cores: u16,
    },
}

/// Homes the groups of a directory on `cores` cores, and answers the layout that says so. Nothing is read or written when
/// they are.
///
/// # Errors
/// When the disk fails or is full, or a group is damaged. The directory can be opened with the former number of cores
/// then, or the move tried again.
pub async fn rehome(
    disk: &Disk,
    mut layout: Layout,
    cores: u16,
    options: &pinion_wal::Options,
) -> Result<Layout, RehomeError> {
    if layout.cores == cores && layout.moving_to.is_none() {
        return Ok(layout);
    }
    layout.moving_to = Some(cores);
    layout::store(disk, &layout).await?;
    let former = layout.cores;
    layout.home_on(cores);
    let mut logs = open_logs(disk, &layout, options).await?;
    let moves = plan(&layout, &logs, former)?;
    carry(&mut logs, &moves).await?;
    release(&mut logs, &moves).await?;
    for open in logs.into_values() {
        open.wal.close().await?;
    }
    remove_logs(disk, layout.cores).await?;
    layout.moving_to = None;
    layout::store(disk, &layout).await?;
    Ok(layout)
}

struct OpenLog {
    wal: Wal,
    groups: BTreeMap<GroupId, RecoveredGroup>,
}

type Logs = BTreeMap<LogId, OpenLog>;

/// Opens every log that there is, and those of the new cores.
async fn open_logs(disk: &Disk, layout: &Layout, options: &pinion_wal::Options) -> Result<Logs, RehomeError> {
    let mut ids: Vec<LogId> = (0..layout.cores).map(|core| LogId(core.into())).collect();
    ids.extend(log_ids(disk).await?);
    ids.sort_unstable();
    ids.dedup();
    let mut logs = Logs::new();
    for log in ids {
        let (wal, recovered) =
            Wal::open(disk, log, options.clone()).await.map_err(|error| RehomeError::Log { log, error })?;
        logs.insert(log, OpenLog { wal, groups: recovered.groups });
    }
    Ok(logs)
}

/// The logs that have a directory.
async fn log_ids(disk: &Disk) -> Result<Vec<LogId>, RehomeError> {
    let names = disk.list("").await?;
    let number = |name: &String| name.strip_prefix("log-").and_then(|number| number.parse().ok());
    Ok(names.iter().filter_map(number).map(LogId).collect())
}

/// A group, the log that counts, and the one it belongs into.
struct Move {
    group: GroupId,
    from: LogId,
    to: LogId,
}

fn plan(layout: &Layout, logs: &Logs, former: u16) -> Result<Vec<Move>, RehomeError> {
    let mut moves = Vec::new();
    for core in 0..layout.cores {
        for group in layout.groups_on(CoreId(core)) {
            let holders = logs.iter().filter_map(|(log, open)| Some((*log, open.groups.get(&group)?)));
            // The highest home epoch counts: what an interrupted move left behind is older.
            let Some((from, held)) = holders.max_by_key(|(_, held)| held.home_epoch) else { continue };
            if let Some(damage) = held.lost.clone() {
                return Err(RehomeError::Damaged { group, damage, cores: former });
            }
            moves.push(Move { group, from, to: LogId(core.into()) });
        }
    }
    Ok(moves)
}

/// Writes every group that moves into its new log, durably.
async fn carry(logs: &mut Logs, moves: &[Move]) -> Result<(), RehomeError> {
    for Move { group, from, to } in moves.iter().filter(|step| step.from != step.to) {
        let held = logs.get_mut(from).and_then(|open| open.groups.remove(group));
        let held = held.expect("the plan found it there");
        let wal = &mut logs.get_mut(to).expect("the logs of all cores are open").wal;
        let home = HomeEpoch(held.home_epoch.0 + 1);
        wal.adopt(*group, home, held.hard_state, held.first, held.prev_term);
        let entries: Vec<EntryRef<'_>> = held.entries.iter().map(entry_ref).collect();
        if !planted::is("rehome-forgets-entries") {
            wal.append_entries(*group, held.hard_state.commit.max(LogIndex(0)), &entries);
        }
        wal.adopted(*group);
        // What is written goes out before the next group is copied: memory holds one group at a time.
        settle(*to, wal).await?;
    }
    Ok(())
}

/// Releases every group wherever it does not belong, durably.
async fn release(logs: &mut Logs, moves: &[Move]) -> Result<(), RehomeError> {
    let home: BTreeMap<GroupId, LogId> = moves.iter().map(|step| (step.group, step.to)).collect();
    let from: BTreeMap<GroupId, LogId> = moves.iter().map(|step| (step.group, step.from)).collect();
    for (log, open) in logs.iter_mut() {
        let mut stale: Vec<GroupId> = open.groups.keys().copied().collect();
        // What was carried away was taken out of the list.
        stale.extend(from.iter().filter(|(_, from)| *from == log).map(|(group, _)| *group));
        stale.sort_unstable();
        stale.dedup();
        for group in stale {
            if home.get(&group) != Some(log) {
                open.wal.release(group);
            }
        }
        settle(*log, &mut open.wal).await?;
    }
    Ok(())
}

async fn settle(log: LogId, wal: &mut Wal) -> Result<(), RehomeError> {
    wal.settle_and_mark().await.map_err(|error| RehomeError::Write { log, error })
}

/// Removes the logs beyond those of `cores` cores: they hold nothing any more. What a log is recognized by goes last.
async fn remove_logs(disk: &Disk, cores: u16) -> Result<(), RehomeError> {
    for log in log_ids(disk).await?.into_iter().filter(|log| log.0 >= u32::from(cores)) {
        let dir = format!("log-{:04}", log.0);
        let (head, segments): (Vec<String>, Vec<String>) =
            disk.list(&dir).await?.into_iter().partition(|name| name.starts_with("HEAD"));
        for names in [segments, head] {
            for name in names {
                remove(disk, &format!("{dir}/{name}")).await?;
            }
            disk.sync_dir(&dir).await?;
        }
        remove(disk, &dir).await?;
    }
    disk.sync_dir("").await?;
    Ok(())
}

async fn remove(disk: &Disk, path: &str) -> Result<(), DiskError> {
    match disk.remove(path).await {
        Err(DiskError { cause: Cause::NotFound, .. }) => Ok(()),
        other => other,
    }
}

fn entry_ref(entry: &pinion_wal::Entry) -> EntryRef<'_> {
    EntryRef { index: entry.index, term: entry.term, kind: entry.kind, data: &entry.data }
}
