//! The load against servers in this process.

use std::time::Duration;

use clap::Parser;

use super::fake::{Act, Request, serve};
use super::{Options, Report, run};

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    options: Options,
}

fn options(flags: &str) -> Options {
    Flags::parse_from(std::iter::once("load").chain(flags.split_whitespace())).options
}

/// Loads a server that answers with `act`, which is told how many requests came before.
fn load(flags: &str, mut act: impl FnMut(u64, &Request) -> Act + Send) -> Result<Report, String> {
    let mut count = 0;
    let counted = move |request: &Request| {
        count += 1;
        act(count - 1, request)
    };
    serve(counted, |address| run(&options(&format!("--address {address} --connections 1 {flags}"))))
        .map_err(|e| e.to_string())
}

/// What a real server says to a GET or a SET, and to a PING.
fn sound(request: &Request) -> Act {
    Act::line(match request[0].as_slice() {
        b"GET" => "$1\r\nx",
        b"SET" => "+OK",
        _ => "+PONG",
    })
}

#[test]
fn an_open_loop_counts_every_request_that_a_stall_held_up() {
    let stall = |count, _: &Request| match count {
        300 => Act::Stall(Duration::from_millis(200), b"+PONG\r\n".to_vec()),
        _ => Act::line("+PONG"),
    };
    let report = load("--operation ping --rate 1000 --seconds 1", stall).expect("it runs");
    assert_eq!(report.operations(), 1000, "nothing due was left out");
    // Those due in the first 50, 100 and 150 ms of the silence waited for 150, 100 and 50 ms at least.
    for (part, millis) in [(0.05, 150.0), (0.1, 100.0), (0.15, 50.0)] {
        let least = report.micros(1.0 - part + 0.001);
        assert!(least >= (millis - 1.0) * 1e3, "{part} of the requests met the stall: {least} us, {report}");
    }
    assert!(report.micros(1.0) >= 199_000.0, "{report}");
    // A closed loop sees the stall once.
    let report = load("--operation ping --requests 1000", stall).expect("it runs");
    assert_eq!(report.operations(), 1000);
    assert!(report.micros(0.95) < 100_000.0 && report.micros(1.0) >= 199_000.0, "{report}");
}

#[test]
fn a_read_modify_write_is_one_operation_of_two_requests() {
    let mut requests = 0;
    let report = load("--preset f --rate 1000 --seconds 0.5 --keys 100", |count, request| {
        requests = count + 1;
        sound(request)
    });
    let report = report.expect("it runs");
    assert_eq!(report.operations(), 500);
    assert!((650..850).contains(&requests), "half of the operations have two requests: {requests}");
    // The GET comes at once and the SET 50 ms later: that is when the operation is over.
    let report = load("--mix rmw --requests 3", |_, request| match request[0].as_slice() {
        b"GET" => sound(request),
        _ => Act::Stall(Duration::from_millis(50), b"+OK\r\n".to_vec()),
    });
    let report = report.expect("it runs");
    assert_eq!(report.operations(), 3);
    assert!(report.micros(0.01) >= 49_900.0, "{report}");
}

#[test]
fn errors_are_counted_by_code_and_never_as_success() {
    let report = load("--operation ping --pipeline 10 --requests 300", |count, _| match count % 3 {
        0 => Act::line("-BUSY no"),
        1 => Act::Stall(Duration::from_micros(300), b"-OOM command not allowed\r\n".to_vec()),
        _ => Act::line("+PONG"),
    });
    let report = report.expect("errors are no failure of the run");
    assert_eq!((report.operations(), report.errors()), (100, 200));
    let text = report.to_string();
    assert!(text.contains(" ops=100 ") && text.contains(" errors=200 "), "{text}");
    assert!(text.contains(" errors_BUSY=100") && text.contains(" errors_OOM=100"), "{text}");
    // Both requests of a read-modify-write fail, or one of them: one failed operation.
    let report = load("--mix rmw --requests 100", |count, request| match count {
        0..100 => Act::line("-LOADING wait"),
        100..150 if request[0] == b"SET" => Act::line("-READONLY no"),
        _ => sound(request),
    });
    let report = report.expect("it runs");
    assert_eq!((report.operations(), report.errors()), (25, 75));
    assert!(report.to_string().contains(" errors_LOADING=50 errors_READONLY=25"), "{report}");
}

#[test]
fn kinds_of_errors_are_bounded() {
    let report = load("--operation ping --requests 200", |count, _| Act::line(format!("-E{count} x")));
    let text = report.expect("it runs").to_string();
    assert!(text.contains(" errors_other=136") && text.contains(" errors=200 "), "{text}");
}

