//! One life of a node: checked, loaded, ended.

use pinion_core::Exit;
use pinion_core::host::Machine;
use pinion_core::host::sim::{ClientId, SimHost};
use pinion_wal::disk::sim::SimDisk;

use super::disturb::{Schedule, WallClock};
use super::linear::{self, Act, Operation};
use super::session::{Histories, Moment, SHARED_KEYS, Session, command, number_of};
use super::{Counts, Plan};
use crate::client::Value;

/// A node that has not answered after this much virtual time has failed, in milliseconds.
const ANSWER_MS_MAX: u64 = 6_000;

/// A read that fails so often for a passing fault of the disk has failed for good.
const READS_MAX: u32 = 50;

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was cut off.
    Crashed,
    /// A fault of the disk ended it, and it said so.
    Poisoned,
    /// It stopped when asked to, everything answered.
    Stopped,
}

/// What a life leaves.
pub struct Ended {
    pub ending: Ending,
    pub disk: SimDisk,
    pub event_hash: u64,
    /// The wall clock as the next life finds it.
    pub clock: WallClock,
    /// What was done to the node.
    pub counts: Counts,
}

/// A running node with its clients.
pub struct Life<'a, M> {
    plan: &'a Plan,
    host: SimHost<M>,
    cores: usize,
    clock: WallClock,
    counts: Counts,
}

impl<'a, M: Machine> Life<'a, M> {
    pub fn new(plan: &'a Plan, host: SimHost<M>, clock: WallClock) -> Self {
        let cores = host.machines().count();
        Self { plan, host, cores, clock, counts: Counts::default() }
    }

    /// Checks, loads, and ends the node. The last life is checked once more and stopped.
    pub fn run(
        mut self,
        sessions: &mut [Session],
        histories: &mut Histories,
        rng: &mut fastrand::Rng,
        last: bool,
    ) -> Result<Ended, String> {
        if !self.check(sessions, histories)? {
            return if last {
                Err("no fault is left, and it does not serve".into())
            } else {
                self.end(Ending::Poisoned)
            };
        }
        let ending = self.load(sessions, histories, rng, last)?;
        if !last || ending == Ending::Poisoned {
            return self.end(ending);
        }
        if !self.check(sessions, histories)? {
            return Err("the node ended itself without a fault".into());
        }
        self.host.stop();
        let cores = self.cores;
        let stopped =
            self.host.run_until(ANSWER_MS_MAX, |host| (0..cores).all(|core| host.exit(core).is_some()));
        match self.host.any_exit() {
            Some(Exit::Stopped) if stopped => self.end(Ending::Stopped),
            other => Err(format!("asked to stop, the node ended with {other:?}")),
        }
    }

    fn end(self, ending: Ending) -> Result<Ended, String> {
        let event_hash = self.host.event_hash();
        let disk = self.host.crash().ok_or("the node has no disk")?;
        Ok(Ended { ending, disk, event_hash, clock: self.clock, counts: self.counts })
    }

    fn moment(&self) -> Moment {
        let now = self.host.now();
        self.clock.moment(now.mono.0, now.wall_ms)
    }

    /// Sends commands and waits for all replies; `None` when the node ended itself.
    fn ask(&mut self, line: &mut Line, request: &[u8], replies: usize) -> Result<Option<Vec<Value>>, String> {
        self.host.send(line.client, request);
        let mut found = Vec::new();
        let mut broken = None;
        let answered = self.host.run_until(ANSWER_MS_MAX, |host| {
            match line.replies(host) {
                Ok(mut more) => found.append(&mut more),
                Err(what) => broken = Some(what),
            }
            broken.is_some() || found.len() >= replies || host.any_exit().is_some()
        });
        match broken {
            Some(what) => Err(what),
            None if found.len() >= replies => Ok(Some(found)),
            None if self.host.any_exit().is_some() => Ok(None),
            None => Err(format!("{} of {replies} replies came (still running: {answered})", found.len())),
        }
    }

    /// As [`Life::ask`], again when a fault of the disk failed one of the reads. A group that such a fault has halted
    /// refuses every read and says so: this life can tell no more, as if the node had ended itself.
    fn ask_until_read(
        &mut self,
        line: &mut Line,
        request: &[u8],
        replies: usize,
    ) -> Result<Option<Vec<Value>>, String> {
        let faulty = self.plan.reads_may_fail();
        let mut halted = false;
        for _ in 0..READS_MAX {
            let answered = self.ask(line, request, replies)?;
            let failed = answered.iter().flatten().find(|reply| matches!(reply, Value::Error(_)));
            match failed {
                Some(Value::Error(text)) if faulty => halted = text.starts_with("READONLY"),
                Some(error) => return Err(format!("a read was answered with {error:?}")),
                None => return Ok(answered),
            }
        }
        if halted { Ok(None) } else { Err(format!("{READS_MAX} reads failed one after another")) }
    }

    /// Reads everything and compares; answers false when the node ended itself.
    fn check(&mut self, sessions: &mut [Session], histories: &mut Histories) -> Result<bool, String> {
        let mut line = Line::open(&mut self.host, 0);
        for session in sessions.iter_mut() {
            let mut request = Vec::new();
            session.push_check(&mut request);
            let count = request.iter().filter(|&&byte| byte == b'*').count();
            let Some(replies) = self.ask_until_read(&mut line, &request, count)? else { return Ok(false) };
            session.check(&replies).map_err(|broken| broken.0)?;
        }
        for key in 0..SHARED_KEYS {
            let mut request = Vec::new();
            command(&mut request, &[b"GET", format!("shared:{key}").as_bytes()]);
            command(&mut request, &[b"GET", format!("counter:{key}").as_bytes()]);
            let begun = self.moment().nanos;
            let Some(replies) = self.ask_until_read(&mut line, &request, 2)? else { return Ok(false) };
            let value = number_of(&replies[0]).map_err(|broken| broken.0)?;
            let ended = Some(self.moment().nanos);
            histories.registers[key].push(Operation { act: Act::Read(value), begun, ended });
            let sum = number_of(&replies[1]).map_err(|broken| broken.0)? as i64;
            let outcome = linear::check_counter(&histories.counters[key], sum);
            outcome.map_err(|what| format!("counter:{key}: {what}"))?;
        }
        Ok(true)
    }

