//! From a configuration to serving cores, and to their end.

use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use pinion_lsm::{Cache, Engine};
use pinion_shard::clock::Word;
use pinion_shard::layout::{self, Founding, Layout, Wanted};
use pinion_shard::loss::accept_loss;
use pinion_shard::{ClusterId, GroupId, Groups, NodeId, OpenError, Standing, rehome};
use pinion_wal::disk::direct::DirectDisk;
use pinion_wal::disk::{Disk, SyncTimes, block_on};
use pinion_wal::task::Tasks;
use rustix::rand::{GetRandomFlags, getrandom};

use super::{Directory, Load, News, NodeError, Reload, allocator, make_room_for, watch};
use crate::admin::http::Port;
use crate::admin::{Board, Reporter};
use crate::cluster::Advertising;
use crate::config::{Config, Live, Secret};
use crate::host::uring::{Cores, Opening, Plan, StartError, UringOptions, bind};
use crate::host::{Machine, Now, Tsc};
use crate::ledger::{Leases, Ledger, RECEIVE_BUFFER_BYTES, Use};
use crate::publish::Published;
use crate::signal::{Asked, StopSignals};
use crate::turn::{Core, Settings};
use crate::{Inbox, Outbox};

/// Of the memtable budget of a core, one memtable is sealed at this part, so that several can be on their way to disk.
const MEMTABLE_SEAL_PART: usize = 4;

/// Of the memory of a core for rows, the kernel gives so much at the start at most: half a second on a machine whose host
/// has to find it first, a few hundredths on bare metal.
const WARM_BYTES_MAX: usize = 256 << 20;

/// Serves until a signal, or until a core must not go on. `load` reads the configuration again. `say` is told, in lines for people, what happens.
///
/// # Errors
/// When the node cannot be started, or ended other than by being asked to.
pub fn run(config: &Config, load: Load<'_>, say: &mut dyn FnMut(&str)) -> Result<(), NodeError> {
    allocator::give_back_what_is_freed();
    let signals = StopSignals::take_over()
        .map_err(|cause| NodeError::System { what: "signals cannot be taken over", cause })?;
    make_room_for(config.clients_max)?;
    let (sockets, address) = bind(config.address(), config.cpus.len())?;
    let (own_sockets, core_ports) = bind_cores(config)?;
    let unbound = |address, cause| NodeError::Admin { address, cause };
    let admin = config
        .admin
        .map(|address| Port::bind(address).map_err(|cause| unbound(address, cause)))
        .transpose()?;
    // Held until the process is gone: on some ways out, cores that nobody waits for still write.
    let directory = ManuallyDrop::new(Directory::hold(&config.data_dir)?);
    let ledger = Ledger::divide(config.memory_bytes, config.cpus.len());
    say(&format!("memory: {} MiB ({ledger})", config.memory_bytes >> 20));
    let mut node = Node {
        layout: lay_out(config, &directory, &ledger, say)?,
        board: admin.is_some().then(|| Arc::new(Board::new(config.cpus.len()))),
        ..Node::new(config, &ledger, address)?
    };
    if !core_ports.is_empty() {
        say(&format!("ports of the cores: {core_ports:?}"));
    }
    if let Some(advertising) = &mut node.settings.cluster {
        advertising.core_ports = core_ports;
    }
    let board = node.board.clone();
    let (layout, cores, news) = (node.layout.clone(), config.cpus.len(), node.news.clone());
    let (vitals, live) = (node.settings.vitals.clone(), node.settings.live.clone());
    let plan = Plan {
        cpus: config.cpus.clone(),
        sockets,
        own_sockets,
        data_dir: Some(directory.path().to_owned()),
        options: UringOptions {
            receive_buffers: ledger.receive_buffers(),
            receive_buffer_bytes: usize::try_from(RECEIVE_BUFFER_BYTES).expect("small"),
            worker_cpus: Vec::new(),
        },
        clients_max: config.clients_max,
    };
    let mut asked = || signals.next() == Some(Asked::Stop);
    let cores_running = match Cores::start_unless(plan, &mut asked, move |opening| node.open(opening)) {
        Err(StartError::Stopped) => {
            say("stopped before it was ready");
            return Ok(());
        }
        started => started.map_err(|error| NodeError::Start(error.to_string()))?,
    };
    for line in news.take() {
        say(&line);
    }
    if let (Some(admin), Some(board)) = (admin, board) {
        let address = admin.address();
        admin.serve(board).map_err(|cause| unbound(address, cause))?;
        say(&format!("metrics on http://{address}/metrics, health on /livez and /readyz"));
    }
    say(&format!(
        "ready on {address}: {cores} cores (CPUs {:?}), {} data groups, data in {}",
        config.cpus,
        layout.groups.len(),
        directory.path().display()
    ));
    let mut reload = Reload::new(load, config.clone(), live);
    watch(&signals, &news, cores_running, &vitals, &mut reload, say)?;
    say("stopped");
    Ok(())
}

