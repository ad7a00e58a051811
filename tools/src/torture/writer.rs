//! The load of a life: writers that own their keys, and an observer that reads everyone's.

use std::io;
use std::time::Duration;

use super::model::{Broken, Counter, Register, State, describe};
use crate::client::{Client, Value};

/// Keys of a writer. Few, so that each is overwritten often.
const KEYS_PER_WRITER: usize = 48;

/// Most commands a writer sends before it reads replies.
const PIPELINE_MAX: usize = 24;

/// Longer than any stall that is not a fault.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A writer and what it knows about its keys, over all lives of the server.
pub struct Writer {
    number: usize,
    rng: fastrand::Rng,
    registers: Vec<Register>,
    counter: Counter,
    sequence: u64,
    /// What happened so far.
    pub tally: Tally,
}

/// Counts for the report.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Writes whose outcome was unknown when the server died.
    pub unknown: u64,
    /// Writes that were answered with an error.
    pub refused: u64,
    /// Errors that say: overloaded, try again.
    pub try_again: u64,
    /// Errors that say: still loading.
    pub loading: u64,
    /// Reads that were compared under load.
    pub reads: u64,
}

/// What a command's reply must be.
enum Expected {
    Written { key: usize, sequence: u64, deleted: bool },
    Incremented,
    Read { key: usize, value: Option<Vec<u8>>, settled: bool },
}

/// How a life ended for one of its threads.
#[derive(Debug)]
pub enum Ended {
    /// The connection died, as it must when the server is killed.
    Disconnected,
    /// A promise was broken.
    Broken(Broken),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                Self::Broken(Broken(format!("no reply within {PATIENCE:?}")))
            }
            io::ErrorKind::InvalidData => Self::Broken(Broken(error.to_string())),
            _ => Self::Disconnected,
        }
    }
}

impl Writer {
    /// A writer whose choices follow from `seed`.
    #[must_use]
    pub fn new(number: usize, seed: u64) -> Self {
        let rng = fastrand::Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number as u64);
        let registers = vec![Register::default(); KEYS_PER_WRITER];
        Self { number, rng, registers, counter: Counter::default(), sequence: 0, tally: Tally::default() }
    }

    /// Writes and reads until the connection dies.
    pub fn live(&mut self, port: u16) -> Ended {
        let ended = match Client::connect(("127.0.0.1", port), PATIENCE) {
            Ok(mut client) => loop {
                if let Err(ended) = self.round(&mut client) {
                    break ended;
                }
            },
            Err(_) => Ended::Disconnected,
        };
        let unknown: usize = self.registers.iter().map(Register::unknown).sum();
        self.tally.unknown += unknown as u64 + self.counter.unknown as u64;
        ended
    }

    fn round(&mut self, client: &mut Client) -> Result<(), Ended> {
        let count = self.rng.usize(1..=PIPELINE_MAX);
        let mut expected = Vec::with_capacity(count);
        for _ in 0..count {
            let next = self.push(client);
            expected.push(next);
        }
        client.flush()?;
        for expected in expected {
            let reply = client.reply()?;
            self.check(expected, &reply).map_err(Ended::Broken)?;
        }
        Ok(())
    }

    fn push(&mut self, client: &mut Client) -> Expected {
        let key = self.rng.usize(0..KEYS_PER_WRITER);
        let name = key_name(self.number, key);
        match self.rng.u32(0..100) {
            0..10 => {
                self.counter.unknown += 1;
                client.push(&[b"INCR", counter_name(self.number).as_bytes()]);
                Expected::Incremented
            }
            10..30 => {
                let register = &self.registers[key];
                client.push(&[b"GET", name.as_bytes()]);
                let settled = register.unknown() == 0;
                Expected::Read { key, value: register.newest().value.clone(), settled }
            }
            kind => {
                self.sequence += 1;
                let deleted = kind < 40;
                let value = (!deleted).then(|| self.value(key));
                match &value {
                    Some(value) => client.push(&[b"SET", name.as_bytes(), value]),
                    None => client.push(&[b"DEL", name.as_bytes()]),
                }
                self.registers[key].sent(State { sequence: self.sequence, value });
                Expected::Written { key, sequence: self.sequence, deleted }
            }
        }
    }

    /// A value that names its writer, key and sequence, of a length that is mostly small.
    fn value(&mut self, key: usize) -> Vec<u8> {
        let length = match self.rng.u32(0..100) {
            0..80 => self.rng.usize(24..200),
            80..98 => self.rng.usize(200..8_000),
            _ => self.rng.usize(8_000..120_000),
        };
        let mut value = format!("{}:{}:{}:", self.number, key, self.sequence).into_bytes();
        let filler = b'a' + (self.sequence % 26) as u8;
        value.resize(length.max(value.len()), filler);
        value
    }

    fn check(&mut self, expected: Expected, reply: &Value) -> Result<(), Broken> {
        let broken = |what: String| Err(Broken(format!("writer {}: {what}, reply {reply:?}", self.number)));
        match reply {
            Value::Error(text) if text.starts_with("TRYAGAIN") => self.tally.try_again += 1,
            Value::Error(text) if text.starts_with("LOADING") => self.tally.loading += 1,
            Value::Error(_) => return broken("an error that a healthy server does not give".into()),
            _ => {}
        }
        match (expected, reply) {
            // The outcome of a refused write is not known: it stays among the states that may be.
            (Expected::Written { .. } | Expected::Incremented, Value::Error(_)) => self.tally.refused += 1,
            (Expected::Written { key, sequence, deleted }, Value::Simple(_) | Value::Int(_)) => {
                if deleted != matches!(reply, Value::Int(0 | 1)) {
                    return broken("a SET answers OK, a DEL a number".into());
                }
                self.registers[key].acknowledged(sequence);
                self.tally.acknowledged += 1;
            }
            (Expected::Incremented, Value::Int(value)) => {
                let least = self.counter.acknowledged + 1;
                if !(least..=self.counter.acknowledged + self.counter.unknown).contains(value) {
                    return broken(format!("INCR of a counter at {:?}", self.counter));
                }
                self.counter.unknown -= value - self.counter.acknowledged;
                self.counter.unknown = self.counter.unknown.max(0);
                self.counter.acknowledged = *value;
                self.tally.acknowledged += 1;
            }
            (Expected::Read { key, value, settled }, Value::Bulk(found)) => {
                self.tally.reads += 1;
                // A refused write leaves two states possible; else a read sees its own connection's last write.
                if self.tally.refused == 0 && *found != value {
                    let name = key_name(self.number, key);
                    return broken(format!(
                        "{name} must be {} (settled: {settled})",
                        describe(value.as_deref())
                    ));
                }
            }
            (Expected::Read { .. }, Value::Error(_)) => {}
            _ => return broken("a reply of the wrong type".into()),
        }
        Ok(())
    }

    /// After a restart: every key is read, compared and settled.
    ///
    /// # Errors
    /// When a promise was broken or the server does not answer.
    pub fn verify(&mut self, client: &mut Client) -> Result<(), Ended> {
        for key in 0..KEYS_PER_WRITER {
            client.push(&[b"GET", key_name(self.number, key).as_bytes()]);
        }
        client.push(&[b"GET", counter_name(self.number).as_bytes()]);
        client.flush()?;
        for key in 0..KEYS_PER_WRITER {
            let name = key_name(self.number, key);
            let Value::Bulk(found) = client.reply()? else {
                return Err(Ended::Broken(Broken(format!("{name}: GET was not answered with a value"))));
            };
            let outcome = self.registers[key].found(found.as_deref());
            outcome.map_err(|Broken(what)| Ended::Broken(Broken(format!("{name}: {what}"))))?;
        }
        let number = match client.reply()? {
            Value::Bulk(None) => Some(0),
            Value::Bulk(Some(digits)) => std::str::from_utf8(&digits).ok().and_then(|d| d.parse().ok()),
            _ => None,
        };
        let number = number.ok_or_else(|| Ended::Broken(Broken("a counter is not a number".into())))?;
        self.counter.found(number).map_err(Ended::Broken)
    }

    /// Takes over what the observer saw of this writer's keys.
    pub fn was_shown(&mut self, key: usize, sequence: u64) {
        self.registers[key].was_shown(sequence);
    }
}

