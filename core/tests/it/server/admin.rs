//! The admin port of the real server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::process::{Scratch, Server, outcome, pinion};

/// What a path answers: the status line and the rest.
fn get(address: SocketAddr, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout can be set");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers and closes");
    let (status, rest) = text.split_once("\r\n").unwrap_or((&text, ""));
    (status.to_owned(), rest.to_owned())
}

fn path(address: SocketAddr, path: &str) -> (String, String) {
    get(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
}

/// The sum of a metric over its labels.
fn sum(text: &str, metric: &str) -> u64 {
    let lines = text.lines().filter(|line| line.starts_with(&format!("{metric}{{")));
    lines.map(|line| line.rsplit(' ').next().and_then(|n| n.parse::<u64>().ok()).expect("a number")).sum()
}

/// The address of the admin port, from what the server said.
fn admin_of(server: &Server) -> SocketAddr {
    let (_, rest) = server.said.split_once("metrics on http://").expect("it says where");
    rest.split('/').next().and_then(|at| at.parse().ok()).expect("an address")
}

/// O3: what is asked of a range is counted once, at its owner, wherever it came in; O2 in its text.
#[test]
fn load_is_counted_once_at_the_owner() {
    let scratch = Scratch::new("admin-load");
    let cores = super::cpus(2).or_else(|| super::cpus(1)).expect("a CPU");
    let server = Server::start(&scratch, &["--cores", &cores, "--memory", "256MiB", "--admin-port", "0"]);
    let admin = admin_of(&server);
    // Connections land on both cores, most likely; keys live on both.
    for connection in 0..8 {
        let mut client = server.connect();
        for key in 0..25 {
            let key = format!("k{connection}:{key}");
            assert_eq!(client.ask(&["SET", &key, "v"]), "OK");
            assert_eq!(client.ask(&["GET", &key]), "v");
            assert_eq!(client.ask(&["GET", "absent"]), "(nil)");
        }
    }
    let (status, text) = path(admin, "/metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(text.contains("application/openmetrics-text"), "{text}");
    assert_eq!((sum(&text, "pinion_range_writes_total"), sum(&text, "pinion_range_reads_total")), (200, 400));
    assert!(sum(&text, "pinion_range_written_bytes_total") > 200 * 64, "{text}");
    assert!(text.contains("pinion_command_calls_total{command=\"get\"} 400\n"), "{text}");
    assert!(text.contains("pinion_command_seconds_count{command=\"set\"} 200\n"), "{text}");
    assert_eq!(sum(&text, "pinion_request_seconds_count"), 600);
}

#[test]
fn health_and_refusals_of_the_admin_port() {
    let scratch = Scratch::new("admin-health");
    let Some(cpus) = super::cpus(1) else { return };
    let server = Server::start(&scratch, &["--cores", &cpus, "--memory", "128MiB", "--admin-port", "0"]);
    let admin = admin_of(&server);
    for health in ["/livez", "/readyz"] {
        let (status, text) = path(admin, health);
        assert_eq!(status, "HTTP/1.1 200 OK", "{text}");
        assert!(text.ends_with("ok\n"), "{text}");
    }
    assert_eq!(path(admin, "/nothing").0, "HTTP/1.1 404 Not Found");
    let post = "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(get(admin, post).0, "HTTP/1.1 405 Method Not Allowed");
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let mut stream = TcpStream::connect(admin).expect("it listens");
    // It may close before everything is sent.
    let _ = stream.write_all(long.as_bytes());
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 431"), "{text}");
    assert_eq!(path(admin, "/livez").0, "HTTP/1.1 200 OK");
    let (code, text) = server.stop();
    assert_eq!(code, Some(0), "{text}");
}

/// O6, O7: the admin port beyond loopback needs the word; a busy one is told with its remedy.
#[test]
fn the_admin_port_beyond_loopback_needs_the_word() {
    let scratch = Scratch::new("admin-exposed");
    let Some(cpus) = super::cpus(1) else { return };
    let flags = ["--cores", &cpus, "--memory", "128MiB", "--admin-port", "0"];
    let (code, text) = outcome(pinion(&scratch).args(flags).args(["--admin-bind", "0.0.0.0"]));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--admin-bind") && text.contains("--admin-exposed yes"), "{text}");
    let server = Server::start(
        &scratch,
        &[&flags[..], &["--admin-bind", "0.0.0.0", "--admin-exposed", "yes"]].concat(),
    );
    let taken = admin_of(&server).port().to_string();
    let other = Scratch::new("admin-busy");
    let (code, text) =
        outcome(pinion(&other).args(["--cores", &cpus, "--memory", "128MiB", "--admin-port", &taken]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("--admin-port") && text.contains("give another one"), "{text}");
}
