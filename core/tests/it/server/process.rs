//! A server process and a client of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// No server of these tests takes longer to start, stop or answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// A directory of one test, removed at its end.
pub struct Scratch(PathBuf);

impl Scratch {
    /// An empty one.
    pub fn new(name: &str) -> Self {
        let at = std::env::temp_dir().join(format!("pinion-server-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&at);
        std::fs::create_dir_all(&at).expect("a directory can be made");
        Self(at)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in it.
    #[expect(clippy::disallowed_methods, reason = "a file for the server to read")]
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).expect("a file can be written");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The binary, with its data in the scratch directory and a free port.
pub fn pinion(scratch: &Scratch) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinion"));
    let settings =
        std::env::vars().filter(|(name, _)| name.starts_with("PINION_") && name != "PINION_PLANTED");
    for (name, _) in settings {
        command.env_remove(name);
    }
    command.env("PINION_PORT", "0").arg("--data-dir").arg(scratch.path().join("data"));
    command
}

/// How a command that does not stay ends, and what it said. One that does stay is killed when it is ready.
pub fn outcome(command: &mut Command) -> (Option<i32>, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut text = String::new();
    while output.read_line(&mut text).expect("it says text") > 0 {
        if text.contains("ready on ") {
            child.kill().expect("it runs");
        }
    }
    child.stderr.take().expect("it is piped").read_to_string(&mut text).expect("it says text");
    (child.wait().expect("it ends").code(), text)
}

/// A running server; killed when it is dropped.
pub struct Server {
    child: Child,
    output: BufReader<ChildStdout>,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it said until it was ready.
    pub said: String,
}

impl Server {
    /// Starts one and waits until it is ready.
    pub fn start(scratch: &Scratch, flags: &[&str]) -> Self {
        let mut command = pinion(scratch);
        let mut child = command.args(flags).stdout(Stdio::piped()).spawn().expect("the binary runs");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut server = Self { child, output, address: SocketAddr::from(([0; 4], 0)), said: String::new() };
        let mut said = String::new();
        while server.address.port() == 0 {
            let before = said.len();
            let read = server.output.read_line(&mut said).expect("it says text");
            assert!(read > 0, "the server did not start: {said}");
            if let Some((_, rest)) = said[before..].split_once("ready on ") {
                let address = rest.split(": ").next().expect("the address is followed by a colon");
                server.address = address.parse().expect("an address");
            }
        }
        server.said = said;
        server
    }

    /// Its process.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// A client.
    pub fn connect(&self) -> Client {
        self.connect_to(self.address.port())
    }

    /// A client of another port.
    pub fn connect_to(&self, port: u16) -> Client {
        let stream = TcpStream::connect((self.address.ip(), port)).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        Client { stream: BufReader::new(stream) }
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Asks it to stop and waits; answers its code and what it said.
    pub fn stop(mut self) -> (Option<i32>, String) {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(asked.expect("kill is there").success());
        self.wait()
    }

    /// Waits until it has ended; answers its code and what it said.
    pub fn wait(&mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.output.read_to_string(&mut said).expect("it says text");
        (self.child.wait().expect("it ends").code(), said)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that knows simple replies, errors, integers and bulks.
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Sends a command.
    pub fn send(&mut self, arguments: &[&str]) {
        let mut bytes = format!("*{}\r\n", arguments.len());
        for argument in arguments {
            bytes.push_str(&format!("${}\r\n{argument}\r\n", argument.len()));
        }
        self.stream.get_mut().write_all(bytes.as_bytes()).expect("it reads");
    }

    /// The next reply as text; `None` when the connection ended.
    pub fn receive(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).unwrap_or(0);
        if read == 0 {
            return None;
        }
        let line = line.trim_end();
        match line.split_at(1) {
            ("$", "-1") => Some("(nil)".to_owned()),
            ("$", len) => {
                let len: usize = len.parse().expect("a length");
                let mut bulk = vec![0; len + 2];
                self.stream.read_exact(&mut bulk).expect("the bulk follows");
                Some(String::from_utf8_lossy(&bulk[..len]).into_owned())
            }
            (_, text) => Some(text.to_owned()),
        }
    }

    /// Sends a command and waits for its reply.
    pub fn ask(&mut self, arguments: &[&str]) -> String {
        self.send(arguments);
        self.receive().expect("the connection is open")
    }
}
