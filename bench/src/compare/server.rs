//! One side of a comparison: a server at an address, or one that is started and ended here.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::machine;

/// How long a server may take until it listens.
const START_MAX: Duration = Duration::from_secs(60);
/// How long a server may take to end when it is asked to.
const END_MAX: Duration = Duration::from_secs(10);

/// A server. Dropping it ends it and removes its directory, if it was started here.
#[derive(Debug)]
pub struct Server {
    /// `HOST:PORT`.
    pub address: String,
    /// What it is, as it was given.
    pub what: String,
    process: Option<u32>,
    child: Option<Child>,
    dir: Option<PathBuf>,
}

impl Server {
    /// Whether a side was told in a way that makes sense.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn check(what: &str, name: &str, process: Option<u32>) -> Result<(), String> {
        if what.contains("{port}") {
            return match process {
                None => Ok(()),
                Some(_) => Err(format!("{name} is started here: leave its process id out")),
            };
        }
        if what.contains(char::is_whitespace) || !what.contains(':') {
            return Err(format!(
                "{what:?} is neither HOST:PORT nor a command line with {{port}} where the port belongs"
            ));
        }
        match process.filter(|process| machine::cpu_nanos(*process).is_none()) {
            None => Ok(()),
            Some(process) => Err(format!("there is no process {process}, which {name} should be")),
        }
    }

    /// Takes the server at an address, or starts a command line in which `{port}` is replaced by a free port and `{dir}` by
    /// an empty directory. It is pinned to `cpus`, if there are any, with its threads to come.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn new(what: &str, name: &str, cpus: &[usize], process: Option<u32>) -> Result<Self, String> {
        if !what.contains("{port}") {
            let what = what.to_owned();
            return Ok(Self { address: what.clone(), what, process, child: None, dir: None });
        }
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.map_err(|e| format!("looking for a free port: {e}"))?.port();
        let dir = std::env::temp_dir().join(format!("pinion-compare-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let line = what.replace("{port}", &port.to_string()).replace("{dir}", &dir.display().to_string());
        let log = dir.join("server.log");
        let mut server = Self {
            address: format!("127.0.0.1:{port}"),
            what: what.to_owned(),
            process: None,
            child: None,
            dir: Some(dir),
        };
        let out = std::fs::File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
        let err = out.try_clone().map_err(|e| format!("{}: {e}", log.display()))?;
        // A process begins with the pin of the thread that starts it.
        let started = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                if !cpus.is_empty() {
                    affinity::set_thread_affinity(cpus)
                        .map_err(|e| format!("CPUs {cpus:?} cannot be pinned to: {e}"))?;
                }
                // The shell reads quotes and is replaced by the server, whose id is the child's then.
                let mut command = Command::new("sh");
                command.arg("-c").arg(format!("exec {line}")).stdin(Stdio::null()).stdout(out).stderr(err);
                command.spawn().map_err(|e| format!("{line}: {e}"))
            });
            thread.join().expect("starting a process does not panic")
        })?;
        server.process = Some(started.id());
        let child = server.child.insert(started);
        let end = Instant::now() + START_MAX;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = child.try_wait().map_err(|e| e.to_string())?;
            if ended.is_some() || Instant::now() > end {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let last = text.lines().last().unwrap_or("it said nothing");
                return Err(format!("{name} does not listen on {port}: {line}: {last}"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// Nanoseconds of CPU it has used; `None` when its process is not known.
    #[must_use]
    pub fn cpu_nanos(&self) -> Option<u64> {
        self.process.and_then(machine::cpu_nanos)
    }

    /// Sends one command line as it stands and waits for its reply, which must not be an error.
    ///
    /// # Errors
    /// What the server said, or why it could not be asked.
    pub fn say(&self, command: &str) -> Result<(), String> {
        let told = || -> std::io::Result<String> {
            let mut socket = TcpStream::connect(&self.address)?;
            socket.set_read_timeout(Some(Duration::from_secs(120)))?;
            socket.write_all(format!("{command}\r\n").as_bytes())?;
            let (mut line, mut byte) = (Vec::new(), [0]);
            while socket.read(&mut byte)? == 1 && byte[0] != b'\n' {
                line.push(byte[0]);
            }
            Ok(String::from_utf8_lossy(&line).trim().to_owned())
        };
        match told() {
            Ok(reply) if reply.is_empty() || reply.starts_with('-') => Err(format!("{command}: {reply:?}")),
            Ok(_) => Ok(()),
            Err(e) => Err(format!("{command}: {e}")),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let process = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
            if let Some(process) = process {
                let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
            }
            let end = Instant::now() + END_MAX;
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(dir) = &self.dir {
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}
