//! A Redis client of one thread for load: closed and open loops over many connections.
//!
//! * Closed loop: each connection sends `pipeline` requests, waits for all replies, sends the next; the measure is the
//!   rate. A reply's latency counts from the moment its requests were written.
//! * Open loop (`--rate`): request k is due at start + k / rate, whatever the server does; its latency counts from then.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a client has its own clock and sockets"
)]

mod connection;
mod report;

use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use rustix::event::{Timespec, epoll};
use rustix::thread::set_current_timer_slack;

use connection::Connection;
pub use report::Report;

/// A server that says nothing for so long has failed.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Operation {
    /// GET of a uniformly chosen key
    Get,
    /// SET of a uniformly chosen key
    Set,
    /// SET of every key once, in order
    Fill,
    /// PING
    Ping,
    /// A line of `value_bytes` that an echo server sends back
    Echo,
}

/// The load, as flags.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Address of the server
    #[arg(long, default_value = "127.0.0.1:6379")]
    pub address: String,
    /// What is sent
    #[arg(long, value_enum, default_value = "get")]
    pub operation: Operation,
    /// Connections, all driven by one thread
    #[arg(long, default_value_t = 50)]
    pub connections: u32,
    /// Requests a connection sends before it waits (closed loop only)
    #[arg(long, default_value_t = 1)]
    pub pipeline: u32,
    /// Requests per second in all; without it the loop is closed
    #[arg(long)]
    pub rate: Option<f64>,
    /// Seconds of measurement; a fill ends when every key was written
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Seconds of the same load before the measurement
    #[arg(long, default_value_t = 0.0)]
    pub warm_up_seconds: f64,
    /// Keys are `key:` and twelve digits below this number
    #[arg(long, default_value_t = 1_000_000)]
    pub keys: u64,
    /// Bytes of a value
    #[arg(long, default_value_t = 128)]
    pub value_bytes: usize,
    /// Seed of the choice of keys
    #[arg(long, env = "PINION_SEED", default_value_t = 1)]
    pub seed: u64,
    /// CPU this thread is pinned to
    #[arg(long)]
    pub cpu: Option<usize>,
}

/// Why a load could not be run to its end.
#[derive(Debug)]
pub enum LoadError {
    /// The server could not be reached, or closed a connection.
    Connection(String, std::io::Error),
    /// The reply is not of the protocol.
    Protocol(String),
    /// The options contradict each other.
    Options(String),
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connection(what, error) => write!(f, "{what}: {error}"),
            Self::Protocol(what) => write!(f, "the server's reply is not RESP: {what}"),
            Self::Options(what) => f.write_str(what),
        }
    }
}

/// Runs the load and reports its figures.
///
/// # Errors
/// When a connection fails or is closed, or when a reply is not of the protocol. Error replies are counted, not fatal.
pub fn run(options: &Options) -> Result<Report, LoadError> {
    if options.connections == 0 || options.pipeline == 0 || options.keys == 0 {
        return Err(LoadError::Options("connections, pipeline and keys must be at least 1".into()));
    }
    if let Some(cpu) = options.cpu {
        affinity::set_thread_affinity([cpu])
            .map_err(|e| LoadError::Options(format!("CPU {cpu} cannot be pinned to: {e}")))?;
    }
    Driver::connect(options)?.run()
}

/// Makes requests: the one place that knows the keys.
struct Requests {
    operation: Operation,
    rng: fastrand::Rng,
    keys: u64,
    next_fill: u64,
    value: Vec<u8>,
}

impl Requests {
    fn new(options: &Options) -> Self {
        let mut rng = fastrand::Rng::with_seed(options.seed);
        let value = (0..options.value_bytes).map(|_| rng.alphanumeric() as u8).collect();
        Self { operation: options.operation, rng, keys: options.keys, next_fill: 0, value }
    }

    fn exhausted(&self) -> bool {
        self.operation == Operation::Fill && self.next_fill == self.keys
    }

