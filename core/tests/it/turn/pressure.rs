//! Bounds: slow readers, long pipelines, overload, stop.

use super::*;

/// O1: a client that does not read is not read from; when it reads again, every reply comes, in order.
#[test]
fn a_slow_reader_stops_being_read_from_and_loses_nothing() {
    let mut host = memory_node(seed(11), 1, 2, World::default(), |_| {});
    let client = host.connect(0);
    let value = vec![b'v'; 64 << 10];
    expect(&mut host, client, &request(&[b"SET", b"k", &value]), "+OK\r\n");
    host.set_reading(client, false);
    for _ in 0..2_000 {
        host.send(client, &words("GET k"));
    }
    host.run_until(200, |_| false);
    assert!(host.is_paused(client) && host.unreceived_bytes(client) > 0);
    let held: usize =
        host.machines().map(|core| core.conns().iter().map(|conn| conn.reply_bytes()).sum::<usize>()).sum();
    assert!(held < 70 << 20, "{held} bytes are held for a client that does not read");
    host.set_reading(client, true);
    let whole = 2_000 * (value.len() + "$65536\r\n\r\n".len());
    assert!(host.run_until(MILLIS, |host| host.received(client).len() >= whole));
    assert_eq!(host.take_received(client).len(), whole);
    assert!(!host.is_paused(client));
    host.machines().for_each(Core::check);
}

/// O1: reply bytes of all clients together stay within their budget: beyond it, values become a typed error.
#[test]
fn replies_beyond_the_budget_are_typed_errors() {
    let budget = 1 << 20;
    let mut host = memory_node(seed(12), 1, 2, World::default(), |settings| {
        settings.budgets.send_buffers = Budget::fixed(budget)
    });
    let writer = host.connect(0);
    let value = vec![b'v'; 100 << 10];
    expect(&mut host, writer, &request(&[b"SET", b"k", &value]), "+OK\r\n");
    let clients: Vec<_> = (0..20).map(|_| host.connect(0)).collect();
    for &client in &clients {
        host.set_reading(client, false);
        host.send(client, &words("GET k"));
    }
    host.run_until(100, |_| false);
    let held: usize =
        host.machines().map(|core| core.conns().iter().map(|conn| conn.reply_bytes()).sum::<usize>()).sum();
    assert!(held as u64 <= budget + 20 * 200, "{held}");
    clients.iter().for_each(|&client| host.set_reading(client, true));
    host.run_until(100, |_| false);
    let refused = clients.iter().filter(|&&client| host.received(client).starts_with(b"-TRYAGAIN")).count();
    let answered = clients.iter().filter(|&&client| host.received(client).starts_with(b"$102400")).count();
    assert!(refused >= 9 && refused + answered == clients.len(), "{refused} refused, {answered} answered");
    host.take_received(clients[0]);
    expect(&mut host, clients[0], &words("EXISTS k"), ":1\r\n");
}

/// O1, O5: replies that a core makes itself count like those of its groups. While replies are refused, who takes nothing for
/// long is closed, and the others are served again.
#[test]
fn who_takes_nothing_is_closed_when_others_are_refused() {
    let budget = 1 << 20;
    let mut host = memory_node(seed(13), 1, 2, World::default(), |settings| {
        settings.budgets.send_buffers = Budget::fixed(budget)
    });
    let writer = host.connect(0);
    let value = vec![b'v'; 100 << 10];
    expect(&mut host, writer, &request(&[b"SET", b"k", &value]), "+OK\r\n");
    let clients: Vec<_> = (0..20).map(|_| host.connect(0)).collect();
    for &client in &clients {
        host.set_reading(client, false);
        host.send(client, &request(&[b"ECHO", &value]));
        host.send(client, &words("INFO"));
    }
    host.run_until(100, |_| false);
    let held: usize =
        host.machines().map(|core| core.conns().iter().map(|conn| conn.reply_bytes()).sum::<usize>()).sum();
    // Beside the budget: a short error and a report for each.
    assert!((budget / 2..budget + 20 * (200 + (4 << 10))).contains(&(held as u64)), "{held}");
    assert!(
        is_answered_in_time(&mut host, writer, "GET k"),
        "the replies of those who take nothing stay for ever"
    );
    host.machines().for_each(Core::check);
}

