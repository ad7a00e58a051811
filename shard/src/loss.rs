//! Giving up what a group has lost, because a person says so.
//!
//! What can still be read in one piece is kept: the rows in tables, and the entries of the log up to the first one that is
//! missing. The log of the group goes on behind it. Nobody may serve the directory meanwhile.
//!
//! Everything is appended before the acceptance itself, and what is appended first is stable first: a crash leaves the group
//! lost as it was, or accepted. It can be tried again.

use std::fmt;

use pinion_lsm::{Boundary, Engine, TreeId};
use pinion_wal::disk::{Disk, DiskError};
use pinion_wal::{Damage, HardState, HomeEpoch, LogId, LogIndex, Recovered, RecoveredGroup, Term, Wal};

use crate::rehome::log_ids;
use crate::{CATALOG_GROUP, CLOCK_GROUP, GroupId, Layout};

/// What was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The group.
    pub group: GroupId,
    /// The last entry that is kept; 0 if there is none.
    pub kept: LogIndex,
    /// Where records of it are damaged; `None` when the log has nothing of it at all.
    pub damage: Option<Damage>,
}

impl fmt::Display for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, kept, damage } = self;
        write!(f, "the loss of group {group} is accepted: ")?;
        match kept {
            LogIndex(0) => write!(f, "nothing of it is left")?,
            kept => write!(f, "everything up to entry {kept} is kept")?,
        }
        write!(f, ", how many later entries are lost is not known")?;
        match damage {
            Some(damage) => write!(f, "; {damage}"),
            None => write!(f, "; no log has a record of it"),
        }
    }
}

/// Why a loss is not accepted. Nothing has changed, unless the disk failed: then it can be tried again.
#[derive(Debug, thiserror::Error)]
pub enum LossError {
    /// There is no such group.
    #[error("--accept-loss names group {group}, but this directory has the groups 0, 1 and 16 to {last}")]
    NoGroup {
        /// The group.
        group: GroupId,
        /// The last group.
        last: GroupId,
    },
    /// Nothing of the group is lost, or its loss was accepted before.
    #[error(
        "group {group} has lost nothing, or its loss was accepted before: start without --accept-loss {group}"
    )]
    NothingLost {
        /// The group.
        group: GroupId,
    },
    /// The rows end before the log begins: accepting what the log lost would not help.
    #[error(
        "group {group}: its rows contain everything up to entry {rows}, but its log begins at {first}: what is between is in no file, and accepting a loss cannot replace it; restore the whole data directory"
    )]
    Gap {
        /// The group.
        group: GroupId,
        /// The last entry that the rows contain.
        rows: LogIndex,
        /// The first entry of the log.
        first: LogIndex,
    },
    /// A log cannot be opened.
    #[error("log {log}: {error}")]
    Log {
        /// The log.
        log: LogId,
        /// Why not.
        error: pinion_wal::OpenError,
    },
    /// The rows of the group cannot be opened.
    #[error("rows of group {group}: {error}")]
    Rows {
        /// The group.
        group: GroupId,
        /// Why not.
        error: pinion_lsm::OpenError,
    },
    /// The log cannot be written.
    #[error("log {log}: {error}")]
    Write {
        /// The log.
        log: LogId,
        /// Why not.
        error: pinion_wal::Unwritable,
    },
    /// The disk failed.
    #[error("{0}")]
    Disk(#[from] DiskError),
}

