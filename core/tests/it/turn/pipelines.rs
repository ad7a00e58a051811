//! Order, routing and merging.

use super::*;

/// A read sees the writes of its connection before it in the pipeline, and none behind it.
#[test]
fn a_pipeline_reads_its_own_writes_and_not_its_later_ones() {
    let pipeline = ["SET k 1", "GET k", "SET k 2", "GET k", "INCR k", "GET k", "DEL k", "GET k", "SET k 4"]
        .map(words)
        .concat();
    let expected = "+OK\r\n$1\r\n1\r\n+OK\r\n$1\r\n2\r\n:3\r\n$1\r\n3\r\n:1\r\n$-1\r\n+OK\r\n";
    for cores in [1, 2, 3] {
        for core in 0..cores {
            let mut host = memory_node(seed(1), cores, 6, World::default(), |_| {});
            let client = host.connect(usize::from(core));
            expect(&mut host, client, &pipeline, expected);
            expect(&mut host, client, &words("GET k"), "$1\r\n4\r\n");
        }
    }
}

/// However the stream is cut, the replies are the same.
#[test]
fn a_pipeline_may_be_cut_at_every_byte() {
    let commands = ["SET a 1", "GET a", "MGET a b c d e", "INCR b", "EXISTS a b c", "PING", "ECHO hello"];
    let mut pipeline = commands.map(words).concat();
    pipeline.extend_from_slice(b"PING inline\r\n");
    pipeline.extend_from_slice(&request(&[b"SET", b"big", &[b'x'; 300]]));
    pipeline.extend_from_slice(&words("GET big"));
    let big = "x".repeat(300);
    let expected = format!(
        "+OK\r\n$1\r\n1\r\n*5\r\n$1\r\n1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n:1\r\n:2\r\n+PONG\r\n$5\r\nhello\r\n$6\r\ninline\r\n\
         +OK\r\n$300\r\n{big}\r\n"
    );
    for cut in 1..pipeline.len() {
        let mut host = memory_node(seed(cut as u64), 2, 4, World::default(), |_| {});
        let client = host.connect(0);
        host.send(client, &pipeline[..cut]);
        host.run_until(5, |_| false);
        expect(&mut host, client, &pipeline[cut..], &expected);
    }
    let world = World { receive_bytes_max: 1, ..World::default() };
    let mut host = memory_node(seed(0), 2, 4, world, |_| {});
    let client = host.connect(1);
    expect(&mut host, client, &pipeline, &expected);
}

/// Random pipelines of several connections give what a map gives, on one core and on several, over any number of groups.
#[test]
fn every_number_of_cores_gives_what_a_map_gives() {
    for (cores, groups) in [(1, 1), (1, 4), (2, 8), (3, 7)] {
        let seed = seed(u64::from(cores) * 100 + u64::from(groups));
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut host = memory_node(seed, cores, groups, World::default(), |_| {});
        let mut clients: Vec<_> = (0..4u8)
            .map(|name| {
                let client = host.connect(usize::from(name) % usize::from(cores));
                (client, name, std::collections::BTreeMap::<u8, i64>::new(), Vec::new(), String::new())
            })
            .collect();
        for _ in 0..40 {
            for (client, name, model, sent, expected) in &mut clients {
                for _ in 0..rng.usize(..40) {
                    let (line, reply) = step(&mut rng, *name, model);
                    sent.extend_from_slice(&words(&line));
                    expected.push_str(&reply);
                }
                let cut = rng.usize(..=sent.len());
                host.send(*client, &sent[..cut]);
                sent.drain(..cut);
                for _ in 0..rng.usize(..5) {
                    host.step();
                }
            }
        }
        for (client, _, _, sent, expected) in clients {
            host.send(client, &sent);
            await_reply(&mut host, client, &expected);
        }
        for core in host.machines() {
            assert_eq!(core.in_flight(), 0, "everything was answered");
        }
    }
}

