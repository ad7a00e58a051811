//! The load against servers planted in this process.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use clap::Parser;

use super::{Options, Report, run};

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    options: Options,
}

fn options(flags: &str) -> Options {
    Flags::parse_from(std::iter::once("load").chain(flags.split_whitespace())).options
}

/// Serves one connection: answers each 14 byte PING with `reply`; after `stall_at` requests it is silent for `stall`,
/// after `ends_at` it closes the connection.
fn with_server(
    flags: &str,
    reply: &'static str,
    (stall_at, stall): (usize, Duration),
    ends_at: usize,
) -> Result<Report, String> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (mut socket, _) = listener.accept().expect("the load connects");
            let (mut bytes, mut answered) = (0, 0);
            let mut input = [0; 4096];
            while let Ok(read @ 1..) = socket.read(&mut input) {
                bytes += read;
                while answered < bytes / 14 {
                    if answered == ends_at {
                        return;
                    }
                    if answered == stall_at {
                        let end = Instant::now() + stall;
                        while Instant::now() < end {
                            std::thread::park_timeout(stall);
                        }
                    }
                    answered += 1;
                    if socket.write_all(reply.as_bytes()).is_err() {
                        return;
                    }
                }
            }
        });
        run(&options(&format!("--address {address} --connections 1 --operation ping {flags}")))
            .map_err(|e| e.to_string())
    })
}

const NEVER: (usize, Duration) = (usize::MAX, Duration::ZERO);

#[test]
fn an_open_loop_counts_every_request_that_a_stall_held_up() {
    // Half of the second the server sleeps: the requests due meanwhile waited 250 ms in the mean.
    let stall = (250, Duration::from_millis(500));
    let report = with_server("--rate 500 --seconds 1", "+PONG\r\n", stall, usize::MAX).expect("it runs");
    assert_eq!(report.replies(), 500, "nothing due was left out");
    assert!(report.micros(0.75) > 200_000.0, "half of the requests met the stall: {report}");
    assert!(report.micros(1.0) > 480_000.0, "{report}");
    // A closed loop sees the stall once.
    let report = with_server("--seconds 0.6", "+PONG\r\n", stall, usize::MAX).expect("it runs");
    assert!(report.micros(0.75) < 200_000.0 && report.micros(1.0) > 480_000.0, "{report}");
}

#[test]
fn a_server_that_ends_is_an_error() {
    let error = with_server("--seconds 5", "+PONG\r\n", NEVER, 100).expect_err("the server ends");
    assert!(error.contains("closed the connection") || error.contains("reset"), "{error}");
}

#[test]
fn errors_are_counted_by_kind_and_outputs_parse_back() {
    let name = format!("pinion-bench-{}", std::process::id());
    let (json, hgrm) = (std::env::temp_dir().join(&name), std::env::temp_dir().join(name + ".hgrm"));
    let flags = format!("--rate 1000 --seconds 0.2 --json {} --hgrm {}", json.display(), hgrm.display());
    let report = with_server(&flags, "-BUSY no\r\n", NEVER, usize::MAX).expect("it runs");
    assert_eq!((report.replies(), report.errors()), (200, 200));
    assert!(report.to_string().ends_with(" errors_BUSY=200"), "{report}");
    let text = std::fs::read_to_string(&json).expect("it was written");
    let value: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!((&value["ops"], &value["errors_by_kind"]["BUSY"]), (&200.into(), &200.into()));
    assert!((value["latency_us"]["p99"].as_f64().expect("a number") - report.micros(0.99)).abs() < 1e-9);
    let text = std::fs::read_to_string(&hgrm).expect("it was written");
    let rows: Vec<Vec<f64>> = text
        .lines()
        .skip(2)
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_whitespace().map(|word| word.parse().expect("a number")).collect())
        .collect();
    assert!(rows.windows(2).all(|w| w[0][0] <= w[1][0] && w[0][1] <= w[1][1] && w[0][2] <= w[1][2]));
    assert_eq!(rows.last().map(|row| (row[1], row[2])), Some((1.0, 200.0)));
    std::fs::remove_file(json).and_then(|()| std::fs::remove_file(hgrm)).expect("they exist");
}

#[test]
fn options_that_make_no_sense_are_refused() {
    for flags in [
        "--connections 0",
        "--threads 2 --connections 1",
        "--rate 0",
        "--pace poisson",
        "--pace ramp --rate 5",
        "--mix get=x,huh",
        "--hot-keys 2",
        "--address nowhere",
    ] {
        let error = run(&options(flags)).expect_err(flags).to_string();
        assert!(error.contains("--"), "{flags}: {error}");
    }
}
