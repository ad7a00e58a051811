//! Stages sum exactly; what the server says about itself comes from all of its cores.

use super::*;
use pinion_core::config::Live;
use pinion_core::publish::Published;
use pinion_core::stages::{STAGES, Stage};

/// The stages of every request sum to the time from its last byte read to its send submitted, on every core.
#[test]
fn stages_sum_exactly_on_every_core() {
    let mut host = memory_node(seed(21), 2, 8, World::default(), |_| {});
    let clients = [host.connect(0), host.connect(1), host.connect(0)];
    for number in 0..300 {
        let client = clients[number % clients.len()];
        let line = match number % 4 {
            0 => format!("SET key:{number} v"),
            1 => format!("GET key:{}", number - 1),
            2 => "MGET key:0 key:4 key:8 key:12".to_owned(),
            _ => "PING".to_owned(),
        };
        host.send(client, &words(&line));
    }
    host.run_until(1_000, |_| false);
    let mut requests = 0;
    for core in host.machines() {
        let stages = core.stages();
        stages.check();
        assert_eq!(stages.displaced_ticks(), 0, "a mark is not that of its request");
        let (sums, whole) = stages.sums_ticks();
        assert_eq!(sums.iter().sum::<u64>(), whole);
        requests += stages.requests();
        // Writes wait for their log, requests for other cores for the mesh.
        assert!(sums[Stage::Persist as usize] > 0 && sums[Stage::Route as usize] > 0, "{sums:?}");
        assert!(sums[Stage::Propose as usize] > 0 && sums[Stage::Apply as usize] > 0, "{sums:?}");
    }
    assert_eq!(requests, 300, "every request is recorded once");
}

/// PINION STAGES answers for every core; in each, the sums of the stages are the total.
#[test]
fn pinion_stages_answers_for_all_cores() {
    let mut host = memory_node(seed(22), 2, 4, World::default(), |_| {});
    let client = host.connect(1);
    expect(&mut host, client, &["SET a 1", "GET b"].map(words).concat(), "+OK\r\n$-1\r\n");
    let text = call(&mut host, client, "PINION STAGES", |reply| {
        String::from_utf8_lossy(reply).matches("max_ns").count() == 2 * (STAGES.len() + 1)
            && reply.ends_with(b"\r\n")
    });
    let lines: Vec<&str> = text.split("\r\n").filter(|line| !line.starts_with(['*', '$'])).collect();
    let number = |at: usize| lines[at].trim_start_matches(':').parse::<u64>().expect("a number");
    let sums: Vec<u64> =
        (0..lines.len()).filter(|&at| lines[at] == "sum_ns").map(|at| number(at + 1)).collect();
    assert_eq!(sums.len(), 2 * (STAGES.len() + 1));
    for core in sums.chunks(STAGES.len() + 1) {
        assert_eq!(core[..STAGES.len()].iter().sum::<u64>(), core[STAGES.len()]);
    }
    expect(&mut host, client, &words("PINION STAGES RESET"), "+OK\r\n");
    assert!(host.machines().all(|core| core.stages().requests() <= 1));
}

/// INFO sums over cores, under the names that dashboards read.
#[test]
fn info_sums_over_all_cores() {
    let mut host = memory_node(seed(23), 3, 6, World::default(), |_| {});
    let clients = [host.connect(0), host.connect(1), host.connect(2), host.connect(2)];
    for client in clients {
        expect(&mut host, client, &words("SET a 1"), "+OK\r\n");
    }
    let info = call(&mut host, clients[1], "INFO", |reply| reply.ends_with(b"# Keyspace\r\n\r\n"));
    for line in ["connected_clients:4", "total_connections_received:4", "role:master", "cores:3", "groups:8"]
    {
        assert!(info.lines().any(|found| found == line), "{line} is missing in {info}");
    }
    let one = call(&mut host, clients[0], "INFO clients", |reply| reply.ends_with(b"\r\n\r\n"));
    assert!(one.contains("# Clients") && !one.contains("# Server"), "{one}");
    let me = call(&mut host, clients[2], "CLIENT INFO", |reply| reply.ends_with(b"\n\r\n"));
    assert!(me.contains("cmd=client") && me.contains("resp=2"), "{me}");
}