#[test]
fn a_warm_up_is_not_counted() {
    for pace in ["--rate 1000 --pace fixed", "--rate 1000 --rate-end 3000 --pace ramp"] {
        let report =
            load(&format!("{pace} --operation ping --warm-up-seconds 0.2 --seconds 0.5"), |count, _| {
                if count < 200 { Act::line("-LOADING warm me up") } else { Act::line("+PONG") }
            });
        let report = report.expect("it runs");
        let expected = if pace.contains("ramp") { 1000 } else { 500 };
        assert_eq!((report.operations(), report.errors()), (expected, 0), "{pace}");
    }
}

#[test]
fn ramps_and_steps_send_what_their_rates_add_up_to() {
    for (flags, expected) in [
        ("--rate 100 --rate-end 900 --pace ramp", 500_u64),
        ("--rate 900 --rate-end 100 --pace ramp", 500),
        ("--rate 100 --rate-end 300 --steps 3 --pace step", 200),
    ] {
        let report = load(&format!("--operation ping --seconds 1 {flags}"), |_, _| Act::line("+PONG"));
        let sent = report.expect("it runs").operations();
        assert!(sent.abs_diff(expected) <= 2, "{flags}: {sent}");
    }
}

#[test]
fn a_number_of_requests_is_kept_by_all_threads_together() {
    for flags in ["--connections 3 --threads 3", "--connections 7 --threads 2 --pipeline 16"] {
        let flags = flags.to_owned() + " --operation ping --requests 1000";
        let report = serve(|_| Act::line("+PONG"), |a| run(&options(&format!("--address {a} {flags}"))));
        assert_eq!(report.expect("it runs").operations(), 1000, "{flags}");
    }
}

#[test]
fn a_server_that_ends_or_speaks_nonsense_is_an_error() {
    let cases: [(Act, &[&str]); 6] = [
        (Act::Close, &["closed the connection", "reset"]),
        (Act::line("HTTP/1.1 400 Bad Request"), &["\"HTTP/1.1 400 Bad Request"]),
        (Act::Say(b"xyz".to_vec()), &["\"xyz\""]),
        (Act::line("$many"), &["length \"many\""]),
        (Act::line("+PONG\r\n+PONG"), &["nobody asked for it"]),
        (Act::Say(vec![0; 4096]), &["not RESP"]),
    ];
    for (act, expected) in cases {
        // In an open loop the reply too many answers the next request: it is noticed behind the last one only.
        let unasked = expected[0].starts_with("nobody");
        for flags in ["--operation ping --requests 200", "--operation ping --rate 1000 --seconds 1"] {
            if unasked && flags.contains("rate") {
                continue;
            }
            let answer = |count, _: &Request| if count == 100 { act.clone() } else { Act::line("+PONG") };
            let error = load(flags, answer).expect_err("the server breaks its word");
            assert!(expected.iter().any(|text| error.contains(text)), "{act:?}: {error}");
        }
    }
}

#[test]
fn a_server_that_refuses_is_an_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let error = run(&options(&format!("--address {address}"))).expect_err("nobody listens").to_string();
    assert!(error.contains(&address.to_string()) && error.contains("--address"), "{error}");
    let refuse = |_, _: &Request| Act::line("-WRONGPASS invalid username-password pair or user is disabled.");
    let error = load("--password no", refuse).expect_err("the password is wrong");
    assert!(error.contains("WRONGPASS") && error.contains("--password"), "{error}");
    let full = |_, request: &Request| match request[0].as_slice() {
        b"SET" => Act::line("-OOM command not allowed when used memory > 'maxmemory'."),
        _ => sound(request),
    };
    let error = load("--preload --keys 10", full).expect_err("nothing can be loaded");
    assert!(error.contains("preload") && error.contains("errors_OOM=10"), "{error}");
}

#[test]
fn outputs_parse_back() {
    let name = format!("pinion-bench-{}", std::process::id());
    let (json, hgrm) = (std::env::temp_dir().join(&name), std::env::temp_dir().join(name + ".hgrm"));
    let flags =
        format!("--operation ping --requests 300 --json {} --hgrm {}", json.display(), hgrm.display());
    let report = load(&flags, |count, _| Act::line(if count < 100 { "-BUSY no" } else { "+PONG" }));
    let report = report.expect("it runs");
    let text = std::fs::read_to_string(&json).expect("it was written");
    let value: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!((&value["ops"], &value["errors_by_kind"]["BUSY"]), (&200.into(), &100.into()));
    assert_eq!(value["seed"], 1);
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
        "--requests 0",
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
