//! CONFIG SET, RESETSTAT and REWRITE, SAVE and its kin, SHUTDOWN.

use super::*;
use pinion_core::config::Live;
use pinion_core::publish::Published;

/// What CONFIG GET shows here.
fn shown() -> Live {
    let pairs =
        [("latency-tracking", "yes"), ("slowlog-log-slower-than", "10000"), ("slowlog-max-len", "128")];
    let pairs = pairs.into_iter().chain([("port", "6379"), ("save", "")]);
    let shown = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Live { shown, ..Live::default() }
}

#[test]
fn a_change_of_settings_holds_on_all_cores_from_its_reply_on() {
    let live = Published::new(shown());
    let mut host = memory_node(seed(61), 2, 4, World::default(), |settings| settings.live = live.clone());
    let clients = [host.connect(0), host.connect(1)];
    // What follows in the same pipeline sees it, too.
    let set =
        ["CONFIG SET slowlog-log-slower-than 0 Slowlog-Max-Len 2", "CONFIG GET slowlog-max-len"].map(words);
    expect(&mut host, clients[0], &set.concat(), "+OK\r\n*2\r\n$15\r\nslowlog-max-len\r\n$1\r\n2\r\n");
    for client in clients {
        expect(
            &mut host,
            client,
            &words("CONFIG GET slowlog-max-len"),
            "*2\r\n$15\r\nslowlog-max-len\r\n$1\r\n2\r\n",
        );
        expect(&mut host, client, &words("SET k v"), "+OK\r\n");
    }
    expect(&mut host, clients[1], &words("SLOWLOG LEN"), ":2\r\n");
    let refused =
        "-ERR CONFIG SET failed (possibly related to argument 'port') - can't set immutable config\r\n";
    expect(&mut host, clients[1], &words("CONFIG SET slowlog-max-len 9 port 1"), refused);
    expect(
        &mut host,
        clients[0],
        &words("CONFIG GET slowlog-max-len"),
        "*2\r\n$15\r\nslowlog-max-len\r\n$1\r\n2\r\n",
    );
    expect(&mut host, clients[0], &words("CONFIG SET port 6379"), "+OK\r\n");
    expect(&mut host, clients[0], &words("CONFIG SET port 6379 save"), "-ERR syntax error\r\n");
    let unknown = "-ERR Unknown option or number of arguments for CONFIG SET - 'nothing'\r\n";
    expect(&mut host, clients[0], &words("CONFIG SET nothing 1"), unknown);
    expect(&mut host, clients[0], &words("CONFIG REWRITE"), "-ERR the simulator has no files\r\n");
}

#[test]
fn statistics_count_from_zero_after_a_reset() {
    let mut host = memory_node(seed(62), 2, 4, World::default(), |_| {});
    let clients = [host.connect(0), host.connect(1)];
    for client in clients {
        expect(&mut host, client, &words("SET k v"), "+OK\r\n");
        expect(
            &mut host,
            client,
            &words("nonsense"),
            "-ERR unknown command 'nonsense', with args beginning with: \r\n",
        );
    }
    expect(&mut host, clients[1], &words("CONFIG RESETSTAT"), "+OK\r\n");
    let info = call(&mut host, clients[0], "INFO all", |reply| reply.ends_with(b"# Keyspace\r\n\r\n"));
    let line = |start: &str| info.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
    assert_eq!(line("total_connections_received:"), "total_connections_received:0");
    assert_eq!(line("connected_clients:"), "connected_clients:2");
    assert_eq!(line("total_error_replies:"), "total_error_replies:0");
    assert!(!info.contains("cmdstat_set:") && !info.contains("errorstat_ERR"), "{info}");
}

#[test]
fn saves_are_answered_as_the_oracle_does() {
    let mut host = memory_node(seed(63), 2, 4, World::default(), |_| {});
    let client = host.connect(1);
    let seconds = World::default().wall_ms / 1_000;
    expect(&mut host, client, &words("SAVE"), "+OK\r\n");
    for line in ["BGSAVE", "bgsave Schedule"] {
        expect(&mut host, client, &words(line), "+Background saving started\r\n");
    }
    expect(&mut host, client, &words("BGSAVE now"), "-ERR syntax error\r\n");
    expect(&mut host, client, &words("BGREWRITEAOF"), "+Background append only file rewriting started\r\n");
    let time = call(&mut host, client, "LASTSAVE", |reply| reply.ends_with(b"\r\n"));
    let time: u64 = time.trim_start_matches(':').trim_end().parse().expect("a number");
    assert!((seconds..seconds + 60).contains(&time), "{time}");
}

#[test]
fn a_shutdown_ends_every_core_without_a_reply() {
    for line in ["SHUTDOWN SAVE NOSAVE", "SHUTDOWN NOW ABORT", "SHUTDOWN soon"] {
        let mut host = memory_node(seed(64), 1, 2, World::default(), |_| {});
        let client = host.connect(0);
        expect(&mut host, client, &words(line), "-ERR syntax error\r\n");
        expect(&mut host, client, &words("SHUTDOWN ABORT"), "-ERR No shutdown in progress.\r\n");
    }
    for line in ["SHUTDOWN", "shutdown nosave now force"] {
        let mut host = memory_node(seed(65), 3, 4, World::default(), |_| {});
        let (asking, other) = (host.connect(1), host.connect(2));
        expect(&mut host, other, &words("SET k v"), "+OK\r\n");
        host.send(asking, &words(line));
        assert!(
            host.run_until(10_000, |host| (0..3).all(|core| host.exit(core).is_some())),
            "{line}: a core goes on"
        );
        assert!(host.received(asking).is_empty(), "{line}");
    }
}