    /// Appends one request.
    fn push(&mut self, out: &mut Vec<u8>) {
        match self.operation {
            Operation::Get => {
                out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n");
                let key = self.rng.u64(0..self.keys);
                push_key(out, key);
            }
            Operation::Set => {
                let key = self.rng.u64(0..self.keys);
                self.push_set(out, key);
            }
            Operation::Fill => {
                let key = self.next_fill;
                self.next_fill += 1;
                self.push_set(out, key);
            }
            Operation::Ping => out.extend_from_slice(b"*1\r\n$4\r\nPING\r\n"),
            // Read back, it is a RESP status.
            Operation::Echo => {
                out.push(b'+');
                out.extend_from_slice(&self.value);
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    fn push_set(&mut self, out: &mut Vec<u8>, key: u64) {
        out.extend_from_slice(b"*3\r\n$3\r\nSET\r\n");
        push_key(out, key);
        out.extend_from_slice(format!("${}\r\n", self.value.len()).as_bytes());
        out.extend_from_slice(&self.value);
        out.extend_from_slice(b"\r\n");
    }
}

fn push_key(out: &mut Vec<u8>, key: u64) {
    let mut digits = *b"$16\r\nkey:000000000000\r\n";
    let (mut left, mut at) = (key, 20);
    while left > 0 && at > 8 {
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        at -= 1;
    }
    out.extend_from_slice(&digits);
}

struct Driver<'a> {
    options: &'a Options,
    requests: Requests,
    connections: Vec<Connection>,
    epoll: std::os::fd::OwnedFd,
    report: Report,
}

impl<'a> Driver<'a> {
    fn connect(options: &'a Options) -> Result<Self, LoadError> {
        let address: SocketAddr =
            options
                .address
                .to_socket_addrs()
                .ok()
                .and_then(|mut found| found.next())
                .ok_or_else(|| LoadError::Options(format!("{} is not an address", options.address)))?;
        let io = |e: rustix::io::Errno| LoadError::Connection("epoll".into(), e.into());
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io)?;
        let mut connections = Vec::new();
        for index in 0..options.connections {
            let connection = Connection::open(address)
                .map_err(|e| LoadError::Connection(format!("connecting to {address}"), e))?;
            let data = epoll::EventData::new_u64(u64::from(index));
            epoll::add(&epoll, connection.socket(), data, epoll::EventFlags::IN).map_err(io)?;
            connections.push(connection);
        }
        let report = Report::new(options);
        Ok(Self { options, requests: Requests::new(options), connections, epoll, report })
    }

    fn run(mut self) -> Result<Report, LoadError> {
        let warm_up = Duration::from_secs_f64(self.options.warm_up_seconds);
        if !warm_up.is_zero() {
            self.phase(Instant::now() + warm_up)?;
            self.report = Report::new(self.options);
        }
        let start = Instant::now();
        self.phase(start + Duration::from_secs_f64(self.options.seconds))?;
        self.report.finish(start.elapsed());
        Ok(self.report)
    }

    fn phase(&mut self, end: Instant) -> Result<(), LoadError> {
        match self.options.rate {
            Some(rate) => self.open_loop(rate, end),
            None => self.closed_loop(end),
        }
    }

    fn closed_loop(&mut self, end: Instant) -> Result<(), LoadError> {
        for index in 0..self.connections.len() {
            self.send_pipeline(index)?;
        }
        let mut events = Vec::with_capacity(256);
        while self.connections.iter().any(|c| c.waiting() > 0) {
            // What a socket did not take at once is offered again: at most a large value is cut like this.
            let cut = self.connections.iter().any(Connection::has_output);
            self.wait(&mut events, if cut { Duration::from_millis(1) } else { SILENCE_MAX })?;
            for index in 0..if cut { self.connections.len() } else { 0 } {
                self.write(index)?;
            }
            for event in &events {
                let index = event.data.u64() as usize;
                self.receive(index)?;
                let over = Instant::now() >= end && self.options.operation != Operation::Fill;
                if self.connections[index].waiting() == 0 && !over {
                    self.send_pipeline(index)?;
                }
            }
        }
        Ok(())
    }

    fn send_pipeline(&mut self, index: usize) -> Result<(), LoadError> {
        let connection = &mut self.connections[index];
        let now = Instant::now();
        for _ in 0..self.options.pipeline {
            if self.requests.exhausted() {
                break;
            }
            connection.push(now, |out| self.requests.push(out));
        }
        self.write(index)
    }

    fn open_loop(&mut self, rate: f64, end: Instant) -> Result<(), LoadError> {
        // A pause ends when it is over, not up to 50 microseconds later.
        set_current_timer_slack(NonZeroU64::new(1))
            .map_err(|e| LoadError::Connection("the timer slack of the kernel".into(), e.into()))?;
        let start = Instant::now();
        let due_of = |k: u64| start + Duration::from_secs_f64(k as f64 / rate);
        let mut sent = 0u64;
        let mut events = Vec::with_capacity(256);
        loop {
            let now = Instant::now();
            while due_of(sent) <= now && due_of(sent) < end {
                let index = (sent % self.connections.len() as u64) as usize;
                self.connections[index].push(due_of(sent), |out| self.requests.push(out));
                sent += 1;
            }
            for index in 0..self.connections.len() {
                if self.connections[index].has_output() {
                    self.write(index)?;
                }
            }
            let waiting = self.connections.iter().any(|c| c.waiting() > 0);
            if due_of(sent) >= end && !waiting {
                return Ok(());
            }
            let pause = due_of(sent).min(end).saturating_duration_since(Instant::now());
            let pause = if due_of(sent) >= end { SILENCE_MAX } else { pause };
            self.wait(&mut events, pause)?;
            for event in &events {
                self.receive(event.data.u64() as usize)?;
            }
        }
    }

    fn wait(&mut self, events: &mut Vec<epoll::Event>, pause: Duration) -> Result<(), LoadError> {
        events.clear();
        let timeout = Timespec { tv_sec: pause.as_secs() as i64, tv_nsec: i64::from(pause.subsec_nanos()) };
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), Some(&timeout)) {
            Ok(0) if pause >= SILENCE_MAX => Err(LoadError::Protocol("no reply for 30 s".into())),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(LoadError::Connection("epoll".into(), e.into())),
        }
    }

    fn write(&mut self, index: usize) -> Result<(), LoadError> {
        self.connections[index].write().map_err(|e| LoadError::Connection(format!("connection {index}"), e))
    }

    fn receive(&mut self, index: usize) -> Result<(), LoadError> {
        let report = &mut self.report;
        self.connections[index].receive(|reply, since| report.record(reply, since.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_their_digits() {
        for (key, text) in [(0, "key:000000000000"), (7, "key:000000000007"), (999_999, "key:000000999999")] {
            let mut out = Vec::new();
            push_key(&mut out, key);
            assert_eq!(out, format!("$16\r\n{text}\r\n").as_bytes());
        }
    }
}
