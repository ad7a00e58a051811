//! Servers started for a test.

#![expect(clippy::disallowed_types, reason = "a free port is found by taking one")]

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::wire::{Connection, Peer};

const REDIS: &str = "/usr/bin/redis-server";

/// A directory of one test, removed at its end.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// An empty one.
    pub(super) fn new(name: &str) -> Scratch {
        let at = std::env::temp_dir().join(format!("pinion-oracle-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&at);
        std::fs::create_dir_all(&at).expect("a directory can be made");
        Scratch(at)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server; it ends with the test.
pub(super) struct Server {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Server {
    /// The oracle; nothing where it is not installed.
    pub(super) fn redis(arguments: &[&str]) -> Option<Server> {
        if !Path::new(REDIS).exists() {
            assert!(std::env::var_os("CI").is_none(), "{REDIS} is not installed");
            println!("NOT RUN: {REDIS} is not installed");
            return None;
        }
        let version = Command::new(REDIS).arg("--version").output().expect("it was there just now").stdout;
        let version = String::from_utf8_lossy(&version);
        if !version.contains("v=7.0.15 ") {
            assert!(std::env::var_os("CI").is_none(), "another version: {version}");
            println!("NOT RUN: the oracle is 7.0.15, here is {version}");
            return None;
        }
        Some(Server::start(|address| {
            let mut command = Command::new(REDIS);
            command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
            command.args(["--port", &address.port().to_string()]).args(arguments);
            command
        }))
    }

    /// Starts a server on a free port and waits until it answers.
    pub(super) fn start(command: impl Fn(SocketAddr) -> Command) -> Server {
        for _ in 0..5 {
            let free = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
            let address = free.local_addr().expect("it is bound");
            drop(free);
            let child = command(address).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            let mut server = Server { child: child.expect("the server is installed"), address };
            if server.answers() {
                return server;
            }
        }
        panic!("the server does not start");
    }

    /// Waits until it answers; false if it ended, as it does when somebody else took the port.
    fn answers(&mut self) -> bool {
        for _ in 0..2000 {
            if self.child.try_wait().expect("it is our child").is_some() {
                return false;
            }
            if let Ok(mut connection) = Connection::open(self.address) {
                connection.ask(&[b"PING".to_vec()]);
                return true;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
