//! Who the client of a connection is, and what it has done.

use std::net::SocketAddr;

use crate::command::{Client, CommandId};

/// The client of a connection.
#[derive(Clone, Debug)]
pub struct Session {
    /// What it has told about itself, and what it may do.
    pub client: Client,
    /// Its address.
    pub peer: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
    /// Milliseconds on the host's monotonic clock when it connected.
    pub since_ms: u64,
    /// The same, when it last sent something.
    pub active_ms: u64,
    /// Its last command.
    pub last_command: Option<CommandId>,
}

impl Session {
    /// A client that has connected at `now_ms`.
    #[must_use]
    pub const fn new(client: Client, peer: SocketAddr, local: SocketAddr, now_ms: u64) -> Self {
        Self { client, peer, local, since_ms: now_ms, active_ms: now_ms, last_command: None }
    }
}
