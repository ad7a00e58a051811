//! Comparisons of servers in this process.

use std::sync::Mutex;
use std::time::Duration;

use clap::Parser;

use super::{Options, run};
use crate::load::fake::{Act, serve};

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    options: Options,
}

fn options(flags: &str) -> Options {
    Flags::parse_from(std::iter::once("compare").chain(flags.split_whitespace())).options
}

#[test]
fn both_sides_run_in_turn_and_the_slower_one_is_told() {
    let order = Mutex::new(String::new());
    let answer = |name: char, pause: Duration| {
        let mut order = order.lock().expect("nobody panics");
        if !order.ends_with(name) {
            order.push(name);
        }
        drop(order);
        Act::Stall(pause, b"+PONG\r\n".to_vec())
    };
    let json = std::env::temp_dir().join(format!("pinion-compare-test-{}.json", std::process::id()));
    let load = "--busy --operation ping --connections 1 --requests 40 --warm-up-seconds 0.01";
    let table = serve(
        |_| answer('A', Duration::ZERO),
        |a| {
            serve(
                |_| answer('B', Duration::from_millis(3)),
                |b| run(&options(&format!("{a} {b} {load} --json {}", json.display()))),
            )
        },
    );
    let table = table.expect("it runs");
    assert_eq!(*order.lock().expect("nobody panics"), "AB".repeat(5), "A B A B, five pairs");
    let text = std::fs::read_to_string(&json).expect("it was written");
    std::fs::remove_file(&json).expect("it exists");
    let value: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let metrics = value["metrics"].as_array().expect("a list");
    let names: Vec<&str> = metrics.iter().filter_map(|metric| metric["name"].as_str()).collect();
    assert_eq!(names, ["throughput", "p50", "p99", "p99.9", "max", "client CPU per operation"]);
    assert!(names.iter().all(|name| table.contains(&format!("| {name} |"))), "{table}");
    let b_median = metrics[1]["b"]["median"].as_f64().expect("a number");
    assert!(b_median >= 3000.0, "each answer of B takes 3 ms: {table}");
    assert!(metrics[1]["ratio"]["max"].as_f64().expect("a number") < 1.0, "{table}");
    assert!(metrics[0]["ratio"]["min"].as_f64().expect("a number") > 1.0, "{table}");
    assert_eq!((&value["seed"], &value["pairs"]), (&1.into(), &5.into()));
    assert!(value["idle_percent"]["before"].is_number());
}

#[test]
fn a_side_that_answers_with_errors_is_not_measured() {
    let error = serve(
        |_| Act::line("+PONG"),
        |a| {
            let b =
                |b| run(&options(&format!("{a} {b} --busy --operation ping --requests 10 --connections 1")));
            serve(|_| Act::line("-OOM no"), b)
        },
    );
    let error = error.expect_err("B refuses").to_string();
    assert!(error.starts_with("B answers with errors") && error.contains("errors_OOM=10"), "{error}");
}

#[test]
fn sides_that_make_no_sense_are_refused() {
    let sound = "127.0.0.1:1 127.0.0.1:1 --busy";
    for (flags, expected) in [
        ("redis-server 127.0.0.1:1 --busy", "{port}"),
        ("127.0.0.1:1 no{port} --busy", "does not listen"),
        (&format!("{sound} --a-pid 4194999"), "4194999"),
        ("no{port} 127.0.0.1:1 --a-pid 1 --busy", "process id"),
        (&format!("{sound} --address 127.0.0.1:2"), "--address"),
        (&format!("{sound} --rate-part 2"), "--rate-part"),
        (&format!("{sound} --hgrm x"), "--hgrm"),
        (sound, "refused"),
    ] {
        let error = run(&options(flags)).expect_err(flags).to_string();
        assert!(error.contains(expected), "{flags}: {error}");
    }
    assert!(Flags::try_parse_from("compare a:1 b:2 --pairs 4".split(' ')).is_err(), "five pairs at least");
}
