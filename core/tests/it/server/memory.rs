//! Resident memory under overload, as the kernel counts it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::process::{Scratch, Server};

/// What the server is given.
const MEMORY_MIB: u64 = 256;
/// What the server is given that starts after a kill: it holds the log that tables do not cover, whose bound is at least
/// 128 MiB for each core.
const RECOVERY_MEMORY_MIB: u64 = 512;
/// What it may take, in hundredths.
const ALLOWED_PERCENT: u64 = 110;
/// Bytes that the writers of small rows write: several times what memtables hold.
const WRITTEN_BYTES: usize = 200 << 20;
/// Keys of a mebibyte each, which clients ask for and do not read.
const LARGE_KEYS: usize = 30;

fn set(key: &str, value: &[u8]) -> Vec<u8> {
    let head = format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${}\r\n", key.len(), value.len());
    [head.as_bytes(), value, b"\r\n"].concat()
}

fn get(key: &str) -> Vec<u8> {
    format!("*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len()).into_bytes()
}

/// Bytes that do not compress, of any length up to a mebibyte.
fn noise(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 20];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout can be set");
    stream
}

/// Writes values in pipelines and reads every reply: OK, or an error that says to try again.
fn write_rows(server: &Server, seed: u64, bytes: usize, sizes: std::ops::Range<usize>, pipeline: usize) {
    let (mut rng, noise) = (fastrand::Rng::with_seed(seed), noise(seed));
    let (mut stream, mut written, mut buffer) = (connect(server), 0, vec![0; 64 << 10]);
    while written < bytes {
        let mut requests = Vec::new();
        for _ in 0..pipeline {
            let (from, len) = (rng.usize(..1000), rng.usize(sizes.clone()));
            requests
                .extend_from_slice(&set(&format!("key:{}", rng.u32(..1_000_000)), &noise[from..from + len]));
            written += len;
        }
        let mut sender = stream.try_clone().expect("a socket can be shared");
        std::thread::scope(|scope| {
            scope.spawn(move || sender.write_all(&requests).expect("it reads"));
            let mut replies = 0;
            while replies < pipeline {
                let read = stream.read(&mut buffer).expect("it answers");
                assert!(read > 0, "the server closed a connection");
                replies += buffer[..read].iter().filter(|&&byte| byte == b'\n').count();
            }
        });
    }
}

/// Many clients begin a large value and never end it.
fn leave_incomplete(server: &Server) -> Vec<TcpStream> {
    let begun = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$16000000\r\n";
    let (noise, mut clients) = (noise(1), Vec::new());
    for _ in 0..60 {
        let mut client = connect(server);
        client.set_write_timeout(Some(Duration::from_secs(5))).expect("a timeout can be set");
        // The server ends those that hold too much: then writing fails.
        let _ = client.write_all(begun).and_then(|()| (0..4).try_for_each(|_| client.write_all(&noise)));
        clients.push(client);
    }
    clients
}

/// Many clients ask for large values and read nothing.
fn ask_and_read_nothing(server: &Server) -> Vec<TcpStream> {
    for key in 0..LARGE_KEYS {
        let mut client = connect(server);
        let value = noise(key as u64);
        loop {
            client.write_all(&set(&format!("large:{key}"), &value)).expect("it reads");
            let mut reply = [0; 3];
            client.read_exact(&mut reply).expect("it answers");
            if &reply == b"+OK" {
                break;
            }
            client = connect(server);
        }
    }
    let ask = |number: usize| {
        let mut client = connect(server);
        let requests: Vec<u8> =
            (0..100).flat_map(|key| get(&format!("large:{}", (number + key) % LARGE_KEYS))).collect();
        client.write_all(&requests).expect("it reads");
        client
    };
    (0..120).map(ask).collect()
}

fn status(server: &Server, field: &str) -> u64 {
    let path = format!("/proc/{}/status", server.process_id());
    let text = std::fs::read_to_string(path).expect("the server runs");
    let line = text.lines().find_map(|line| line.strip_prefix(field)).expect("the kernel tells it");
    let kib = line.trim_start_matches(':').trim().trim_end_matches("kB").trim();
    kib.parse().expect("a number")
}

/// The most that was ever resident is within the bound. Every moment counts: the kernel keeps the peak.
fn check_peak(server: &Server, after: &str) {
    check_peak_of(server, MEMORY_MIB, after);
}

