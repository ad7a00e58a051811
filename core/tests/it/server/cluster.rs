//! Cluster clients against the real server.

use std::path::Path;
use std::process::Command;

use super::cpus;
use super::process::{Scratch, Server};

const CLI: &str = "/usr/bin/redis-cli";

/// What a program said that ended well; nothing where it is not installed.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    if !Path::new(program).exists() {
        assert!(std::env::var_os("CI").is_none(), "{program} is not installed");
        println!("NOT RUN: {program} is not installed");
        return None;
    }
    let output = Command::new(program).args(arguments).output().expect("it was there just now");
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
    Some(text)
}

/// The client that comes with Redis follows no redirection: there is none.
#[test]
fn the_cluster_client_of_redis_is_served() {
    let scratch = Scratch::new("cluster-clients");
    let Some(cpus) = cpus(2) else { return };
    let flags = ["--cores", &cpus, "--memory", "256MiB", "--groups", "5", "--cluster-enabled", "yes"];
    let server = Server::start(&scratch, &flags);
    let port = server.address.port().to_string();
    for number in 0..20 {
        let key = format!("key:{number}");
        let Some(text) = said(CLI, &["-p", &port, "-c", "SET", &key, "x"]) else { return };
        assert_eq!(text.trim(), "OK");
    }
    let mut client = server.connect();
    assert_eq!(client.ask(&["EXISTS", "key:0", "key:7", "key:19"]), "3");
}
