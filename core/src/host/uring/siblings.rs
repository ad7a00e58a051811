//! What the hosts of one node share: bells, counts of connections, sockets on their way to another core, the wish to stop.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use crate::CoreId;
use crate::chore::{self, Chore};
use crate::host::Clock;
use crate::mesh::Parking;

/// A core hands a connection away only if it has this many more than the core with the fewest.
const SPREAD_SLACK: usize = 1;

/// The hosts of one node, as each of them and the thread that started them see them.
pub struct Siblings {
    /// The clock of the node: what cores tell one another about time means the same to all.
    clock: Clock,
    parking: Arc<[Parking]>,
    members: Vec<Member>,
    clients: AtomicUsize,
    clients_max: usize,
    /// All cores are ready: clients may come.
    open: AtomicBool,
    stop: AtomicBool,
    /// What the cores want carried out, oldest first: who asks, with which ticket.
    chores: Mutex<VecDeque<(CoreId, u32, Chore)>>,
    /// Readable while there may be chores.
    chore_bell: OwnedFd,
}

struct Member {
    /// Rung by who has no ring, or does not know ours.
    bell: OwnedFd,
    /// Rung by siblings; -1 until the ring is there and after it is gone.
    ring: AtomicI32,
    conns: AtomicUsize,
    handed: Mutex<Vec<OwnedFd>>,
    handed_count: AtomicUsize,
    /// Answers to its chores.
    answers: Mutex<Vec<(u32, Vec<u8>)>>,
    answer_count: AtomicUsize,
}

impl Siblings {
    /// The hosts of the cores whose `parking` this is, for at most `clients_max` connections in all.
    pub fn new(parking: Arc<[Parking]>, clients_max: usize) -> io::Result<Arc<Self>> {
        let member = || -> io::Result<Member> {
            Ok(Member {
                bell: eventfd(0, EventfdFlags::CLOEXEC)?,
                ring: AtomicI32::new(-1),
                conns: AtomicUsize::new(0),
                handed: Mutex::default(),
                handed_count: AtomicUsize::new(0),
                answers: Mutex::default(),
                answer_count: AtomicUsize::new(0),
            })
        };
        let members = parking.iter().map(|_| member()).collect::<io::Result<_>>()?;
        let clients = AtomicUsize::new(0);
        let (open, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        let chore_bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let chores = Mutex::default();
        Ok(Arc::new(Self {
            clock: Clock::new(),
            parking,
            members,
            clients,
            clients_max,
            open,
            stop,
            chores,
            chore_bell,
        }))
    }

    /// Asks every core to stop, and wakes them.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake_all();
    }

    /// Lets every core listen, and wakes them.
    pub(super) fn open(&self) {
        self.open.store(true, Ordering::Release);
        self.wake_all();
    }

    /// Whether the cores may listen.
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    fn wake_all(&self) {
        for (index, parking) in self.parking.iter().enumerate() {
            if parking.must_wake() {
                self.ring_bell(index);
            }
        }
    }

    /// Whether the cores are asked to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// A copy of the node's clock: all copies answer alike.
    #[must_use]
    pub const fn clock(&self) -> Clock {
        self.clock
    }

    /// Connections of the node.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    /// Connections of one core.
    #[must_use]
    pub fn conns_of(&self, core: CoreId) -> usize {
        self.members[usize::from(core.0)].conns.load(Ordering::Relaxed)
    }