fn check_peak_of(server: &Server, memory_mib: u64, after: &str) {
    let (peak_kib, now_kib) = (status(server, "VmHWM"), status(server, "VmRSS"));
    println!("after {after}: {} MiB now, {} MiB at most", now_kib >> 10, peak_kib >> 10);
    let allowed_kib = memory_mib * 1024 * ALLOWED_PERCENT / 100;
    assert!(peak_kib <= allowed_kib, "{} MiB were resident after {after}", peak_kib >> 10);
}

/// O1: whatever clients do, the resident memory of the server stays within what it was given, and it serves; so does
/// that of the server that recovers after it was killed.
#[test]
fn resident_memory_stays_within_its_bound() {
    let scratch = Scratch::new("memory");
    let Some(cpus) = super::cpus(2) else { return };
    let memory = format!("{MEMORY_MIB}MiB");
    let mut server = Server::start(&scratch, &["--cores", &cpus, "--memory", &memory]);
    check_peak(&server, "the start");
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let server = &server;
            scope.spawn(move || write_rows(server, seed, WRITTEN_BYTES / 4, 1_000..8_000, 100));
        }
    });
    check_peak(&server, "small rows");
    std::thread::scope(|scope| {
        for seed in 0..16 {
            let server = &server;
            scope.spawn(move || write_rows(server, seed, 16 << 20, 100_000..1_000_000, 8));
        }
    });
    check_peak(&server, "large rows");
    drop(leave_incomplete(&server));
    check_peak(&server, "incomplete commands");
    let readers = ask_and_read_nothing(&server);
    let mut client = server.connect();
    for _ in 0..20 {
        assert_eq!(client.ask(&["PING"]), "PONG");
        assert_eq!(client.ask(&["SET", "a", "b"]), "OK");
    }
    check_peak(&server, "readers that read nothing");
    drop(readers);
    assert_eq!(client.ask(&["GET", "a"]), "b");
    server.kill();
    let memory = format!("{RECOVERY_MEMORY_MIB}MiB");
    let server = Server::start(&scratch, &["--cores", &cpus, "--memory", &memory]);
    check_peak_of(&server, RECOVERY_MEMORY_MIB, "the recovery");
    assert_eq!(server.connect().ask(&["GET", "a"]), "b");
}

/// Sends commands of a few KB together that each write a row of 4 MiB, and waits for the replies.
fn write_much_in_few_bytes(server: &Server) {
    const ROWS: usize = 100;
    let mut requests = Vec::new();
    for number in 0..ROWS {
        let key = format!("{{t}}{number}");
        let head = format!("*4\r\n$8\r\nSETRANGE\r\n${}\r\n{key}\r\n", key.len());
        requests.extend_from_slice(head.as_bytes());
        requests.extend_from_slice(b"$7\r\n4194303\r\n$1\r\nx\r\n");
        requests.extend_from_slice(b"*3\r\n$6\r\nEXPIRE\r\n$4\r\n{t}0\r\n$6\r\n100000\r\n");
    }
    let mut stream = connect(server);
    stream.write_all(&requests).expect("it reads");
    let (mut replies, mut buffer) = (Vec::new(), [0; 4096]);
    while replies.iter().filter(|&&byte| byte == b'\n').count() < 2 * ROWS {
        let read = stream.read(&mut buffer).expect("it answers");
        assert!(read > 0, "the server closed the connection");
        replies.extend_from_slice(&buffer[..read]);
    }
    assert_eq!(replies, b":4194304\r\n:1\r\n".repeat(ROWS));
}

/// O1: what short commands write is bounded as well: while they are executed, and when they are replayed after a kill.
#[test]
fn short_commands_that_write_much_stay_within_the_bound() {
    let scratch = Scratch::new("amplified");
    let Some(cpus) = super::cpus(2) else { return };
    let memory = format!("{MEMORY_MIB}MiB");
    let options = ["--cores", &cpus, "--memory", &memory];
    let mut server = Server::start(&scratch, &options);
    write_much_in_few_bytes(&server);
    check_peak(&server, "short commands");
    server.kill();
    let server = Server::start(&scratch, &options);
    check_peak(&server, "their recovery");
    assert_eq!(server.connect().ask(&["STRLEN", "{t}99"]), "4194304");
}