/// Whether a value is answered within two minutes, by a server that may refuse it at first.
fn is_answered_in_time(host: &mut Host, client: ClientId, line: &str) -> bool {
    (0..40).any(|_| {
        host.pause(0, 1_000);
        host.send(client, &words(line));
        host.run_until(2_000, |_| false);
        let reply = host.take_received(client);
        let refused = reply.starts_with(b"-TRYAGAIN");
        assert!(refused || reply.len() > 100 << 10, "{}", String::from_utf8_lossy(&reply));
        !refused
    })
}

/// O1, O5: who takes nothing is closed for a large reply, too: one that needs more than all that is held for them.
#[test]
fn who_takes_nothing_is_closed_for_a_reply_that_is_larger() {
    for line in ["GET large", "MGET large"] {
        let mut host = memory_node(seed(20), 1, 2, World::default(), |settings| {
            settings.budgets.send_buffers = Budget::fixed(1 << 20)
        });
        let (dead, reader) = (host.connect(0), host.connect(0));
        for (key, bytes) in [("small", 100 << 10), ("large", 800 << 10)] {
            expect(&mut host, reader, &request(&[b"SET", key.as_bytes(), &vec![b'v'; bytes]]), "+OK\r\n");
        }
        host.set_reading(dead, false);
        host.send(dead, &words("MGET small small small"));
        host.run_until(100, |_| false);
        assert!(is_answered_in_time(&mut host, reader, line), "a large reply is refused for ever");
        host.send(dead, &words("PING"));
        host.run_until(100, |_| false);
        assert!(host.is_closed(dead));
        host.machines().for_each(Core::check);
    }
}

/// O5: only so many of those who take nothing are closed as the others need memory.
#[test]
fn who_holds_little_is_not_closed_beside_who_holds_much() {
    let mut host = memory_node(seed(22), 1, 2, World::default(), |settings| {
        settings.budgets.send_buffers = Budget::fixed(1 << 20)
    });
    let reader = host.connect(0);
    for (key, bytes) in [("small", 10 << 10), ("middle", 100 << 10), ("large", 950 << 10)] {
        expect(&mut host, reader, &request(&[b"SET", key.as_bytes(), &vec![b'v'; bytes]]), "+OK\r\n");
    }
    let idle: Vec<_> = (0..6).map(|_| host.connect(0)).collect();
    for (&client, line) in idle.iter().zip(["GET large"].into_iter().chain(std::iter::repeat("GET small"))) {
        host.set_reading(client, false);
        host.send(client, &words(line));
        host.run_until(100, |_| false);
    }
    let mut served = false;
    for _ in 0..36 {
        host.pause(0, 500);
        host.send(reader, &words("GET middle"));
        assert!(host.run_until(MILLIS, |host| host.received(reader).ends_with(b"\r\n")));
        served = host.take_received(reader).starts_with(b"$");
    }
    assert!(served, "nobody was closed");
    let machine = host.machines().next().expect("there is a core");
    assert_eq!(machine.counters().clients_cut, 1);
    assert_eq!(machine.conns().len(), 6);
    host.machines().for_each(Core::check);
}

/// O5: who takes nothing is closed when replies of another core are refused for it, also on a core with nothing else to do.
#[test]
fn who_takes_nothing_is_closed_for_another_core() {
    let mut host = memory_node(seed(23), 2, 4, World::default(), |settings| {
        settings.budgets.send_buffers = Budget::shared(4 << 20, 2);
    });
    let reader = host.connect(0);
    for (key, bytes) in [("small", 100 << 10), ("large", 1_500 << 10)] {
        expect(&mut host, reader, &request(&[b"SET", key.as_bytes(), &vec![b'v'; bytes]]), "+OK\r\n");
    }
    let idle: Vec<_> = (0..29).map(|_| host.connect(1)).collect();
    for &client in &idle {
        host.set_reading(client, false);
        host.send(client, &words("GET small"));
    }
    host.run_until(100, |_| false);
    let mut refused = 0;
    for _ in 0..30 {
        host.pause(0, 1_000);
        host.send(reader, &words("MGET large"));
        assert!(host.run_until(MILLIS, |host| host.received(reader).ends_with(b"\r\n")));
        refused += usize::from(host.take_received(reader).starts_with(b"-TRYAGAIN"));
    }
    assert!((1..30).contains(&refused), "{refused} were refused");
    assert!(host.machines().map(|core| core.conns().len()).sum::<usize>() > 20, "too many were closed");
    host.machines().for_each(Core::check);
}

