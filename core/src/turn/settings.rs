//! What a core is told at its start.

use std::sync::Arc;

use pinion_shard::{CoreId, NodeId};
use pinion_wal::Mono;

use crate::cluster::Advertising;
use crate::ledger::Budgets;
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
    /// Whether durations of requests are recorded; if not, they are only counted.
    pub latency_tracking: bool,
    /// Requests that take so many microseconds stand in the slow log; negative: none.
    pub slowlog_above_micros: i64,
    /// Entries of the slow log, at most.
    pub slowlog_max: usize,
    /// What CONFIG GET answers: names and values, in the order of the names.
    pub config: Vec<(String, String)>,
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
            latency_tracking: true,
            slowlog_above_micros: crate::config::SLOWLOG_ABOVE_MICROS,
            slowlog_max: crate::config::SLOWLOG_MAX,
            config: Vec::new(),
        }
    }
}
