//! One thread of the load with its connections.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::thread::set_current_timer_slack;

use super::LoadError;
use super::connection::Connection;
use super::keys::{Chooser, KeyCount};
use super::mix::{Mix, push_key};
use super::options::{Operation, Options};
use super::report::Report;
use super::schedule::{Pace, Schedule};
use super::values::ValueSizes;

/// A server that says nothing for so long has failed.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Distance of the seeds of two threads.
const SEED_STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Makes requests.
struct Requests {
    mix: Option<Mix>,
    operation: Operation,
    rng: fastrand::Rng,
    keys: Chooser,
    sizes: ValueSizes,
    values: Vec<u8>,
    /// The next key of a fill, the distance to the one after, and the end.
    fill: (u64, u64, u64),
    /// Operations that may still be made.
    left: u64,
}

impl Requests {
    const fn exhausted(&self) -> bool {
        self.left == 0
            || (self.mix.is_none() && matches!(self.operation, Operation::Fill) && self.fill.0 >= self.fill.2)
    }

    /// Appends what is sent next, and tells how many replies it brings.
    fn push(&mut self, out: &mut Vec<u8>) -> u32 {
        self.left -= 1;
        if let Some(mix) = &self.mix {
            return mix.push(out, &mut self.rng, &mut self.keys, &self.sizes, &self.values);
        }
        let bytes = self.sizes.choose(&mut self.rng);
        if self.operation == Operation::Fill {
            out.extend_from_slice(b"*3\r\n$3\r\nSET\r\n$16\r\n");
            push_key(out, self.fill.0);
            out.extend_from_slice(format!("\r\n${bytes}\r\n").as_bytes());
            self.fill.0 += self.fill.1;
        } else {
            // Read back, it is a RESP status.
            out.push(b'+');
        }
        out.extend_from_slice(&self.values[..bytes]);
        out.extend_from_slice(b"\r\n");
        1
    }
}

/// A thread's part of the load.
pub struct Driver {
    options: Options,
    thread: u32,
    threads: u32,
    seed: u64,
    requests: Requests,
    connections: Vec<Connection>,
    epoll: std::os::fd::OwnedFd,
    report: Report,
    /// Choices without all of their replies, on all connections.
    waiting: usize,
    /// Connections whose socket did not take all at once.
    cut: Vec<usize>,
}