/// A bound socket and its port for each core, if cores have ports of their own.
fn bind_cores(config: &Config) -> Result<(Vec<OwnedFd>, Vec<u16>), NodeError> {
    let Some(first) = config.core_ports else { return Ok((Vec::new(), Vec::new())) };
    let (mut sockets, mut ports) = (Vec::new(), Vec::new());
    for place in 0..count_of(config) {
        let port = if first == 0 { 0 } else { first + place };
        let (bound, address) = bind(SocketAddr::new(config.bind, port), 1)?;
        sockets.extend(bound);
        ports.push(address.port());
    }
    Ok((sockets, ports))
}

/// Why a core cannot be opened.
#[derive(Debug, thiserror::Error)]
enum CoreError {
    /// Its groups cannot.
    #[error("the data directory cannot be opened: {0}")]
    Groups(#[from] OpenError),
    /// It waits for something that never comes.
    #[error("the data directory cannot be opened: its recovery has stalled; this is a bug of Pinion")]
    Stalled,
}

/// A core whose clients come when its groups serve.
struct Served {
    core: Core<Groups>,
    news: Arc<News>,
    /// How many groups were told to have halted.
    told: usize,
    /// Who answers the admin port, if there is one.
    reporter: Option<Reporter>,
}

impl Served {
    /// Tells of groups that have halted while they served.
    fn tell(&mut self) {
        let groups = self.core.owner();
        for &id in &groups.halted()[self.told..] {
            if let Some(Standing::Halted(why)) = groups.standing(id) {
                self.news.tell(refusal(id, why));
            }
        }
        self.told = groups.halted().len();
    }
}

impl Machine for Served {
    fn turn(&mut self, now: Now, inbox: &mut Inbox, outbox: &mut Outbox) {
        self.core.turn(now, inbox, outbox);
        if self.core.owner().halted().len() > self.told {
            self.tell();
        }
        if let Some(reporter) = &mut self.reporter {
            reporter.after_turn(&self.core, now.mono, outbox);
        }
    }

    fn is_ready(&self) -> bool {
        self.core.owner().is_ready()
    }
}

fn refusal(id: GroupId, why: &str) -> String {
    format!("group {id} refuses to serve: {why}")
}

/// What every core of a node is opened with.
struct Node {
    layout: Layout,
    word: Arc<Word>,
    seed: u64,
    settings: Settings,
    log_buffer_bytes: usize,
    /// A core's part of the memory for rows that are not flushed.
    memtable_bytes: usize,
    /// What people are told: which groups refuse to serve, and why.
    news: Arc<News>,
    /// Where the admin port asks; `None`: there is none.
    board: Option<Arc<Board>>,
}

impl Node {
    fn new(config: &Config, ledger: &Ledger, address: SocketAddr) -> Result<Self, NodeError> {
        let cores = count_of(config);
        let [a, b, c] = [random()?, random()?, random()?];
        let mut settings = Settings::new(pinion_shard::CoreId(0), cores, NodeId(0));
        settings.password = config.password.as_ref().map(|password: &Secret| password.bytes().to_vec());
        settings.budgets = ledger.budgets();
        settings.memory_bytes_max = config.memory_bytes;
        settings.port = address.port();
        settings.cluster =
            config.cluster.then(|| Advertising { announced: config.announced, ..Advertising::default() });
        settings.run_id = format!("{a:016x}{b:016x}{:08x}", c >> 32);
        settings.process_id = std::process::id();
        settings.live = Published::new(live(config));
        // Replaced by the layout that the directory has.
        let founding = Founding { cluster: ClusterId(1), node: NodeId(1) };
        let layout = Layout::found(&Wanted { cores, groups: None, founding });
        let log_buffer_bytes = ledger.bytes_per_core(Use::LogBuffers);
        let memtable_bytes = ledger.bytes_per_core(Use::Memtables);
        let word = Arc::new(Word::new());
        let news = News::new()
            .map_err(|cause| NodeError::System { what: "an event descriptor cannot be made", cause })?;
        let news = Arc::new(news);
        Ok(Self {
            layout,
            word,
            seed: random()?,
            settings,
            log_buffer_bytes,
            memtable_bytes,
            news,
            board: None,
        })
    }