    /// Clients send their commands in pipelines until all are answered, or until the drawn moment of the crash.
    fn load(
        &mut self,
        sessions: &mut [Session],
        histories: &mut Histories,
        rng: &mut fastrand::Rng,
        last: bool,
    ) -> Result<Ending, String> {
        let cores = self.cores;
        let mut lines: Vec<Line> =
            sessions.iter().map(|_| Line::open(&mut self.host, rng.usize(..cores))).collect();
        let mut left = vec![self.plan.commands; sessions.len()];
        let total = u64::from(self.plan.commands) * sessions.len() as u64;
        // Some lives are cut off early, some only when all is done, as the last is.
        let crash_at = if last { u64::MAX } else { rng.u64(0..=total + total / 3) };
        let disturbances = if last { Default::default() } else { self.plan.disturbances };
        let mut schedule = Schedule::draw(&disturbances, total, rng);
        let mut silent_since = self.host.now().mono.0;
        loop {
            let mut judged = 0;
            for (number, session) in sessions.iter_mut().enumerate() {
                let replies = lines[number].replies(&mut self.host)?;
                let now = self.moment();
                for reply in &replies {
                    session.reply(reply, now, histories).map_err(|broken| broken.0)?;
                }
                judged += replies.len();
                if session.waiting() == 0 && left[number] > 0 {
                    let count = rng.u32(1..=16).min(left[number]);
                    left[number] -= count;
                    let mut request = Vec::new();
                    for _ in 0..count {
                        session.push(&self.plan.mix, now, histories, &mut request);
                    }
                    self.host.send(lines[number].client, &request);
                }
            }
            let now = self.host.now().mono.0;
            if judged > 0 {
                silent_since = now;
            }
            let sent: u64 = total - left.iter().map(|&left| u64::from(left)).sum::<u64>();
            let waiting: usize = sessions.iter().map(Session::waiting).sum();
            if let Some(Exit::Poisoned(_)) = self.host.any_exit() {
                return Ok(Ending::Poisoned);
            }
            let all_answered = sent == total && waiting == 0;
            let answered = sent - (waiting as u64).min(sent);
            if all_answered && schedule.was_full {
                schedule.empty(&mut self.host);
                return self.recover_from_full();
            }
            if all_answered || answered >= crash_at {
                return Ok(Ending::Crashed);
            }
            schedule.turn(answered, &mut self.host, &mut self.clock, rng, &mut self.counts);
            if now - silent_since > ANSWER_MS_MAX * 1_000_000 || !self.host.step() {
                return Err(format!("{waiting} commands were not answered within {ANSWER_MS_MAX} ms"));
            }
        }
    }
}

impl<M: Machine> Life<'_, M> {
    /// D6: with room on the disk again, writes are taken within a bound, without a restart.
    fn recover_from_full(&mut self) -> Result<Ending, String> {
        let mut line = Line::open(&mut self.host, 0);
        let mut request = Vec::new();
        command(&mut request, &[b"SET", b"probe", b"room"]);
        let end = self.host.now().mono.plus_millis(ANSWER_MS_MAX);
        loop {
            let Some(replies) = self.ask(&mut line, &request, 1)? else { return Ok(Ending::Poisoned) };
            if matches!(replies[..], [Value::Simple(_)]) {
                self.counts.add("disk_has_room_again", 1);
                return Ok(Ending::Crashed);
            }
            // A group that a fault of a read has halted stays so until the next start.
            if self.host.now().mono > end {
                let may = self.plan.reads_may_fail();
                return if may {
                    Ok(Ending::Crashed)
                } else {
                    Err(format!("room again, and still {replies:?}"))
                };
            }
            self.host.run_until(50, |_| false);
        }
    }

    /// The disk was damaged while the node was down: every value is right or refused. Answers how many are refused.
    pub fn check_damaged(mut self, sessions: &[Session]) -> Result<u64, String> {
        let mut line = Line::open(&mut self.host, 0);
        let mut refused = 0;
        for session in sessions {
            let mut request = Vec::new();
            session.push_check(&mut request);
            let count = request.iter().filter(|&&byte| byte == b'*').count();
            let replies = self.ask(&mut line, &request, count)?.ok_or("the node ended itself")?;
            refused += session.check_damaged(&replies).map_err(|broken| broken.0)?;
        }
        Ok(refused)
    }
}

/// A client's connection, with the part of a reply that has come so far.
struct Line {
    client: ClientId,
    input: Vec<u8>,
}

impl Line {
    fn open<M: Machine>(host: &mut SimHost<M>, core: usize) -> Self {
        Self { client: host.connect(core), input: Vec::new() }
    }

    /// The whole replies that have come.
    fn replies<M: Machine>(&mut self, host: &mut SimHost<M>) -> Result<Vec<Value>, String> {
        let mut found = Vec::new();
        if host.received(self.client).is_empty() {
            return Ok(found);
        }
        self.input.append(&mut host.take_received(self.client));
        let mut at = 0;
        while let Some((value, length)) = Value::parse(&self.input[at..]).map_err(|e| e.to_string())? {
            found.push(value);
            at += length;
        }
        self.input.drain(..at);
        Ok(found)
    }
}