/// A random command over the keys of one client, and its reply.
pub fn step(
    rng: &mut fastrand::Rng,
    client: u8,
    model: &mut std::collections::BTreeMap<u8, i64>,
) -> (String, String) {
    let key = rng.u8(..12);
    let name = |key: u8| format!("key:{client}:{key}");
    let bulk = |value: Option<&i64>| {
        value.map_or("$-1\r\n".to_owned(), |value| {
            let text = value.to_string();
            format!("${}\r\n{text}\r\n", text.len())
        })
    };
    match rng.u8(..7) {
        0 | 1 => {
            let value = rng.i64(..1_000);
            model.insert(key, value);
            (format!("SET {} {value}", name(key)), "+OK\r\n".to_owned())
        }
        2 | 3 => (format!("GET {}", name(key)), bulk(model.get(&key))),
        4 => {
            let value = model.entry(key).or_default();
            *value += 1;
            (format!("INCR {}", name(key)), format!(":{value}\r\n"))
        }
        5 => {
            let keys: Vec<u8> = (0..rng.u8(1..6)).map(|_| rng.u8(..12)).collect();
            let count = keys.iter().filter(|key| model.remove(key).is_some()).count();
            let names: Vec<String> = keys.into_iter().map(name).collect();
            (format!("DEL {}", names.join(" ")), format!(":{count}\r\n"))
        }
        _ => {
            let keys: Vec<u8> = (0..rng.u8(1..40)).map(|_| rng.u8(..12)).collect();
            let values: String = keys.iter().map(|key| bulk(model.get(key))).collect();
            let names: Vec<String> = keys.iter().map(|&key| name(key)).collect();
            (format!("MGET {}", names.join(" ")), format!("*{}\r\n{values}", keys.len()))
        }
    }
}

/// Writes over several slots are refused by slot, whatever the groups; with one group they are allowed.
#[test]
fn writes_over_several_slots_depend_on_slots_alone() {
    let crossing = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
    for (groups, expected) in [(1, "+OK\r\n"), (2, crossing), (8, crossing)] {
        let mut host = memory_node(seed(3), 2, groups, World::default(), |_| {});
        let client = host.connect(0);
        expect(&mut host, client, &words("MSET a 1 b 2"), expected);
        expect(&mut host, client, &words("MSET {t}a 1 {t}b 2"), "+OK\r\n");
        expect(&mut host, client, &words("MGET {t}a {t}b"), "*2\r\n$1\r\n1\r\n$1\r\n2\r\n");
    }
}

/// A scan over all groups meets every key once; a count counts them; FLUSHALL forgets them on all cores.
#[test]
fn scan_count_and_flush_go_over_all_groups() {
    let mut host = memory_node(seed(4), 3, 7, World::default(), |_| {});
    let client = host.connect(2);
    let keys: Vec<String> = (0..200).map(|number| format!("key:{number}")).collect();
    let sets: Vec<u8> = keys.iter().flat_map(|key| words(&format!("SET {key} v"))).collect();
    expect(&mut host, client, &sets, &"+OK\r\n".repeat(keys.len()));
    expect(&mut host, client, &words("DBSIZE"), ":200\r\n");
    let (mut cursor, mut found) = ("0".to_owned(), Vec::new());
    loop {
        let page = call(&mut host, client, &format!("SCAN {cursor} COUNT 7"), is_page);
        let mut lines =
            page.split("\r\n").skip(1).filter(|line| !line.starts_with(['$', '*']) && !line.is_empty());
        lines.next().expect("there is a cursor").clone_into(&mut cursor);
        found.extend(lines.map(str::to_owned));
        if cursor == "0" {
            break;
        }
    }
    found.sort();
    let mut expected = keys;
    expected.sort();
    assert_eq!(found, expected);
    expect(&mut host, client, &words("FLUSHALL"), "+OK\r\n");
    expect(&mut host, client, &words("DBSIZE"), ":0\r\n");
}

