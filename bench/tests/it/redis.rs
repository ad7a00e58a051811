//! A redis-server for one test.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running server; dropping it ends it and removes its directory.
pub struct Redis {
    child: Child,
    dir: PathBuf,
    /// Where it listens.
    pub port: u16,
}

/// Whether Debian's redis-server is installed. Without it a test says NOT RUN; in CI that is a failure.
pub fn installed() -> bool {
    let version = Command::new("redis-server").arg("--version").output();
    if version.is_ok_and(|output| output.status.success()) {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "redis-server is not installed");
    eprintln!("NOT RUN: redis-server is not installed (Debian: apt-get install redis-server)");
    false
}

impl Redis {
    /// Starts a server on a free port, with more arguments.
    pub fn start(more: &[&str]) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("a free port").port();
        let dir = std::env::temp_dir().join(format!("pinion-bench-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("the temporary directory is writable");
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(&dir);
        let child = command.args(more).stdout(Stdio::null()).spawn().expect("redis-server starts");
        let server = Self { child, dir, port };
        let end = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "redis-server does not listen on {port}");
            std::thread::park_timeout(Duration::from_millis(10));
        }
        server
    }

    /// Sends one command as words; the bytes of the reply up to a reply's end that `whole` sees.
    pub fn say(&self, words: &[&str]) -> String {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        let mut request = format!("*{}\r\n", words.len());
        words.iter().for_each(|word| request += &format!("${}\r\n{word}\r\n", word.len()));
        request += "*1\r\n$4\r\nQUIT\r\n";
        socket.write_all(request.as_bytes()).expect("it takes a command");
        let mut text = String::new();
        socket.read_to_string(&mut text).expect("it answers and closes");
        text.strip_suffix("+OK\r\n").unwrap_or(&text).to_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
