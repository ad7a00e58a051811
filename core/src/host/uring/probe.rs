//! What the ring of this kernel lacks of what the host uses, for whoever looks before a start.

use io_uring::{Probe, opcode};

use super::RingError;
use super::ring::set_up;

/// Operations that the host submits.
const OPERATIONS: &[(&str, u8)] = &[
    ("accept", opcode::AcceptMulti::CODE),
    ("cancel", opcode::AsyncCancel::CODE),
    ("close", opcode::Close::CODE),
    ("fallocate", opcode::Fallocate::CODE),
    ("fsync", opcode::Fsync::CODE),
    ("linkat", opcode::LinkAt::CODE),
    ("mkdirat", opcode::MkDirAt::CODE),
    ("message to a ring", opcode::MsgRingData::CODE),
    ("nop", opcode::Nop::CODE),
    ("openat", opcode::OpenAt::CODE),
    ("read", opcode::Read::CODE),
    ("read into a registered buffer", opcode::ReadFixed::CODE),
    ("receive", opcode::RecvMulti::CODE),
    ("renameat", opcode::RenameAt::CODE),
    ("send", opcode::Send::CODE),
    ("unlinkat", opcode::UnlinkAt::CODE),
    ("write", opcode::Write::CODE),
    ("write from a registered buffer", opcode::WriteFixed::CODE),
];

/// Sets a ring up as a core does, and answers which operations of the host the kernel does not know.
///
/// # Errors
/// When a core could have no ring here.
pub fn missing_operations() -> Result<Vec<&'static str>, RingError> {
    let ring = set_up()?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(RingError::Other)?;
    let lacks = |&&(_, code): &&(&str, u8)| !probe.is_supported(code);
    Ok(OPERATIONS.iter().filter(lacks).map(|&(name, _)| name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_of_the_tests_knows_every_operation() {
        assert_eq!(missing_operations().expect("a core can have a ring here"), Vec::<&str>::new());
    }

    /// An operation that the host submits and that nobody asks the kernel about is missed only by a running server.
    #[test]
    fn every_operation_of_the_host_is_probed() {
        let sources = [
            include_str!("disk.rs"),
            include_str!("net.rs"),
            include_str!("listener.rs"),
            include_str!("ring.rs"),
            include_str!("mod.rs"),
            include_str!("cores.rs"),
            include_str!("siblings.rs"),
        ];
        let here = include_str!("probe.rs");
        let mut seen = 0;
        for source in sources {
            for (at, mark) in source.match_indices("opcode::") {
                let name: String =
                    source[at + mark.len()..].chars().take_while(|c| c.is_alphanumeric()).collect();
                if !name.is_empty() {
                    seen += 1;
                    assert!(here.contains(&format!("opcode::{name}::CODE")), "{name} is not probed");
                }
            }
        }
        assert!(seen >= OPERATIONS.len() - 1, "only {seen} uses were found");
    }
}
