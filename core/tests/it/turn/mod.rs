//! The turn over groups in memory, driven by the simulated host.

mod cluster;
mod latency;
mod memory;
mod node;
mod pipelines;
#[cfg(feature = "planted")]
mod planted;
mod pressure;
mod random_key;
mod settings;
mod stages;

use std::rc::Rc;

use pinion_core::CoreId;
use pinion_core::host::sim::{ClientId, SimHost, SimTicks, World};
use pinion_core::ledger::Budget;
use pinion_core::route::Routes;
use pinion_core::turn::owner::Owner;
use pinion_core::turn::{Core, Settings};
use pinion_shard::layout::{Founding, Layout, Wanted};
use pinion_shard::{ClusterId, NodeId};
use pinion_wal::task::Tasks;

use memory::MemoryGroups;

pub type Host = SimHost<Core<MemoryGroups>>;

/// Virtual time within which everything must be answered.
const MILLIS: u64 = 10_000;

pub fn seed(default: u64) -> u64 {
    let seed = std::env::var("PINION_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    println!("seed {seed}: PINION_SEED={seed} cargo test -p pinion-core --test it turn::");
    seed
}

/// A node over groups in memory.
pub fn memory_node(seed: u64, cores: u16, groups: u32, world: World, adjust: impl Fn(&mut Settings)) -> Host {
    let founding = Founding { cluster: ClusterId(1), node: NodeId(1) };
    let layout = Layout::found(&Wanted { cores, groups: Some(groups), founding });
    let ticks = SimTicks::new();
    let mut settings = Settings::new(CoreId(0), cores, NodeId(1));
    adjust(&mut settings);
    let machines = (0..cores).map(|core| {
        let settings = Settings { core: CoreId(core), ..settings.clone() };
        let groups = MemoryGroups::new(seed ^ u64::from(core), layout.groups_on(CoreId(core)));
        let shared = Rc::new(ticks.clone());
        Core::new(Rc::new(settings), Routes::of(&layout), groups, Tasks::new(shared.clone()), shared)
    });
    SimHost::new(seed, world, machines.collect(), ticks.clone(), None)
}

/// A request of counted arguments.
pub fn request(arguments: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// A request of words.
pub fn words(line: &str) -> Vec<u8> {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    request(&words)
}

/// Sends bytes and waits until as many reply bytes as expected have come; compares them.
pub fn expect<O: Owner>(host: &mut SimHost<Core<O>>, client: ClientId, sent: &[u8], expected: &str) {
    host.send(client, sent);
    await_reply(host, client, expected);
}

/// Waits for exactly this reply.
pub fn await_reply<O: Owner>(host: &mut SimHost<Core<O>>, client: ClientId, expected: &str) {
    host.run_until(MILLIS, |host| host.received(client).len() >= expected.len());
    let received = host.take_received(client);
    assert_eq!(String::from_utf8_lossy(&received), expected);
    host.machines().for_each(Core::check);
}

/// Sends a command of words and answers its reply, of which `is_whole` tells when it is there.
pub fn call<O: Owner>(
    host: &mut SimHost<Core<O>>,
    client: ClientId,
    line: &str,
    is_whole: impl Fn(&[u8]) -> bool,
) -> String {
    host.send(client, &words(line));
    assert!(host.run_until(MILLIS, |host| is_whole(host.received(client))), "{line} was not answered");
    String::from_utf8(host.take_received(client)).expect("this reply is text")
}
