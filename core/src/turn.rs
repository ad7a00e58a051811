//! The turn: everything that happened since the last one, as a batch.
//!
//! ```text
//! 0 disk                   what completed is applied and answered
//! 1 messages of siblings   requests are carried out, replies delivered
//! 2 parse                  every receive buffer whole; writes into the batch of their group, reads recorded
//! 3 reads                  of this core, prefetched in windows
//! 4 batches                to the groups of this core; one message to every other owner
//! 5 groups                 what was submitted is proposed and logged
//! 6 replies                in order per connection, one send each; one message to every asking core
//! 7 tasks                  raft > client > apply in 0 and after 5, background last, each under a budget
//! 8 deadline
//! ```
//!
//! | file | what |
//! |---|---|
//! | `intake` | events, receive buffers, the parser |
//! | `dispatch` | one command: where it goes, or its answer at once |
//! | `cluster` | what cluster clients ask |
//! | `local` | commands that the core answers itself |
//! | `depart` | what the turn sends to each owner |
//! | `execute` | the owner's side of a request |
//! | `desk` | where replies arrive, with `flight` and `gathering` |
//! | `settle` | sends, back-pressure, ends of connections |
//! | `report` | answers about the core itself, with `slowness` |
//! | `watching` | what held the core up, and PINION LATENCY |
//!
//! Reads and writes of a connection: replies in order, always. A read of a group sees the connection's earlier writes
//! there, and none of its later ones: reads that wait for nothing are carried out before the batches of their turn,
//! the others stand behind the batch they wait for.

mod cluster;
pub mod depart;
pub mod desk;
mod dispatch;
mod execute;
mod figures;
pub mod flight;
pub mod gathering;
mod intake;
mod local;
pub mod owner;
mod report;
mod settings;
mod settle;
pub mod slowness;
mod watching;

use std::rc::Rc;

use pinion_shard::{CoreId, Groups};
use pinion_wal::task::{Class, Tasks};
use pinion_wal::{Mono, Ticks};

use crate::chore::Chore;
use crate::cluster::Topology;
use crate::config::Live;
use crate::conn::Conns;
use crate::host::{Machine, Now};
use crate::ledger::Leases;
use crate::message::{self, Subject};
use crate::metrics::{Counters, Pace};
use crate::planted;
use crate::publish::Seen;
use crate::resp::Arguments;
use crate::route::Routes;
use crate::slow::Slow;
use crate::spread::Spread;
use crate::stages::{Stage, Stages};
use crate::stalls::Stalls;
use crate::{ConnId, Exit, Inbox, Outbox};
use depart::{Departure, Spare};
use desk::{Desk, Record};
use owner::Owner;
use watching::Syncs;

pub use figures::Draw;
pub use settings::Settings;

/// Time for tasks of clients, groups and apply in one turn.
const TASK_MICROS: u64 = 500;
/// Time for background tasks in a turn with client work, and in one without.
const BACKGROUND_MICROS: (u64, u64) = (50, 500);
/// Time after which a stop no longer waits for clients.
const STOP_MILLIS_MAX: u64 = 5_000;

/// The same for the same run and core.
fn seed_of(run_id: &str, core: CoreId) -> u64 {
    run_id.bytes().fold(u64::from(core.0), |seed, byte| seed.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte))
}

