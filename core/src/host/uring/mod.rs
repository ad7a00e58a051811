//! The host of production: one ring per core for sockets and disk, entered once per turn.
//!
//! | step of a turn | what happens |
//! |---|---|
//! | gather | completions become events, or end disk operations; messages and handed connections are taken |
//! | turn | the time is sampled, then the machine runs |
//! | carry out | sends, closes, messages and disk submissions are queued; buffers are lent back |
//! | enter | one system call submits everything and waits: not at all while there is work, else until something happens or the deadline |
//!
//! What may block in the kernel (sync, rename, unlink, preallocation) is done by kernel workers; they are kept on the CPUs
//! that no core is pinned to, where there are any. A sleeping core is woken by a message to its ring, and only then.

mod cores;
mod disk;
mod error;
mod listener;
mod net;
mod probe;
mod ring;
mod siblings;
mod spin;
mod token;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use pinion_wal::disk::{Disk, Driver, run_until};
use pinion_wal::task::Tasks;
use pinion_wal::{Mono, Ticks};

use disk::DiskOps;
use listener::{Accepted, Listener};
use net::Net;
use ring::{Completion, Ring, Wait};
use spin::Spin;

pub use cores::{Cores, Opening, Plan, StartError, with_echo};
pub use error::RingError;
pub use listener::{Doors, ListenError, Placing, bind};
pub use net::LINGER_MS;
pub use probe::missing_operations;
pub use siblings::Siblings;
use token::{Token, TokenKind};

use super::{Clock, Machine, Slab, Tsc};
use crate::mesh::Mesh;
use crate::stalls::Stall;
use crate::{Action, CoreId, Event, Exit, Inbox, Outbox};

/// Sent to a client that is one too many, before its connection is closed: as Redis says it.
const TOO_MANY_CLIENTS: &[u8] = b"-ERR max number of clients reached\r\n";
/// A core with messages that found no room looks again after this many nanoseconds.
const FULL_MESH_NANOS: u64 = 20_000;
/// After its machine has finished, a core waits this long for clients to take their last replies, in milliseconds.
const FAREWELL_MS: u64 = 1_000;
/// Kernel workers per core, of either kind.
const WORKERS_MAX: u32 = 4;

/// Sizes of a host.
#[derive(Clone, Debug)]
pub struct UringOptions {
    /// Receive buffers, a power of two.
    pub receive_buffers: u16,
    /// Bytes of each.
    pub receive_buffer_bytes: usize,
    /// CPUs for the kernel's workers; wherever the core runs, if empty.
    pub worker_cpus: Vec<usize>,
}

impl Default for UringOptions {
    fn default() -> Self {
        Self { receive_buffers: 512, receive_buffer_bytes: 16 << 10, worker_cpus: Vec::new() }
    }
}

/// What a host is made of.
pub struct Setup {
    /// Sizes.
    pub options: UringOptions,
    /// The data directory; `None` for machines without a disk.
    pub data_dir: Option<OwnedFd>,
    /// The disk handle of the core.
    pub disk: Disk,
    /// Its part of the mesh.
    pub mesh: Mesh,
    /// What it shares with the other hosts.
    pub siblings: Arc<Siblings>,
}

/// The host of one core. It is made on the core's own thread and stays there.
pub struct Uring {
    core: CoreId,
    ring: Ring,
    disk: Disk,
    disk_ops: Option<DiskOps>,
    net: Net,
    listeners: Vec<Listener>,
    /// To be listened on once every core is ready.
    closed: Doors,
    mesh: Mesh,
    siblings: Arc<Siblings>,
    clock: Clock,
    ticks: Rc<Tsc>,
    inbox: Inbox,
    outbox: Outbox,
    actions: Vec<Action>,
    /// Where the kernel puts the number of rings of the bell.
    bell: Box<[u8; 8]>,
    bell_armed: bool,
    stop_seen: bool,
    /// Waits for messages, and waits for the disk.
    spins: [Spin; 2],
    /// When the turn began.
    now: Mono,
    /// The counter at that moment.
    now_ticks: u64,
    /// The counter when what the host does between turns was looked at last.
    watched_ticks: u64,
}

/// What a look around came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// There is news, or the deadline has passed.
    Found,
    /// There is news, but somebody else ran on this CPU meanwhile.
    Interrupted,
    Nothing,
}

