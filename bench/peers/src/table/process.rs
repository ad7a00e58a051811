//! Servers and loads as processes, pinned: servers to CPU 0, loads to CPU 1.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::figures::Figures;

/// The CPU of servers.
const SERVER_CPU: &str = "0";

/// A running server. Dropping it kills it.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub port: u16,
}

impl Server {
    /// Starts `program` pinned and waits until its port takes connections.
    pub fn start(program: &Path, arguments: &[String], port: u16, log: &Path) -> Result<Self, String> {
        // The kernel frees the sockets of a killed ring some time after its process has ended.
        let end = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_ok() {
            if Instant::now() > end {
                return Err(format!("port {port} is taken"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let out = std::fs::File::create(log).map_err(|e| e.to_string())?;
        let err = out.try_clone().map_err(|e| e.to_string())?;
        let child = Command::new("taskset")
            .args(["-c", SERVER_CPU])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|e| format!("{}: {e}", program.display()))?;
        let mut server = Self { child, port };
        let end = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = server.child.try_wait().map_err(|e| e.to_string())?;
            if ended.is_some() || Instant::now() > end {
                let text = std::fs::read_to_string(log).unwrap_or_default();
                let last = text.lines().last().unwrap_or("it said nothing");
                return Err(format!("{} does not serve: {last}", program.display()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// Sends one inline command; the first line of the reply.
    pub fn say(&self, command: &str) -> Result<String, String> {
        let told = || -> std::io::Result<String> {
            let mut socket = TcpStream::connect(("127.0.0.1", self.port))?;
            socket.set_read_timeout(Some(Duration::from_secs(120)))?;
            socket.write_all(format!("{command}\r\n").as_bytes())?;
            let mut line = Vec::new();
            let mut byte = [0];
            while socket.read(&mut byte)? == 1 && byte[0] != b'\n' {
                line.push(byte[0]);
            }
            Ok(String::from_utf8_lossy(&line).trim().to_owned())
        };
        told().map_err(|e| format!("{command}: {e}"))
    }

    /// A number from INFO.
    pub fn info(&self, field: &str) -> Result<u64, String> {
        let port = self.port.to_string();
        let told = Command::new("redis-cli").args(["-p", &port, "info"]).output();
        let text = told.map_err(|e| format!("redis-cli: {e}"))?.stdout;
        let text = String::from_utf8_lossy(&text);
        let found =
            text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')?.trim().parse().ok());
        found.ok_or_else(|| format!("INFO has no number {field}"))
    }

    /// Flushes the memtables of a Pinion server, and waits until the rows are in tables.
    pub fn flush(&self) -> Result<(), String> {
        /// What the system groups write meanwhile stays in memory.
        const LEFT_BYTES: u64 = 8 << 20;
        let reply = self.say("PINION FLUSH")?;
        if reply != "+OK" {
            return Err(format!("PINION FLUSH: {reply:?}"));
        }
        while self.info("memtable_bytes")? > LEFT_BYTES {}
        Ok(())
    }

    /// Nanoseconds of CPU that all threads of the server have used.
    pub fn cpu_nanos(&self) -> u64 {
        super::machine::cpu_nanos(self.child.id()).unwrap_or(0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program to its end and reads its figures.
pub fn figures(program: &Path, arguments: &[String]) -> Result<Figures, String> {
    let mut command = Command::new("nice");
    let output = command.args(["-n", "1"]).arg(program).args(arguments).output();
    let output = output.map_err(|e| format!("{}: {e}", program.display()))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(text.trim().lines().last().unwrap_or("it failed in silence").to_owned());
    }
    Ok(Figures::parse(&String::from_utf8_lossy(&output.stdout)))
}

/// Splits a line of arguments at blanks.
pub fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}