/// What was counted by command comes from every core: calls, failures and refusals, with their errors by code.
#[test]
fn info_counts_commands_of_all_cores() {
    let mut host = memory_node(seed(24), 3, 6, World::default(), |_| {});
    let clients = [host.connect(0), host.connect(1), host.connect(2)];
    for client in clients {
        expect(&mut host, client, &words("SET a text"), "+OK\r\n");
        expect(&mut host, client, &words("GET a"), "$4\r\ntext\r\n");
        call(&mut host, client, "INCR a", |reply| reply.ends_with(b"\r\n"));
        call(&mut host, client, "GET", |reply| reply.ends_with(b"\r\n"));
        call(&mut host, client, "NONSENSE", |reply| reply.ends_with(b"\r\n"));
        call(&mut host, client, "CLIENT ID", |reply| reply.ends_with(b"\r\n"));
    }
    let info = call(&mut host, clients[1], "INFO all", |reply| reply.ends_with(b"# Keyspace\r\n\r\n"));
    let line = |start: &str| info.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
    assert!(line("cmdstat_set:calls=3,").ends_with("rejected_calls=0,failed_calls=0"), "{info}");
    assert!(line("cmdstat_get:calls=3,").ends_with("rejected_calls=3,failed_calls=0"), "{info}");
    assert!(line("cmdstat_incr:calls=3,").ends_with("rejected_calls=0,failed_calls=3"), "{info}");
    assert!(line("cmdstat_client|id:calls=3,").ends_with("failed_calls=0"), "{info}");
    assert!(line("latency_percentiles_usec_set:p50=").contains(",p99.9="), "{info}");
    assert_eq!(line("errorstat_ERR:"), "errorstat_ERR:count=9");
    assert_eq!(line("total_error_replies:"), "total_error_replies:9");
    assert!(!info.contains("nonsense"), "{info}");
}

/// SLOWLOG and PINION SLOWEST show the requests of all cores, without their secrets (O6).
#[test]
fn slow_requests_of_all_cores_are_shown_without_secrets() {
    let mut host = memory_node(seed(25), 2, 4, World::default(), |settings| {
        let live = Live { slowlog_above_micros: 0, slowlog_max: 4, ..Live::default() };
        settings.live = Published::new(live);
        settings.password = Some(b"hunter2".to_vec());
    });
    let clients = [host.connect(0), host.connect(1)];
    for client in clients {
        call(&mut host, client, "HELLO 2 AUTH default hunter2 SETNAME joe", |r| r.ends_with(b"*0\r\n"));
        expect(&mut host, client, &words("AUTH hunter2"), "+OK\r\n");
        expect(&mut host, client, &words("SET k value"), "+OK\r\n");
    }
    let log = call(&mut host, clients[0], "SLOWLOG GET -1", |reply| reply.ends_with(b"joe\r\n"));
    assert!(log.starts_with("*4\r\n*6\r\n"), "{log}");
    assert!(log.contains("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n"), "{log}");
    assert!(log.contains("*2\r\n$4\r\nAUTH\r\n$10\r\n(redacted)\r\n"), "{log}");
    let slowest = call(&mut host, clients[1], "PINION SLOWEST 1000", |reply| reply.ends_with(b"\r\n"));
    for text in [&log, &slowest] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert!(slowest.contains("$7\r\npersist\r\n") && slowest.contains("stages_ns"), "{slowest}");
    expect(&mut host, clients[0], &words("SLOWLOG LEN"), ":4\r\n");
    let refusal = "-ERR unknown subcommand or wrong number of arguments for 'get'. Try SLOWLOG HELP.\r\n";
    expect(&mut host, clients[0], &words("SLOWLOG get 1 2"), refusal);
    let refusal = "-ERR count should be greater than or equal to -1\r\n";
    expect(&mut host, clients[0], &words("SLOWLOG GET -2"), refusal);
    expect(&mut host, clients[0], &words("PINION SLOWEST RESET"), "+OK\r\n");
    expect(&mut host, clients[0], &words("SLOWLOG RESET"), "+OK\r\n");
    let left = call(&mut host, clients[0], "SLOWLOG GET", |reply| reply.ends_with(b"joe\r\n"));
    assert!(!left.contains("value"), "{left}");
}

/// For the slowest thousand requests of a run the stages sum to the whole, and none of the whole is without a name.
#[test]
fn the_slowest_requests_keep_their_stages() {
    let mut host = memory_node(seed(26), 2, 4, World::default(), |_| {});
    let clients = [host.connect(0), host.connect(1)];
    for round in 0..300 {
        for client in clients {
            let line = format!("SET k{round} {round}\r\nGET k{round}\r\n");
            host.send(client, line.as_bytes());
        }
        assert!(host.run_until(1_000, |host| {
            clients
                .iter()
                .all(|&client| host.received(client).iter().filter(|byte| **byte == b'\n').count() == 3)
        }));
        for client in clients {
            host.take_received(client);
        }
    }
    let mut records = Vec::new();
    for core in host.machines() {
        core.check();
        records.extend(core.slow().slowest().cloned());
        let whole = core.stages().whole(1_000).max_nanos;
        let slowest = core.slow().slowest().next().expect("something was slow").whole_nanos();
        assert!(slowest.abs_diff(whole) <= whole / 50, "the slowest took {whole} ns, not {slowest}");
    }
    let records = pinion_core::slow::slowest(records, 1_000);
    assert_eq!(records.len(), 1_000);
    for record in &records {
        assert_eq!(record.stage_nanos.iter().sum::<u64>(), record.whole_nanos());
        assert!(!record.sketch.is_empty() && record.peer.is_some(), "{record:?}");
    }
    let writes = records.iter().filter(|record| record.label.name() == "set");
    assert!(
        writes.clone().count() >= 300
            && writes.clone().any(|record| record.stage_nanos[Stage::Persist as usize] > 0)
    );
}