impl Uring {
    /// A host on the calling thread.
    pub fn new(setup: Setup) -> Result<Self, RingError> {
        let Setup { options, data_dir, disk, mesh, siblings } = setup;
        let mut ring = Ring::new()?;
        // Where workers run is a matter of speed: a kernel that cannot be told is served as well.
        let _ = ring.confine_workers(&options.worker_cpus, WORKERS_MAX);
        let mut slab = Slab::new(options.receive_buffers, options.receive_buffer_bytes);
        ring.provide(&mut slab).map_err(RingError::from_setup)?;
        let core = mesh.core();
        siblings.set_ring(core, Some(ring.fd()));
        let mut clock = siblings.clock();
        let now = clock.sample().mono;
        Ok(Self {
            core,
            ring,
            disk,
            disk_ops: data_dir.map(DiskOps::new),
            net: Net::default(),
            listeners: Vec::new(),
            closed: Vec::new(),
            mesh,
            siblings,
            clock,
            ticks: Rc::new(Tsc::new()),
            inbox: Inbox::with_slab(slab),
            outbox: Outbox::new(),
            actions: Vec::new(),
            bell: Box::new([0; 8]),
            bell_armed: false,
            stop_seen: false,
            spins: [Spin::new(spin::MESSAGES_MICROS), Spin::new(spin::DISK_MICROS)],
            now,
            now_ticks: 0,
            watched_ticks: 0,
        })
    }

    /// The time-stamp counter, for the machine's tasks and stages.
    #[must_use]
    pub fn ticks(&self) -> Rc<dyn Ticks> {
        self.ticks.clone()
    }

    /// The time now, on the clock of the turns.
    pub fn now(&mut self) -> super::Now {
        self.clock.sample()
    }

    /// Drives the disk until `future` is ready; for opening what the machine is made of. `None` when it waits for
    /// something that no disk operation will bring.
    pub fn complete<T>(&mut self, tasks: Option<&mut Tasks>, future: impl Future<Output = T>) -> Option<T> {
        let disk = self.disk.clone();
        run_until(&disk, &mut DiskDriver { host: self }, tasks, future).ok()
    }

    /// Runs the machine until it has finished. `ready` is called once, when it says that clients may come; they may when
    /// all cores have said so and the `sockets`, each of [`bind`], are listened on.
    pub fn run(&mut self, machine: &mut impl Machine, sockets: Doors, ready: impl FnOnce()) -> Exit {
        self.closed = sockets;
        let mut ready = Some(ready);
        // What the opening took is nobody's stall.
        drop(self.inbox.away().take());
        loop {
            self.gather();
            let now = self.clock.sample();
            self.now = now.mono;
            self.now_ticks = self.ticks.now();
            machine.turn(now, &mut self.inbox, &mut self.outbox);
            self.begin_watch();
            if machine.is_ready()
                && let Some(ready) = ready.take()
            {
                ready();
            }
            self.carry_out();
            self.end_watch(Stall::CarryOut);
            if let Some(exit) = self.outbox.take_exit() {
                if exit == Exit::Stopped {
                    self.say_farewell();
                }
                self.siblings.set_ring(self.core, None);
                return exit;
            }
            self.enter();
        }
    }

    fn gather(&mut self) {
        self.begin_watch();
        self.net.tell_broken(&mut self.inbox);
        self.ring_completions();
        let Self { mesh, inbox, .. } = self;
        mesh.receive(|from, message| inbox.push_message(from, message));
        if self.has_news() {
            self.take_news();
        }
        self.end_watch(Stall::CarryOut);
        self.inbox.set_received_at_ticks(self.watched_ticks);
    }

    /// What the host does from now on is to take no time.
    fn begin_watch(&mut self) {
        self.watched_ticks = self.ticks.now();
    }

    /// What it was, until now.
    fn end_watch(&mut self, what: Stall) {
        let before = self.watched_ticks;
        self.begin_watch();
        self.inbox.away().note(what, self.watched_ticks.saturating_sub(before));
    }

    fn ring_completions(&mut self) {
        while let Some(completion) = self.ring.next() {
            match completion.token.kind() {
                TokenKind::Receive => self.net.received(completion, &mut self.ring, &mut self.inbox),
                TokenKind::Send => {
                    self.net.sent(completion, &mut self.ring, &mut self.inbox, &mut self.outbox);
                }
                TokenKind::Disk => {
                    let ops = self.disk_ops.as_mut().expect("operations come from a disk");
                    ops.completed(&self.disk, completion, &mut self.ring);
                }
                TokenKind::Accept => self.accepted(completion),
                TokenKind::Close => {
                    self.net.closed(completion, &mut self.inbox);
                    self.siblings.gone(self.core);
                }
                TokenKind::Bell => self.bell_armed = false,
                TokenKind::Ignored => {}
            }
        }
    }

