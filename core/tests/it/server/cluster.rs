//! Cluster clients against the real server.

use std::path::Path;
use std::process::Command;

use super::cpus;
use super::process::{Scratch, Server};

const BENCHMARK: &str = "/usr/bin/redis-benchmark";
const CLI: &str = "/usr/bin/redis-cli";

/// What a program said that ended well; nothing where it is not installed.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    if !Path::new(program).exists() {
        assert!(std::env::var_os("CI").is_none(), "{program} is not installed");
        println!("NOT RUN: {program} is not installed");
        return None;
    }
    let output = Command::new(program).args(arguments).output().expect("it was there just now");
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
    Some(text)
}

/// The client that comes with Redis follows no redirection: there is none.
#[test]
fn the_cluster_client_of_redis_is_served() {
    let scratch = Scratch::new("cluster-clients");
    let Some(cpus) = cpus(2) else { return };
    let flags = ["--cores", &cpus, "--memory", "256MiB", "--groups", "5", "--cluster-enabled", "yes"];
    let server = Server::start(&scratch, &flags);
    let port = server.address.port().to_string();
    for number in 0..20 {
        let key = format!("key:{number}");
        let Some(text) = said(CLI, &["-p", &port, "-c", "SET", &key, "x"]) else { return };
        assert_eq!(text.trim(), "OK");
    }
    let mut client = server.connect();
    assert_eq!(client.ask(&["EXISTS", "key:0", "key:7", "key:19"]), "3");
}

/// With ports of cores, clients that know the slots reach the owner of every key without a hop, and each port leads to its
/// core.
#[test]
fn cluster_clients_reach_the_owner_without_a_hop() {
    let scratch = Scratch::new("core-ports");
    let Some(cpus) = cpus(2) else { return };
    let cluster = ["--cluster-enabled", "yes", "--core-ports", "0", "--groups", "5"];
    let flags = [&["--cores", &cpus, "--memory", "256MiB"][..], &cluster].concat();
    let server = Server::start(&scratch, &flags);
    let mut client = server.connect();
    let nodes = client.ask(&["CLUSTER", "NODES"]);
    let ports: Vec<u16> = nodes
        .lines()
        .map(|line| line.split([':', '@']).nth(1).and_then(|port| port.parse().ok()).expect("a port"))
        .collect();
    assert!(ports.len() == 2 && !ports.contains(&server.address.port()), "{nodes}");
    for (line, &port) in nodes.lines().zip(&ports) {
        // More of them than would be spread evenly.
        for mut client in (0..5).map(|_| server.connect_to(port)) {
            assert!(line.starts_with(&client.ask(&["CLUSTER", "MYID"])), "{line}");
        }
    }
    let forwarded = |client: &mut super::process::Client| {
        let info = client.ask(&["INFO", "stats"]);
        let line = info.lines().find_map(|line| line.strip_prefix("requests_forwarded:")).expect("a figure");
        line.parse::<u64>().expect("a number")
    };
    let mut owners: Vec<_> = ports.iter().map(|&port| server.connect_to(port)).collect();
    let owns = |line: &str, slot: u16| {
        let mut ranges = line.split(' ').skip(8).filter_map(|range| range.split_once('-'));
        ranges.any(|(first, last)| (first.parse().unwrap_or(0)..=last.parse().unwrap_or(0)).contains(&slot))
    };
    let before = forwarded(&mut client);
    for number in 0..200 {
        let key = format!("key:{number}");
        let slot = client.ask(&["CLUSTER", "KEYSLOT", &key]).parse().expect("a slot");
        let owner = nodes.lines().position(|line| owns(line, slot)).expect("every slot has an owner");
        assert_eq!(owners[owner].ask(&["SET", &key, "x"]), "OK");
        assert_eq!(owners[owner].ask(&["GET", &key]), "x");
    }
    assert_eq!(forwarded(&mut client), before, "a request took a hop");
    assert_eq!(owners[0].ask(&["EXISTS", "key:1", "key:2", "key:3", "key:4"]), "4");
    assert!(forwarded(&mut client) > before, "these keys have two owners");
    // That program sends some commands to the wrong node, and is served all the same.
    let port = server.address.port().to_string();
    let load = ["-p", &port, "--cluster", "-n", "4000", "-r", "500", "-P", "4", "-t", "set,get", "--csv"];
    let Some(text) = said(BENCHMARK, &load) else { return };
    assert!(text.contains("\"SET\"") && text.contains("\"GET\"") && !text.contains("rror"), "{text}");
    drop((client, owners));
    let (code, output) = server.stop();
    assert_eq!(code, Some(0), "{output}");
}
