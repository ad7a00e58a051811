//! How the cores of a node talk: one ring for every ordered pair of cores, and a flag per core that says whether it sleeps.
//!
//! A message is a buffer of bytes that changes hands; this module does not look into it. Messages of a turn become
//! visible together, at the flush that ends the turn; a sleeping receiver is then woken, by the host, once. A buffer
//! stays with its receiver and is used there for later messages: requests and replies balance.
//!
//! A full ring holds nobody up: what does not fit waits at the sender, in order, and is pushed at its next flush. Who
//! has something waiting does not sleep. What may wait is bounded by the budgets of the requests behind it.

mod parking;
mod ring;
mod sync;

#[cfg(test)]
mod model;

use std::collections::VecDeque;
use std::sync::Arc;

use ring::{Consumer, Producer, ring};

pub use parking::Parking;

use crate::CoreId;

/// Messages in flight from one core to another, at most; more wait at the sender.
pub const MESH_RING_SLOTS: usize = 256;

/// What one core holds of the mesh.
pub struct Mesh {
    core: CoreId,
    to: Vec<Option<Outgoing>>,
    from: Vec<Option<Consumer<Vec<u8>>>>,
    /// Of all cores.
    parking: Arc<[Parking]>,
}

struct Outgoing {
    ring: Producer<Vec<u8>>,
    /// What the ring had no room for, oldest first.
    waiting: VecDeque<Vec<u8>>,
}

impl Mesh {
    /// The meshes of a node of `cores` cores, by [`CoreId`].
    #[must_use]
    pub fn of(cores: usize) -> Vec<Self> {
        let parking: Arc<[Parking]> = (0..cores).map(|_| Parking::new()).collect();
        let mut meshes: Vec<Self> = (0..cores)
            .map(|core| Self {
                core: CoreId(u16::try_from(core).expect("cores are counted in 16 bits")),
                to: Vec::new(),
                from: (0..cores).map(|_| None).collect(),
                parking: parking.clone(),
            })
            .collect();
        for sender in 0..cores {
            for receiver in 0..cores {
                let outgoing = (sender != receiver).then(|| {
                    let (producer, consumer) = ring(MESH_RING_SLOTS);
                    meshes[receiver].from[sender] = Some(consumer);
                    Outgoing { ring: producer, waiting: VecDeque::new() }
                });
                meshes[sender].to.push(outgoing);
            }
        }
        meshes
    }

    /// The core this mesh belongs to.
    #[must_use]
    pub const fn core(&self) -> CoreId {
        self.core
    }

    /// Cores of the node.
    #[must_use]
    pub const fn cores(&self) -> usize {
        self.to.len()
    }

    /// Queues a message; it is seen after [`Mesh::flush`].
    ///
    /// # Panics
    /// When `to` is this core, or none of the node.
    pub fn send(&mut self, to: CoreId, message: Vec<u8>) {
        let outgoing = self.to[usize::from(to.0)].as_mut().expect("a core sends itself nothing");
        if !outgoing.waiting.is_empty() {
            outgoing.waiting.push_back(message);
        } else if let Err(message) = outgoing.ring.push(message) {
            outgoing.waiting.push_back(message);
        }
    }

    /// Shows every queued message to its receiver and calls `wake` for each that sleeps.
    pub fn flush(&mut self, mut wake: impl FnMut(CoreId)) {
        for (index, outgoing) in self.to.iter_mut().enumerate() {
            let Some(outgoing) = outgoing else { continue };
            while let Some(message) = outgoing.waiting.pop_front() {
                if let Err(message) = outgoing.ring.push(message) {
                    outgoing.waiting.push_front(message);
                    break;
                }
            }
            if outgoing.ring.flush() && self.parking[index].must_wake() {
                wake(CoreId(u16::try_from(index).expect("cores are counted in 16 bits")));
            }
        }
    }

    /// Whether messages wait for room: this core must flush again soon, and must not sleep.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.to.iter().flatten().any(|outgoing| !outgoing.waiting.is_empty())
    }

    /// Takes everything that siblings have flushed, up to one ring of each, in the order each sent it.
    pub fn receive(&mut self, mut each: impl FnMut(CoreId, Vec<u8>)) {
        for (index, ring) in self.from.iter_mut().enumerate() {
            let Some(ring) = ring else { continue };
            let from = CoreId(u16::try_from(index).expect("cores are counted in 16 bits"));
            for _ in 0..MESH_RING_SLOTS {
                let Some(message) = ring.pop() else { break };
                each(from, message);
            }
        }
    }

    /// Whether siblings have flushed something that was not taken.
    #[must_use]
    pub fn has_mail(&mut self) -> bool {
        !self.from.iter_mut().flatten().all(Consumer::is_empty)
    }

    /// Announces sleep and answers whether the core may: nothing has arrived and nothing waits. When it may, it calls
    /// [`Mesh::unpark`] after it woke; when it may not, it is awake as before.
    #[must_use]
    pub fn park(&mut self) -> bool {
        self.parking[usize::from(self.core.0)].announce();
        if !self.has_mail() && !self.is_waiting() {
            return true;
        }
        self.parking[usize::from(self.core.0)].unpark();
        false
    }

    /// The core is awake.
    pub fn unpark(&self) {
        self.parking[usize::from(self.core.0)].unpark();
    }

    /// The flags of all cores, for whoever else wakes them.
    #[must_use]
    pub fn parking(&self) -> Arc<[Parking]> {
        self.parking.clone()
    }
}

#[cfg(test)]
mod tests;
