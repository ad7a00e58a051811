//! The simulated host: all cores of a node on one thread, virtual time, everything drawn from one seed.
//!
//! It drives the machines that the real host drives. Clients are byte streams: what they send arrives in pieces cut
//! anywhere, after a drawn delay; messages between cores are delayed likewise, in order per pair. Disk operations
//! complete when the simulated disk says so. One core takes a turn at a time, in drawn order. Every turn's input and
//! output goes into the event hash: two runs of a seed give the same hash.
//!
//! Read first: [`SimHost::connect`], [`SimHost::send`], [`SimHost::run_until`].

mod node;
mod ticks;
mod wire;

use std::collections::VecDeque;
use std::hash::Hasher;
use std::net::{Ipv4Addr, SocketAddr};

use pinion_wal::Mono;
use pinion_wal::disk::Disk;
use pinion_wal::disk::sim::SimDisk;
use rustc_hash::FxHasher;

use super::{Machine, Now};
use crate::chore;
use crate::stalls::Stall;
use crate::{Action, ConnId, CoreId, Event, Exit, Inbox, Outbox, ReceiveEnd};

pub use node::{Node, NodeOptions, StartError};
pub use ticks::SimTicks;
pub use wire::ClientId;
use wire::Wire;

/// How the world around the cores behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct World {
    /// Longest delay of bytes between a client and its core, in microseconds.
    pub network_micros_max: u64,
    /// Longest delay of a message between cores, in microseconds.
    pub mesh_micros_max: u64,
    /// Most bytes that one receive brings; each brings a drawn number of them.
    pub receive_bytes_max: usize,
    /// The wall clock at the beginning, in milliseconds since 1970.
    pub wall_ms: u64,
}

impl Default for World {
    fn default() -> Self {
        Self {
            network_micros_max: 50,
            mesh_micros_max: 20,
            receive_bytes_max: 16 << 10,
            wall_ms: 1_700_000_000_000,
        }
    }
}

impl World {
    /// The wall clock at a point in time.
    #[must_use]
    pub const fn wall_at(&self, now: Mono) -> u64 {
        self.wall_ms + now.0 / 1_000_000
    }
}

struct SimCore<M> {
    machine: M,
    inbox: Inbox,
    outbox: Outbox,
    deadline: Option<Mono>,
    again: bool,
    exit: Option<Exit>,
    /// No turn before this moment: the core's thread does not run.
    paused_until: Mono,
    /// Since when it has something to do and gets no turn for that.
    held_since: Option<Mono>,
    /// How often each slot of a connection was used.
    generations: Vec<u32>,
    free: Vec<u32>,
}

impl<M> SimCore<M> {
    fn has_news(&self, now: Mono) -> bool {
        self.again || self.deadline.is_some_and(|at| at <= now) || !self.inbox.is_empty()
    }
}

/// See the module page.
pub struct SimHost<M> {
    cores: Vec<SimCore<M>>,
    wires: Vec<Wire>,
    /// Messages under way, by sender and receiver.
    mesh: Vec<VecDeque<(Mono, Vec<u8>)>>,
    disk: Option<(Disk, SimDisk)>,
    ticks: SimTicks,
    world: World,
    rng: fastrand::Rng,
    now: Mono,
    turns: u64,
    stopping: bool,
    hash: FxHasher,
}

impl<M: Machine> SimHost<M> {
    /// A node of these cores. `ticks` are those that the machines read; `disk` is the disk that they share.
    #[must_use]
    pub fn new(
        seed: u64,
        world: World,
        machines: Vec<M>,
        ticks: SimTicks,
        disk: Option<(Disk, SimDisk)>,
    ) -> Self {
        assert!(!machines.is_empty(), "a node has a core");
        let count = machines.len();
        let now = disk.as_ref().map_or(Mono(1_000), |(_, disk)| Mono(disk.clock().0.max(1_000)));
        let cores = machines.into_iter().map(|machine| SimCore {
            machine,
            inbox: Inbox::new(),
            outbox: Outbox::new(),
            deadline: None,
            again: true,
            exit: None,
            paused_until: Mono(0),
            held_since: None,
            generations: Vec::new(),
            free: Vec::new(),
        });
        ticks.set(now);
        Self {
            cores: cores.collect(),
            wires: Vec::new(),
            mesh: (0..count * count).map(|_| VecDeque::new()).collect(),
            disk,
            ticks,
            world,
            rng: fastrand::Rng::with_seed(seed),
            now,
            turns: 0,
            stopping: false,
            hash: FxHasher::default(),
        }
    }

