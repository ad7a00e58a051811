//! Opening the groups of a core: the log, the rows of each group, and the entries that the rows do not have yet.
//!
//! For each group: its tables end at entry `b`; the entries `b + 1 ..` of the log are applied before the Raft node is
//! built. Of the only voter everything that is stable is committed: nobody else can have another opinion.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use pinion_lsm::{Boundary, Engine, FlushState, Poison, TreeId};
use pinion_wal::disk::{Disk, DiskError};
use pinion_wal::task::Spawner;
use pinion_wal::{HomeEpoch, LogId, RecoveredGroup, Wal};
use raft::eraftpb::{ConfState, EntryType, HardState};

use super::duties::Duties;
use super::{Groups, Member, OpenError, Options};
use crate::apply::{Apply, Committed, Halt, HaltCause, Lanes};
use crate::clock::{Oracle, Word};
use crate::group::{Group, Late, Machine, Standing};
use crate::layout::Layout;
use crate::limits::APPLY_COMMANDS_MAX;
use crate::node::{Node, Start};
use crate::storage::LogPoint;
use crate::{CLOCK_GROUP, CoreId, GroupId, LogIndex, Now, ReplyTo, Term};

/// What the groups of a core are opened with.
pub struct Setup {
    /// The core.
    pub core: CoreId,
    /// The layout of the node, homed on the number of cores that there are.
    pub layout: Layout,
    /// The disk.
    pub disk: Disk,
    /// Tasks of this core.
    pub spawner: Spawner,
    /// The engine of this core.
    pub engine: Engine,
    /// The word that all cores of the node share.
    pub word: Arc<Word>,
    /// Seeds what is random about elections.
    pub seed: u64,
    /// Options.
    pub options: Options,
}

