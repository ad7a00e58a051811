//! The memory of a server, as a ledger: every byte it may use belongs to one budget, and the budgets add up to the total.
//!
//! A full budget pushes back (stop reading from a socket) or refuses with an error that says to retry; it never grows.

use std::fmt;

/// Bytes of one receive buffer.
pub const RECEIVE_BUFFER_BYTES: u64 = 16 << 10;
/// Receive buffers of a core, at most.
const RECEIVE_BUFFERS_MAX: u64 = 512;
/// Receive buffers of a core, at least.
const RECEIVE_BUFFERS_MIN: u64 = 64;

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
