//! A simulated client: what it sends, and what it may be answered.
//!
//! It has keys of its own, of which it knows the state exactly (also within a pipeline), and shares registers and
//! counters with all other clients, whose histories are judged at the end.

use std::collections::VecDeque;

use super::linear::{Act, Increment, Operation};
use crate::client::Value;
use crate::torture::model::{Broken, Register, State, describe};

/// Keys of a client of its own. They share a slot, so that one command may write several.
const OWN_KEYS: usize = 12;
/// Registers and counters that all clients share.
pub const SHARED_KEYS: usize = 3;
/// A key may outlive its expiry by this much: the oracle's time is handed on with a small delay.
const EXPIRY_SLACK_MS: u64 = 1_000;

/// The histories that clients write together.
#[derive(Debug, Default)]
pub struct Histories {
    /// Of each shared register.
    pub registers: [Vec<Operation>; SHARED_KEYS],
    /// Of each shared counter.
    pub counters: [Vec<Increment>; SHARED_KEYS],
    /// Values written so far: the next one is one more.
    pub values: u64,
}

/// The moment of an event: virtual nanoseconds since the beginning of the seed, and the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Nanoseconds since the beginning.
    pub nanos: u64,
    /// Milliseconds of the wall clock.
    pub wall_ms: u64,
    /// The oracle's time is not before this.
    pub earliest_ms: u64,
    /// Nor after this.
    pub latest_ms: u64,
}

#[derive(Debug)]
enum Expected {
    /// A write of keys of its own.
    Wrote { keys: Vec<usize>, sequence: u64 },
    /// A read of a key of its own.
    Own { key: usize, value: Option<Vec<u8>> },
    /// A SET with an expiry.
    Expiring { value: Vec<u8>, deadline_ms: u64 },
    /// A read of the key with an expiry.
    Expiry { begun: Moment },
    /// Operation `index` of a shared register.
    Shared { key: usize, index: usize },
    /// Increment `index` of a shared counter.
    Counted { key: usize, index: usize },
}

/// How a workload is mixed: chances in a hundred.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// Commands on shared registers.
    pub shared: u32,
    /// Commands on shared counters.
    pub counters: u32,
    /// Commands with expiries.
    pub expiring: u32,
    /// Writes of several keys at once.
    pub several: u32,
    /// Longest value.
    pub value_bytes_max: usize,
}

/// A client over all lives of the node.
#[derive(Debug)]
pub struct Session {
    number: usize,
    rng: fastrand::Rng,
    own: Vec<Register>,
    /// The key with an expiry, once its state is known: value and deadline.
    expiring: Option<(Vec<u8>, u64)>,
    sequence: u64,
    waiting: VecDeque<Expected>,
    /// Keys of which a write was refused: what was sent after it may rest on it or not. The next check settles them.
    unsure: [bool; OWN_KEYS],
    /// Replies that were judged.
    pub judged: u64,
    /// Writes that were answered with an error.
    pub refused: u64,
}