    fn accepted(&mut self, completion: Completion) {
        let Some(listener) = self.listeners.get_mut(completion.token.slot() as usize) else { return };
        let placing = listener.placing();
        let Accepted::Socket(socket) = listener.accepted(completion, self.now, &mut self.ring) else {
            return;
        };
        if !self.siblings.admit() {
            // Best effort: the client learns why, unless its window is closed already.
            let _ = rustix::net::send(&socket, TOO_MANY_CLIENTS, rustix::net::SendFlags::DONTWAIT);
            return;
        }
        let placed = match placing {
            Placing::Spread => self.siblings.place(self.core),
            Placing::Here => self.siblings.stay(self.core),
        };
        match placed {
            own if own == self.core => self.open(socket),
            other => self.siblings.hand_over(other, socket),
        }
    }

    fn open(&mut self, socket: OwnedFd) {
        if self.stop_seen || !self.net.open(socket, &mut self.ring, &mut self.inbox) {
            self.siblings.gone(self.core);
        }
    }

    fn has_news(&self) -> bool {
        self.siblings.has_news(self.core, self.stop_seen, !self.closed.is_empty())
    }

    fn take_news(&mut self) {
        if self.siblings.is_open() {
            for (number, (socket, placing)) in (0..).zip(std::mem::take(&mut self.closed)) {
                self.listeners.push(Listener::start(socket, number, placing, &mut self.ring));
            }
        }
        if self.siblings.is_stopping() && !std::mem::replace(&mut self.stop_seen, true) {
            for listener in &mut self.listeners {
                listener.stop(&mut self.ring);
            }
            self.inbox.push(Event::Stop);
        }
        for (ticket, answer) in self.siblings.take_answers(self.core) {
            self.inbox.push_chore_done(ticket, answer);
        }
        for socket in self.siblings.take_handed(self.core) {
            self.open(socket);
        }
    }

