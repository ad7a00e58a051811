//! The real node for the simulator: the cores of production over the groups of production, on a simulated disk.

use std::rc::Rc;
use std::sync::Arc;

use pinion_core::host::sim::{SimHost, SimTicks, World};
use pinion_core::route::Routes;
use pinion_core::turn::{Core, Settings};
use pinion_lsm::{Cache, Engine};
use pinion_shard::clock::Word;
use pinion_shard::layout::{self, Founding, Wanted};
use pinion_shard::rehome::rehome;
use pinion_shard::{ClusterId, CoreId, Groups, Layout, NodeId, Options, Setup};
use pinion_wal::disk::sim::SimDisk;
use pinion_wal::disk::{Disk, run_until};
use pinion_wal::task::Tasks;

use super::{Opener, Opening};

/// Data groups of a simulated node: few, so that keys meet.
const DATA_GROUPS: u32 = 3;

/// Groups that do not lead after this much virtual time have failed, in milliseconds.
const READY_MS_MAX: u64 = 60_000;

/// Opens real nodes with small segments and memtables, so that little work reaches every corner.
#[derive(Debug, Default)]
pub struct RealNode;

impl Opener for RealNode {
    type Machine = Core<Groups>;

    fn open(&mut self, mut sim: SimDisk, cores: usize, seed: u64, world: World) -> Opening<Core<Groups>> {
        let disk = Disk::new();
        let ticks = SimTicks::new();
        let outcome = open_cores(&disk, &mut sim, cores, seed, &ticks, world.wall_ms);
        match outcome {
            Ok(machines) => {
                let host = SimHost::new(seed, world, machines, ticks, Some((disk, sim)));
                until_ready(host)
            }
            Err(_) if sim.halted() => Opening::Halted(Box::new(sim)),
            Err(why) => Opening::Refused(Box::new(sim), why),
        }
    }
}

/// Clients may come when every group leads and serves.
fn until_ready(mut host: SimHost<Core<Groups>>) -> Opening<Core<Groups>> {
    let ready = host.run_until(READY_MS_MAX, |host| {
        let halted = host.disk_mut().is_some_and(|disk| disk.halted());
        halted || host.any_exit().is_some() || host.machines().all(|core| core.owner().is_ready())
    });
    let exit = host.any_exit().map(|exit| format!("{exit:?}"));
    if ready && exit.is_none() && !host.disk_mut().is_some_and(|disk| disk.halted()) {
        return Opening::Ready(Box::new(host));
    }
    let sim = host.crash().expect("the host was made with a disk");
    if sim.halted() {
        return Opening::Halted(Box::new(sim));
    }
    let why = exit.unwrap_or_else(|| format!("its groups are not ready after {READY_MS_MAX} ms"));
    Opening::Refused(Box::new(sim), why)
}

fn options() -> Options {
    Options { wal: pinion_wal::Options::tiny(), ..Options::default() }
}

fn open_cores(
    disk: &Disk,
    sim: &mut SimDisk,
    cores: usize,
    seed: u64,
    ticks: &SimTicks,
    wall_ms: u64,
) -> Result<Vec<Core<Groups>>, String> {
    let cores = u16::try_from(cores).map_err(|e| e.to_string())?;
    let stalled = |_| "the disk has stopped".to_owned();
    let found = async {
        let founding = Founding { cluster: ClusterId(1), node: NodeId(1) };
        let wanted = Wanted { cores, groups: Some(DATA_GROUPS), founding };
        let stored = layout::open(disk, &wanted).await.map_err(|e| e.to_string())?;
        rehome(disk, stored, cores, &options().wal).await.map_err(|e| e.to_string())
    };
    let layout: Layout = run_until(disk, sim, None, found).map_err(stalled)??;
    let word = Arc::new(Word::new());
    let mut machines = Vec::new();
    for core in 0..cores {
        let mut tasks = Tasks::new(Rc::new(ticks.clone()));
        let rows = pinion_lsm::Options { memtable_bytes_seal: 16 << 10, ..pinion_lsm::Options::default() };
        let engine = Engine::new(disk.clone(), tasks.spawner(), Cache::new(256 << 10), rows);
        let setup = Setup {
            core: CoreId(core),
            layout: layout.clone(),
            disk: disk.clone(),
            spawner: tasks.spawner(),
            engine,
            word: word.clone(),
            seed,
            options: options(),
        };
        let now = pinion_shard::Now { mono: sim.clock(), wall_ms };
        let opened = run_until(disk, sim, Some(&mut tasks), Groups::open(setup, now)).map_err(stalled)?;
        let groups = opened.map_err(|e| e.to_string())?;
        let settings = Rc::new(Settings::new(CoreId(core), cores, NodeId(1)));
        machines.push(Core::new(settings, Routes::of(&layout), groups, tasks, Rc::new(ticks.clone())));
    }
    Ok(machines)
}
