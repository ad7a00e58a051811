//! Moving groups between logs, when the directory is opened with another number of cores (M9).
//!
//! Every group is carried from the log that holds it to the log of its new core: {adopt, home epoch + 1, hard state,
//! live entries}, made durable, and only then released where it was. While this is under way the file `NODE` says so, and
//! nobody serves: a group changes in none of its logs, and every copy that was finished is as good as the others. So a
//! crash at any point leaves every group whole in one log at least. The next start finishes the move, whatever number of
//! cores it wants then, from the copy that counts: an undamaged one, and of those the one with the highest home epoch.

use std::collections::BTreeMap;

use pinion_wal::disk::{Cause, Disk, DiskError};
use pinion_wal::{Damage, EntryRef, HomeEpoch, LogId, LogIndex, Recovered, RecoveredGroup, Wal};

use crate::layout::{self, Layout, LayoutError};
use crate::{CoreId, GroupId, planted};

/// A directory whose files are being removed begins so.
const DROPPED: &str = "dropped-log-";

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
        "group {group} cannot be moved to another core: {damage}; {}, or give up what is lost of it with --accept-loss {group}",
        remedy(*cores)
    )]
    Damaged {
        /// The group.
        group: GroupId,
        /// What is damaged.
        damage: Damage,
        /// The number of cores it was used with, when it can stay where it is with that.
        cores: Option<u16>,
    },
    /// A log that this directory had is not there.
    #[error(
        "the directory {dir} is gone, and with it acknowledged writes: put it back, restore the whole data directory, or give up what is lost with --accept-loss {groups}"
    )]
    LogGone {
        /// Where it was.
        dir: String,
        /// The groups that lived there, as a list.
        groups: String,
    },
    /// No log knows of a group, and none tells why.
    #[error(
        "no log holds group {group}, and acknowledged writes are gone with it: put the missing directories log-* back, restore the whole data directory, or give up what is lost of it with --accept-loss {group}"
    )]
    GroupGone {
        /// The group.
        group: GroupId,
    },
}

fn remedy(cores: Option<u16>) -> String {
    match cores {
        Some(cores) => format!("open the directory with {cores} cores, as before"),
        None => "restore the whole data directory".into(),
    }
}

/// Homes the groups of a directory on `cores` cores, and answers the layout that says so. Nothing is written when they
/// are. A directory that is being founded gets its logs here, with a record of every group in them: from then on a log
/// or a group that is not there was lost.
///
/// # Errors
/// When the disk fails or is full, a group is damaged, or a log is gone. Before a move began the directory can be opened with
/// the former number of cores then (if nothing is gone); one that is under way can be tried again.
pub async fn rehome(
    disk: &Disk,
    mut layout: Layout,
    cores: u16,
    options: &pinion_wal::Options,
) -> Result<Layout, RehomeError> {
    if layout.moving_to.is_none() {
        let there = log_ids(disk).await?;
        let mut former = (0..layout.cores).map(CoreId);
        if let Some(gone) = former.find(|core| !there.contains(&LogId(core.0.into()))) {
            let groups: Vec<String> = layout.groups_on(gone).iter().map(GroupId::to_string).collect();
            return Err(RehomeError::LogGone { dir: dir_of(LogId(gone.0.into())), groups: groups.join(",") });
        }
        if layout.cores == cores {
            return Ok(layout);
        }
    }
    let mut wanted = layout.clone();
    wanted.home_on(cores);
    let mut logs = open_logs(disk, cores, options).await?;
    let moves = plan(&layout, &wanted, &logs)?;
    // Nothing has changed up to here: what is refused can be opened as before. Of a directory that is being founded, or
    // whose move is under way, NODE says enough already.
    if layout.moving_to.is_none() {
        layout.moving_to = Some(cores);
        layout::store(disk, &layout).await?;
    }
    carry(&mut logs, &moves).await?;
    release(&mut logs, &moves).await?;
    for open in logs.into_values() {
        open.wal.close().await?;
    }
    remove_logs(disk, cores).await?;
    wanted.moving_to = None;
    layout::store(disk, &wanted).await?;
    Ok(wanted)
}

struct OpenLog {
    wal: Wal,
    recovered: Recovered,
}

type Logs = BTreeMap<LogId, OpenLog>;

/// Opens every log that there is, and those of the new cores.
async fn open_logs(disk: &Disk, cores: u16, options: &pinion_wal::Options) -> Result<Logs, RehomeError> {
    let mut ids: Vec<LogId> = (0..cores).map(|core| LogId(core.into())).collect();
    ids.extend(log_ids(disk).await?);
    ids.sort_unstable();
    ids.dedup();
    let mut logs = Logs::new();
    for log in ids {
        let (wal, recovered) =
            Wal::open(disk, log, options.clone()).await.map_err(|error| RehomeError::Log { log, error })?;
        logs.insert(log, OpenLog { wal, recovered });
    }
    Ok(logs)
}

/// The logs that have a directory.
pub(crate) async fn log_ids(disk: &Disk) -> Result<Vec<LogId>, DiskError> {
    let names = disk.list("").await?;
    let number = |name: &String| name.strip_prefix("log-").and_then(|number| number.parse().ok());
    Ok(names.iter().filter_map(number).map(LogId).collect())
}

fn dir_of(log: LogId) -> String {
    format!("log-{:04}", log.0)
}

/// A group, the log that counts, and the one it belongs into.
struct Move {
    group: GroupId,
    /// `None` for a group that is being founded.
    from: Option<LogId>,
    to: LogId,
    /// Higher than that of any copy.
    home: HomeEpoch,
}

