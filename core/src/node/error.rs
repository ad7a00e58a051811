//! Why a node does not start, or ends other than by being asked to.

use pinion_shard::layout::LayoutError;
use pinion_shard::loss::LossError;
use pinion_shard::rehome::RehomeError;
use pinion_wal::disk::DiskError;

use super::DirectoryError;
use crate::host::uring::ListenError;

/// Why a node does not start, or ended. Each is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The data directory cannot be read.
    #[error("the data directory cannot be used: {0}")]
    Disk(#[from] DiskError),
    /// The directory was founded otherwise, or damaged.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The groups cannot be homed on the cores there are.
    #[error(transparent)]
    Rehome(#[from] RehomeError),
    /// The loss of a group is not accepted.
    #[error(transparent)]
    Loss(#[from] LossError),
    /// A core cannot be started.
    #[error("{0}")]
    Start(String),
    /// A core must not go on.
    #[error(
        "the server has stopped, and acknowledged nothing since: {0}; find the cause, then start it again"
    )]
    Poisoned(String),
    /// A second signal came before the cores had stopped.
    #[error("stopped at once by a second signal; nothing acknowledged is lost")]
    Hurried,
    /// Fewer files may be open than the configuration needs.
    #[error(
        "{limit} files may be open, but maxclients {clients} needs {needed}: raise the limit with `ulimit -n {needed}` (or \
         LimitNOFILE in a systemd unit), or lower --maxclients"
    )]
    Descriptors {
        /// The limit.
        limit: u64,
        /// Connections that are configured.
        clients: usize,
        /// Descriptors that they and the files need.
        needed: u64,
    },
    /// The port of metrics and health cannot be listened on.
    #[error("--admin-port: {address} cannot be listened on ({cause}): give another one, or end who has it")]
    Admin {
        /// The address.
        address: std::net::SocketAddr,
        /// Why it failed.
        cause: std::io::Error,
    },
    /// Something of the system.
    #[error("{what}: {cause}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        cause: std::io::Error,
    },
}