/// A pinned core. See the module page.
pub struct Core<O> {
    settings: Rc<Settings>,
    /// What may change while the server runs, as of this turn.
    live: Seen<Live>,
    id: CoreId,
    routes: Routes,
    /// What cluster clients are told, in cluster mode.
    topology: Option<Topology>,
    owner: O,
    tasks: Tasks,
    ticks: Rc<dyn Ticks>,
    desk: Desk,
    leases: Leases,
    stages: Stages,
    slow: Slow,
    stalls: Stalls,
    /// What the disk takes.
    syncs: Syncs,
    /// In which clients took nothing, in ticks.
    unsent: Spread,
    /// Of commands, bytes received and bytes sent.
    pace: Pace<3>,
    arguments: Arguments,
    departures: Vec<Departure>,
    spare: Spare,
    /// Connections with input that had to wait.
    backlog: Vec<ConnId>,
    /// Flights of other cores that came in this turn, and whether they are writes.
    foreign: Vec<(CoreId, u32, bool)>,
    /// The flight of commands that this core answers itself; new in every turn that needs it.
    own_flight: Option<u32>,
    /// Questions to sibling cores: to whom, for which gathering, about what.
    questions: Vec<(u16, u32, Subject)>,
    /// What is to be carried out beside the cores, by the gathering that waits for it.
    chores: Vec<(u32, Chore)>,
    /// Seeded by the run's own name, which the host draws.
    random: fastrand::Rng,
    /// Replies of this core are written here first.
    reply: Vec<u8>,
    turn: u64,
    now: Now,
    /// The counter at the beginning of this turn.
    begun_ticks: u64,
    next_client: u64,
    /// A client asked for the end of the server in this turn.
    stop_asked: bool,
    /// Counters at the last CONFIG RESETSTAT.
    counted_before: Counters,
    stopping: Option<Mono>,
    /// Whether this core was stopped and nothing of its own is in flight: it asks nothing of others any more.
    quiet: bool,
    /// Cores that are quiet, this one included.
    quiet_cores: u16,
    /// No client is looked for to be cut off before.
    cut_after: Mono,
}

impl Core<Groups> {
    /// A core over the opened groups of a node.
    #[must_use]
    pub fn over(settings: Rc<Settings>, groups: Groups, tasks: Tasks, ticks: Rc<dyn Ticks>) -> Self {
        let routes = Routes::of(groups.layout());
        Self::new(settings, routes, groups, tasks, ticks)
    }
}

impl<O: Owner> Core<O> {
    /// A core over its opened groups. `tasks` are those that the groups spawn into.
    #[must_use]
    pub fn new(settings: Rc<Settings>, routes: Routes, owner: O, tasks: Tasks, ticks: Rc<dyn Ticks>) -> Self {
        let (id, cores) = (settings.core, settings.cores);
        let live = settings.live.seen();
        assert!(id.0 < cores, "core {id} of {cores}");
        let topology = settings
            .cluster
            .as_ref()
            .map(|advertising| Topology::new(advertising, settings.node, id, settings.port, &routes));
        Self {
            id,
            routes,
            topology,
            owner,
            tasks,
            ticks,
            desk: Desk::new(id, cores, &settings.budgets),
            leases: Leases::of(&settings.budgets),
            stages: Stages::new(),
            slow: Slow::new(live.slowlog_above_micros, live.slowlog_max),
            stalls: Stalls::default(),
            syncs: Syncs::default(),
            unsent: Spread::default(),
            pace: Pace::default(),
            arguments: Arguments::new(),
            departures: (0..cores).map(|_| Departure::default()).collect(),
            spare: Spare::default(),
            backlog: Vec::new(),
            foreign: Vec::new(),
            own_flight: None,
            questions: Vec::new(),
            chores: Vec::new(),
            random: fastrand::Rng::with_seed(seed_of(&settings.run_id, id)),
            reply: Vec::new(),
            turn: 0,
            now: Now::default(),
            begun_ticks: 0,
            next_client: 0,
            stop_asked: false,
            counted_before: Counters::default(),
            stopping: None,
            quiet: false,
            quiet_cores: 0,
            cut_after: Mono::default(),
            settings,
            live,
        }
    }

    /// The groups, for tests and tools.
    #[must_use]
    pub const fn owner(&self) -> &O {
        &self.owner
    }

    /// The groups, for tests and tools between turns.
    pub const fn owner_mut(&mut self) -> &mut O {
        &mut self.owner
    }

