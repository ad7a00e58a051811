//! A narrow wrapper over `raft::RawNode`: nothing unchecked reaches `step`, and nothing but the seed decides when it
//! campaigns.
//!
//! `raft` panics on misuse, so every message is checked against our log first ([`Node::step`]). It draws its election
//! timeouts from the thread's generator, so the wrapper overwrites them after every step, tick and campaign with its
//! own. Ready is asynchronous: [`Node::ready`] moves its entries into the cache at once and hands them out to be
//! logged; [`Node::persisted`] reports what is stable.
//!
//! | invariant | who keeps it |
//! |---|---|
//! | `prev <= applied <= committed <= last`, `committed <= persisted` for what was handed out to be applied | `raft`; [`Node::check`] |
//! | a message that would make `raft` panic is refused | [`Node::step`] |
//! | two nodes with the same seed and the same calls behave alike, in any thread or process | the timeout is ours |

mod checks;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use pinion_wal::{LogIndex, Term};
use raft::eraftpb::{ConfState, Entry, HardState, Message, MessageType};
use raft::{Config, RawNode, StateRole};

use crate::ids::ReplicaId;
use crate::limits::{ELECTION_TICKS, HEARTBEAT_TICKS, READY_COMMITTED_BYTES_MAX};
use crate::planted;
use crate::storage::{EntryCache, LogPoint};

pub use checks::Misuse;

/// Everything a node starts from: what recovery found.
pub struct Start {
    /// Who this replica is.
    pub replica: ReplicaId,
    /// The configuration at `applied`.
    pub configuration: ConfState,
    /// Term, vote and commit as the log has them.
    pub hard_state: HardState,
    /// The point below the first entry.
    pub prev: LogPoint,
    /// The entries of the log, all of them persisted.
    pub entries: Vec<Entry>,
    /// What the state machine has applied.
    pub applied: LogIndex,
    /// The seed of the election timeouts.
    pub seed: u64,
}

/// What is to be logged, applied and sent.
#[derive(Debug)]
pub struct Ready {
    /// Its number: to be reported by [`Node::persisted`] when `entries` and `hard_state` are stable.
    pub number: u64,
    /// Entries to be logged.
    pub entries: Vec<Entry>,
    /// A hard state to be logged: present only when its term or vote are new.
    pub hard_state: Option<HardState>,
    /// Entries to be applied: committed, and stable on this replica.
    pub committed: Vec<Entry>,
    /// Messages to be sent at once.
    pub messages: Vec<Message>,
    /// Messages to be sent when this Ready is stable.
    pub messages_when_stable: Vec<Message>,
}

/// A proposal that was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this replica does not lead its group")]
pub struct NotLeader;

/// One replica of one group, as Raft sees it. See the module page.
pub struct Node {
    raw: RawNode<EntryCache>,
    rand: fastrand::Rng,
    timeout_ticks: usize,
    seen: Seen,
}

/// What decides whether a new election timeout is drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    term: u64,
    role: StateRole,
    leader: u64,
}

impl Node {
    /// A node that continues what recovery found.
    ///
    /// # Panics
    /// When the parts contradict one another; recovery has checked them.
    #[must_use]
    pub fn new(start: Start) -> Self {
        let forgets = planted::is("term-not-restored");
        let hard_state = if forgets { HardState::default() } else { start.hard_state };
        let mut cache = EntryCache::new(start.configuration, hard_state, start.prev);
        cache.append(&start.entries);
        let config = Config {
            id: start.replica.0,
            election_tick: ELECTION_TICKS,
            heartbeat_tick: HEARTBEAT_TICKS,
            applied: start.applied.0,
            max_size_per_msg: 1 << 20,
            max_inflight_msgs: 256,
            check_quorum: true,
            pre_vote: true,
            max_committed_size_per_ready: READY_COMMITTED_BYTES_MAX,
            ..Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&config, cache, &logger)
            .expect("the configuration is valid and the cache has all entries");
        let seen = Seen { term: raw.raft.term, role: raw.raft.state, leader: raw.raft.leader_id };
        let mut node = Self { raw, rand: fastrand::Rng::with_seed(start.seed), timeout_ticks: 0, seen };
        node.draw_timeout();
        node
    }

    /// Lets one tick of the election clock pass.
    pub fn tick(&mut self) {
        self.raw.tick();
        self.settle(self.raw.raft.election_elapsed == 0);
    }

    /// Starts an election. The only voter of its group wins it at once.
    pub fn campaign(&mut self) {
        // A leader and a replica that may not campaign ignore the call.
        let _ = self.raw.campaign();
        self.settle(true);
    }

