//! What is shown is a pure function of two looks.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};
use pinion_core::host::sim::{ClientId, Node, NodeOptions};
use pinion_wal::disk::OpKind;
use pinion_wal::disk::sim::{Fault, Faults, Rule, SimDisk};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::interval::{Interval, STAGES};
use super::sample::{CoreSample, Durations, Sample, Untaken};
use crate::client::Value;

use super::{hlog, report, text, view};

fn durations(values: &[(u64, u64)]) -> Durations {
    let mut durations = Durations::default();
    for &(value, count) in values {
        durations.count += count;
        durations.sum += value * count;
        durations.max = durations.max.max(value);
        *durations.buckets.entry(value).or_default() += count;
    }
    durations
}

fn core(number: u64, requests: u64, persist: &[(u64, u64)], more: &[(&str, &[(u64, u64)])]) -> CoreSample {
    let mut series = BTreeMap::new();
    for stage in STAGES {
        series.insert(format!("stage/{stage}"), Durations::default());
    }
    for name in ["stage/persist", "stage/total", "command/set/persist", "command/set/total"] {
        series.insert(name.to_owned(), durations(persist));
    }
    for (name, values) in more {
        series.insert((*name).to_owned(), durations(values));
    }
    CoreSample {
        core: number,
        moment: 1_000_000_000 + requests * 100_000,
        requests,
        input_bytes: requests * 2_048,
        series,
        ..CoreSample::default()
    }
}

fn looks() -> (Sample, Sample) {
    let before = [
        core(0, 10_000, &[(200_000, 10_000)], &[]),
        core(1, 10_000, &[(50_000_000, 1)], &[("stall/disk", &[(50_000_000, 1)])]),
    ];
    let mut after = [
        core(
            0,
            30_000,
            &[(200_000, 29_000), (400_000, 1_000)],
            &[("stage/reply", &[(10_000, 30_000)]), ("sync/write", &[(180_000, 900)])],
        ),
        core(
            1,
            30_000,
            &[(50_000_000, 1), (20_000_000, 4)],
            &[("stall/disk", &[(50_000_000, 1), (20_000_000, 2)]), ("sync/write", &[(20_000_000, 2)])],
        ),
    ];
    after[1].syncing = 12_000_000;
    after[1].untaken = vec![Untaken {
        core: 1,
        id: 7,
        address: "127.0.0.1:4000".into(),
        name: "idler".into(),
        bytes: 4_096,
        nanos: 3_500_000_000,
    }];
    (Sample { cores: before.into() }, Sample { cores: after.into() })
}

#[test]
fn only_what_came_between_two_looks_is_shown() {
    let (before, after) = looks();
    let interval = Interval::between(&before, &after);
    assert!((interval.seconds - 2.0).abs() < 1e-9);
    assert!((interval.rate(|core| core.requests) - 20_000.0).abs() < 1e-6);
    let persist = interval.all("stage/persist");
    assert_eq!((persist.count, persist.quantile(0.5)), (20_004, 200_000));
    assert_eq!((persist.quantile(0.99), persist.quantile(0.9999)), (400_000, 20_000_000));
    // The longest of all time was before: within the interval it is that of the last bucket.
    assert_eq!(interval.cores[1].series["stage/persist"].longest(), 20_000_000);
    let disk = interval.stalls().into_iter().find(|(class, ..)| *class == "disk");
    assert_eq!(disk, Some(("disk", vec![0, 2], 20_000_000)));
    let all = Interval::since_start(&after, 60.0);
    assert_eq!(all.all("stall/disk").count, 3);
    assert_eq!(all.cores[1].series["stage/persist"].longest(), 50_000_000);
}

#[test]
fn what_was_forgotten_between_two_looks_is_not_subtracted() {
    let (before, after) = (durations(&[(5, 10), (7, 1)]), durations(&[(5, 20)]));
    assert_eq!(after.since(&before), after);
    assert_eq!(durations(&[(5, 12), (7, 1)]).since(&before).buckets, BTreeMap::from([(5, 2)]));
    assert_eq!(Durations::default().quantile(0.99), 0);
}

#[test]
fn commands_are_told_with_the_stage_that_took_most() {
    let (before, after) = looks();
    let commands = Interval::between(&before, &after).commands();
    assert_eq!(commands.len(), 1);
    assert_eq!(commands[0].name, "set");
    assert_eq!(commands[0].mostly, Some(("persist".to_owned(), 1.0)));
    assert!((commands[0].share - 1.0).abs() < 1e-9);
}