    /// The connections.
    #[must_use]
    pub const fn conns(&self) -> &Conns {
        &self.desk.conns
    }

    /// Replies that are awaited, or whose send is not submitted.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.desk.flights.held() + self.desk.gatherings.count()
    }

    /// The requests that took longest.
    #[must_use]
    pub const fn slow(&self) -> &Slow {
        &self.slow
    }

    /// The measured stages.
    #[must_use]
    pub const fn stages(&self) -> &Stages {
        &self.stages
    }

    /// What must hold between turns.
    ///
    /// # Panics
    /// When it does not.
    pub fn check(&self) {
        self.desk.check();
        self.stages.check();
        assert!(self.departures.iter().all(Departure::is_empty), "a departure was left behind");
        assert!(self.foreign.is_empty() && self.own_flight.is_none());
    }

    /// The flight of commands that are answered here in this turn.
    fn own_flight(&mut self) -> u32 {
        let flights = &mut self.desk.flights;
        *self.own_flight.get_or_insert_with(|| {
            let flight = flights.start(None);
            // Held until the end of the turn, so that the slot is not used again within it.
            flights.hold(flight);
            flight
        })
    }

    fn end_own_flight(&mut self) {
        if let Some(flight) = self.own_flight.take() {
            self.desk.flights.release(flight);
        }
    }

    /// Phases 3 and 4: carries out what this core owns, and sends the rest.
    fn depart(&mut self, outbox: &mut Outbox) {
        let parsed = self.counter();
        for departure in &self.departures {
            for flight in departure.flights() {
                self.desk.flights.get_mut(flight).trail.mark(Stage::Parse, parsed);
            }
        }
        if let Some(flight) = self.own_flight {
            self.desk.flights.get_mut(flight).trail.mark(Stage::Parse, parsed);
        }
        for core in 0..self.departures.len() {
            if core == usize::from(self.id.0) || self.departures[core].is_empty() {
                continue;
            }
            let mut message = outbox.buffer();
            self.departures[core].into_message(&mut message, self.settings.node, self.id, &mut self.spare);
            self.desk.counters.requests_forwarded += 1;
            if planted::is("message-delivered-twice") {
                outbox.message(CoreId(core as u16), message.clone());
            }
            outbox.message(crate::CoreId(core as u16), message);
        }
        self.ask(outbox);
        self.carry_out_own(parsed);
    }

    /// Phase 0: what the disk has completed since the last turn.
    fn begin_groups(&mut self) {
        let begun = self.counter();
        self.tasks.run(Class::Apply, TASK_MICROS);
        self.owner.begin(self.now, &mut self.desk);
        let ended = self.counter();
        self.desk.mark_answered(begun, ended);
    }

    /// Phase 5, with the tasks that it waits for and those that it spawned.
    fn run_groups(&mut self) -> bool {
        let begun = self.counter();
        self.owner.turn(self.now, &mut self.desk);
        let ended = self.counter();
        self.mark_proposed(ended);
        self.desk.mark_answered(begun, ended);
        self.tasks.run(Class::Apply, TASK_MICROS)
    }

    /// The counter, for durations that are told to people; 0 while nobody wants them: then nothing is read or recorded.
    #[inline]
    fn counter(&self) -> u64 {
        if self.live.latency_tracking { self.ticks.now() } else { 0 }
    }

    /// Commands, bytes received and bytes sent, so far.
    const fn paced(&self) -> [u64; 3] {
        let counters = &self.desk.counters;
        [counters.commands, counters.input_bytes, counters.output_bytes]
    }

    /// Takes over settings that changed.
    fn look_at_live(&mut self) {
        if self.live.look() {
            self.slow.set_log(self.live.slowlog_above_micros, self.live.slowlog_max);
        }
    }

    /// Lets the budgets of this core follow what it holds.
    fn follow_leases(&mut self) {
        let Self { leases, owner, desk, .. } = self;
        desk.follow_lease();
        leases.partial_commands.follow(desk.counters.input_held_bytes as usize);
        let held = owner.held();
        if leases.memtables.follow(held.memtable_bytes) {
            owner.set_memtable_bytes_max(leases.memtables.bytes());
        }
        if leases.cache.follow(held.cache_bytes) {
            owner.set_cache_bytes_max(leases.cache.bytes());
        }
        if leases.proposals.follow(held.proposal_bytes) {
            owner.set_proposal_bytes_max(leases.proposals.bytes());
        }
    }

    fn set_deadline(&self, ready: bool, outbox: &mut Outbox) {
        if ready {
            outbox.run_again();
        }
        if let Some(at) = self.owner.next_deadline() {
            outbox.wake_at(at);
        }
        if self.desk.takes_from_siblings() {
            outbox.wake_at(self.now.mono.plus_millis(settle::LOOK_MILLIS));
        }
        if let Some(began) = self.stopping {
            outbox.wake_at(began.plus_millis(STOP_MILLIS_MAX));
        }
    }

    /// Ends the core when its disk failed, or when it was stopped and everything is answered and stable.
    fn end_if_over(&mut self, outbox: &mut Outbox) {
        if let Some(why) = self.owner.poisoned() {
            return outbox.finish(Exit::Poisoned(why));
        }
        let Some(began) = self.stopping else { return };
        let late = self.now.mono.nanos_since(began) >= STOP_MILLIS_MAX * 1_000_000;
        let answered = self.in_flight() == 0 && self.desk.conns.is_empty();
        if answered && !std::mem::replace(&mut self.quiet, true) {
            self.quiet_cores += 1;
            for core in (0..self.settings.cores).filter(|&core| core != self.id.0) {
                let mut message = outbox.buffer();
                message::put_quiet(&mut message);
                outbox.message(CoreId(core), message);
            }
        }
        // Siblings that are not quiet may still ask something of this core's groups.
        let over = self.quiet && self.quiet_cores == self.settings.cores;
        if (over && self.owner.is_idle()) || late {
            outbox.finish(Exit::Stopped);
        }
    }

    /// Records the replies that left in this turn.
    fn record(&mut self, end: u64) {
        let Self { live, stages, slow, ticks, now, .. } = self;
        let record = live.latency_tracking.then(|| Record {
            stages,
            slow,
            ticks_per_micro: ticks.per_micro(),
            wall_ms: now.wall_ms,
        });
        self.desk.record(record, end);
    }
}