    /// Proposes one entry. Answers its index.
    ///
    /// # Errors
    /// When this replica does not lead, or is handing its leadership over.
    pub fn propose(&mut self, data: Bytes) -> Result<LogIndex, NotLeader> {
        if !self.is_leader() {
            return Err(NotLeader);
        }
        let entry = Entry { data, ..Entry::default() };
        let mut message = Message { from: self.raw.raft.id, ..Message::default() };
        message.set_msg_type(MessageType::MsgPropose);
        message.entries = vec![entry].into();
        self.raw.step(message).map_err(|_| NotLeader)?;
        self.settle(false);
        Ok(self.last().index)
    }

    /// Takes a message of a peer.
    ///
    /// # Errors
    /// When the message contradicts our log or cannot come from a member of this group; nothing has happened.
    pub fn step(&mut self, message: Message) -> Result<(), Misuse> {
        checks::check(&self.raw, &message)?;
        let stepped = self.raw.step(message);
        self.settle(false);
        stepped.map_err(|_| Misuse::Ignored)
    }

    /// What there is to do. The entries are in the cache from now on.
    pub fn ready(&mut self) -> Option<Ready> {
        if !self.raw.has_ready() {
            return None;
        }
        let mut ready = self.raw.ready();
        let number = ready.number();
        let entries = ready.take_entries();
        let hard_state = ready.hs().cloned();
        let durable = hard_state.as_ref().filter(|new| {
            let old = self.stored_hard_state();
            new.term != old.term || new.vote != old.vote
        });
        let durable = durable.cloned();
        let committed = ready.take_committed_entries();
        let messages = ready.take_messages();
        let messages_when_stable = ready.take_persisted_messages();
        let cache = self.raw.mut_store();
        cache.append(&entries);
        if let Some(hard_state) = hard_state {
            cache.set_hard_state(hard_state);
        }
        self.raw.advance_append_async(ready);
        Some(Ready { number, entries, hard_state: durable, committed, messages, messages_when_stable })
    }

    /// Reports that everything up to Ready `number` is stable.
    pub fn persisted(&mut self, number: u64) {
        self.raw.on_persist_ready(number);
    }

    /// Reports that the state machine has applied everything up to `index`.
    pub fn applied(&mut self, index: LogIndex) {
        self.raw.advance_apply_to(index.0);
    }

    /// Forgets entries up to `index`: they are applied, and durable in tables.
    ///
    /// # Panics
    /// When an entry was not applied yet.
    pub fn drop_to(&mut self, index: LogIndex) {
        assert!(index.0 <= self.raw.raft.raft_log.applied, "entry {index} is dropped before it was applied");
        self.raw.mut_store().drop_to(index);
    }

    /// Whether this replica leads its group.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    /// Whether this replica is the only voter of its group.
    #[must_use]
    pub fn is_only_voter(&self) -> bool {
        let voters = self.raw.raft.prs().conf().voters();
        voters.ids().iter().eq(std::iter::once(self.raw.raft.id))
    }

    /// The term.
    #[must_use]
    pub fn term(&self) -> Term {
        Term(self.raw.raft.term)
    }

    /// The last entry.
    #[must_use]
    pub fn last(&self) -> LogPoint {
        let log = &self.raw.raft.raft_log;
        LogPoint { index: LogIndex(log.last_index()), term: Term(log.last_term()) }
    }

    /// The commit index.
    #[must_use]
    pub fn committed(&self) -> LogIndex {
        LogIndex(self.raw.raft.raft_log.committed)
    }

    /// The term of an entry that is still here.
    #[must_use]
    pub fn term_of(&self, index: LogIndex) -> Option<Term> {
        self.raw.raft.raft_log.term(index.0).ok().map(Term).filter(|term| term.0 != 0)
    }

    /// Bytes of entries kept in memory.
    #[must_use]
    pub fn cached_bytes(&self) -> usize {
        self.raw.store().bytes()
    }

    /// Executes the invariants of the module page.
    ///
    /// # Panics
    /// When one is broken.
    pub fn check(&self) {
        let log = &self.raw.raft.raft_log;
        let prev = self.raw.store().prev().index.0;
        assert!(prev <= log.applied && log.applied <= log.committed && log.committed <= log.last_index());
        assert!(log.persisted <= log.last_index());
    }

    fn stored_hard_state(&self) -> HardState {
        raft::Storage::initial_state(self.raw.store()).expect("the cache always has a state").hard_state
    }

    /// Puts our own election timeout over the one that `raft` drew.
    fn settle(&mut self, restarted: bool) {
        let raft = &self.raw.raft;
        let seen = Seen { term: raft.term, role: raft.state, leader: raft.leader_id };
        if restarted || seen != self.seen {
            self.seen = seen;
            self.draw_timeout();
        } else {
            self.raw.raft.set_randomized_election_timeout(self.timeout_ticks);
        }
    }

    fn draw_timeout(&mut self) {
        self.timeout_ticks = self.rand.usize(ELECTION_TICKS..2 * ELECTION_TICKS);
        self.raw.raft.set_randomized_election_timeout(self.timeout_ticks);
    }
}
