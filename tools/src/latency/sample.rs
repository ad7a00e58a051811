//! What a server answers to PINION LATENCY.

use std::collections::BTreeMap;

use super::text;
use crate::client::{Client, Value};

/// Durations under one name, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
    /// The longest, if it is known; else 0.
    pub max: u64,
    /// Values, and how many are about as long.
    pub buckets: BTreeMap<u64, u64>,
}

/// A client that does not take what it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untaken {
    /// Its core.
    pub core: u64,
    /// Its number.
    pub id: u64,
    /// Its address.
    pub address: String,
    /// Its name.
    pub name: String,
    /// Bytes that it was sent and did not take.
    pub bytes: u64,
    /// For how long it has taken nothing.
    pub nanos: u64,
}

/// What one core has measured so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoreSample {
    /// The core.
    pub core: u64,
    /// The moment on the clock of the node, in nanoseconds.
    pub moment: u64,
    /// Replies.
    pub requests: u64,
    /// Bytes received.
    pub input_bytes: u64,
    /// Bytes sent.
    pub output_bytes: u64,
    /// For how long the oldest durable operation in flight has been so, in nanoseconds.
    pub syncing: u64,
    /// By name.
    pub series: BTreeMap<String, Durations>,
    /// Clients that take nothing, longest first.
    pub untaken: Vec<Untaken>,
}

/// What all cores have measured so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// By core.
    pub cores: Vec<CoreSample>,
}

impl Sample {
    /// Asks the server.
    ///
    /// # Errors
    /// A sentence that says what it answered.
    pub fn take(client: &mut Client) -> Result<Self, String> {
        Self::read(&client.call(&[b"PINION", b"LATENCY"]).map_err(|e| e.to_string())?)
    }

    /// Reads what a server answered.
    ///
    /// # Errors
    /// A sentence that says what it answered.
    pub fn read(reply: &Value) -> Result<Self, String> {
        let sample = match reply {
            Value::Array(cores) => cores.iter().map(core).collect::<Option<Vec<_>>>(),
            _ => None,
        };
        let cores = sample.filter(|cores| !cores.is_empty()).ok_or_else(|| {
            format!("PINION LATENCY was answered with {reply:?}: is this a Pinion server of this version?")
        })?;
        Ok(Self { cores })
    }
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

fn core(value: &Value) -> Option<CoreSample> {
    let Value::Array(fields) = value else { return None };
    let mut sample = CoreSample::default();
    for pair in fields.chunks_exact(2) {
        match (text(&pair[0])?.as_str(), &pair[1]) {
            ("core", value) => sample.core = number(value)?,
            ("moment_ns", value) => sample.moment = number(value)?,
            ("requests", value) => sample.requests = number(value)?,
            ("input_bytes", value) => sample.input_bytes = number(value)?,
            ("output_bytes", value) => sample.output_bytes = number(value)?,
            ("syncing_ns", value) => sample.syncing = number(value)?,
            ("series", Value::Array(all)) => {
                sample.series = all.iter().map(series).collect::<Option<_>>()?;
            }
            ("untaken", Value::Array(all)) => {
                sample.untaken = all.iter().map(|client| untaken(client, 0)).collect::<Option<_>>()?;
            }
            // A newer server may tell more.
            _ => {}
        }
    }
    sample.untaken.iter_mut().for_each(|client| client.core = sample.core);
    Some(sample)
}

fn series(value: &Value) -> Option<(String, Durations)> {
    let Value::Array(fields) = value else { return None };
    let [name, count, sum, max, Value::Array(buckets)] = &fields[..] else { return None };
    let mut durations =
        Durations { count: number(count)?, sum: number(sum)?, max: number(max)?, buckets: BTreeMap::new() };
    for pair in buckets.chunks_exact(2) {
        // Values next to one another may be the same in nanoseconds.
        *durations.buckets.entry(number(&pair[0])?).or_default() += number(&pair[1])?;
    }
    Some((text(name)?, durations))
}

fn untaken(value: &Value, core: u64) -> Option<Untaken> {
    let Value::Array(fields) = value else { return None };
    let [id, address, Value::Bulk(Some(name)), bytes, nanos] = &fields[..] else { return None };
    Some(Untaken {
        core,
        id: number(id)?,
        address: text(address)?,
        name: name.escape_ascii().to_string(),
        bytes: number(bytes)?,
        nanos: number(nanos)?,
    })
}

impl Durations {
    /// What came since `before`. When less is here than was there, it was forgotten meanwhile, and all of it is new.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let forgotten = before.count > self.count
            || before
                .buckets
                .iter()
                .any(|(value, count)| self.buckets.get(value).is_none_or(|now| now < count));
        if forgotten {
            return self.clone();
        }
        let mut buckets = self.buckets.clone();
        for (value, count) in &before.buckets {
            if let Some(now) = buckets.get_mut(value) {
                *now -= count;
            }
        }
        buckets.retain(|_, count| *count > 0);
        // The longest of all is that of the interval only if it is new.
        let max = if self.max > before.max { self.max } else { 0 };
        Self { count: self.count - before.count, sum: self.sum.saturating_sub(before.sum), max, buckets }
    }

    /// Adds those of another core.
    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
        // Of one the longest may be known, of the other not.
        self.max = self.longest().max(other.longest());
        for (value, count) in &other.buckets {
            *self.buckets.entry(*value).or_default() += count;
        }
    }

    /// What `share` of them do not exceed; 0 when there are none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> u64 {
        let all: u64 = self.buckets.values().sum();
        let wanted = ((all as f64 * share).ceil() as u64).clamp(1, all.max(1));
        let mut seen = 0;
        for (value, count) in &self.buckets {
            seen += count;
            if seen >= wanted {
                // A bucket tells its middle, which may lie above the longest of all.
                return (*value).min(self.longest());
            }
        }
        0
    }

    /// The longest: exactly if that is known, else as the last bucket tells it.
    #[must_use]
    pub fn longest(&self) -> u64 {
        let last = self.buckets.last_key_value().map_or(0, |(value, _)| *value);
        if self.max > 0 { self.max } else { last }
    }

    /// The mean; 0 when there are none.
    #[must_use]
    pub fn mean(&self) -> u64 {
        self.sum.checked_div(self.count).unwrap_or(0)
    }
}