impl Groups {
    /// Opens the groups of a core and applies what their logs hold beyond their rows.
    ///
    /// # Errors
    /// When something on disk does not fit together. Damage to acknowledged records or to the rows of one group, or an entry
    /// of it that cannot be executed, is no error: that group refuses to serve ([`Groups::standing`]), the others go on.
    pub async fn open(setup: Setup, now: Now) -> Result<Self, OpenError> {
        let Setup { core, layout, disk, spawner, engine, word, seed, options } = setup;
        let log = LogId(u32::from(core.0));
        let (mut wal, mut recovered) = Wal::open(&disk, log, options.wal.clone())
            .await
            .map_err(|error| OpenError::Log { log, error })?;
        let ids = layout.groups_on(core);
        if let Some(&group) = recovered.groups.keys().find(|group| !ids.contains(group)) {
            return Err(OpenError::Stray { log, group });
        }
        let late = Late::default();
        let opening = Opening {
            disk: &disk,
            layout: &layout,
            spawner: &spawner,
            engine: &engine,
            late: &late,
            groups: ids.len(),
            seed,
        };
        let whole = |id| recovered.groups.get(id).is_some_and(|found| found.lost.is_none());
        let concerns_nobody = ids.iter().all(whole);
        let mut members = Vec::with_capacity(ids.len());
        let mut closed = BTreeMap::new();
        for &id in &ids {
            // Every group has had a record since the directory was founded. Without one it is not new: what there was may
            // have stood in a damaged place.
            let found = match (recovered.groups.remove(&id), recovered.damage.first()) {
                (Some(found), _) => found,
                (None, Some(damage)) => RecoveredGroup { lost: Some(damage.clone()), ..fresh() },
                (None, None) => return Err(OpenError::Unknown { log, group: id }),
            };
            match opening.member(id, found, &options).await {
                Ok(member) => members.push(member),
                Err(error) if error.concerns_one_group() => {
                    closed.insert(id, Standing::Damaged(error.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
        if concerns_nobody && closed.is_empty() {
            // Every group was found and is whole: what is damaged held nothing that is missing, and keeps no segment.
            let accepted = wal.accept_damage();
            assert!(accepted, "no group has lost records");
        }
        let oracle = ids.contains(&CLOCK_GROUP).then(|| Oracle::new(word.clone()));
        let mut groups = Self {
            core,
            layout: Rc::new(layout),
            wal,
            engine,
            spawner,
            dirty: Vec::new(),
            flights: std::collections::VecDeque::new(),
            members,
            closed,
            word,
            oracle,
            now,
            time_ms: 0,
            late,
            stopped: None,
            halted: Vec::new(),
            rewrote_at: 0,
            options,
        };
        if groups.standing(CLOCK_GROUP).is_some_and(|standing| *standing != Standing::Sound) {
            groups.word.forsake();
        }
        groups.campaign();
        Ok(groups)
    }

    /// Lets every group campaign of which this replica is the only voter.
    fn campaign(&mut self) {
        for at in 0..self.members.len() {
            let group = &mut self.members[at].group;
            if group.standing == Standing::Sound && group.node.is_only_voter() {
                group.node.campaign();
            }
            self.mark(at);
        }
    }
}

/// What all groups are opened with.
struct Opening<'a> {
    disk: &'a Disk,
    layout: &'a Layout,
    spawner: &'a Spawner,
    engine: &'a Engine,
    late: &'a Late,
    /// How many groups the core has.
    groups: usize,
    seed: u64,
}

impl Opening<'_> {
    async fn member(
        &self,
        id: GroupId,
        found: RecoveredGroup,
        options: &Options,
    ) -> Result<Member, OpenError> {
        let (tree, boundary) = self
            .engine
            .open_tree_behind(TreeId(id.0), found.first)
            .await
            .map_err(|error| OpenError::Rows { group: id, error })?;
        let lanes = Lanes::new(options.lanes).expect("a number of lanes that exists");
        let mut apply = Apply::open(tree, &boundary, lanes, self.spawner.clone())
            .map_err(|error| OpenError::State { group: id, error })?;
        let seal = self.engine.memtable_bytes_max() / 2 / self.groups.max(1);
        let memtables = Memtables { engine: self.engine, seal };
        let standing = match &found.lost {
            Some(damage) => Standing::Damaged(format!(
                "{damage}; restore the data directory, or give up what is lost of the group with --accept-loss {id}"
            )),
            None => {
                check_continuity(id, &boundary, &found)?;
                // What it could not execute when it ran it cannot execute now; the other groups can.
                match replay(self.disk, &mut apply, &boundary, &found, memtables).await {
                    Ok(()) => Standing::Sound,
                    Err(Stuck::Halted(halt)) => {
                        apply.tree().forget_active();
                        Standing::Halted(halt.to_string())
                    }
                    Err(Stuck::Full(error)) => return Err(OpenError::NoRoom { group: id, error }),
                    Err(Stuck::Poisoned(poison)) => {
                        return Err(OpenError::Rows { group: id, error: poison.into() });
                    }
                }
            }
        };
        let flushed = boundary.index;
        let node = self.node(id, &boundary, found, &apply, standing == Standing::Sound);
        let machine = Machine::new(apply, self.spawner.clone(), self.late.clone());
        let mut group = Group::new(id, node, machine);
        group.standing = standing;
        Ok(Member {
            group,
            dirty: false,
            flights: 0,
            flushed,
            duties: Duties::new(id, options.safe_point_ms),
            sweep: super::reap::Sweep::default(),
        })
    }

    fn node(
        &self,
        id: GroupId,
        boundary: &Boundary,
        found: RecoveredGroup,
        apply: &Apply,
        sound: bool,
    ) -> Node {
        let (applied, term) = apply.applied();
        let replica = self.layout.replica();
        let configuration = ConfState { voters: vec![replica.0], ..ConfState::default() };
        let seed = self.seed ^ u64::from(id.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        if !sound {
            let prev = LogPoint { index: boundary.index, term: boundary.term };
            let hard_state = HardState {
                term: found.hard_state.term.0.max(boundary.term.0),
                commit: boundary.index.0,
                ..HardState::default()
            };
            return Node::new(Start {
                replica,
                configuration,
                hard_state,
                prev,
                entries: Vec::new(),
                applied: boundary.index,
                seed,
            });
        }
        // Everything stable is committed and was applied: nothing of it is asked for again.
        let prev = LogPoint { index: applied, term };
        let hard_state = HardState {
            term: found.hard_state.term.0.max(term.0),
            vote: if found.hard_state.term.0 >= term.0 { found.hard_state.vote } else { 0 },
            commit: applied.0,
            ..HardState::default()
        };
        Node::new(Start { replica, configuration, hard_state, prev, entries: Vec::new(), applied, seed })
    }
}

/// A group of which nothing was ever logged.
pub(crate) const fn fresh() -> RecoveredGroup {
    RecoveredGroup {
        home_epoch: HomeEpoch(0),
        hard_state: pinion_wal::HardState { term: Term(0), vote: 0, commit: LogIndex(0) },
        commit: LogIndex(0),
        first: LogIndex(1),
        prev_term: Term(0),
        entries: Vec::new(),
        lost: None,
    }
}

/// The log must hold every entry behind the rows, and begin no later.
fn check_continuity(group: GroupId, boundary: &Boundary, found: &RecoveredGroup) -> Result<(), OpenError> {
    // A vote is logged before the entries of its term: a leader's entries without it were never acknowledged here.
    if let Some(last) = found.entries.last().filter(|last| last.term > found.hard_state.term) {
        return Err(OpenError::Vote { group, term: found.hard_state.term, entry: last.term });
    }
    let before = LogIndex(found.first.0 - 1);
    let last = found.entries.last().map_or(before, |entry| entry.index);
    if before > boundary.index || last < boundary.index {
        return Err(OpenError::Gap { group, rows: boundary.index, first: found.first, last });
    }
    Ok(())
}

/// What a replay may fill: the memtable of a group is sealed at `seal` bytes, so that those of all groups, replayed one
/// after another, take half of the budget.
#[derive(Clone, Copy)]
struct Memtables<'a> {
    engine: &'a Engine,
    seal: usize,
}

impl Memtables<'_> {
    /// Whether they take so much that those on their way to tables are waited for: what is applied meanwhile has a quarter of
    /// the budget.
    fn are_full(self) -> bool {
        self.engine.memtable_bytes() >= self.engine.memtable_bytes_max() / 4 * 3
    }
}

/// Why a replay does not come to its end.
enum Stuck {
    /// An entry cannot be executed.
    Halted(Halt),
    /// Memory is full, and the disk takes no rows.
    Full(DiskError),
    /// A manifest cannot be written.
    Poisoned(Poison),
}

impl From<Halt> for Stuck {
    fn from(halt: Halt) -> Self {
        Self::Halted(halt)
    }
}

/// Applies the entries behind the rows, and waits until that is done.
async fn replay(
    disk: &Disk,
    apply: &mut Apply,
    boundary: &Boundary,
    found: &RecoveredGroup,
    memtables: Memtables<'_>,
) -> Result<(), Stuck> {
    let mut behind = found.entries.iter().filter(|entry| entry.index > boundary.index).peekable();
    let mut nobody = |_: ReplyTo, _: crate::Reply<'_>| {};
    loop {
        if let Some(poison) = memtables.engine.poisoned() {
            return Err(Stuck::Poisoned(poison));
        }
        let flush = apply.tree().flush_state();
        if flush == FlushState::Idle && apply.tree().active_bytes() >= memtables.seal {
            apply.request_seal();
        }
        let full = memtables.are_full();
        // Nobody tells the time while groups are opened: a flush that pauses makes no room.
        if let FlushState::Paused(error) = &flush
            && full
        {
            return Err(Stuck::Full(error.clone()));
        }
        // A few entries at a time: what is submitted is kept in memory until it is applied.
        while !(full && flush == FlushState::Underway)
            && apply.submitted_bytes() < REPLAY_BYTES_MAX.min(memtables.seal)
            && let Some(entry) = behind.next()
        {
            if entry.kind != EntryType::EntryNormal as u8 {
                let unknown = crate::BatchError::Unknown { field: "entry kind", found: entry.kind.into() };
                let halt = Halt { index: entry.index, cause: HaltCause::Batch(unknown) };
                apply.halt(halt.clone());
                return Err(halt.into());
            }
            let data: Bytes = entry.data.clone();
            apply.submit(Committed { index: entry.index, term: entry.term, data, answer: false })?;
        }
        apply.run(APPLY_COMMANDS_MAX, &mut nobody)?;
        if behind.peek().is_none() && apply.is_idle() {
            // What stays in memory is little: groups that are replayed later need the room.
            let little = apply.tree().active_bytes() < memtables.seal;
            if little || matches!(apply.tree().flush_state(), FlushState::Paused(_)) {
                return Ok(());
            }
        }
        // The flush of another tree may pause while its own makes room.
        if apply.waits_for_room()
            && apply.tree().flush_state() != FlushState::Underway
            && let Some(error) = memtables.engine.paused()
        {
            return Err(Stuck::Full(error));
        }
        // What is left waits for rows from the disk: look again after another operation has passed through it. The answer
        // itself does not matter.
        drop(disk.free_space().await);
    }
}

/// Entries submitted to the state machine at a time while the log is replayed, in bytes.
const REPLAY_BYTES_MAX: usize = 8 << 20;