impl<O: Owner> Machine for Core<O> {
    fn turn(&mut self, now: Now, inbox: &mut Inbox, outbox: &mut Outbox) {
        self.look_at_live();
        let begun = self.counter();
        self.now = now;
        self.turn += 1;
        self.begun_ticks = begun;
        self.desk.counters.turns += 1;
        self.note_away(inbox);
        let busy = !inbox.is_empty();
        self.begin_groups();
        let applied = self.counter();
        self.take_in(inbox, outbox);
        let taken_in = self.counter();
        self.depart(outbox);
        let departed = self.counter();
        let ready = self.run_groups();
        let grouped = self.counter();
        self.finish_reports();
        self.desk.send_replies(outbox);
        self.cut_off(outbox);
        let more = self.settle(outbox);
        let end = self.counter();
        self.record(end);
        self.end_own_flight();
        let budget = if busy { BACKGROUND_MICROS.0 } else { BACKGROUND_MICROS.1 };
        let left = self.tasks.run(Class::Background, budget);
        self.follow_leases();
        self.pace.follow(self.now.mono, self.paced());
        let over = self.counter();
        self.note_stall([begun, applied, taken_in, departed, grouped, end, over]);
        if std::mem::take(&mut self.stop_asked) {
            outbox.stop_node();
        }
        self.end_if_over(outbox);
        let pages = !self.desk.next_pages.is_empty();
        self.set_deadline(ready || more || left || pages, outbox);
    }
}
