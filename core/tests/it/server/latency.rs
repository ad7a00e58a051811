//! Where the time goes, measured from outside.
#![expect(clippy::disallowed_methods, reason = "a client measures by its own clock")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::process::{Client, Scratch, Server};

/// Writes that are sent together.
const DEPTH: usize = 16;
/// Those, so often.
const ROUNDS: usize = 320;
/// The slowest that are looked at.
const SLOWEST: usize = 1_000;
/// What the kernel takes for the way there and back, with a server and a client that both sleep: two wake-ups of a virtual
/// machine are most of it.
const KERNEL_NANOS: u64 = 500_000;
/// The machine may be busy with others: it must be quiet enough once.
const TRIES: usize = 6;

/// Sends writes of keys with this prefix, some at a time; answers how long the client waited for each.
fn waits(server: &Server, prefix: &str) -> BTreeMap<String, u64> {
    let mut stream = TcpStream::connect(server.address).expect("it listens");
    stream.set_nodelay(true).expect("a socket has this option");
    let mut replies = BufReader::new(stream.try_clone().expect("a descriptor is left"));
    let (mut waits, mut line) = (BTreeMap::new(), String::new());
    for round in 0..ROUNDS {
        let keys: Vec<String> = (0..DEPTH).map(|number| format!("{prefix}:{round}:{number}")).collect();
        let mut batch = String::new();
        for key in &keys {
            write!(batch, "SET {key} value\r\n").expect("memory can be written");
        }
        let begun = Instant::now();
        stream.write_all(batch.as_bytes()).expect("it listens");
        for key in keys {
            line.clear();
            replies.read_line(&mut line).expect("it answers");
            assert_eq!(line, "+OK\r\n");
            waits.insert(key, begun.elapsed().as_nanos() as u64);
        }
    }
    waits
}

/// The slowest requests of the server: their keys, the sum of their stages, and their whole as the server says it.
fn slowest(client: &mut Client) -> Vec<(String, u64, u64)> {
    client.send(&["PINION", "SLOWEST", &SLOWEST.to_string()]);
    let mut next = || client.receive().expect("nothing of this is missing");
    let count: usize = next().parse().expect("a count");
    let mut all = Vec::new();
    for _ in 0..count {
        assert_eq!(next(), "16");
        let (mut key, mut stages) = (String::new(), Vec::new());
        for _ in 0..8 {
            match next().as_str() {
                "arguments" => {
                    let arguments: Vec<String> =
                        (0..next().parse().expect("a count")).map(|_| next()).collect();
                    key = arguments[1].clone();
                }
                "stages_ns" => {
                    let values = (0..next().parse::<usize>().expect("a count")).map(|_| next());
                    stages =
                        values.skip(1).step_by(2).map(|nanos| nanos.parse().expect("a number")).collect();
                }
                _ => drop(next()),
            }
        }
        let whole = stages.pop().expect("the total stands last");
        all.push((key, stages.iter().sum(), whole));
    }
    all
}

/// For the slowest thousand writes of a run the stages sum to the whole, and of what the client waited by its own clock no more
/// than 5 % is without a name, the way through the kernel apart.
#[test]
fn stages_name_what_clients_wait_for() {
    let scratch = Scratch::new("latency");
    let Some(cpus) = super::cpus(1) else { return };
    let server = Server::start(&scratch, &["--cores", &cpus, "--memory", "256MiB"]);
    let mut client = server.connect();
    let mut least = 1.0_f64;
    for attempt in 0..TRIES {
        assert_eq!(client.ask(&["PINION", "SLOWEST", "RESET"]), "OK");
        let waits = waits(&server, &attempt.to_string());
        let slowest = slowest(&mut client);
        assert_eq!(slowest.len(), SLOWEST);
        let mut unnamed = Vec::new();
        for (key, sum, whole) in slowest {
            assert_eq!(sum, whole, "the stages of {key} do not sum to its whole");
            // The server's own answers to this test are slow, too.
            let Some(&waited) = waits.get(&key) else { continue };
            assert!(whole <= waited, "{key}: {whole} ns in the server, but {waited} ns for its client");
            unnamed.push((waited - whole).saturating_sub(KERNEL_NANOS) as f64 / waited as f64);
        }
        assert!(unnamed.len() >= SLOWEST - 10);
        unnamed.sort_by(f64::total_cmp);
        least = least.min(unnamed[unnamed.len() / 2]);
        if least <= 0.05 {
            return;
        }
    }
    panic!("{:.1} % of what clients wait for has no name", least * 100.0);
}

/// A client that reads nothing is named, and the others' requests are as fast as before.
#[test]
fn a_client_that_reads_nothing_is_named() {
    let scratch = Scratch::new("unread");
    let Some(cpus) = super::cpus(1) else { return };
    let server = Server::start(&scratch, &["--cores", &cpus, "--memory", "256MiB"]);
    let mut good = server.connect();
    assert_eq!(good.ask(&["SET", "large", &"v".repeat(1 << 20)]), "OK");
    let mut idle = server.connect();
    assert_eq!(idle.ask(&["CLIENT", "SETNAME", "idler"]), "OK");
    for _ in 0..16 {
        idle.send(&["GET", "large"]);
    }
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        assert!(Instant::now() < end, "a client that takes nothing is not told");
        assert_eq!(good.ask(&["PING"]), "PONG");
        good.send(&["PINION", "LATENCY", "client"]);
        // One core: names and values in turn, the series of clients, then those that take nothing.
        let mut next = || good.receive().expect("nothing of this is missing");
        assert_eq!((next().as_str(), next().as_str()), ("1", "16"));
        while next() != "series" {}
        for _ in 0..next().parse().expect("a count") {
            let head: Vec<String> = (0..6).map(|_| next()).collect();
            assert_eq!(head[1], "client/unsent");
            (0..head[5].parse().expect("a count")).for_each(|_| drop(next()));
        }
        assert_eq!(next(), "untaken");
        let told: Vec<Vec<String>> = (0..next().parse().expect("a count"))
            .map(|_| (0..next().parse().expect("a count")).map(|_| next()).collect())
            .collect();
        let Some(client) = told.iter().find(|client| client[2] == "idler") else { continue };
        assert_eq!(told.len(), 1, "{told:?}");
        let [bytes, nanos] = [3, 4].map(|field| client[field].parse::<u64>().expect("a number"));
        if nanos >= 300_000_000 {
            assert!(bytes > 0);
            return;
        }
    }
}