impl Session {
    /// Client `number` of a seed.
    #[must_use]
    pub fn new(number: usize, seed: u64) -> Self {
        Self {
            number,
            rng: fastrand::Rng::with_seed(seed ^ (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            own: vec![Register::default(); OWN_KEYS],
            expiring: None,
            sequence: 0,
            waiting: VecDeque::new(),
            unsure: [false; OWN_KEYS],
            judged: 0,
            refused: 0,
        }
    }

    /// Commands without a reply.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Appends one command.
    pub fn push(&mut self, mix: &Mix, now: Moment, histories: &mut Histories, out: &mut Vec<u8>) {
        let mut chance = self.rng.u32(0..100);
        let mut falls = |share: u32| {
            let hit = chance < share;
            chance = chance.saturating_sub(share);
            hit
        };
        if falls(mix.shared) {
            self.push_shared(now, histories, out);
        } else if falls(mix.counters) {
            let key = self.rng.usize(0..SHARED_KEYS);
            histories.counters[key].push(Increment { begun: now.nanos, ended: None });
            command(out, &[b"INCR", format!("counter:{key}").as_bytes()]);
            self.waiting.push_back(Expected::Counted { key, index: histories.counters[key].len() - 1 });
        } else if falls(mix.expiring) {
            self.push_expiring(now, out);
        } else {
            self.push_own(mix, out);
        }
    }

    fn push_shared(&mut self, now: Moment, histories: &mut Histories, out: &mut Vec<u8>) {
        let key = self.rng.usize(0..SHARED_KEYS);
        let name = format!("shared:{key}");
        let act = if self.rng.bool() {
            histories.values += 1;
            command(out, &[b"SET", name.as_bytes(), histories.values.to_string().as_bytes()]);
            Act::Write(histories.values)
        } else {
            command(out, &[b"GET", name.as_bytes()]);
            Act::Read(0)
        };
        histories.registers[key].push(Operation { act, begun: now.nanos, ended: None });
        self.waiting.push_back(Expected::Shared { key, index: histories.registers[key].len() - 1 });
    }

    fn push_expiring(&mut self, now: Moment, out: &mut Vec<u8>) {
        let name = format!("expiring:{}", self.number);
        if self.rng.u32(0..3) > 0 {
            command(out, &[b"GET", name.as_bytes()]);
            return self.waiting.push_back(Expected::Expiry { begun: now });
        }
        self.sequence += 1;
        let value = format!("e:{}", self.sequence).into_bytes();
        let deadline_ms = now.wall_ms + self.rng.u64(1..4_000);
        command(out, &[b"SET", name.as_bytes(), &value, b"PXAT", deadline_ms.to_string().as_bytes()]);
        self.waiting.push_back(Expected::Expiring { value, deadline_ms });
    }

    fn push_own(&mut self, mix: &Mix, out: &mut Vec<u8>) {
        let key = self.rng.usize(0..OWN_KEYS);
        match self.rng.u32(0..100) {
            0..40 => {
                command(out, &[b"GET", self.name(key).as_bytes()]);
                let value = self.own[key].newest().value.clone();
                self.waiting.push_back(Expected::Own { key, value });
            }
            40..50 => {
                let keys = self.some_keys(key, mix.several);
                let names: Vec<String> = keys.iter().map(|&key| self.name(key)).collect();
                let mut words: Vec<&[u8]> = vec![b"DEL"];
                words.extend(names.iter().map(|name| name.as_bytes()));
                command(out, &words);
                self.wrote(keys, |_| None);
            }
            50..60 => {
                let mut value = self.own[key].newest().value.clone().unwrap_or_default();
                if value.len() < mix.value_bytes_max {
                    command(out, &[b"APPEND", self.name(key).as_bytes(), b"+"]);
                    value.push(b'+');
                    self.wrote(vec![key], |_| Some(value.clone()));
                } else {
                    command(out, &[b"DEL", self.name(key).as_bytes()]);
                    self.wrote(vec![key], |_| None);
                }
            }
            _ => {
                let keys = self.some_keys(key, mix.several);
                let values: Vec<Vec<u8>> =
                    keys.iter().map(|&key| self.value(key, mix.value_bytes_max)).collect();
                let names: Vec<String> = keys.iter().map(|&key| self.name(key)).collect();
                let mut words: Vec<&[u8]> = vec![if keys.len() > 1 { b"MSET" } else { b"SET" }];
                for (name, value) in names.iter().zip(&values) {
                    words.extend([name.as_bytes(), value]);
                }
                command(out, &words);
                self.wrote(keys, |place| Some(values[place].clone()));
            }
        }
    }

    fn some_keys(&mut self, key: usize, several: u32) -> Vec<usize> {
        let mut keys = vec![key];
        while keys.len() < 4 && self.rng.u32(0..100) < several {
            let another = self.rng.usize(0..OWN_KEYS);
            if !keys.contains(&another) {
                keys.push(another);
            }
        }
        keys
    }

    fn wrote(&mut self, keys: Vec<usize>, value: impl Fn(usize) -> Option<Vec<u8>>) {
        self.sequence += 1;
        for (place, &key) in keys.iter().enumerate() {
            self.own[key].sent(State { sequence: self.sequence, value: value(place) });
        }
        self.waiting.push_back(Expected::Wrote { keys, sequence: self.sequence });
    }

    fn name(&self, key: usize) -> String {
        format!("{{own:{}}}:{key}", self.number)
    }

    fn value(&mut self, key: usize, bytes_max: usize) -> Vec<u8> {
        let mut value = format!("{}:{key}:{}:", self.number, self.sequence + 1).into_bytes();
        let most = if self.rng.u32(0..20) == 0 { bytes_max } else { bytes_max.min(200) };
        let length = self.rng.usize(0..=most);
        value.resize(length.max(value.len()), b'v');
        value
    }

    /// Judges the next reply.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn reply(&mut self, reply: &Value, now: Moment, histories: &mut Histories) -> Result<(), Broken> {
        let Some(expected) = self.waiting.pop_front() else {
            return Err(Broken(format!("client {}: a reply to nothing: {reply:?}", self.number)));
        };
        self.judged += 1;
        if let Value::Error(text) = reply {
            return self.refusal(&expected, text);
        }
        match (&expected, reply) {
            (Expected::Wrote { keys, sequence }, Value::Simple(_) | Value::Int(_)) => {
                keys.iter().for_each(|&key| self.own[key].acknowledged(*sequence));
                Ok(())
            }
            (Expected::Own { key, value }, Value::Bulk(found)) if !self.unsure[*key] && found != value => {
                let (name, value, found) = (self.name(*key), value.as_deref(), found.as_deref());
                Err(Broken(format!("{name} must be {}, read {}", describe(value), describe(found))))
            }
            (Expected::Own { .. }, Value::Bulk(_)) => Ok(()),
            (Expected::Expiring { value, deadline_ms }, Value::Simple(_)) => {
                self.expiring = Some((value.clone(), *deadline_ms));
                Ok(())
            }
            (Expected::Expiry { begun }, Value::Bulk(found)) => {
                self.judge_expiry(found.as_deref(), *begun, now)
            }
            (Expected::Shared { key, index }, Value::Simple(_) | Value::Bulk(_)) => {
                let operation = &mut histories.registers[*key][*index];
                operation.ended = Some(now.nanos);
                if let Act::Read(value) = &mut operation.act {
                    *value = number_of(reply)?;
                }
                Ok(())
            }
            (Expected::Counted { key, index }, Value::Int(sum)) => {
                histories.counters[*key][*index].ended = Some((now.nanos, *sum));
                Ok(())
            }
            _ => Err(Broken(format!("client {}: {reply:?} answers {expected:?}", self.number))),
        }
    }

    /// An error leaves a write unknown and a read without a result; both are allowed, neither is lost.
    fn refusal(&mut self, expected: &Expected, text: &str) -> Result<(), Broken> {
        if text.starts_with("ERR") && !text.contains("try again") {
            return Err(Broken(format!("client {}: {text} answers {expected:?}", self.number)));
        }
        match expected {
            Expected::Wrote { keys, .. } => keys.iter().for_each(|&key| self.unsure[key] = true),
            Expected::Expiring { .. } => self.expiring = None,
            _ => {}
        }
        self.refused += 1;
        Ok(())
    }

    fn judge_expiry(&self, found: Option<&[u8]>, begun: Moment, now: Moment) -> Result<(), Broken> {
        let Some((value, deadline_ms)) = &self.expiring else { return Ok(()) };
        // A later SET may be on its way only after this reply: replies are in order.
        let sound = match found {
            Some(found) => found == value && begun.earliest_ms <= deadline_ms + EXPIRY_SLACK_MS,
            None => now.latest_ms >= *deadline_ms,
        };
        if sound {
            return Ok(());
        }
        let what = format!("at {}..{} ms, deadline {deadline_ms}", begun.earliest_ms, now.latest_ms);
        Err(Broken(format!("expiring:{} is {}: {what}", self.number, describe(found))))
    }

    /// The node died: whatever waits has no outcome.
    pub fn lose(&mut self) {
        if self.waiting.iter().any(|expected| matches!(expected, Expected::Expiring { .. })) {
            self.expiring = None;
        }
        self.waiting.clear();
    }

    /// The commands that read every key of its own, for a check.
    pub fn push_check(&self, out: &mut Vec<u8>) {
        for key in 0..OWN_KEYS {
            command(out, &[b"GET", self.name(key).as_bytes()]);
        }
    }

    /// Compares the replies to [`Session::push_check`] with what may be, and settles what was unknown.
    ///
    /// # Errors
    /// When a state was found that may not be.
    pub fn check(&mut self, replies: &[Value]) -> Result<(), Broken> {
        assert_eq!(replies.len(), OWN_KEYS, "one reply per key");
        for (key, reply) in replies.iter().enumerate() {
            let name = self.name(key);
            let Value::Bulk(found) = reply else { return Err(Broken(format!("{name}: read {reply:?}"))) };
            if std::mem::take(&mut self.unsure[key]) {
                self.own[key].settle(found.clone());
                continue;
            }
            let outcome = self.own[key].found(found.as_deref());
            outcome.map_err(|Broken(what)| Broken(format!("{name}: {what}")))?;
        }
        Ok(())
    }

    /// As [`Session::check`], after the disk was damaged: a value is right, or is refused as damaged. Answers how many are
    /// refused.
    ///
    /// # Errors
    /// When a wrong value was found, or an error that says something else.
    pub fn check_damaged(&self, replies: &[Value]) -> Result<u64, Broken> {
        let mut refused = 0;
        for (key, reply) in replies.iter().enumerate() {
            let name = self.name(key);
            match reply {
                damaged if tells_damage(damaged) => refused += 1,
                Value::Bulk(found) => {
                    let outcome = self.own[key].clone().found(found.as_deref());
                    outcome.map_err(|Broken(what)| Broken(format!("{name}: {what}")))?;
                }
                other => return Err(Broken(format!("{name}: read {other:?}"))),
            }
        }
        Ok(refused)
    }
}

/// The error in a reply, when it says that what is asked for is damaged.
#[must_use]
pub fn tells_damage(reply: &Value) -> bool {
    matches!(reply, Value::Error(text) if text.starts_with("IOERR") || text.starts_with("READONLY"))
}

/// The number in a reply to a GET of a shared key; 0 when it is absent.
///
/// # Errors
/// When it is not a number.
pub fn number_of(reply: &Value) -> Result<u64, Broken> {
    let number = match reply {
        Value::Bulk(None) => Some(0),
        Value::Bulk(Some(digits)) => std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()),
        _ => None,
    };
    number.ok_or_else(|| Broken(format!("a shared key holds {reply:?}")))
}

/// Appends a command.
pub fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}