fn key_name(writer: usize, key: usize) -> String {
    format!("torture:{writer}:{key}")
}

fn counter_name(writer: usize) -> String {
    format!("torture:{writer}:counter")
}

/// Reads everyone's keys during a life: what a reader was shown must never be taken back.
pub struct Observer {
    rng: fastrand::Rng,
    /// The newest sequence seen of each key of each writer.
    seen: Vec<[u64; KEYS_PER_WRITER]>,
    /// Reads that were compared.
    pub reads: u64,
}

impl Observer {
    /// An observer of `writers` writers for one life.
    #[must_use]
    pub fn new(writers: usize, seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed), seen: vec![[0; KEYS_PER_WRITER]; writers], reads: 0 }
    }

    /// Reads until the connection dies.
    pub fn live(&mut self, port: u16) -> Ended {
        let Ok(mut client) = Client::connect(("127.0.0.1", port), PATIENCE) else {
            return Ended::Disconnected;
        };
        loop {
            if let Err(ended) = self.round(&mut client) {
                return ended;
            }
        }
    }

    fn round(&mut self, client: &mut Client) -> Result<(), Ended> {
        let choices: Vec<(usize, usize)> = (0..8)
            .map(|_| (self.rng.usize(0..self.seen.len()), self.rng.usize(0..KEYS_PER_WRITER)))
            .collect();
        for &(writer, key) in &choices {
            client.push(&[b"GET", key_name(writer, key).as_bytes()]);
        }
        client.flush()?;
        for (writer, key) in choices {
            let Value::Bulk(found) = client.reply()? else { continue };
            self.reads += 1;
            let Some(found) = found else { continue };
            let name = key_name(writer, key);
            let broken = |what: String| Ended::Broken(Broken(format!("{name}: {what}")));
            let sequence = sequence_of(&found, writer, key)
                .ok_or_else(|| broken(format!("a value nobody wrote: {}", describe(Some(&found)))))?;
            let seen = &mut self.seen[writer][key];
            if sequence < *seen {
                return Err(broken(format!("read {sequence} after {seen}")));
            }
            *seen = sequence;
        }
        Ok(())
    }

    /// Hands what was seen to the writers.
    pub fn tell(&self, writers: &mut [Writer]) {
        for (writer, seen) in writers.iter_mut().zip(&self.seen) {
            for (key, &sequence) in seen.iter().enumerate() {
                writer.was_shown(key, sequence);
            }
        }
    }
}

fn sequence_of(value: &[u8], writer: usize, key: usize) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    let rest = text.strip_prefix(&format!("{writer}:{key}:"))?;
    rest.split(':').next()?.parse().ok()
}