/// Accepts that records of a group are lost, so that it is served with what is left. Other groups of its log that lost
/// something stay as they are. `engine` serves to look at the rows; its tasks need not run.
///
/// # Errors
/// When the group has lost nothing, or the disk fails.
pub async fn accept_loss(
    disk: &Disk,
    engine: &Engine,
    layout: &Layout,
    group: GroupId,
    options: &pinion_wal::Options,
) -> Result<Accepted, LossError> {
    let last = layout.groups.last().map_or(CLOCK_GROUP, |spec| spec.id);
    let exists =
        [CATALOG_GROUP, CLOCK_GROUP].contains(&group) || layout.groups.iter().any(|spec| spec.id == group);
    if !exists {
        return Err(LossError::NoGroup { group, last });
    }
    if layout.is_being_founded() {
        return Err(LossError::NothingLost { group });
    }
    let home = home(disk, layout, group, options).await?;
    let Home { log, mut wal, mut recovered } = home;
    let found = recovered.groups.remove(&group);
    let first = found.as_ref().map_or(LogIndex(1), |found| found.first);
    let (tree, rows) = match engine.open_tree_behind(TreeId(group.0), first).await {
        Ok(opened) => opened,
        Err(pinion_lsm::OpenError::Behind { rows, first, .. }) => {
            return Err(LossError::Gap { group, rows, first });
        }
        Err(error) => return Err(LossError::Rows { group, error }),
    };
    drop(tree);
    let accepted = match &found {
        Some(found) => keep(&mut wal, group, &rows, found)?,
        None => {
            found_anew(&mut wal, group, &rows);
            Accepted { group, kept: rows.index, damage: recovered.damage.first().cloned() }
        }
    };
    wal.settle_and_mark().await.map_err(|error| LossError::Write { log, error })?;
    wal.close().await?;
    Ok(accepted)
}

/// The log that a group is served from, open.
struct Home {
    log: LogId,
    wal: Wal,
    recovered: Recovered,
}

/// Opens the log with what is left of a group: the one it lived in or, while a move is under way, the one with its highest
/// home epoch.
async fn home(
    disk: &Disk,
    layout: &Layout,
    group: GroupId,
    options: &pinion_wal::Options,
) -> Result<Home, LossError> {
    let lived = LogId(layout.core_of(group).0.into());
    let mut logs = vec![lived];
    if layout.moving_to.is_some() {
        logs.extend(log_ids(disk).await?.into_iter().filter(|log| *log != lived));
    }
    let mut best: Option<(Option<HomeEpoch>, Home)> = None;
    for log in logs {
        let opened = Wal::open(disk, log, options.clone()).await;
        let (wal, recovered) = opened.map_err(|error| LossError::Log { log, error })?;
        let held = recovered.groups.get(&group);
        // While it moves it may stand in two logs. A copy that is whole is never given up.
        if held.is_some_and(|held| held.lost.is_none()) {
            return Err(LossError::NothingLost { group });
        }
        let epoch = held.map(|held| held.home_epoch);
        let next = Home { log, wal, recovered };
        match best.as_ref() {
            Some((known, _)) if *known >= epoch => next.wal.close().await?,
            _ => {
                if let Some((_, former)) = best.replace((epoch, next)) {
                    former.wal.close().await?;
                }
            }
        }
    }
    let (_, home) = best.expect("the log it lived in was opened");
    Ok(home)
}

/// Keeps what can be read in one piece, and begins behind it.
fn keep(
    wal: &mut Wal,
    group: GroupId,
    rows: &Boundary,
    found: &RecoveredGroup,
) -> Result<Accepted, LossError> {
    let before = LogIndex(found.first.0 - 1);
    if before > rows.index {
        return Err(LossError::Gap { group, rows: rows.index, first: found.first });
    }
    let (last, last_term) =
        found.entries.last().map_or((before, found.prev_term), |entry| (entry.index, entry.term));
    // The hard state may be what was lost: its term is never below that of an entry.
    let term = found.hard_state.term.max(last_term).max(rows.term);
    if term > found.hard_state.term {
        wal.append_hard_state(group, HardState { term, vote: 0, commit: found.commit });
    }
    if last < rows.index {
        wal.append_first(group, rows.index.next(), rows.term);
    }
    wal.accept_loss(group);
    Ok(Accepted { group, kept: last.max(rows.index), damage: found.lost.clone() })
}

/// Brings a group that no record is left of back to the log, where its rows end.
fn found_anew(wal: &mut Wal, group: GroupId, rows: &Boundary) {
    let hard_state = HardState { term: Term(rows.term.0), vote: 0, commit: rows.index };
    wal.adopt(group, HomeEpoch(1), hard_state, rows.index.next(), rows.term);
    wal.adopted(group);
}
