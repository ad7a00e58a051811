//! A whole simulated node: real cores over real groups, logs and trees, on one simulated disk.

use std::rc::Rc;
use std::sync::Arc;

use pinion_lsm::{Cache, Engine};
use pinion_shard::clock::Word;
use pinion_shard::layout::{self, Founding, LayoutError, Wanted};
use pinion_shard::rehome::{RehomeError, rehome};
use pinion_shard::{ClusterId, CoreId, Digest, GroupId, Groups, Layout, NodeId, OpenError, Setup};
use pinion_wal::Ticks;
use pinion_wal::disk::sim::{Pattern, SimDisk};
use pinion_wal::disk::{Disk, SyncTimes, run_until};
use pinion_wal::task::Tasks;

use super::{SimHost, SimTicks, World};
use crate::cluster::Advertising;
use crate::turn::{Core, Settings};

/// How a simulated node is started.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Cores.
    pub cores: u16,
    /// Data groups; what a first start decides holds for ever.
    pub groups: u32,
    /// Seeds everything random.
    pub seed: u64,
    /// The world around the cores.
    pub world: World,
    /// The groups of each core.
    pub shard: pinion_shard::Options,
    /// The rows of each core.
    pub rows: pinion_lsm::Options,
    /// Bytes of the block cache of each core.
    pub cache_bytes: usize,
    /// What clients must give, if anything.
    pub password: Option<Vec<u8>>,
    /// What cluster clients are told; `None`: that this is no cluster.
    pub cluster: Option<Advertising>,
}

impl NodeOptions {
    /// Small segments, memtables and caches, so that little work reaches every corner.
    #[must_use]
    pub fn small(cores: u16, groups: u32, seed: u64) -> Self {
        Self {
            cores,
            groups,
            seed,
            world: World::default(),
            shard: pinion_shard::Options {
                wal: pinion_wal::Options::tiny(),
                ..pinion_shard::Options::default()
            },
            rows: pinion_lsm::Options { memtable_bytes_seal: 8 << 10, ..pinion_lsm::Options::default() },
            cache_bytes: 1 << 20,
            password: None,
            cluster: None,
        }
    }
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The disk completes nothing any more.
    #[error("the disk has stopped")]
    Stalled,
    /// The layout cannot be used.
    #[error("{0}")]
    Layout(#[from] LayoutError),
    /// The groups cannot be moved to this number of cores.
    #[error("{0}")]
    Rehome(#[from] RehomeError),
    /// The groups of a core cannot be opened.
    #[error("{0}")]
    Open(#[from] OpenError),
}

/// A simulated node with its clients.
pub type Node = SimHost<Core<Groups>>;

impl Node {
    /// Opens the directory on a disk: founds it when it is new, moves groups when the number of cores has changed, and
    /// opens the groups of every core.
    ///
    /// # Errors
    /// The disk, and why not.
    pub fn start(mut sim: SimDisk, options: &NodeOptions) -> Result<Self, Box<(SimDisk, StartError)>> {
        match open(&mut sim, options) {
            Ok((disk, ticks, cores)) => {
                let started = Some((disk, sim));
                Ok(Self::new(options.seed, options.world, cores, ticks, started))
            }
            Err(error) => Err(Box::new((sim, error))),
        }
    }

    /// Crashes: of what was not synced, `pattern` is left. Answers the disk, for the next start.
    #[must_use]
    pub fn crash_with(self, pattern: Pattern) -> SimDisk {
        let mut disk = self.crash().expect("a node has a disk");
        disk.crash(pattern);
        disk
    }

    /// Whether every group serves, or refuses for good.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.machines().all(|core| core.owner().is_ready())
    }

    /// The digests of all groups, by id.
    #[must_use]
    pub fn digests(&self) -> Vec<(GroupId, Digest)> {
        let mut digests: Vec<(GroupId, Digest)> = self
            .machines()
            .flat_map(|core| {
                let groups = core.owner();
                groups.ids().filter_map(|id| Some((id, groups.machine(id)?.digest()?)))
            })
            .collect();
        digests.sort_by_key(|(id, _)| *id);
        digests
    }

    /// Executes the invariants of every core and every group.
    ///
    /// # Panics
    /// When one is broken.
    pub fn check(&self) {
        for core in self.machines() {
            core.check();
            core.owner().check();
        }
    }
}

type Opened = (Disk, SimTicks, Vec<Core<Groups>>);

fn open(sim: &mut SimDisk, options: &NodeOptions) -> Result<Opened, StartError> {
    let (disk, ticks, word) = (Disk::new(), SimTicks::new(), Arc::new(Word::new()));
    let layout =
        run_until(&disk, sim, None, layout_for(&disk, options)).map_err(|_| StartError::Stalled)??;
    let mut settings = Settings::new(CoreId(0), options.cores, layout.node);
    settings.cluster = options.cluster.clone();
    settings.password.clone_from(&options.password);
    let mut cores = Vec::new();
    for core in (0..options.cores).map(CoreId) {
        let shared: Rc<dyn Ticks> = Rc::new(ticks.clone());
        let mut tasks = Tasks::new(shared.clone());
        let spawner = tasks.spawner();
        let times = Rc::new(SyncTimes::new(shared.clone()));
        let own = disk.timed(&times);
        let cache = Cache::new(options.cache_bytes);
        let setup = Setup {
            core,
            layout: layout.clone(),
            disk: own.clone(),
            spawner: spawner.clone(),
            engine: Engine::new(own, spawner, cache, options.rows.clone()),
            word: word.clone(),
            seed: options.seed ^ u64::from(core.0) << 32,
            options: options.shard.clone(),
        };
        let now = pinion_shard::Now { mono: sim.clock(), wall_ms: options.world.wall_at(sim.clock()) };
        let opening = Groups::open(setup, now);
        let groups = run_until(&disk, sim, Some(&mut tasks), opening).map_err(|_| StartError::Stalled)??;
        let settings = Settings { core, ..settings.clone() };
        cores.push(Core::over(Rc::new(settings), groups, tasks, shared).timing_syncs(times));
    }
    Ok((disk, ticks, cores))
}

async fn layout_for(disk: &Disk, options: &NodeOptions) -> Result<Layout, StartError> {
    let founding = Founding { cluster: ClusterId(1), node: NodeId(1) };
    let wanted = Wanted { cores: options.cores, groups: Some(options.groups), founding };
    let stored = layout::open(disk, &wanted).await?;
    Ok(rehome(disk, stored, options.cores, &options.shard.wal).await?)
}
