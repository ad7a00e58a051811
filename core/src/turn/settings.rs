//! What a core is told at its start.

use std::sync::Arc;

use pinion_shard::{CoreId, NodeId};
use pinion_wal::Mono;

use crate::cluster::Advertising;
use crate::config::Live;
use crate::ledger::Budgets;
use crate::publish::Published;
use crate::vitals::Vitals;

/// What a core is told at its start. The same on all cores, but for `core`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This core.
    pub core: CoreId,
    /// Cores of the node.
    pub cores: u16,
    /// The node.
    pub node: NodeId,
    /// What AUTH asks for; `None`: nothing.
    pub password: Option<Vec<u8>>,
    /// Bytes of the longest argument.
    pub value_bytes_max: usize,
    /// What the cores lease of the node's memory: the settings of all cores of a node are clones of one.
    pub budgets: Budgets,
    /// Bytes of memory that the whole server may use.
    pub memory_bytes_max: u64,
    /// The port that clients connect to.
    pub port: u16,
    /// What cluster clients are told; `None`: that this is no cluster.
    pub cluster: Option<Advertising>,
    /// 40 hexadecimal digits that name this run of the server.
    pub run_id: String,
    /// When the server started.
    pub started: Mono,
    /// The process, for INFO.
    pub process_id: u32,
    /// What the system says about it.
    pub vitals: Arc<Vitals>,
    /// What may change while the server runs; the settings of all cores of a node are clones of one.
    pub live: Published<Live>,
}

impl Settings {
    /// Settings of one of `cores` cores, with no password and the default bounds.
    #[must_use]
    pub fn new(core: CoreId, cores: u16, node: NodeId) -> Self {
        Self {
            core,
            cores,
            node,
            password: None,
            value_bytes_max: crate::resp::limits::BULK_BYTES_MAX,
            budgets: Budgets::fixed(128 << 20),
            memory_bytes_max: 0,
            port: 6379,
            cluster: None,
            run_id: "0".repeat(40),
            started: Mono(0),
            process_id: 0,
            vitals: Arc::default(),
            live: Published::new(Live::default()),
        }
    }
}
