//! The memory of a server, as a ledger: every byte it may use belongs to one budget, and the budgets add up to the total.
//!
//! A full budget pushes back (stop reading from a socket) or refuses with an error that says to retry; it never grows.
//! Budgets are of the node. What can be idle on one core while another needs it is leased to cores in chunks ([`Budget`]);
//! the rest is divided once.

mod lease;
mod pool;
mod pressure;
mod sync;
mod transit;

#[cfg(test)]
mod model;

use std::fmt;

pub use lease::{Budget, Lease};
pub use pool::Pool;
pub use pressure::Pressure;
pub use transit::Transit;

/// Bytes of one receive buffer.
pub const RECEIVE_BUFFER_BYTES: u64 = 16 << 10;
/// Receive buffers of a core, at most.
const RECEIVE_BUFFERS_MAX: u64 = 512;
/// Receive buffers of a core, at least.
const RECEIVE_BUFFERS_MIN: u64 = 64;

/// Of the budget of send buffers, the part for replies between cores.
const TRANSIT_PART_OF: u64 = 4;

/// What memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// Blocks of tables.
    Cache,
    /// Rows that are not flushed.
    Memtables,
    /// Log records on their way to the disk.
    LogBuffers,
    /// Writes accepted and not yet applied.
    Proposals,
    /// Where the kernel puts what clients send.
    ReceiveBuffers,
    /// Commands that have not arrived whole.
    PartialCommands,
    /// Replies that clients have not taken.
    SendBuffers,
    /// Everything else: the program, its stacks, indexes and filters of tables, what the kernel keeps for us.
    Rest,
}

/// The budgets of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    cores: u64,
    lines: Vec<(Use, u64)>,
}

impl Ledger {
    /// Divides `memory_bytes` among the uses of a server of `cores` cores.
    #[must_use]
    pub fn divide(memory_bytes: u64, cores: usize) -> Self {
        let cores = cores as u64;
        let part = |of: u64| memory_bytes / of / cores * cores;
        let buffers = part(16) / cores / RECEIVE_BUFFER_BYTES;
        let buffers = 1 << buffers.clamp(RECEIVE_BUFFERS_MIN, RECEIVE_BUFFERS_MAX).ilog2();
        let mut lines = vec![
            (Use::Memtables, part(4)),
            (Use::LogBuffers, part(32)),
            (Use::Proposals, part(16)),
            (Use::ReceiveBuffers, buffers * RECEIVE_BUFFER_BYTES * cores),
            (Use::PartialCommands, part(16)),
            (Use::SendBuffers, part(8)),
            (Use::Rest, part(16)),
        ];
        let used: u64 = lines.iter().map(|(_, bytes)| bytes).sum();
        lines.insert(0, (Use::Cache, memory_bytes - used));
        let ledger = Self { cores, lines };
        ledger.check(memory_bytes);
        ledger
    }

    /// Bytes for a use, of the whole server.
    #[must_use]
    pub fn bytes(&self, of: Use) -> u64 {
        self.lines.iter().find(|(line, _)| *line == of).map_or(0, |(_, bytes)| *bytes)
    }

    /// Bytes for a use, of one core.
    #[must_use]
    pub fn bytes_per_core(&self, of: Use) -> usize {
        usize::try_from(self.bytes(of) / self.cores).expect("memory is addressable")
    }

    /// What cores lease.
    #[must_use]
    pub fn budgets(&self) -> Budgets {
        let shared = |of| Budget::shared(self.bytes(of), self.cores);
        let transit_bytes = self.bytes(Use::SendBuffers) / TRANSIT_PART_OF;
        Budgets {
            cache: shared(Use::Cache),
            memtables: shared(Use::Memtables),
            proposals: shared(Use::Proposals),
            partial_commands: shared(Use::PartialCommands),
            send_buffers: Budget::shared(self.bytes(Use::SendBuffers) - transit_bytes, self.cores),
            transit: Transit::new(transit_bytes),
            pressure: Pressure::default(),
        }
    }

    /// Receive buffers of a core: a power of two.
    #[must_use]
    pub fn receive_buffers(&self) -> u16 {
        let buffers = self.bytes(Use::ReceiveBuffers) / self.cores / RECEIVE_BUFFER_BYTES;
        u16::try_from(buffers).expect("at most RECEIVE_BUFFERS_MAX")
    }

    /// The budgets add up to the total, and none is empty.
    fn check(&self, memory_bytes: u64) {
        assert_eq!(self.lines.iter().map(|(_, bytes)| bytes).sum::<u64>(), memory_bytes);
        assert!(self.lines.iter().all(|(_, bytes)| *bytes > 0));
        assert!(self.receive_buffers().is_power_of_two());
    }
}

/// The budgets that cores lease in chunks.
#[derive(Clone, Debug)]
pub struct Budgets {
    /// Blocks of tables.
    pub cache: Budget,
    /// Rows that are not flushed.
    pub memtables: Budget,
    /// Writes accepted and not yet applied.
    pub proposals: Budget,
    /// Commands that have not arrived whole.
    pub partial_commands: Budget,
    /// Replies that clients have not taken.
    pub send_buffers: Budget,
    /// Replies on their way from core to core.
    pub transit: Transit,
    /// Whether replies are refused for want of send buffers.
    pub pressure: Pressure,
}

impl Budgets {
    /// Budgets of `bytes` each for one core, of which nothing is leased.
    #[must_use]
    pub fn fixed(bytes: u64) -> Self {
        let budget = Budget::fixed(bytes);
        Self {
            cache: budget.clone(),
            memtables: budget.clone(),
            proposals: budget.clone(),
            partial_commands: budget.clone(),
            send_buffers: budget,
            transit: Transit::new(bytes),
            pressure: Pressure::default(),
        }
    }
}

/// What one core has leased of [`Budgets`].
#[derive(Debug)]
pub struct Leases {
    /// See [`Budgets`].
    pub cache: Lease,
    /// See [`Budgets`].
    pub memtables: Lease,
    /// See [`Budgets`].
    pub proposals: Lease,
    /// See [`Budgets`].
    pub partial_commands: Lease,
}

impl Leases {
    /// The floors of one core.
    #[must_use]
    pub fn of(budgets: &Budgets) -> Self {
        Self {
            cache: budgets.cache.lease(),
            memtables: budgets.memtables.lease(),
            proposals: budgets.proposals.lease(),
            partial_commands: budgets.partial_commands.lease(),
        }
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (line, bytes)) in self.lines.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let name = match line {
                Use::Cache => "cache",
                Use::Memtables => "memtables",
                Use::LogBuffers => "log buffers",
                Use::Proposals => "proposals",
                Use::ReceiveBuffers => "receive buffers",
                Use::PartialCommands => "partial commands",
                Use::SendBuffers => "send buffers",
                Use::Rest => "rest",
            };
            write!(f, "{comma}{name} {} MiB", bytes >> 20)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MEMORY_BYTES_PER_CORE_MIN;

    /// O1: the budgets add up to what was configured, whatever that is.
    #[test]
    fn budgets_add_up_for_every_size() {
        for cores in [1, 2, 3, 8, 64, 256] {
            let least = MEMORY_BYTES_PER_CORE_MIN * cores as u64;
            for memory_bytes in [least, least + 12_345, 4 << 30, 1 << 40] {
                if memory_bytes >= least {
                    let ledger = Ledger::divide(memory_bytes, cores);
                    assert!(ledger.bytes(Use::Cache) > memory_bytes / 4, "{ledger}");
                }
            }
        }
    }
}