    /// Opens the machine of a core, on its thread and ring.
    fn open(&self, opening: Opening<'_>) -> Result<Served, CoreError> {
        let Opening { core, host, disk } = opening;
        let ticks = host.ticks();
        let mut tasks = Tasks::new(ticks.clone());
        let spawner = tasks.spawner();
        let times = Rc::new(SyncTimes::new(ticks.clone()));
        let disk = disk.timed(&times);
        // What cores lease begins with its floor.
        let floors = Leases::of(&self.settings.budgets);
        let cache = Cache::new(floors.cache.bytes());
        let engine = Engine::new(disk.clone(), spawner.clone(), cache, rows(floors.memtables.bytes()));
        engine.warm(floors.memtables.bytes().min(WARM_BYTES_MAX));
        let setup = pinion_shard::Setup {
            core,
            layout: self.layout.clone(),
            disk,
            spawner,
            engine,
            word: self.word.clone(),
            seed: self.seed ^ u64::from(core.0) << 48,
            options: groups(floors.proposals.bytes(), self.log_buffer_bytes, self.memtable_bytes),
        };
        let now = host.now();
        let groups =
            host.complete(Some(&mut tasks), Groups::open(setup, now)).ok_or(CoreError::Stalled)??;
        for id in groups.ids() {
            if let Some(Standing::Damaged(why) | Standing::Halted(why)) = groups.standing(id) {
                self.news.tell(refusal(id, why));
            }
        }
        let mut settings =
            Settings { core, node: self.layout.node, started: now.mono, ..self.settings.clone() };
        if let Some(advertising) = &mut settings.cluster {
            advertising.cluster = self.layout.cluster;
        }
        let told = groups.halted().len();
        let reporter = self.board.clone().map(|board| Reporter::new(board, usize::from(core.0)));
        let core = Core::over(Rc::new(settings), groups, tasks, ticks).timing_syncs(times);
        Ok(Served { core, news: self.news.clone(), told, reporter })
    }
}

/// What is in force, and what clients see of it: our own settings, and those of Redis that its tools ask for, as they are
/// here.
fn live(config: &Config) -> Live {
    let fixed = [
        ("appendfsync", "always"),
        ("appendonly", "yes"),
        ("databases", "1"),
        ("maxmemory", "0"),
        ("maxmemory-policy", "noeviction"),
        ("save", ""),
    ];
    let own = config.shown.iter().map(|(name, value)| (*name, value.as_str()));
    Live {
        latency_tracking: config.latency_tracking,
        slowlog_above_micros: config.slowlog_above_micros,
        slowlog_max: config.slowlog_max,
        shown: own.chain(fixed).map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    }
}

/// Reads the layout of the directory, or founds it, gives up what a person said is lost, and homes the groups on the cores
/// there are.
fn lay_out(
    config: &Config,
    directory: &Directory,
    ledger: &Ledger,
    say: &mut dyn FnMut(&str),
) -> Result<Layout, NodeError> {
    let cluster = u128::from(random()?) << 64 | u128::from(random()?);
    // 48 bits, and never zero.
    let node = NodeId(random()? >> 16 | 1);
    let founding = Founding { cluster: ClusterId(cluster), node };
    let wanted = Wanted { cores: count_of(config), groups: config.groups, founding };
    let disk = Disk::new();
    let mut driver = DirectDisk::new(directory.path())?;
    let layout = block_on(&disk, &mut driver, None, layout::open(&disk, &wanted))?;
    let [proposals, buffers, memtables] =
        [Use::Proposals, Use::LogBuffers, Use::Memtables].map(|of| ledger.bytes_per_core(of));
    let wal = groups(proposals, buffers, memtables).wal;
    for group in config.accept_losses.iter().copied().map(GroupId) {
        let tasks = Tasks::new(Rc::new(Tsc::new()));
        let engine = Engine::new(disk.clone(), tasks.spawner(), Cache::new(0), rows(memtables));
        let accepted = accept_loss(&disk, &engine, &layout, group, &wal);
        say(&block_on(&disk, &mut driver, None, accepted)?.to_string());
    }
    Ok(block_on(&disk, &mut driver, None, rehome::rehome(&disk, layout, wanted.cores, &wal))?)
}

fn rows(memtable_bytes: usize) -> pinion_lsm::Options {
    pinion_lsm::Options {
        memtable_bytes_seal: memtable_bytes / MEMTABLE_SEAL_PART,
        memtable_bytes_max: memtable_bytes,
        ..pinion_lsm::Options::default()
    }
}

fn groups(
    proposal_bytes_max: usize,
    log_buffer_bytes: usize,
    memtable_bytes: usize,
) -> pinion_shard::Options {
    let wal = pinion_wal::Options::default().with_buffer_bytes(log_buffer_bytes);
    // What memtables cannot hold need not be replayed, nor read again at every start.
    let retained_bytes_max = (memtable_bytes as u64).clamp(2 * wal.segment_bytes, wal.retained_bytes_max);
    let wal = pinion_wal::Options { retained_bytes_max, ..wal };
    pinion_shard::Options { proposal_bytes_max, wal, ..pinion_shard::Options::default() }
}

fn count_of(config: &Config) -> u16 {
    u16::try_from(config.cpus.len()).unwrap_or(u16::MAX)
}

fn random() -> Result<u64, NodeError> {
    let mut bytes = [0; 8];
    let filled = getrandom(&mut bytes, GetRandomFlags::empty()).map_err(|errno| NodeError::System {
        what: "the kernel gives no random bytes",
        cause: errno.into(),
    })?;
    assert_eq!(filled, bytes.len(), "short requests are filled whole");
    Ok(u64::from_ne_bytes(bytes))
}
