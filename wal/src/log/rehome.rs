//! Moving groups between logs while nobody serves: the directory is opened with another number of cores.
//!
//! For each group that must move: the new log gets {adopt at the next home epoch, hard state, live entries, adopted};
//! it is synced; the old log gets a release; it is synced. Logs that are not kept are removed at the end. At every
//! moment one log holds the group whole at the highest complete home epoch, so an interruption anywhere is cured by
//! doing it again.
//!
//! The crash-point harness moves groups with it: it shows that the records of a move are enough, whatever a crash leaves.
//! A server moves groups by a plan of its own, which is written down before and looks at damage in which a whole group
//! may have stood; this does not.

use std::collections::{BTreeMap, BTreeSet};

use crate::disk::{Disk, DiskError};
use crate::{GroupId, LogId};

use super::error::{OpenError, Unwritable};
use super::ids::HomeEpoch;
use super::open::{Recovered, dir_of};
use super::options::Options;
use super::replay::RecoveredGroup;
use super::wal::{EntryRef, Wal};

/// Bytes that may wait in memory before the new log is synced.
const BUFFERED_BYTES_MAX: usize = 8 << 20;

/// What [`rehome`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rehomed {
    /// The groups that moved, with the log they came from and the one they are in now.
    pub moved: BTreeMap<GroupId, (LogId, LogId)>,
    /// The logs that were removed.
    pub retired: Vec<LogId>,
}

/// The logs that exist in the data directory.
pub async fn logs(disk: &Disk) -> Result<Vec<LogId>, DiskError> {
    let names = disk.list("").await?;
    Ok(names.iter().filter_map(|name| name.strip_prefix("log-")?.parse().ok().map(LogId)).collect())
}

/// Moves every group to the log that `home` says, and removes all logs but those in `keep`. Nothing is changed if all
/// is as it should be (but that logs are opened, so their incarnation rises). No log may be open.
///
/// # Panics
/// When `home` answers a log that is not in `keep`.
pub async fn rehome(
    disk: &Disk,
    options: &Options,
    keep: &[LogId],
    home: impl Fn(GroupId) -> LogId,
) -> Result<Rehomed, OpenError> {
    remove_retired(disk).await?;
    let all: BTreeSet<LogId> = logs(disk).await?.into_iter().chain(keep.iter().copied()).collect();
    let mut open: BTreeMap<LogId, (Wal, Recovered)> = BTreeMap::new();
    for log in all {
        open.insert(log, Wal::open(disk, log, options.clone()).await?);
    }
    let moves = plan(&open, keep, home)?;
    let mut rehomed = Rehomed::default();
    for (group, (from, to)) in &moves {
        if from != to {
            let state = open[from].1.groups[group].clone();
            let (wal, _) = open.get_mut(to).expect("kept logs are open");
            adopt(wal, *group, &state);
            rehomed.moved.insert(*group, (*from, *to));
            if wal.buffered_bytes() > BUFFERED_BYTES_MAX {
                settle(wal).await?;
            }
        }
    }
    for (wal, _) in open.values_mut() {
        settle(wal).await?;
    }
    for (log, (wal, recovered)) in &mut open {
        for group in recovered.groups.keys().filter(|group| moves[group].1 != *log) {
            wal.release(*group);
        }
        wal.settle_and_mark().await.map_err(|error| failure(wal, error))?;
    }
    for (log, (wal, _)) in open {
        wal.close().await?;
        if !keep.contains(&log) {
            remove_log(disk, log).await?;
            rehomed.retired.push(log);
        }
    }
    Ok(rehomed)
}

/// For every group the log it is in and the one it belongs to.
fn plan(
    open: &BTreeMap<LogId, (Wal, Recovered)>,
    keep: &[LogId],
    home: impl Fn(GroupId) -> LogId,
) -> Result<BTreeMap<GroupId, (LogId, LogId)>, OpenError> {
    let mut homes: BTreeMap<GroupId, (HomeEpoch, LogId)> = BTreeMap::new();
    for (log, (_, recovered)) in open {
        for (group, state) in &recovered.groups {
            let found = homes.entry(*group).or_insert((state.home_epoch, *log));
            *found = (*found).max((state.home_epoch, *log));
        }
    }
    let mut moves = BTreeMap::new();
    for (group, (_, from)) in homes {
        let to = home(group);
        assert!(keep.contains(&to), "group {group} belongs to log {to}, which is not kept");
        if from != to
            && let Some(damage) = &open[&from].1.groups[&group].lost
        {
            return Err(OpenError::Lost { group, damage: damage.clone() });
        }
        moves.insert(group, (from, to));
    }
    Ok(moves)
}

fn adopt(wal: &mut Wal, group: GroupId, state: &RecoveredGroup) {
    let home = HomeEpoch(state.home_epoch.0 + 1);
    wal.adopt(group, home, state.hard_state, state.first, state.prev_term);
    for entry in &state.entries {
        let entry = EntryRef { index: entry.index, term: entry.term, kind: entry.kind, data: &entry.data };
        wal.append_entries(group, state.commit, &[entry]);
    }
    wal.adopted(group);
}

async fn settle(wal: &mut Wal) -> Result<(), OpenError> {
    wal.settle().await.map_err(|error| failure(wal, error))
}

fn failure(wal: &Wal, error: Unwritable) -> OpenError {
    match wal.poisoned() {
        Some(poison) => OpenError::Disk(poison.error.clone()),
        None => OpenError::Unwritable(error),
    }
}

/// A log disappears with one rename; what it held is removed afterwards.
async fn remove_log(disk: &Disk, log: LogId) -> Result<(), DiskError> {
    disk.rename(&dir_of(log), &format!("retired-{:04}", log.0)).await?;
    disk.sync_dir("").await?;
    remove_retired(disk).await
}

async fn remove_retired(disk: &Disk) -> Result<(), DiskError> {
    for dir in disk.list("").await?.iter().filter(|name| name.starts_with("retired-")) {
        for name in disk.list(dir).await? {
            disk.remove(&format!("{dir}/{name}")).await?;
        }
        disk.remove(dir).await?;
    }
    disk.sync_dir("").await
}