/// O1: reports are answered also while replies are refused, but not without end: what a client does not take of them counts.
#[test]
fn reports_that_nobody_takes_stay_within_the_budget() {
    let budget = 1 << 20;
    for cores in [1, 2] {
        let world = World { network_micros_max: 0, receive_bytes_max: 1 << 20, ..World::default() };
        let mut host = memory_node(seed(21), cores, 2, world, |settings| {
            settings.budgets.send_buffers = Budget::fixed(budget)
        });
        let clients: Vec<_> = (0..20).map(|_| host.connect(0)).collect();
        for &client in &clients {
            host.set_reading(client, false);
            host.send(client, &words("INFO").repeat(1_000));
        }
        let mut most = 0;
        host.run_until(200, |host| {
            let machine = host.machines().next().expect("there is a core");
            most = most.max(machine.conns().iter().map(|conn| conn.reply_bytes()).sum::<usize>());
            false
        });
        // Beside the budget: a report for each, and a short error for the others.
        let most_max = budget + 20 * ((20 << 10) + 1_000 * 80);
        assert!(most as u64 <= most_max, "{most} bytes are held on one of {cores} cores");
        let other = host.connect(0);
        call(&mut host, other, "INFO", |reply| reply.starts_with(b"$") && reply.ends_with(b"\r\n"));
        host.machines().for_each(Core::check);
    }
}

/// O1: what a client may leave with the server beside its data, or have repeated to it, is short.
#[test]
fn names_and_quoted_options_are_short() {
    let mut host = memory_node(seed(19), 1, 1, World::default(), |_| {});
    let client = host.connect(0);
    let long = vec![b'x'; 100_000];
    expect(&mut host, client, &request(&[b"CLIENT", b"SETNAME", &long[..1024]]), "+OK\r\n");
    let refusal = "-ERR Client names cannot be longer than 1024 bytes.\r\n";
    expect(&mut host, client, &request(&[b"CLIENT", b"SETNAME", &long[..1025]]), refusal);
    let refusal = format!("-ERR Unsupported option {}\r\n", "x".repeat(128));
    expect(&mut host, client, &request(&[b"EXPIRE", b"k", b"1", &long]), &refusal);
}

/// O1: an array whose values exceed the budget is refused whole, from one group and from several.
#[test]
fn arrays_beyond_the_budget_are_refused_whole() {
    for (cores, groups) in [(1, 1), (2, 4)] {
        let mut host = memory_node(seed(18), cores, groups, World::default(), |settings| {
            settings.budgets.send_buffers = Budget::fixed(300_000);
        });
        let client = host.connect(0);
        let value = vec![b'v'; 100_000];
        for key in ["a", "b", "c", "d"] {
            expect(&mut host, client, &request(&[b"SET", key.as_bytes(), &value]), "+OK\r\n");
        }
        let refused = call(&mut host, client, "MGET a b c d a b c d", |reply| reply.ends_with(b"\r\n"));
        assert!(refused.starts_with("-TRYAGAIN"), "{}", &refused[..refused.len().min(80)]);
        let whole = call(&mut host, client, "MGET a none", |reply| {
            reply.len() > 100_000 && reply.ends_with(b"$-1\r\n")
        });
        assert!(whole.starts_with("*2\r\n$100000\r\n"));
        host.machines().for_each(Core::check);
    }
}

/// O5: more writes than a group takes are answered with a typed, retryable error, each in its place.
#[test]
fn overload_is_answered_in_place_with_a_typed_error() {
    let mut host = memory_node(seed(13), 1, 1, World::default(), |_| {});
    host.machine_mut(0).owner_mut().held = true;
    let clients: Vec<_> = (0..4).map(|_| host.connect(0)).collect();
    let value = vec![b'v'; 512 << 10];
    for &client in &clients {
        let set = request(&[b"SET", b"k", &value]);
        host.send(client, &[set.repeat(4), words("PING")].concat());
    }
    host.run_until(500, |_| false);
    host.machine_mut(0).owner_mut().held = false;
    for &client in &clients {
        // Anything that arrives lets the group go on.
        host.send(client, &words("PING"));
    }
    host.run_until(500, |_| false);
    let mut refused = 0;
    for &client in &clients {
        let text = String::from_utf8(host.take_received(client)).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 6, "{text}");
        assert_eq!(lines[4..], ["+PONG", "+PONG"]);
        assert!(lines[..4].iter().all(|line| *line == "+OK" || line.starts_with("-TRYAGAIN")), "{text}");
        refused += lines[..4].iter().filter(|line| line.starts_with('-')).count();
    }
    assert!(refused > 0, "nothing was refused");
    host.machines().for_each(Core::check);
}

