//! What is slow is named: the disk, a core, a client, each where it is and nowhere else.

use std::collections::BTreeMap;

use super::*;
use pinion_core::config::Live;
use pinion_core::host::sim::{Node, NodeOptions};
use pinion_core::publish::Published;
use pinion_core::series::{Sample, Series};
use pinion_wal::disk::OpKind;
use pinion_wal::disk::sim::{Fault, Faults, Rule, SimDisk};

/// Longer than anything that nobody made slow, in ticks: 5 ms.
const QUIET: u64 = 5_000_000;

fn fresh(options: &NodeOptions) -> Node {
    start(SimDisk::new(options.seed, Faults::default()), options)
}

fn start(disk: SimDisk, options: &NodeOptions) -> Node {
    let mut node = Node::start(disk, options).map_err(|failed| failed.1).expect("the node starts");
    assert!(node.run_until(MILLIS, |node| node.serves()), "the node does not serve");
    node
}

fn slow(kind: OpKind, path_part: &str, for_ever: bool) -> Faults {
    let fault = Fault::Slow(50_000);
    let rule = Rule { kind: Some(kind), path_part: path_part.to_owned(), nth: 1, for_ever, fault };
    Faults { rules: vec![rule], ..Faults::default() }
}

fn samples<O: Owner>(host: &SimHost<Core<O>>) -> Vec<Sample> {
    host.machines().map(Core::sample).collect()
}

fn found<'a>(sample: &'a Sample, name: &str) -> Option<&'a Series> {
    sample.series.iter().find(|series| series.name == name)
}

fn longest(sample: &Sample, name: &str) -> u64 {
    found(sample, name).map_or(0, |series| series.max)
}

const STAGE_NAMES: [&str; 9] =
    ["parse", "route", "admit", "propose", "persist", "replicate", "commit", "apply", "reply"];

/// A durable write that takes 50 ms shows as persist, as a sync and as a stall of the disk, and as nothing else.
#[test]
fn a_slow_sync_is_told_as_such() {
    let mut node = fresh(&NodeOptions::small(1, 2, seed(51)));
    let client = node.connect(0);
    expect(&mut node, client, &words("SET a 1"), "+OK\r\n");
    node.run_until(50, |_| false);
    assert_eq!(found(&samples(&node)[0], "stall/disk"), None);
    expect(&mut node, client, &words("PINION STAGES RESET"), "+OK\r\n");
    node.disk_mut().expect("it has one").set_faults(slow(OpKind::Write, "", false));
    expect(&mut node, client, &words("SET b 1"), "+OK\r\n");
    let sample = &samples(&node)[0];
    for stage in STAGE_NAMES {
        let longest = longest(sample, &format!("stage/{stage}"));
        let slow = stage == "persist";
        assert_eq!(longest >= 10 * QUIET, slow, "{stage} took {longest}");
        assert!(slow || longest < QUIET, "{stage} took {longest}");
        let of_command = self::longest(sample, &format!("command/set/{stage}"));
        assert_eq!(of_command >= 10 * QUIET, slow, "{stage} of SET took {of_command}");
    }
    assert!(longest(sample, "sync/write") >= 10 * QUIET);
    assert_eq!(found(sample, "stall/disk").map(|series| series.count), Some(1));
    assert_eq!(sample.series.iter().filter(|series| series.name.starts_with("stall/")).count(), 1);
    node.check();
}

/// While it lasts, a sync in flight is told.
#[test]
fn a_sync_in_flight_is_told_before_it_ends() {
    let mut node = fresh(&NodeOptions::small(1, 2, seed(52)));
    let (client, other) = (node.connect(0), node.connect(0));
    node.run_until(50, |_| false);
    node.disk_mut().expect("it has one").set_faults(slow(OpKind::Write, "", true));
    node.send(client, &words("SET b 1"));
    node.run_until(30, |_| false);
    expect(&mut node, other, &words("PING"), "+PONG\r\n");
    let syncing = samples(&node)[0].syncing;
    assert!(syncing >= 25_000_000, "{syncing}");
}