#[test]
fn durations_and_rates_are_told_for_people() {
    let told = [0, 999, 1_500, 12_345, 999_499, 5_000_000, 1_500_000_000].map(text::duration);
    assert_eq!(told, ["-", "999 ns", "1.50 us", "12.3 us", "999 us", "5.00 ms", "1.50 s"]);
    assert_eq!([12.0, 1_234.0, 1_234_567.0].map(text::thousands), ["12", "1,234", "1,234,567"]);
    assert_eq!([12.0, 2_048.0, 3e6].map(text::bytes), ["12 B/s", "2.0 KiB/s", "2.9 MiB/s"]);
}

#[test]
fn the_table_has_everything() {
    let (before, after) = looks();
    let table = text::table(&Interval::between(&before, &after));
    let line = |start: &str| {
        let line = table.lines().find(|line| line.starts_with(start));
        let line = line.unwrap_or_else(|| panic!("no line {start} in\n{table}"));
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(table.starts_with("20,000 requests/s, 39.1 MiB/s in, 0 B/s out, 2 cores, within 2.0 s\n"));
    assert_eq!(line("persist "), "persist 20004 100.0 % 214 us 200 us 400 us 400 us 20.0 ms 20.0 ms");
    assert_eq!(line("write "), "write 902 0.0 % 224 us 180 us 180 us 20.0 ms 20.0 ms 20.0 ms");
    assert!(line("set ").ends_with("persist 100 %"));
    assert_eq!(line("disk "), "disk 20.0 ms 0 2");
    assert_eq!(line("preempted "), "preempted - 0 0");
    assert_eq!(line("core 1: "), "core 1: a sync is under way for 12.0 ms");
    let idler = "client 7 127.0.0.1:4000 idler (core 1) has taken nothing for 3.50 s: 4096 bytes wait";
    assert_eq!(line("client 7"), idler);
}

#[test]
fn json_has_the_same_figures() {
    let (before, after) = looks();
    let text = text::json(&Interval::between(&before, &after));
    let value: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(value["series"]["stage/persist"]["p9999_ns"], 20_000_000);
    assert_eq!(value["cores"][1]["series"]["stall/disk"]["count"], 2);
    assert_eq!(value["cores"][1]["syncing_ns"], 12_000_000);
    assert_eq!(value["untaken"][0]["name"], "idler");
}

/// The picture itself, as a terminal of 110 columns has it.
#[test]
fn the_live_view_is_drawn() {
    let (before, after) = looks();
    let interval = Interval::between(&before, &after);
    let mut terminal = Terminal::new(TestBackend::new(110, 40)).expect("memory can be drawn on");
    terminal.draw(|frame| view::draw(frame, "127.0.0.1:6379", &interval, false)).expect("as before");
    let buffer = terminal.backend().buffer();
    let rows = buffer.content().chunks(110).map(|row| {
        let row: String = row.iter().map(|cell| cell.symbol()).collect();
        row.trim_end().to_owned() + "\n"
    });
    let drawn: String = rows.collect();
    let golden = include_str!("../../testdata/latency-view.txt");
    assert_eq!(drawn, golden, "drawn:\n{drawn}");
}

/// However small the terminal, nothing fails.
#[test]
fn any_terminal_can_be_drawn_on() {
    let (before, after) = looks();
    let interval = Interval::between(&before, &after);
    for (width, height) in [(1, 1), (20, 5), (80, 24), (80, 10), (300, 100)] {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("memory can be drawn on");
        terminal.draw(|frame| view::draw(frame, "[::1]:1", &interval, true)).expect("as before");
    }
}

/// A report needs nothing but itself, and says what was seen.
#[test]
fn the_report_stands_by_itself() {
    let (before, after) = looks();
    let whole = Interval::between(&before, &after);
    let moments = [1.0, 2.0, 3.0].map(|at| report::Moment::of(&whole, at));
    assert_eq!((moments[0].stalls, moments[0].sync), (2, 20_000_000));
    let page = report::html("a<b", "today", &whole, &moments).expect("it can be drawn");
    assert_eq!(page.matches("<svg ").count(), 6, "{page}");
    for text in ["Latency of a&lt;b, today", "Stages by percentile", "99.9", "20.0 ms", "longest sync"] {
        assert!(page.contains(text), "{text} is missing");
    }
    let links = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for outside in ["http", "src=", "href=", "url(", "@import"] {
        assert!(!links.contains(outside), "{outside}");
    }
    // Of a server that did nothing, too.
    report::html("a", "b", &Interval::default(), &[]).expect("it can be drawn");
}

/// What is written to an HDR log is read back by the same crate's reader, by series.
#[test]
fn hdr_logs_can_be_read_back() {
    let (before, after) = looks();
    let interval = Interval::between(&before, &after);
    let (mut bytes, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    let mut log = hlog::begin(&mut bytes, &mut serializer, UNIX_EPOCH).expect("memory can be written");
    for second in 0..2 {
        let (after, lasted) = (Duration::from_secs(second), Duration::from_secs(1));
        hlog::add(&mut log, &interval.cores[0], after, lasted).expect("memory can be written");
    }
    drop(log);
    let mut read = 0;
    for entry in IntervalLogIterator::new(&bytes) {
        let LogEntry::Interval(line) = entry.expect("it is a log") else { continue };
        let name = line.tag().expect("it has a name").as_str().to_owned();
        let encoded = BASE64.decode(line.encoded_histogram()).expect("it is base64");
        let histogram: Histogram<u64> =
            Deserializer::new().deserialize(&mut &encoded[..]).expect("it is a histogram");
        let durations = &interval.cores[0].series[&name];
        assert_eq!(histogram.len(), durations.count.min(durations.buckets.values().sum()));
        let (told, longest) = (histogram.max(), durations.longest());
        assert!(told.abs_diff(longest) <= longest / 1_000, "{name}: {told} and {longest}");
        read += 1;
    }
    assert_eq!(read, 2 * (STAGES.len() + 1), "a line for each stage and for syncs, twice");
}

/// A whole node on virtual time, and one client of it.
struct Served {
    node: Node,
    client: ClientId,
}

impl Served {
    fn new(seed: u64) -> Self {
        let options = NodeOptions::small(2, 4, seed);
        let disk = SimDisk::new(seed, Faults::default());
        let mut node = Node::start(disk, &options).map_err(|failed| failed.1).expect("the node starts");
        assert!(node.run_until(10_000, |node| node.serves()), "the node does not serve");
        let client = node.connect(0);
        Self { node, client }
    }

    fn ask(&mut self, line: &str) -> Value {
        self.node.send(self.client, format!("{line}\r\n").as_bytes());
        let whole =
            |node: &mut Node, client| Value::parse(node.received(client)).expect("it is RESP2").is_some();
        let client = self.client;
        assert!(self.node.run_until(10_000, |node| whole(node, client)), "{line} is not answered");
        let reply = Value::parse(&self.node.take_received(client)).expect("it is RESP2");
        reply.expect("it is whole").0
    }

    fn look(&mut self) -> Sample {
        Sample::read(&self.ask("PINION LATENCY")).expect("it is a sample")
    }
}

/// What a server answers is what is shown: a disk that is slow once, and a client that reads nothing, are named between two
/// looks, each in its place.
#[test]
fn a_slow_disk_and_a_client_that_does_not_read_are_shown() {
    let mut served = Served::new(71);
    let before = served.look();
    for number in 0..50 {
        served.ask(&format!("SET k{number} v"));
    }
    let between = served.look();
    let quiet = Interval::between(&before, &between);
    assert!(quiet.stalls().iter().all(|(_, counts, _)| counts == &[0, 0]), "{}", text::table(&quiet));
    let set = &quiet.commands()[0];
    assert_eq!((&set.name[..], set.durations.count), ("set", 50));
    assert_eq!(set.mostly.as_ref().map(|(stage, _)| &stage[..]), Some("persist"));

    let idle = served.node.connect(1);
    served.node.send(idle, b"CLIENT SETNAME idler\r\nPING\r\n");
    served.node.set_reading(idle, false);
    let fault = Fault::Slow(50_000);
    let rule = Rule { kind: Some(OpKind::Write), path_part: String::new(), nth: 1, for_ever: true, fault };
    let faults = Faults { rules: vec![rule], ..Faults::default() };
    served.node.disk_mut().expect("it has one").set_faults(faults);
    served.ask("SET k v");
    let slow = Interval::between(&between, &served.look());
    let shown = text::table(&slow);
    let disk = slow.stalls().into_iter().find(|(class, ..)| *class == "disk").expect("it is a class");
    assert!(disk.1.iter().sum::<u64>() > 0 && disk.2 >= 50_000_000, "{shown}");
    let others = slow.stalls().into_iter().filter(|(class, ..)| *class != "disk");
    assert!(others.map(|(_, counts, _)| counts.iter().sum::<u64>()).sum::<u64>() == 0, "{shown}");
    for line in slow.stages() {
        let longest = line.durations.longest();
        let waits = ["persist", "total"].contains(&&line.name[..]);
        assert_eq!(longest >= 50_000_000, waits, "{shown}");
        assert!(waits || longest < 5_000_000, "{shown}");
    }
    assert!(slow.syncs()[0].durations.longest() >= 50_000_000, "{shown}");
    assert_eq!(slow.untaken.len(), 1, "{shown}");
    assert_eq!((slow.untaken[0].core, &slow.untaken[0].name[..]), (1, "idler"));
}

#[test]
fn an_answer_of_another_server_is_named() {
    let error = Value::Error("ERR unknown command".into());
    assert!(Sample::read(&error).is_err_and(|text| text.contains("is this a Pinion server")));
    assert!(Sample::read(&Value::Array(vec![Value::Array(vec![Value::Int(1), Value::Int(2)])])).is_err());
}