    fn carry_out(&mut self) {
        self.outbox.swap_actions(&mut self.actions);
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            match action {
                Action::Send(conn, buffer) => self.net.send(conn, buffer, &mut self.ring, &mut self.outbox),
                Action::Close(conn) => self.net.close(conn, self.now, &mut self.ring),
                Action::BreakIdle(conn) => self.net.break_idle(conn),
                Action::PauseReceive(conn) => self.net.pause(conn, &mut self.ring),
                Action::ResumeReceive(conn) => self.net.resume(conn, &mut self.ring),
                Action::Message(to, message) => self.mesh.send(to, message),
                Action::Chore(ticket, chore) => self.siblings.ask(self.core, ticket, chore),
                Action::StopNode => self.siblings.stop(),
            }
        }
        self.actions = actions;
        self.flush_mesh();
        let Self { inbox, outbox, ring, .. } = self;
        inbox.clear(|message| outbox.recycle(message), |slab, buffer| ring.lend(slab, buffer));
        ring.publish_buffers();
        self.net.feed_starved(&mut self.ring);
        if let Some(ops) = &mut self.disk_ops
            && ops.submit(&self.disk, &mut self.ring) > 0
        {
            self.outbox.run_again();
        }
    }

    fn flush_mesh(&mut self) {
        let Self { mesh, ring, siblings, .. } = self;
        mesh.flush(|core| match siblings.ring_of(core) {
            Some(fd) => ring::wake(ring, fd),
            None => siblings.ring_bell(usize::from(core.0)),
        });
    }

    /// Submits what is queued and waits for the next turn's events.
    fn enter(&mut self) {
        let Self { listeners, ring, now, .. } = self;
        let retry = listeners.iter_mut().filter_map(|listener| listener.retry(*now, ring)).min();
        let deadlines = [self.outbox.take_deadline(), self.net.cut_lingering(self.now), retry];
        let deadline = deadlines.into_iter().flatten().min();
        if self.outbox.take_run_again() {
            return self.enter_ring(Wait::No);
        }
        if self.mesh.is_waiting() {
            return self.enter_ring(Wait::Nanos(FULL_MESH_NANOS));
        }
        let kind = usize::from(self.disk.in_flight() > 0);
        if let Some(micros) = self.spins[kind].micros() {
            self.enter_ring(Wait::No);
            let look = self.look_around(micros, deadline);
            self.spins[kind].looked(look == Look::Found);
            if look != Look::Nothing {
                return;
            }
        }
        if let Some((from, to)) = self.sleep(deadline) {
            self.spins[kind].slept(from, to);
        }
    }

    /// Looks for news for `micros`, but not beyond the deadline.
    fn look_around(&mut self, micros: u64, deadline: Option<Mono>) -> Look {
        let mut last = self.moment();
        let end = last.plus_micros(micros);
        let end = deadline.map_or(end, |deadline| deadline.min(end));
        let mut interrupted = false;
        while last < end {
            let found = if self.ring.is_ready() {
                self.enter_ring(Wait::No);
                true
            } else {
                self.mesh.has_mail() || self.has_news()
            };
            let now = self.moment();
            if now > last.plus_micros(spin::INTERRUPTED_MICROS) {
                interrupted = true;
                // What the kernel did for us is told apart.
                if !found {
                    let ticks = now.nanos_since(last) * self.ticks.per_micro() / 1_000;
                    self.inbox.away().note(Stall::Preempted, ticks);
                }
            }
            if found {
                return if interrupted { Look::Interrupted } else { Look::Found };
            }
            last = now;
            std::hint::spin_loop();
        }
        if deadline.is_some_and(|deadline| deadline <= last) { Look::Found } else { Look::Nothing }
    }

    /// Sleeps until there is news or the deadline has passed; answers from when to when, if it slept.
    fn sleep(&mut self, deadline: Option<Mono>) -> Option<(Mono, Mono)> {
        self.arm_bell();
        let from = self.moment();
        let wait = match deadline {
            None => Wait::Forever,
            Some(deadline) if deadline <= from => Wait::No,
            Some(deadline) => Wait::Nanos(deadline.nanos_since(from)),
        };
        let may_sleep = wait != Wait::No && self.mesh.park();
        if !may_sleep {
            self.enter_ring(Wait::No);
            return None;
        }
        if self.has_news() {
            self.mesh.unpark();
            self.enter_ring(Wait::No);
            return None;
        }
        self.enter_ring(wait);
        self.mesh.unpark();
        let to = self.moment();
        if let Some(late) = deadline.map(|deadline| to.nanos_since(deadline)) {
            self.inbox.away().note(Stall::Overslept, late * self.ticks.per_micro() / 1_000);
        }
        Some((from, to))
    }

    /// The time now, measured from the beginning of the turn: to wait by, and for nothing else.
    fn moment(&self) -> Mono {
        let ticks = self.ticks.now().saturating_sub(self.now_ticks);
        Mono(self.now.0 + ticks.saturating_mul(1_000) / self.ticks.per_micro())
    }

    fn enter_ring(&mut self, wait: Wait) {
        self.begin_watch();
        self.enter_kernel(wait);
        if wait == Wait::No {
            self.end_watch(Stall::Enter);
        }
    }

    fn enter_kernel(&mut self, wait: Wait) {
        if let Err(error) = self.ring.enter(wait) {
            panic!("the ring of core {} cannot be entered: {error}", self.core);
        }
    }

    fn arm_bell(&mut self) {
        if !std::mem::replace(&mut self.bell_armed, true) {
            let bell = self.siblings.bell(self.core).as_raw_fd();
            ring::push_read(&mut self.ring, bell, &mut self.bell, Token::plain(TokenKind::Bell));
        }
    }

    /// Sends what is queued, closes every connection, and waits for that within a bound.
    fn say_farewell(&mut self) {
        let end = self.now.plus_millis(FAREWELL_MS);
        self.net.close_all(self.now, &mut self.ring);
        while self.net.len() > 0 && self.now < end {
            self.enter_ring(Wait::Nanos(end.nanos_since(self.now)));
            self.ring_completions();
            self.inbox.clear(|_| {}, |_, _| {});
            self.now = self.clock.sample().mono;
        }
    }
}

/// Drives the disk through the ring, for [`Uring::complete`].
struct DiskDriver<'a> {
    host: &'a mut Uring,
}

impl Driver for DiskDriver<'_> {
    fn drive(&mut self, disk: &Disk) -> usize {
        let Uring { ring, disk_ops, .. } = &mut *self.host;
        let Some(ops) = disk_ops else { return 0 };
        let at_once = ops.submit(disk, ring);
        let before = ops.in_flight();
        if at_once + before == 0 {
            return 0;
        }
        let wait = if at_once > 0 { Wait::No } else { Wait::Forever };
        self.host.enter_ring(wait);
        self.host.ring_completions();
        // Operations that go on with another step count as movement too: nothing is stalled.
        (at_once + before).max(1)
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        self.siblings.set_ring(self.core, None);
        // What the kernel may still read or write must outlive the ring: it ends with the process.
        if self.disk_ops.as_ref().is_some_and(|ops| ops.in_flight() > 0) {
            std::mem::forget(self.disk_ops.take());
        }
        if self.net.len() > 0 {
            std::mem::forget(std::mem::take(&mut self.net));
        }
        if self.bell_armed {
            std::mem::forget(std::mem::take(&mut self.bell));
        }
    }
}
