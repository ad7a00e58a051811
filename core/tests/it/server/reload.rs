//! Settings that change while the real server runs, and its end by a client.

use std::time::{Duration, Instant};

use super::process::{Client, Scratch, Server};

/// What CONFIG GET shows of a setting.
fn get(client: &mut Client, name: &str) -> String {
    assert_eq!(client.ask(&["CONFIG", "GET", name]), "2");
    assert_eq!(client.receive().as_deref(), Some(name));
    client.receive().expect("a value")
}

/// Waits until a setting is shown so.
#[expect(clippy::disallowed_methods, reason = "a real server reloads in its own time")]
fn await_value(client: &mut Client, name: &str, value: &str) {
    let end = Instant::now() + Duration::from_secs(30);
    while get(client, name) != value {
        assert!(Instant::now() < end, "{name} is {}, not {value}", get(client, name));
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn hang_up(server: &Server) {
    let sent = std::process::Command::new("kill").args(["-HUP", &server.process_id().to_string()]).status();
    assert!(sent.expect("kill is there").success());
}

/// SIGHUP and CONFIG REWRITE: a file that does not load leaves the old settings in force and says so.
#[test]
fn a_reload_changes_what_may_change_and_says_the_rest() {
    let scratch = Scratch::new("reload");
    let Some(cpus) = super::cpus(1) else { return };
    let file = scratch.path().join("pinion.toml");
    let config = file.display().to_string();
    scratch.write("pinion.toml", "# mine\nslowlog_max_len = 5 # few\nmaxclients = 100\n");
    let flags = ["--cores", &cpus, "--memory", "128MiB", "--config", &config];
    let server = Server::start(&scratch, &flags);
    let mut client = server.connect();
    assert_eq!(get(&mut client, "slowlog-max-len"), "5");
    scratch.write("pinion.toml", "# mine\nslowlog_max_len = 6 # few\nmaxclients = 50\n");
    hang_up(&server);
    await_value(&mut client, "slowlog-max-len", "6");
    assert_eq!(get(&mut client, "maxclients"), "100");
    scratch.write("pinion.toml", "# mine\nslowlog_max_len = 7 # few\nmaxcleints = 50\n");
    hang_up(&server);
    // One thread does both, a signal at the latest after the first: then it was seen before the file changes again.
    for _ in 0..2 {
        assert_eq!(client.ask(&["CONFIG", "REWRITE"]), "OK");
    }
    assert_eq!(client.ask(&["CONFIG", "SET", "slowlog-max-len", "8"]), "OK");
    scratch.write("pinion.toml", "# mine\nslowlog_max_len = 6 # few\nmaxclients = 100\n");
    assert_eq!(client.ask(&["CONFIG", "SET", "latency-tracking", "no"]), "OK");
    assert_eq!(client.ask(&["CONFIG", "REWRITE"]), "OK");
    let written = std::fs::read_to_string(&file).expect("it is there");
    let expected = "# mine\nslowlog_max_len = 8 # few\nmaxclients = 100\nlatency_tracking = false\n";
    assert_eq!(written, expected);
    let (code, said) = server.stop();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("reloaded: slowlog-max-len changed; maxclients will change with a restart"),
        "{said}"
    );
    assert!(
        said.contains("not reloaded") && said.contains("maxcleints") && said.contains("maxclients?"),
        "{said}"
    );
}

#[test]
fn a_rewrite_without_a_file_is_refused_and_a_shutdown_ends_the_server() {
    let scratch = Scratch::new("shutdown");
    let Some(cpus) = super::cpus(1) else { return };
    let flags = ["--cores", &cpus, "--memory", "128MiB"];
    let mut server = Server::start(&scratch, &flags);
    let mut client = server.connect();
    assert_eq!(client.ask(&["CONFIG", "REWRITE"]), "ERR The server is running without a config file");
    assert_eq!(client.ask(&["SET", "k", "v"]), "OK");
    client.send(&["SHUTDOWN", "NOSAVE"]);
    assert_eq!(client.receive(), None);
    let (code, said) = server.wait();
    assert_eq!(code, Some(0), "{said}");
    let server = Server::start(&scratch, &flags);
    assert_eq!(server.connect().ask(&["GET", "k"]), "v");
}
