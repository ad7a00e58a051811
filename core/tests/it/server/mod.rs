//! The real binary: how it starts, refuses to start, stops, and what is there afterwards.
#![expect(clippy::disallowed_types, reason = "these tests are clients")]

mod admin;
mod cluster;
mod latency;
mod memory;
mod process;
mod reload;

use std::process::Command;

use process::{Scratch, Server, outcome, pinion};

/// CPUs for a server of `cores` cores; `None` when this machine has too few.
fn cpus(cores: usize) -> Option<String> {
    let cpus: Vec<String> = pinion_core::pin::available().iter().take(cores).map(usize::to_string).collect();
    if cpus.len() < cores {
        eprintln!("NOT RUN: needs {cores} CPUs");
    }
    (cpus.len() == cores).then(|| cpus.join(","))
}

/// D1, M9: what was acknowledged survives kill -9 and stops, on any number of cores.
#[test]
fn acknowledged_writes_survive_kills_and_another_number_of_cores() {
    let scratch = Scratch::new("survive");
    let mut written = 0;
    for (round, cores) in [2, 1, 1, 2, 2].into_iter().enumerate() {
        let Some(cpus) = cpus(cores) else { return };
        let mut server = Server::start(&scratch, &["--cores", &cpus, "--memory", "256MiB"]);
        let mut client = server.connect();
        for key in 0..written {
            assert_eq!(client.ask(&["GET", &format!("k{key}")]), format!("v{key}"), "round {round}");
        }
        for key in written..written + 100 {
            assert_eq!(client.ask(&["SET", &format!("k{key}"), &format!("v{key}")]), "OK");
        }
        written += 100;
        if round.is_multiple_of(2) {
            server.kill();
        } else {
            let (code, output) = server.stop();
            assert_eq!(code, Some(0), "{output}");
        }
    }
}

/// D7: the second server of a directory is refused, and the first one does not notice.
#[test]
fn a_directory_has_one_server() {
    let scratch = Scratch::new("one-server");
    let Some(cpus) = cpus(1) else { return };
    let server = Server::start(&scratch, &["--cores", &cpus, "--memory", "128MiB"]);
    let (code, text) = outcome(pinion(&scratch).args(["--cores", &cpus, "--memory", "128MiB"]));
    assert_eq!(code, Some(1));
    assert!(text.contains("in use by another server") && text.contains("--data-dir"), "{text}");
    let mut client = server.connect();
    assert_eq!(client.ask(&["PING"]), "PONG");
    // What redis-benchmark asks before it starts.
    assert_eq!(client.ask(&["CONFIG", "GET", "appendonly"]), "2");
    assert_eq!((client.receive().as_deref(), client.receive().as_deref()), (Some("appendonly"), Some("yes")));
}

/// O7: a busy port is one sentence with the remedy, and leaves nothing behind.
#[test]
fn a_busy_port_leaves_nothing_half_started() {
    let (first, second) = (Scratch::new("busy-first"), Scratch::new("busy-second"));
    let Some(cpus) = cpus(1) else { return };
    let server = Server::start(&first, &["--cores", &cpus, "--memory", "128MiB"]);
    let port = server.address.port().to_string();
    let (code, text) =
        outcome(pinion(&second).args(["--cores", &cpus, "--memory", "128MiB", "--port", &port]));
    assert_eq!(code, Some(1));
    assert!(text.contains("is in use") && text.contains("--port"), "{text}");
    assert!(!second.path().join("data").exists(), "a directory was made for a server that does not serve");
}

/// O7: the port of a server that was killed can be listened on at once by the next one.
#[test]
fn a_killed_server_leaves_its_port() {
    let scratch = Scratch::new("same-port");
    let Some(cpus) = cpus(1) else { return };
    let flags = ["--cores", &cpus, "--memory", "128MiB", "--groups", "1"];
    let mut server = Server::start(&scratch, &flags);
    let port = server.address.port().to_string();
    for _ in 0..5 {
        let mut clients: Vec<_> = (0..50).map(|_| server.connect()).collect();
        assert!(clients.iter_mut().all(|client| client.ask(&["PING"]) == "PONG"));
        server.kill();
        server = Server::start(&scratch, &[&flags[..], &["--port", &port]].concat());
    }
}

/// M3: the number of groups is decided at the first start, and another one is refused with both shown.
#[test]
fn later_flags_do_not_reinterpret_the_groups() {
    let scratch = Scratch::new("groups");
    let Some(cpus) = cpus(1) else { return };
    let flags = ["--cores", &cpus, "--memory", "128MiB", "--groups"];
    let (code, output) = Server::start(&scratch, &[&flags[..], &["3"]].concat()).stop();
    assert_eq!(code, Some(0), "{output}");
    let (code, text) = outcome(pinion(&scratch).args(flags).arg("5"));
    assert_eq!(code, Some(1));
    assert!(text.contains('3') && text.contains('5') && text.contains("data groups"), "{text}");
    let server = Server::start(&scratch, &flags[..4]);
    assert_eq!(server.connect().ask(&["PING"]), "PONG");
}

/// O6, O7: wrong configurations are refused before anything is touched, and say what was expected.
#[test]
fn wrong_configurations_are_refused_by_the_binary() {
    let scratch = Scratch::new("config");
    let file = scratch.path().join("pinion.toml");
    scratch.write("pinion.toml", "prot = 1\n");
    for (flags, parts) in [
        (vec!["--port", "99999"], ["--port", "65535"]),
        (vec!["--cores", "9999"], ["--cores", "9999"]),
        (vec!["--bind", "0.0.0.0"], ["password", "--requirepass-file"]),
        (vec!["--config", file.to_str().expect("text")], ["prot", "did you mean port"]),
    ] {
        let (code, text) = outcome(pinion(&scratch).args(&flags));
        assert_eq!(code, Some(2), "{flags:?}: {text}");
        for part in parts {
            assert!(text.contains(part), "{part:?} is missing in: {text}");
        }
    }
    assert!(!scratch.path().join("data").exists());
}

