//! A real server process: started, awaited, killed, stopped.
#![expect(clippy::disallowed_methods, reason = "starts processes and waits for them in real time")]
#![expect(clippy::disallowed_types, reason = "looks for a free port")]

use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::{Client, Value};

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Server {
    /// The program.
    pub program: PathBuf,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// The port it listens on, on loopback.
    pub port: u16,
    /// Further arguments.
    pub arguments: Vec<String>,
}

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
    port: u16,
}

impl Server {
    /// Starts the server on `cores` (as in `0,1`); what it prints goes to `server.log` beside its data directory.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(&self, cores: &str) -> io::Result<Running> {
        let log = self.data_dir.with_extension("log");
        let out = std::fs::OpenOptions::new().create(true).append(true).open(&log)?;
        let child = Command::new(&self.program)
            .arg("--data-dir")
            .arg(&self.data_dir)
            .args(["--port", &self.port.to_string(), "--cores", cores])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .map_err(|e| io::Error::new(e.kind(), format!("starting {}: {e}", self.program.display())))?;
        Ok(Running { child, log, port: self.port })
    }
}

impl Running {
    /// Waits until the server answers PING.
    ///
    /// # Errors
    /// When it exits before that, or does not answer within `patience`: then with the end of what it printed.
    pub fn wait_until_ready(&mut self, patience: Duration) -> io::Result<()> {
        let end = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!(
                    "it ended with {status} while starting: {}",
                    self.last_words()
                )));
            }
            let answer = Client::connect(("127.0.0.1", self.port), Duration::from_secs(2))
                .and_then(|mut client| client.call(&[b"PING"]));
            if answer.is_ok_and(|value| value == Value::Simple("PONG".into())) {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(io::Error::other(format!(
                    "no answer within {patience:?}: {}",
                    self.last_words()
                )));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The most memory it has had resident, in KiB (`VmHWM`); 0 when it has ended.
    #[must_use]
    pub fn resident_kib_max(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }

    /// Kills it with SIGKILL and waits for its end. `Err` with its status when it had ended by itself before.
    ///
    /// # Errors
    /// When the process had already ended: nobody asked it to.
    pub fn kill(mut self) -> io::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            return Err(io::Error::other(format!("it ended by itself with {status}: {}", self.last_words())));
        }
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Asks it to stop with SIGTERM and waits for its end.
    ///
    /// # Errors
    /// When it does not end within `patience`.
    pub fn stop(mut self, patience: Duration) -> io::Result<ExitStatus> {
        let pid =
            i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a child has a process id");
        kill_process(pid, Signal::TERM)?;
        let end = Instant::now() + patience;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err(io::Error::other(format!("it did not stop within {patience:?}: {}", self.last_words())))
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only when it has ended and was waited for.
        if self.child.kill().is_ok() {
            let _ = self.child.wait();
        }
    }
}

/// A port of loopback that nobody listens on now.
///
/// # Errors
/// When the system gives none.
pub fn free_port() -> io::Result<u16> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr().map(|address| address.port())
}

/// The program `name` beside the running one: where a build puts all programs of the workspace.
#[must_use]
pub fn sibling_program(name: &str) -> PathBuf {
    let here = std::env::current_exe().ok();
    here.as_deref().and_then(Path::parent).map_or_else(|| PathBuf::from(name), |dir| dir.join(name))
}
