//! The real node for the simulator: the cores of production over the groups of production, on a simulated disk.

use std::rc::Rc;
use std::sync::Arc;

use pinion_core::host::sim::{NodeOptions, SimHost, SimTicks, World};
use pinion_core::host::{Machine, Now};
use pinion_core::turn::{Core, Settings};
use pinion_core::{Inbox, Outbox};
use pinion_lsm::{Cache, Engine};
use pinion_shard::clock::Word;
use pinion_shard::layout::{self, Founding, Wanted};
use pinion_shard::rehome::rehome;
use pinion_shard::{ClusterId, CoreId, Groups, Layout, NodeId, Setup};
use pinion_wal::disk::sim::SimDisk;
use pinion_wal::disk::{Disk, run_until};
use pinion_wal::task::Tasks;

use super::{Opener, Opening};

/// Data groups of a simulated node: few, so that keys meet.
const DATA_GROUPS: u32 = 3;

/// Groups that do not lead after this much virtual time have failed, in milliseconds.
const READY_MS_MAX: u64 = 60_000;

/// Turns within which they must lead, whatever time does.
const READY_TURNS_MAX: u64 = 1_000_000;

/// The least time between two turns of a core, in microseconds: a turn takes time, also one that asks for the next at
/// once or has a deadline that has passed.
const TURN_MICROS: u64 = 2;

/// A core of production whose turns take time.
pub struct TimedCore(Core<Groups>);

impl Machine for TimedCore {
    fn turn(&mut self, now: Now, inbox: &mut Inbox, outbox: &mut Outbox) {
        self.0.turn(now, inbox, outbox);
        let soonest = now.mono.plus_micros(TURN_MICROS);
        if outbox.take_run_again() {
            outbox.wake_at(soonest);
        }
        if let Some(deadline) = outbox.take_deadline() {
            outbox.wake_at(deadline.max(soonest));
        }
    }
}

/// Opens real nodes with small segments and memtables, so that little work reaches every corner.
#[derive(Debug, Default)]
pub struct RealNode;

impl Opener for RealNode {
    type Machine = TimedCore;

    fn open(&mut self, mut sim: SimDisk, cores: u16, seed: u64, world: World) -> Opening<TimedCore> {
        let (disk, ticks) = (Disk::new(), SimTicks::new());
        let options = NodeOptions { world, ..NodeOptions::small(cores, DATA_GROUPS, seed) };
        match open_cores(&disk, &mut sim, &ticks, &options) {
            Ok(machines) => until_ready(SimHost::new(seed, world, machines, ticks, Some((disk, sim)))),
            Err(_) if sim.halted() => Opening::Halted(Box::new(sim)),
            Err(why) => Opening::Refused(Box::new(sim), why),
        }
    }
}

/// Clients may come when every group leads and serves.
fn until_ready(mut host: SimHost<TimedCore>) -> Opening<TimedCore> {
    let halted = |host: &mut SimHost<TimedCore>| host.disk_mut().is_some_and(|disk| disk.halted());
    let serves = |host: &SimHost<TimedCore>| host.machines().all(|core| core.0.owner().is_ready());
    host.run_until(READY_MS_MAX, |host| {
        halted(host) || host.any_exit().is_some() || serves(host) || host.turns() > READY_TURNS_MAX
    });
    if serves(&host) && host.any_exit().is_none() && !halted(&mut host) {
        return Opening::Ready(Box::new(host));
    }
    let exit = host.any_exit().map(|exit| format!("{exit:?}"));
    let (turns, now) = (host.turns(), host.now().mono.0);
    let disk = host.crash().expect("the host was made with a disk");
    match exit {
        _ if disk.halted() => Opening::Halted(Box::new(disk)),
        Some(why) => Opening::Refused(Box::new(disk), why),
        None => Opening::Silent(format!("its groups do not serve after {turns} turns, at {now} ns")),
    }
}

fn open_cores(
    disk: &Disk,
    sim: &mut SimDisk,
    ticks: &SimTicks,
    options: &NodeOptions,
) -> Result<Vec<TimedCore>, String> {
    let stalled = |_| "the disk has stopped".to_owned();
    let found = async {
        let founding = Founding { cluster: ClusterId(1), node: NodeId(1) };
        let wanted = Wanted { cores: options.cores, groups: Some(options.groups), founding };
        let stored = layout::open(disk, &wanted).await.map_err(|e| e.to_string())?;
        rehome(disk, stored, options.cores, &options.shard.wal).await.map_err(|e| e.to_string())
    };
    let layout: Layout = run_until(disk, sim, None, found).map_err(stalled)??;
    let word = Arc::new(Word::new());
    let settings = Settings::new(CoreId(0), options.cores, layout.node);
    let mut machines = Vec::new();
    for core in (0..options.cores).map(CoreId) {
        let mut tasks = Tasks::new(Rc::new(ticks.clone()));
        let cache = Cache::new(options.cache_bytes);
        let setup = Setup {
            core,
            layout: layout.clone(),
            disk: disk.clone(),
            spawner: tasks.spawner(),
            engine: Engine::new(disk.clone(), tasks.spawner(), cache, options.rows.clone()),
            word: word.clone(),
            seed: options.seed ^ u64::from(core.0) << 32,
            options: options.shard.clone(),
        };
        let now = pinion_shard::Now { mono: sim.clock(), wall_ms: options.world.wall_at(sim.clock()) };
        let opened = run_until(disk, sim, Some(&mut tasks), Groups::open(setup, now)).map_err(stalled)?;
        let groups = opened.map_err(|e| e.to_string())?;
        let settings = Rc::new(Settings { core, ..settings.clone() });
        machines.push(TimedCore(Core::over(settings, groups, tasks, Rc::new(ticks.clone()))));
    }
    Ok(machines)
}