/// D4, O7: a log that is gone is refused with its remedy; what is lost of its groups is given up when a person says so, once.
#[test]
fn a_loss_is_accepted_when_a_person_says_so() {
    let scratch = Scratch::new("accept-loss");
    let Some(cpus) = cpus(1) else { return };
    let flags = ["--cores", &cpus, "--memory", "128MiB", "--groups", "2"];
    let mut server = Server::start(&scratch, &flags);
    assert_eq!(server.connect().ask(&["SET", "k", "v"]), "OK");
    server.kill();
    std::fs::remove_dir_all(scratch.path().join("data/log-0000")).expect("there is a log");
    let (code, text) = outcome(pinion(&scratch).args(flags));
    assert!(code == Some(1) && text.contains("--accept-loss 0,1,16,17"), "{text}");
    let accepting = [&flags[..], &["--accept-loss", "0,1,16,17"]].concat();
    let (_, text) = outcome(pinion(&scratch).args(&accepting));
    assert!(text.contains("the loss of group 17 is accepted") && text.contains("ready on"), "{text}");
    let server = Server::start(&scratch, &flags);
    assert_eq!(server.connect().ask(&["GET", "k"]), "(nil)");
    drop(server);
    let (code, text) = outcome(pinion(&scratch).args(&accepting));
    assert!(code == Some(1) && text.contains("without --accept-loss 0"), "{text}");
}

/// D4, O7: groups that lost records are named at the start and counted by INFO; the server runs.
#[test]
#[expect(clippy::disallowed_methods, reason = "a log is damaged behind the back of the server")]
fn damaged_groups_are_counted() {
    let scratch = Scratch::new("damaged");
    let Some(cpus) = cpus(1) else { return };
    let flags = ["--cores", &cpus, "--memory", "128MiB", "--groups", "2"];
    let mut server = Server::start(&scratch, &flags);
    let mut client = server.connect();
    assert!(
        client
            .ask(&["INFO", "server"])
            .contains("groups_damaged:0\r\ngroups_halted:0\r\ntables_damaged:0\r\n")
    );
    for key in 0..100 {
        assert_eq!(client.ask(&["SET", &format!("key:{key}"), "v"]), "OK");
    }
    server.kill();
    let segments = std::fs::read_dir(scratch.path().join("data/log-0000")).expect("there is a log");
    let written = |path: std::path::PathBuf| {
        let bytes = std::fs::read(&path).unwrap_or_default();
        (bytes.iter().rposition(|&byte| byte != 0).unwrap_or(0), path)
    };
    let longest = segments.map(|entry| written(entry.expect("it can be listed").path())).max();
    let (last, path) = longest.expect("there is a segment");
    let mut bytes = std::fs::read(&path).expect("it can be read");
    bytes[last / 2..last / 2 + 8192].fill(0xaa);
    std::fs::write(&path, bytes).expect("it can be written");
    let server = Server::start(&scratch, &flags);
    let info = server.connect().ask(&["INFO", "server"]);
    let damaged = info.lines().find_map(|line| line.strip_prefix("groups_damaged:")).expect("it is counted");
    assert!(damaged.parse::<u32>().is_ok_and(|count| count > 0), "{info}");
}

/// O6: with a password, nothing is answered before it was given.
#[test]
fn a_password_file_is_honoured() {
    let scratch = Scratch::new("password");
    let Some(cpus) = cpus(1) else { return };
    scratch.write("secret", "hunter2\n");
    let secret = scratch.path().join("secret");
    let flags =
        ["--cores", &cpus, "--memory", "128MiB", "--requirepass-file", secret.to_str().expect("text")];
    let server = Server::start(&scratch, &flags);
    let mut client = server.connect();
    assert!(client.ask(&["GET", "k"]).starts_with("NOAUTH"));
    assert!(client.ask(&["AUTH", "wrong"]).starts_with("WRONGPASS"));
    assert_eq!(client.ask(&["AUTH", "hunter2"]), "OK");
    assert_eq!(client.ask(&["SET", "k", "v"]), "OK");
}

/// What is in flight when the server is asked to stop is answered; then the connection ends.
#[test]
fn a_stop_answers_what_it_has_received() {
    let scratch = Scratch::new("stop");
    let Some(cpus) = cpus(1) else { return };
    let mut server = Server::start(&scratch, &["--cores", &cpus, "--memory", "128MiB"]);
    let mut client = server.connect();
    assert_eq!(client.ask(&["SET", "before", "1"]), "OK");
    client.send(&["SET", "in-flight", "1"]);
    let killed = Command::new("kill").args(["-TERM", &server.process_id().to_string()]).status();
    assert!(killed.expect("kill is there").success());
    // Either the command came in before the stop and is answered, or it did not and the connection ends.
    let answer = client.receive();
    assert!(matches!(answer.as_deref(), None | Some("OK")), "{answer:?}");
    let (code, output) = server.wait();
    assert_eq!(code, Some(0), "{output}");
    let server = Server::start(&scratch, &["--cores", &cpus, "--memory", "128MiB"]);
    let mut client = server.connect();
    assert_eq!(client.ask(&["GET", "before"]), "1");
    if answer.is_some() {
        assert_eq!(client.ask(&["GET", "in-flight"]), "1");
    }
}