impl Driver {
    /// Connects the part of thread `thread`.
    pub fn connect(options: &Options, thread: u32, count: &KeyCount) -> Result<Self, LoadError> {
        let threads = options.threads;
        let (target, greeting) = (options.target()?, options.greeting());
        let io = |e: rustix::io::Errno| LoadError::Connection("epoll".into(), e.into());
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io)?;
        let mut connections = Vec::new();
        let mine = options.connections / threads + u32::from(thread < options.connections % threads);
        for index in 0..mine {
            let connection = Connection::open(&target, &greeting)?;
            let data = epoll::EventData::new_u64(u64::from(index));
            epoll::add(&epoll, connection.socket(), data, epoll::EventFlags::IN).map_err(io)?;
            connections.push(connection);
        }
        let seed = options.seed.wrapping_add(u64::from(thread).wrapping_mul(SEED_STEP));
        let mut rng = fastrand::Rng::with_seed(seed);
        let sizes = options.sizes();
        let values = (0..sizes.longest()).map(|_| rng.alphanumeric() as u8).collect();
        let turn = (u64::from(thread), u64::from(threads));
        let keys =
            Chooser::new(options.keys_by(), options.shape(), options.keys, count.clone(), rng.u64(..), turn);
        let requests = Requests {
            mix: options.requests()?,
            operation: options.operation,
            rng,
            keys,
            sizes,
            values,
            fill: (turn.0, turn.1, options.keys),
            left: u64::MAX,
        };
        let report = Report::new(options);
        let options = options.clone();
        Ok(Self {
            options,
            thread,
            threads,
            seed,
            requests,
            connections,
            epoll,
            report,
            waiting: 0,
            cut: Vec::new(),
        })
    }

    /// Warms up, measures, reports.
    pub fn run(mut self) -> Result<Report, LoadError> {
        let warm_up = self.options.warm_up_seconds;
        if warm_up > 0.0 {
            // A ramp begins where the warm-up ends.
            let pace = self.options.pace;
            self.options.pace = if pace == Pace::Poisson { pace } else { Pace::Fixed };
            self.phase(warm_up)?;
            self.options.pace = pace;
            self.report = Report::new(&self.options);
        }
        if let Some(requests) = self.options.requests {
            let threads = u64::from(self.threads);
            self.requests.left = requests / threads + u64::from(u64::from(self.thread) < requests % threads);
        }
        let (start, cpu) = (Instant::now(), thread_cpu());
        self.phase(self.options.seconds)?;
        self.report.finish(start.elapsed(), thread_cpu().saturating_sub(cpu));
        Ok(self.report)
    }

    fn phase(&mut self, seconds: f64) -> Result<(), LoadError> {
        match self.options.rate {
            Some(rate) => self.open_loop(rate, seconds),
            None => self.closed_loop(Instant::now() + Duration::from_secs_f64(seconds)),
        }
    }

    fn closed_loop(&mut self, end: Instant) -> Result<(), LoadError> {
        for index in 0..self.connections.len() {
            self.send_pipeline(index)?;
        }
        let mut events = Vec::with_capacity(256);
        while self.waiting > 0 {
            self.wait(&mut events, SILENCE_MAX)?;
            for event in &events {
                let index = event.data.u64() as usize;
                self.receive(index)?;
                if self.connections[index].waiting() == 0 {
                    self.continue_until(end, index)?;
                }
            }
        }
        Ok(())
    }

    fn continue_until(&mut self, end: Instant, index: usize) -> Result<(), LoadError> {
        // A fill and a number of requests end by themselves.
        let fill = self.requests.mix.is_none() && self.options.operation == Operation::Fill;
        let counted = self.requests.left < u64::MAX / 2;
        if fill || counted || Instant::now() < end { self.send_pipeline(index) } else { Ok(()) }
    }

    fn send_pipeline(&mut self, index: usize) -> Result<(), LoadError> {
        let now = Instant::now();
        for _ in 0..self.options.pipeline {
            if self.requests.exhausted() {
                break;
            }
            self.push(index, now);
        }
        self.write(index)
    }

    fn push(&mut self, index: usize, since: Instant) {
        self.connections[index].push(since, |out| self.requests.push(out));
        self.waiting += 1;
    }

    fn open_loop(&mut self, rate: f64, seconds: f64) -> Result<(), LoadError> {
        // A pause ends when it is over, not up to 50 microseconds later.
        set_current_timer_slack(NonZeroU64::new(1))
            .map_err(|e| LoadError::Connection("the timer slack of the kernel".into(), e.into()))?;
        let threads = f64::from(self.threads);
        let rates = (rate / threads, self.options.rate_end.unwrap_or(rate) / threads);
        let mut schedule = Schedule::new(self.options.pace, rates, self.options.steps, seconds, !self.seed);
        let start = Instant::now();
        let end = Duration::from_secs_f64(seconds);
        let mut next = 0;
        let mut heard = Duration::ZERO;
        let mut touched = Vec::new();
        let mut events = Vec::with_capacity(256);
        loop {
            let now = start.elapsed();
            while schedule.due() <= now && schedule.due() < end {
                if !self.connections[next].has_output() {
                    touched.push(next);
                }
                self.push(next, start + schedule.due());
                schedule.advance();
                next = (next + 1) % self.connections.len();
            }
            for index in touched.drain(..) {
                self.write(index)?;
            }
            let over = schedule.due() >= end;
            if over && self.waiting == 0 {
                return Ok(());
            }
            if self.waiting > 0 && now.saturating_sub(heard) > SILENCE_MAX {
                return Err(silent());
            }
            let pause = if over { SILENCE_MAX } else { schedule.due().saturating_sub(start.elapsed()) };
            self.wait(&mut events, pause.min(SILENCE_MAX))?;
            for event in &events {
                self.receive(event.data.u64() as usize)?;
            }
            if !events.is_empty() || self.waiting == 0 {
                heard = now;
            }
        }
    }

    /// Waits for replies, and meanwhile offers again what a socket did not take: at most large values are cut like this.
    fn wait(&mut self, events: &mut Vec<epoll::Event>, pause: Duration) -> Result<(), LoadError> {
        events.clear();
        let pause = if self.cut.is_empty() { pause } else { pause.min(Duration::from_millis(1)) };
        let timeout = Timespec { tv_sec: pause.as_secs() as i64, tv_nsec: i64::from(pause.subsec_nanos()) };
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), Some(&timeout)) {
            Ok(0) if pause >= SILENCE_MAX && self.waiting > 0 => {
                return Err(silent());
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(LoadError::Connection("epoll".into(), e.into())),
        }
        for index in std::mem::take(&mut self.cut) {
            self.write(index)?;
        }
        Ok(())
    }

    fn write(&mut self, index: usize) -> Result<(), LoadError> {
        let connection = &mut self.connections[index];
        connection.write().map_err(|e| LoadError::Connection(format!("connection {index}"), e))?;
        if connection.has_output() && !self.cut.contains(&index) {
            self.cut.push(index);
        }
        Ok(())
    }

    fn receive(&mut self, index: usize) -> Result<(), LoadError> {
        let report = &mut self.report;
        let before = self.connections[index].waiting();
        self.connections[index].receive(|seen| report.record(seen))?;
        self.waiting -= before - self.connections[index].waiting();
        Ok(())
    }
}

fn silent() -> LoadError {
    let what = format!("waiting for replies for {} s", SILENCE_MAX.as_secs());
    LoadError::Connection(what, std::io::ErrorKind::TimedOut.into())
}

/// CPU that this thread has used.
fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