/// Whether a reply to SCAN is whole.
fn is_page(reply: &[u8]) -> bool {
    let text = String::from_utf8_lossy(reply);
    let mut lines = text.split("\r\n").skip(3);
    let Some(count) =
        lines.next().and_then(|line| line.strip_prefix('*')).and_then(|line| line.parse::<usize>().ok())
    else {
        return false;
    };
    text.ends_with("\r\n") && lines.count() > 2 * count
}

/// What was sent before HELLO is answered in the old protocol, what comes after it in the new one.
#[test]
fn the_protocol_changes_between_two_commands_of_a_pipeline() {
    let mut host = memory_node(seed(5), 2, 4, World::default(), |_| {});
    let client = host.connect(0);
    let pipeline =
        ["SET k 1", "GET none", "MGET none k", "HELLO 3", "GET none", "MGET none k"].map(words).concat();
    host.send(client, &pipeline);
    let end = "_\r\n*2\r\n_\r\n$1\r\n1\r\n";
    assert!(host.run_until(MILLIS, |host| host.received(client).ends_with(end.as_bytes())));
    let received = String::from_utf8(host.take_received(client)).expect("text");
    assert!(received.starts_with("+OK\r\n$-1\r\n*2\r\n$-1\r\n$1\r\n1\r\n%7\r\n"), "{received}");
}

/// QUIT answers what came before it, then closes; what comes after it is not carried out.
#[test]
fn quit_and_broken_streams_close_after_their_replies() {
    let mut host = memory_node(seed(6), 2, 4, World::default(), |_| {});
    let (quits, breaks, ends) = (host.connect(0), host.connect(0), host.connect(1));
    host.send(quits, &["SET q 1", "GET q", "QUIT", "SET q 2"].map(words).concat());
    host.send(breaks, &[words("SET b 1"), b"*1\r\n:5\r\n".to_vec(), words("SET b 2")].concat());
    host.send(ends, &["SET e 1", "GET e"].map(words).concat());
    host.finish(ends);
    let all = [quits, breaks, ends];
    assert!(host.run_until(MILLIS, |host| all.iter().all(|&client| host.is_closed(client))));
    let text = |host: &Host, client| String::from_utf8_lossy(host.received(client)).into_owned();
    assert_eq!(text(&host, quits), "+OK\r\n$1\r\n1\r\n+OK\r\n");
    assert_eq!(text(&host, breaks), "+OK\r\n-ERR Protocol error: expected '$', got ':'\r\n");
    assert_eq!(text(&host, ends), "+OK\r\n$1\r\n1\r\n");
    let client = host.connect(0);
    expect(&mut host, client, &words("MGET q b"), "*2\r\n$1\r\n1\r\n$1\r\n1\r\n");
}

/// Two runs of a seed are the same run.
#[test]
fn a_seed_replays_exactly() {
    let run = |seed| {
        let mut host = memory_node(seed, 2, 8, World::default(), |_| {});
        let clients = [host.connect(0), host.connect(1)];
        for number in 0..200 {
            host.send(clients[number % 2], &words(&format!("INCR key:{}", number % 7)));
        }
        host.run_until(50, |_| false);
        (host.event_hash(), host.turns())
    };
    let seed = seed(7);
    assert_eq!(run(seed), run(seed));
    assert_ne!(run(seed).0, run(seed + 1).0);
}

/// A client that vanishes in the middle leaves nothing behind, and its answered writes stay.
#[test]
fn a_client_that_vanishes_leaves_nothing_behind() {
    let mut host = memory_node(seed(8), 2, 4, World::default(), |_| {});
    for round in 0..50 {
        let client = host.connect(round % 2);
        let pipeline: Vec<u8> = (0..20)
            .flat_map(|key| [words(&format!("INCR key:{key}")), words("MGET a b c d")].concat())
            .collect();
        host.send(client, &pipeline);
        for _ in 0..round {
            host.step();
        }
        host.vanish(client);
    }
    host.run_until(100, |_| false);
    for core in host.machines() {
        core.check();
        assert_eq!((core.in_flight(), core.conns().len()), (0, 0));
    }
}