    /// The time, as machines see it.
    #[must_use]
    pub const fn now(&self) -> Now {
        Now { mono: self.now, wall_ms: self.world.wall_at(self.now) }
    }

    /// Turns so far.
    #[must_use]
    pub const fn turns(&self) -> u64 {
        self.turns
    }

    /// The hash of everything that happened.
    #[must_use]
    pub fn event_hash(&self) -> u64 {
        self.hash.finish()
    }

    /// The machines, by core.
    pub fn machines(&self) -> impl Iterator<Item = &M> {
        self.cores.iter().map(|core| &core.machine)
    }

    /// A machine.
    pub fn machine_mut(&mut self, core: usize) -> &mut M {
        &mut self.cores[core].machine
    }

    /// How a core ended, if it did.
    #[must_use]
    pub fn exit(&self, core: usize) -> Option<&Exit> {
        self.cores[core].exit.as_ref()
    }

    /// Whether a core ended.
    #[must_use]
    pub fn any_exit(&self) -> Option<&Exit> {
        self.cores.iter().find_map(|core| core.exit.as_ref())
    }

    /// The simulated disk.
    pub fn disk_mut(&mut self) -> Option<&mut SimDisk> {
        self.disk.as_mut().map(|(_, disk)| disk)
    }

    /// Ends the node as a crash would: everything but the disk is gone.
    #[must_use]
    pub fn crash(self) -> Option<SimDisk> {
        self.disk.map(|(_, disk)| disk)
    }

    /// Moves the wall clock.
    pub fn jump_wall(&mut self, millis: i64) {
        self.world.wall_ms = self.world.wall_ms.saturating_add_signed(millis);
    }

    /// Gives a core no turn for so long, as if its thread did not run.
    pub fn pause(&mut self, core: usize, millis: u64) {
        let until = self.now.plus_millis(millis);
        self.cores[core].paused_until = self.cores[core].paused_until.max(until);
    }