/// A write whose row must be read from the disk waits in apply, not in persist.
#[test]
fn an_apply_that_waits_for_the_disk_is_told_as_apply() {
    for cores in [1, 2] {
        // This seed and no other: with some, the search for expired rows brings the row to memory before it is asked for.
        let options = NodeOptions::small(cores, 1, 53);
        let mut node = fresh(&options);
        let client = node.connect(0);
        expect(&mut node, client, &words("SET n 1"), "+OK\r\n");
        expect(&mut node, client, &words("PINION FLUSH"), "+OK\r\n");
        let flushed = |node: &mut Node| node.machines().all(|core| core.counters().memtable_bytes == 0);
        assert!(node.run_until(MILLIS, flushed), "rows stay in memory");
        node.run_until(500, |_| false);
        let disk = node.crash_with(pinion_wal::disk::sim::Pattern::Nothing);
        let mut node = start(disk, &options);
        // From the core that does not own the key, if there are two.
        let clients: Vec<ClientId> = (0..usize::from(cores)).map(|core| node.connect(core)).collect();
        // At once: who looks for expired rows brings them to memory, too.
        node.disk_mut().expect("it has one").set_faults(slow(OpKind::Read, "", true));
        expect(&mut node, clients[usize::from(cores) - 1], &words("INCR n"), ":2\r\n");
        let sample = &samples(&node)[usize::from(cores) - 1];
        assert!(longest(sample, "command/incr/apply") >= 10 * QUIET);
        assert!(longest(sample, "command/incr/persist") > 0);
        for stage in STAGE_NAMES.iter().filter(|stage| **stage != "apply") {
            let longest = longest(sample, &format!("command/incr/{stage}"));
            assert!(longest < QUIET, "{stage} took {longest} on {cores} cores");
        }
        node.check();
    }
}

/// A core that gets no CPU for 20 ms has a stall of that class; its sibling has none.
#[test]
fn a_core_without_a_cpu_is_told_as_such() {
    let mut host = memory_node(seed(54), 2, 4, World::default(), |_| {});
    let clients = [host.connect(0), host.connect(1)];
    for client in clients {
        expect(&mut host, client, &words("SET a 1"), "+OK\r\n");
    }
    host.pause(1, 20);
    expect(&mut host, clients[1], &words("GET a"), "$1\r\n1\r\n");
    let samples = samples(&host);
    let stalls = |sample: &Sample| -> Vec<String> {
        let stalls = sample.series.iter().filter(|series| series.name.starts_with("stall/"));
        stalls.map(|series| format!("{} {}", series.name, series.count)).collect()
    };
    assert_eq!(stalls(&samples[0]), [""; 0]);
    assert_eq!(stalls(&samples[1]), ["stall/preempted 1"]);
    let longest = longest(&samples[1], "stall/preempted");
    assert!((15_000_000..21_000_000).contains(&longest), "{longest}");
}

/// A client that takes nothing is named, with what it was sent and for how long; the stages of the others do not change.
#[test]
fn a_client_that_takes_nothing_is_named() {
    let mut host = fresh(&NodeOptions::small(2, 4, seed(55)));
    let (idle, good) = (host.connect(0), host.connect(0));
    expect(&mut host, idle, &words("CLIENT SETNAME idler"), "+OK\r\n");
    expect(&mut host, good, &words("SET a value"), "+OK\r\n");
    host.set_reading(idle, false);
    host.send(idle, &["GET a", "GET a"].map(words).concat());
    host.run_until(200, |_| false);
    for _ in 0..20 {
        expect(&mut host, good, &words("GET a"), "$5\r\nvalue\r\n");
    }
    let told = samples(&host);
    let [client] = &told[0].untaken[..] else { panic!("{:?}", told[0].untaken) };
    assert_eq!((&client.name[..], client.bytes), (&b"idler"[..], 22));
    assert!(client.nanos >= 200_000_000, "{client:?}");
    assert!(told[1].untaken.is_empty());
    assert!(longest(&told[0], "stage/total") < QUIET, "{told:?}");
    assert!(longest(&told[0], "client/unsent") < QUIET);
    // Once it takes its replies the time without it is counted.
    host.set_reading(idle, true);
    host.run_until(10, |_| false);
    let told = samples(&host);
    assert!(told[0].untaken.is_empty());
    assert!(longest(&told[0], "client/unsent") >= 200_000_000);
    assert!(longest(&told[0], "stage/total") < QUIET);
}

/// By command, the stages sum to the whole, as they do over all commands.
#[test]
fn stages_of_each_command_sum_to_its_whole() {
    let mut host = memory_node(seed(56), 2, 4, World::default(), |_| {});
    let clients = [host.connect(0), host.connect(1)];
    for number in 0..100 {
        for client in clients {
            host.send(client, &words(&format!("SET k{number} v")));
            host.send(client, &words(&format!("GET k{number}")));
        }
    }
    host.run_until(1_000, |_| false);
    for sample in samples(&host) {
        for command in ["set", "get"] {
            let sum = |stage: &str| {
                found(&sample, &format!("command/{command}/{stage}")).map_or(0, |series| series.sum)
            };
            let sums: u64 = STAGE_NAMES.iter().map(|stage| sum(stage)).sum();
            assert!(sums > 0 && sums == sum("total"), "{command}: {sums} and {}", sum("total"));
            let total = found(&sample, &format!("command/{command}/total")).expect("it was seen");
            assert_eq!(total.buckets.iter().map(|(_, count)| count).sum::<u64>(), 100);
        }
    }
}