    /// Counts one more connection of the node, unless there are too many already.
    pub(super) fn admit(&self) -> bool {
        let admitted = self.clients.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |clients| {
            (clients < self.clients_max).then_some(clients + 1)
        });
        admitted.is_ok()
    }

    /// The core that shall have a connection which `own` accepted: itself, unless another has clearly fewer. The
    /// connection is counted there.
    pub(super) fn place(&self, own: CoreId) -> CoreId {
        let count = |index: usize| self.members[index].conns.load(Ordering::Relaxed);
        let fewest = (0..self.members.len()).min_by_key(|&index| count(index)).unwrap_or(usize::from(own.0));
        let chosen = if count(usize::from(own.0)) >= count(fewest) + SPREAD_SLACK {
            fewest
        } else {
            usize::from(own.0)
        };
        self.members[chosen].conns.fetch_add(1, Ordering::Relaxed);
        CoreId(u16::try_from(chosen).expect("cores are counted in 16 bits"))
    }

    /// Counts a connection of `own` that is to stay there.
    pub(super) fn stay(&self, own: CoreId) -> CoreId {
        self.members[usize::from(own.0)].conns.fetch_add(1, Ordering::Relaxed);
        own
    }

    /// Forgets a connection of `core` that was admitted and placed.
    pub(super) fn gone(&self, core: CoreId) {
        self.members[usize::from(core.0)].conns.fetch_sub(1, Ordering::Relaxed);
        self.clients.fetch_sub(1, Ordering::Relaxed);
    }

    /// Hands an admitted and placed connection to its core.
    pub(super) fn hand_over(&self, to: CoreId, socket: OwnedFd) {
        let member = &self.members[usize::from(to.0)];
        member.handed.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
        member.handed_count.fetch_add(1, Ordering::Release);
        if self.parking[usize::from(to.0)].must_wake() {
            self.ring_bell(usize::from(to.0));
        }
    }

    /// Whether something other than a message waits for `core`: a connection, the wish to stop, or that it may listen.
    pub(super) fn has_news(&self, core: CoreId, stop_seen: bool, closed: bool) -> bool {
        let member = &self.members[usize::from(core.0)];
        member.handed_count.load(Ordering::Acquire) > 0
            || member.answer_count.load(Ordering::Acquire) > 0
            || (!stop_seen && self.is_stopping())
            || (closed && self.is_open())
    }

    /// Leaves a chore of `core` for the thread that carries them out; too many are refused at once.
    pub(super) fn ask(&self, core: CoreId, ticket: u32, chore: Chore) {
        let mut chores = self.chores.lock().unwrap_or_else(PoisonError::into_inner);
        if chores.len() == chore::WAITING_MAX {
            drop(chores);
            return self.answer(core, ticket, &Err(chore::TOO_MANY.to_owned()));
        }
        chores.push_back((core, ticket, chore));
        rustix::io::write(&self.chore_bell, &1_u64.to_ne_bytes()).expect("a bell can be rung");
    }

    /// Readable while there may be chores.
    #[must_use]
    pub const fn chore_bell(&self) -> &OwnedFd {
        &self.chore_bell
    }

    /// Carries out the chores that wait, in their order, and wakes those who asked.
    pub fn carry_out_chores(&self, carry_out: &mut dyn FnMut(Chore) -> chore::Answer) {
        // Silent if nothing rang. What is asked from here on rings again.
        let _ = rustix::io::read(&self.chore_bell, &mut [0; 8]);
        let next = || self.chores.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        while let Some((core, ticket, chore)) = next() {
            self.answer(core, ticket, &carry_out(chore));
        }
    }

    fn answer(&self, core: CoreId, ticket: u32, answer: &chore::Answer) {
        let (index, bytes) = (usize::from(core.0), chore::write_answer(answer));
        let member = &self.members[index];
        member.answers.lock().unwrap_or_else(PoisonError::into_inner).push((ticket, bytes));
        member.answer_count.fetch_add(1, Ordering::Release);
        if self.parking[index].must_wake() {
            self.ring_bell(index);
        }
    }

    /// Takes the answers to the chores of `core`.
    pub(super) fn take_answers(&self, core: CoreId) -> Vec<(u32, Vec<u8>)> {
        let member = &self.members[usize::from(core.0)];
        if member.answer_count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let taken = std::mem::take(&mut *member.answers.lock().unwrap_or_else(PoisonError::into_inner));
        member.answer_count.fetch_sub(taken.len(), Ordering::Release);
        taken
    }

    /// Takes the connections handed to `core`.
    pub(super) fn take_handed(&self, core: CoreId) -> Vec<OwnedFd> {
        let member = &self.members[usize::from(core.0)];
        if member.handed_count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let taken = std::mem::take(&mut *member.handed.lock().unwrap_or_else(PoisonError::into_inner));
        member.handed_count.fetch_sub(taken.len(), Ordering::Release);
        taken
    }

    /// The bell of `core`.
    pub(super) fn bell(&self, core: CoreId) -> &OwnedFd {
        &self.members[usize::from(core.0)].bell
    }

    /// The ring of `core`, if it has one now.
    pub(super) fn ring_of(&self, core: CoreId) -> Option<RawFd> {
        Some(self.members[usize::from(core.0)].ring.load(Ordering::Acquire)).filter(|&fd| fd >= 0)
    }

    /// Tells the siblings the ring of `core`, or that it is gone.
    pub(super) fn set_ring(&self, core: CoreId, ring: Option<RawFd>) {
        self.members[usize::from(core.0)].ring.store(ring.unwrap_or(-1), Ordering::Release);
    }

    /// Wakes `core` without a ring.
    pub(super) fn ring_bell(&self, index: usize) {
        // The counter of a bell does not overflow before its core has read it; a failure would be a closed bell, and the
        // bells live as long as this value.
        rustix::io::write(&self.members[index].bell, &1_u64.to_ne_bytes()).expect("a bell can be rung");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn siblings(cores: usize, clients_max: usize) -> Arc<Siblings> {
        let parking: Arc<[Parking]> = (0..cores).map(|_| Parking::new()).collect();
        Siblings::new(parking, clients_max).expect("bells can be made")
    }

    #[test]
    fn few_connections_are_spread_evenly_whoever_accepts_them() {
        let siblings = siblings(3, 100);
        for _ in 0..9 {
            assert!(siblings.admit());
            let _ = siblings.place(CoreId(0));
        }
        assert_eq!([0, 1, 2].map(|core| siblings.conns_of(CoreId(core))), [3, 3, 3]);
    }

    /// O5: the number of connections has a bound, and room comes back.
    #[test]
    fn connections_beyond_the_bound_are_not_admitted() {
        let siblings = siblings(1, 2);
        assert!(siblings.admit() && siblings.admit());
        assert!(!siblings.admit());
        let _ = siblings.place(CoreId(0));
        siblings.gone(CoreId(0));
        assert!(siblings.admit());
    }

    #[test]
    fn a_sleeping_core_is_woken_for_a_handed_connection() {
        let siblings = siblings(2, 2);
        siblings.parking[1].announce();
        assert!(!siblings.has_news(CoreId(1), false, false));
        let socket = eventfd(0, EventfdFlags::CLOEXEC).expect("a descriptor");
        siblings.hand_over(CoreId(1), socket);
        assert!(siblings.has_news(CoreId(1), false, false));
        let mut rings = [0; 8];
        rustix::io::read(siblings.bell(CoreId(1)), &mut rings).expect("the bell was rung");
        assert_eq!(siblings.take_handed(CoreId(1)).len(), 1);
        assert!(!siblings.has_news(CoreId(1), false, false));
    }
}