fn plan<'l>(layout: &Layout, wanted: &Layout, logs: &'l Logs) -> Result<Vec<Move>, RehomeError> {
    let mut moves = Vec::new();
    for core in 0..wanted.cores {
        for group in wanted.groups_on(CoreId(core)) {
            let to = LogId(core.into());
            let lived = LogId(layout.core_of(group).0.into());
            let held = |(log, open): (&LogId, &'l OpenLog)| Some((*log, open.recovered.groups.get(&group)?));
            let copies: Vec<(LogId, &RecoveredGroup)> = logs.iter().filter_map(held).collect();
            let highest = copies.iter().map(|(_, held)| held.home_epoch).max();
            // The highest home epoch counts: what a finished move left behind is older. While one is under way every whole
            // copy is complete.
            let whole = |held: &RecoveredGroup| layout.moving_to.is_some() && held.lost.is_none();
            let from = match copies.iter().max_by_key(|(_, held)| (whole(held), held.home_epoch)) {
                Some((from, held)) => {
                    let alone = copies.len() == 1;
                    let stays = layout.moving_to.is_none() || (alone && *from == lived);
                    // A damaged copy may stay where it is. Others are not released for it: more may be left of them.
                    let refused = held.lost.as_ref().filter(|_| *from != to || !alone);
                    refuse_damaged(layout, group, refused, stays)?;
                    Some(*from)
                }
                None if layout.is_being_founded() => None,
                None => {
                    // Everything that was known of it may have stood in a damaged place. Where it lived it may stay: there
                    // it refuses to serve.
                    let may_stay = layout.moving_to.is_none() && lived == to;
                    if may_stay && logs.get(&to).is_some_and(|open| !open.recovered.damage.is_empty()) {
                        continue;
                    }
                    let damage = logs.values().find_map(|open| open.recovered.damage.first());
                    refuse_damaged(layout, group, damage, layout.moving_to.is_none())?;
                    return Err(RehomeError::GroupGone { group });
                }
            };
            moves.push(Move { group, from, to, home: HomeEpoch(highest.map_or(0, |epoch| epoch.0) + 1) });
        }
    }
    Ok(moves)
}

/// `stays` says whether the former number of cores leaves it where it is.
fn refuse_damaged(
    layout: &Layout,
    group: GroupId,
    damage: Option<&Damage>,
    stays: bool,
) -> Result<(), RehomeError> {
    damage.map_or(Ok(()), |damage| {
        let cores = stays.then_some(layout.cores);
        Err(RehomeError::Damaged { group, damage: damage.clone(), cores })
    })
}

/// Writes every group that moves or is founded into its new log, durably.
async fn carry(logs: &mut Logs, moves: &[Move]) -> Result<(), RehomeError> {
    for Move { group, from, to, home } in moves.iter().filter(|step| step.from != Some(step.to)) {
        let held = from.and_then(|from| logs.get_mut(&from)?.recovered.groups.remove(group));
        assert!(from.is_none() || held.is_some(), "the plan found group {group} in {from:?}");
        let held = held.unwrap_or_else(crate::groups::fresh);
        let wal = &mut logs.get_mut(to).expect("the logs of all cores are open").wal;
        wal.adopt(*group, *home, held.hard_state, held.first, held.prev_term);
        let entries: Vec<EntryRef<'_>> = held.entries.iter().map(entry_ref).collect();
        if !planted::is("rehome-forgets-entries") {
            wal.append_entries(*group, held.hard_state.commit.max(LogIndex(0)), &entries);
        }
        wal.adopted(*group);
        // What is written goes out before the next group is copied: beside what the logs were read into, memory holds one
        // group at a time.
        if from.is_some() {
            settle(*to, wal).await?;
        }
    }
    for (log, open) in logs.iter_mut() {
        settle(*log, &mut open.wal).await?;
    }
    Ok(())
}

/// Releases every group wherever it does not belong, durably.
async fn release(logs: &mut Logs, moves: &[Move]) -> Result<(), RehomeError> {
    let home: BTreeMap<GroupId, LogId> = moves.iter().map(|step| (step.group, step.to)).collect();
    for (log, open) in logs.iter_mut() {
        let mut stale: Vec<GroupId> = open.recovered.groups.keys().copied().collect();
        // What was carried away was taken out of the list.
        stale.extend(moves.iter().filter(|step| step.from == Some(*log)).map(|step| step.group));
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

/// Removes the logs beyond those of `cores` cores: they hold nothing any more. Each loses its name first: half of a log
/// would look like one that lost its segments.
async fn remove_logs(disk: &Disk, cores: u16) -> Result<(), RehomeError> {
    for log in log_ids(disk).await?.into_iter().filter(|log| log.0 >= u32::from(cores)) {
        let dropped = format!("{DROPPED}{:04}", log.0);
        remove_dir(disk, &dropped).await?;
        disk.rename(&dir_of(log), &dropped).await?;
    }
    disk.sync_dir("").await?;
    for name in disk.list("").await?.iter().filter(|name| name.starts_with(DROPPED)) {
        remove_dir(disk, name).await?;
    }
    Ok(())
}

async fn remove_dir(disk: &Disk, dir: &str) -> Result<(), DiskError> {
    let names = match disk.list(dir).await {
        Err(DiskError { cause: Cause::NotFound, .. }) => return Ok(()),
        names => names?,
    };
    for name in names {
        disk.remove(&format!("{dir}/{name}")).await?;
    }
    disk.remove(dir).await?;
    disk.sync_dir("").await
}

fn entry_ref(entry: &pinion_wal::Entry) -> EntryRef<'_> {
    EntryRef { index: entry.index, term: entry.term, kind: entry.kind, data: &entry.data }
}