/// More commands in one pipeline than may wait for replies are all answered.
#[test]
fn a_pipeline_longer_than_the_ring_is_answered_whole() {
    let mut host =
        memory_node(seed(14), 2, 4, World { receive_bytes_max: 1 << 20, ..World::default() }, |_| {});
    let client = host.connect(0);
    let count = 3 * pinion_core::conn::PENDING_REPLIES_MAX;
    let pipeline: Vec<u8> =
        (0..count).flat_map(|number| words(&format!("INCR key:{}", number % 3))).collect();
    let expected: String = (0..count).map(|number| format!(":{}\r\n", number / 3 + 1)).collect();
    expect(&mut host, client, &pipeline, &expected);
}

/// O1: incomplete commands beyond the budget end their connection with a typed error.
#[test]
fn incomplete_commands_are_bounded_together() {
    let mut host = memory_node(seed(15), 1, 1, World::default(), |settings| {
        settings.budgets.partial_commands = Budget::fixed(1 << 20)
    });
    let clients: Vec<_> = (0..8).map(|_| host.connect(0)).collect();
    let half = [b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\n".to_vec(), vec![b'x'; 500_000]].concat();
    clients.iter().for_each(|&client| host.send(client, &half));
    host.run_until(500, |_| false);
    let refused = clients.iter().filter(|&&client| host.received(client).starts_with(b"-OVERLOADED")).count();
    assert!((1..8).contains(&refused), "{refused} connections were ended");
    let mut left =
        clients.iter().copied().filter(|&client| host.received(client).is_empty()).collect::<Vec<_>>();
    let survivor = left.pop().expect("some are left");
    left.into_iter().for_each(|client| host.vanish(client));
    host.run_until(10, |_| false);
    let rest = [vec![b'x'; 500_000], b"\r\n".to_vec()].concat();
    expect(&mut host, survivor, &rest, "+OK\r\n");
}

/// A stop answers what is in flight, closes every connection and ends every core.
#[test]
fn a_stop_answers_what_is_in_flight() {
    let mut host = memory_node(seed(16), 2, 4, World::default(), |_| {});
    let clients = [host.connect(0), host.connect(1)];
    for client in clients {
        host.send(client, &["SET a 1", "SET b 2", "GET a"].map(words).concat());
    }
    host.run_until(MILLIS, |host| host.machines().any(|core| core.in_flight() > 0));
    host.stop();
    assert!(host.run_until(MILLIS, |host| (0..2).all(|core| host.exit(core).is_some())));
    for client in clients {
        assert!(host.is_closed(client));
    }
    assert_eq!(host.exit(0), Some(&pinion_core::Exit::Stopped));
    host.machines().for_each(Core::check);
}

/// O6: with a password, nothing but the handshake is allowed before it is given.
#[test]
fn a_password_stands_before_every_command() {
    let mut host = memory_node(seed(17), 1, 2, World::default(), |settings| {
        settings.password = Some(b"secret".to_vec())
    });
    let client = host.connect(0);
    let noauth = "-NOAUTH Authentication required.\r\n";
    expect(&mut host, client, &["GET k", "SET k 1", "INFO"].map(words).concat(), &noauth.repeat(3));
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    expect(&mut host, client, &words("AUTH wrong"), wrong);
    let accepted = "+OK\r\n+OK\r\n$1\r\n1\r\n";
    expect(&mut host, client, &["AUTH secret", "SET k 1", "GET k"].map(words).concat(), accepted);
}

/// Replies that come between the end of a connection and its close are dropped, and the core goes on.
#[test]
fn replies_to_a_broken_connection_are_dropped() {
    for seed in seed(19)..seed(19) + 20 {
        let mut host = memory_node(seed, 2, 4, World::default(), |_| {});
        let client = host.connect(0);
        // The host takes its time to close what the client does not read.
        host.set_reading(client, false);
        host.send(client, &(0..200).flat_map(|key| words(&format!("INCR key:{key}"))).collect::<Vec<_>>());
        host.run_until(MILLIS, |host| host.machines().any(|core| core.in_flight() > 0));
        host.vanish(client);
        host.run_until(50, |_| false);
        let other = host.connect(0);
        expect(&mut host, other, &words("GET key:7"), "$1\r\n1\r\n");
        host.machines().for_each(Core::check);
    }
}