    /// A client connects to a core.
    pub fn connect(&mut self, core: usize) -> ClientId {
        let at = &mut self.cores[core];
        let slot = at.free.pop().unwrap_or_else(|| {
            at.generations.push(0);
            (at.generations.len() - 1) as u32
        });
        let generation = at.generations[slot as usize];
        at.generations[slot as usize] += 1;
        let conn = ConnId { slot, generation };
        let port = 10_000 + (self.wires.len() % 50_000) as u16;
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 6379));
        at.inbox.push(Event::Accepted { conn, peer, local });
        self.wires.push(Wire::new(core, conn));
        ClientId(self.wires.len() - 1)
    }

    /// A client sends bytes.
    pub fn send(&mut self, client: ClientId, bytes: &[u8]) {
        let due = self.now.plus_micros(self.rng.u64(..=self.world.network_micros_max));
        self.wires[client.0].send(due, bytes);
    }

    /// A client sends no more.
    pub fn finish(&mut self, client: ClientId) {
        self.wires[client.0].finishing = true;
    }

    /// A client vanishes: its connection breaks.
    pub fn vanish(&mut self, client: ClientId) {
        let wire = &mut self.wires[client.0];
        if !wire.closed && !wire.ended {
            wire.ended = true;
            wire.sending.clear();
            let end = ReceiveEnd::Failed(libc::ECONNRESET);
            self.cores[wire.core].inbox.push(Event::ReceiveEnded { conn: wire.conn, end });
        }
    }

    /// Whether a client reads. While it does not, what is sent to it stays with the server.
    pub fn set_reading(&mut self, client: ClientId, reading: bool) {
        self.wires[client.0].reading = reading;
    }

    /// What a client has received and not taken.
    #[must_use]
    pub fn received(&self, client: ClientId) -> &[u8] {
        &self.wires[client.0].received
    }

    /// Takes what a client has received.
    pub fn take_received(&mut self, client: ClientId) -> Vec<u8> {
        std::mem::take(&mut self.wires[client.0].received)
    }

    /// Whether the server closed a client's connection.
    #[must_use]
    pub fn is_closed(&self, client: ClientId) -> bool {
        self.wires[client.0].closed
    }

    /// Whether the server has stopped receiving from a client.
    #[must_use]
    pub fn is_paused(&self, client: ClientId) -> bool {
        self.wires[client.0].paused
    }

    /// Bytes that a client sent and the server did not receive.
    #[must_use]
    pub fn unreceived_bytes(&self, client: ClientId) -> usize {
        self.wires[client.0].sending.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// Asks all cores to stop.
    pub fn stop(&mut self) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        for core in &mut self.cores {
            core.inbox.push(Event::Stop);
        }
    }

    /// Steps until `done`; answers whether it came to that before nothing could happen any more, and within
    /// `millis` of virtual time.
    pub fn run_until(&mut self, millis: u64, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now.plus_millis(millis);
        loop {
            if done(self) {
                return true;
            }
            if self.now > end || !self.step() {
                return false;
            }
        }
    }

    /// One turn of one core, or, when no core has anything to do, the passing of time. Answers whether anything can
    /// happen any more.
    pub fn step(&mut self) -> bool {
        self.arrive();
        for core in &mut self.cores {
            if core.paused_until > self.now && core.has_news(self.now) {
                core.held_since.get_or_insert(self.now);
            }
        }
        let ready: Vec<usize> = (0..self.cores.len()).filter(|&core| self.is_ready(core)).collect();
        if ready.is_empty() {
            return self.pass_time();
        }
        let core = ready[self.rng.usize(..ready.len())];
        self.turn(core);
        true
    }

    fn is_ready(&self, core: usize) -> bool {
        let core = &self.cores[core];
        core.exit.is_none() && core.paused_until <= self.now && core.has_news(self.now)
    }

    /// Brings what is due at this moment.
    fn arrive(&mut self) {
        for index in 0..self.wires.len() {
            self.arrive_at(index);
        }
        let count = self.cores.len();
        for pair in 0..self.mesh.len() {
            while self.mesh[pair].front().is_some_and(|(due, _)| *due <= self.now) {
                let (_, message) = self.mesh[pair].pop_front().expect("it was seen");
                self.cores[pair % count].inbox.push_message(CoreId((pair / count) as u16), message);
            }
        }
        // How long an operation took is measured when it completes.
        self.ticks.set(self.now);
        if let Some((disk, sim)) = &mut self.disk
            && sim.drive(disk, self.now) > 0
        {
            // The cores share one disk: whose operation it was, only they know.
            self.cores.iter_mut().for_each(|core| core.again = true);
        }
    }

    fn arrive_at(&mut self, index: usize) {
        let wire = &mut self.wires[index];
        let inbox = &mut self.cores[wire.core].inbox;
        if !wire.paused && !wire.ended && wire.closing.is_none() {
            let most = self.rng.usize(1..=self.world.receive_bytes_max);
            if let Some(piece) = wire.arrive(self.now, most) {
                self.hash.write(&piece);
                inbox.push_received(wire.conn, &piece);
            } else if wire.finishing && wire.sending.is_empty() {
                wire.ended = true;
                inbox.push(Event::ReceiveEnded { conn: wire.conn, end: ReceiveEnd::Eof });
            }
        }
        if !wire.reading && !wire.broken && wire.cut_at().is_none_or(|at| self.now < at) {
            return;
        }
        if !wire.reading {
            wire.unread.clear();
        }
        while let Some(bytes) = wire.unread.pop_front() {
            wire.received.extend_from_slice(&bytes);
            wire.read_bytes += bytes.len() as u64;
            inbox.push(Event::Sent { conn: wire.conn, bytes: bytes.len() });
        }
        if wire.closing.is_some() && !wire.closed {
            wire.closed = true;
            inbox.push(Event::Closed { conn: wire.conn });
            self.cores[wire.core].free.push(wire.conn.slot);
        }
    }

    fn turn(&mut self, index: usize) {
        let now = self.now();
        self.turns += 1;
        self.ticks.set(self.now);
        let core = &mut self.cores[index];
        if core.deadline.is_some_and(|at| at <= self.now) {
            core.deadline = None;
        }
        core.again = false;
        if let Some(since) = core.held_since.take() {
            core.inbox.away().note(Stall::Preempted, self.now.nanos_since(since));
        }
        core.inbox.set_received_at_ticks(self.ticks.peek());
        core.machine.turn(now, &mut core.inbox, &mut core.outbox);
        core.inbox.clear(drop, |_, _| unreachable!("the simulated host has no slab"));
        core.again |= core.outbox.take_run_again();
        core.deadline = core.outbox.take_deadline();
        core.exit = core.exit.take().or(core.outbox.take_exit());
        self.hash.write_usize(index);
        self.hash.write_u64(self.now.0);
        let mut actions = Vec::new();
        core.outbox.swap_actions(&mut actions);
        for action in actions {
            self.carry_out(index, action);
        }
        // What was submitted in this turn is taken by the disk before time passes.
        if let Some((disk, sim)) = &mut self.disk
            && sim.drive(disk, self.now) > 0
        {
            self.cores.iter_mut().for_each(|core| core.again = true);
        }
    }

    fn carry_out(&mut self, core: usize, action: Action) {
        match action {
            Action::Send(conn, bytes) => {
                self.hash.write(&bytes);
                if let Some(wire) = self.wire(core, conn).filter(|wire| !wire.broken) {
                    wire.unread.push_back(bytes);
                }
            }
            Action::Close(conn) => {
                let now = self.now;
                if let Some(wire) = self.wire(core, conn) {
                    wire.closing = Some(now);
                }
            }
            Action::BreakIdle(conn) => {
                let idle = self.wire(core, conn).is_some_and(|wire| wire.break_if_idle());
                if idle {
                    self.cores[core].inbox.push(Event::Broken { conn, idle });
                }
            }
            Action::PauseReceive(conn) => {
                if let Some(wire) = self.wire(core, conn) {
                    wire.paused = true;
                }
            }
            Action::ResumeReceive(conn) => {
                if let Some(wire) = self.wire(core, conn) {
                    wire.paused = false;
                }
            }
            Action::Chore(ticket, _) => {
                // There are no files but those of the simulated disk.
                let answer = Err("the simulator has no files".to_owned());
                self.cores[core].inbox.push_chore_done(ticket, chore::write_answer(&answer));
            }
            Action::StopNode => self.stop(),
            Action::Message(to, message) => {
                self.hash.write(&message);
                let pair = core * self.cores.len() + usize::from(to.0);
                assert_ne!(core, usize::from(to.0), "a core sent a message to itself");
                let drawn = self.now.plus_micros(self.rng.u64(..=self.world.mesh_micros_max));
                let due = self.mesh[pair].back().map_or(drawn, |(before, _)| drawn.max(*before));
                self.mesh[pair].push_back((due, message));
            }
        }
    }

    fn wire(&mut self, core: usize, conn: ConnId) -> Option<&mut Wire> {
        self.wires.iter_mut().rfind(|wire| wire.core == core && wire.conn == conn && !wire.closed)
    }

    /// Goes to the next moment at which something happens.
    fn pass_time(&mut self) -> bool {
        let wires = self.wires.iter().filter_map(|wire| wire.next_due());
        let mesh = self.mesh.iter().filter_map(|pair| pair.front().map(|(due, _)| *due));
        let alive = self.cores.iter().filter(|core| core.exit.is_none());
        let deadlines = alive.filter_map(|core| {
            let paused = core.paused_until > self.now;
            if paused { Some(core.paused_until) } else { core.deadline }
        });
        let disk = self.disk.as_ref().and_then(|(_, sim)| sim.next_due());
        let Some(next) = wires.chain(mesh).chain(deadlines).chain(disk).min() else { return false };
        // A moment that has passed already brings nothing new: time goes on all the same.
        self.now = if next > self.now { next } else { Mono(self.now.0 + 1_000) };
        true
    }
}