/// PINION LATENCY answers for every core, in nanoseconds, and for the families that were asked for.
#[test]
fn pinion_latency_answers_for_all_cores() {
    let mut host = memory_node(seed(57), 2, 4, World::default(), |_| {});
    let client = host.connect(1);
    expect(&mut host, client, &words("SET a 1"), "+OK\r\n");
    let whole = |reply: &[u8]| {
        String::from_utf8_lossy(reply).matches("untaken").count() == 2 && reply.ends_with(b"*0\r\n")
    };
    let all = call(&mut host, client, "PINION LATENCY", whole);
    for name in ["stage/persist", "stage/total", "command/set/apply", "client/unsent", "syncing_ns"] {
        assert!(all.contains(name), "{name} is missing in {all}");
    }
    let stalls = call(&mut host, client, "PINION LATENCY STALL client", whole);
    assert!(stalls.contains("client/unsent") && !stalls.contains("stage/"), "{stalls}");
    expect(&mut host, client, &words("PINION LATENCY nonsense"), "-ERR syntax error\r\n");
    expect(&mut host, client, &words("PINION STAGES RESET"), "+OK\r\n");
    let left = call(&mut host, client, "PINION LATENCY command", whole);
    assert!(!left.contains("command/set"), "{left}");
}

/// What clients wait for has a name: their own clocks find no part above 5 % that no stage of the slowest thousand requests
/// counts. (Nothing here takes time on the way to the server and back.)
#[test]
fn clients_wait_for_what_stages_name() {
    let world = World { network_micros_max: 0, ..World::default() };
    let mut node = fresh(&NodeOptions { world, ..NodeOptions::small(2, 4, seed(58)) });
    let clients = [node.connect(0), node.connect(1)];
    let mut waited = BTreeMap::new();
    for number in 0..1_200 {
        let begun = node.now().mono;
        let client = clients[number % 2];
        expect(&mut node, client, &words(&format!("SET key:{number} v")), "+OK\r\n");
        waited.insert(format!("key:{number}"), node.now().mono.nanos_since(begun));
    }
    let records = node.machines().flat_map(|core| core.slow().slowest().cloned()).collect();
    let records = pinion_core::slow::slowest(records, 1_000);
    assert_eq!(records.len(), 1_000);
    for record in &records {
        let key = pinion_core::slow::sketch::show(&record.sketch).swap_remove(1);
        let waited = waited[str::from_utf8(&key).expect("a key of ours")];
        let unnamed = waited.abs_diff(record.whole_nanos());
        assert!(
            unnamed * 20 <= waited,
            "of {waited} ns the stages name {}: {record:?}",
            record.whole_nanos()
        );
    }
    assert!(node.machines().all(|core| core.stages().displaced_ticks() == 0));
}

/// While nobody wants durations nothing is measured, and what began then is never taken for something slow.
#[test]
fn what_began_while_nothing_was_measured_is_counted_only() {
    let shown = BTreeMap::from([("latency-tracking".to_owned(), "yes".to_owned())]);
    let live = Published::new(Live { shown, ..Live::default() });
    let mut host = memory_node(seed(59), 2, 4, World::default(), |settings| settings.live = live.clone());
    let clients = [host.connect(0), host.connect(1)];
    expect(&mut host, clients[0], &words("CONFIG SET latency-tracking no"), "+OK\r\n");
    expect(&mut host, clients[0], &words("PINION STAGES RESET"), "+OK\r\n");
    for number in 0..20 {
        expect(&mut host, clients[number % 2], &words(&format!("SET k{number} v")), "+OK\r\n");
    }
    for core in host.machines() {
        assert_eq!((core.stages().requests(), core.counters().turns_stalled), (0, 0));
        assert!(core.sample().series.iter().all(|series| series.count == 0), "{:?}", core.sample());
    }
    // Writes are under way while it is switched on again.
    for core in 0..2 {
        host.machine_mut(core).owner_mut().held = true;
    }
    host.send(clients[0], &(0..20).flat_map(|n| words(&format!("SET k{n} w"))).collect::<Vec<_>>());
    host.run_until(20, |_| false);
    expect(&mut host, clients[1], &words("CONFIG SET latency-tracking yes"), "+OK\r\n");
    for core in 0..2 {
        host.machine_mut(core).owner_mut().held = false;
    }
    // The next request wakes the cores.
    host.send(clients[0], &words("GET k1"));
    host.send(clients[1], &words("GET k2"));
    assert!(host.run_until(MILLIS, |host| host.received(clients[0]).ends_with(b"w\r\n")));
    for core in host.machines() {
        core.check();
        assert!(longest(&core.sample(), "stage/total") < QUIET, "{:?}", core.sample());
        assert_eq!(core.stages().displaced_ticks(), 0);
    }
    let sets = host.machines().next().map(|core| found(&core.sample(), "command/set/total").is_some());
    assert_eq!(sets, Some(false), "a write that began unmeasured was measured");
}
