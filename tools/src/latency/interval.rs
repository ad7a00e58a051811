//! What happened between two looks at a server.

use std::collections::BTreeMap;

use super::sample::{CoreSample, Durations, Sample, Untaken};

/// The stages of a request, in their order, and all of them.
pub const STAGES: [&str; 10] =
    ["parse", "route", "admit", "propose", "persist", "replicate", "commit", "apply", "reply", "total"];
/// Classes of stalls, as the server names them, in the order in which they are shown.
pub const STALLS: [&str; 11] = [
    "apply",
    "intake",
    "requests",
    "groups",
    "replies",
    "background",
    "carry-out",
    "enter",
    "preempted",
    "overslept",
    "disk",
];
/// What is made durable.
pub const SYNCS: [&str; 3] = ["write", "file", "directory"];
/// The percentiles that are shown.
pub const PERCENTILES: [(&str, f64); 4] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

/// One core within the interval.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CoreInterval {
    /// The core.
    pub core: u64,
    /// Requests in a second.
    pub requests: f64,
    /// Bytes received in a second.
    pub input_bytes: f64,
    /// Bytes sent in a second.
    pub output_bytes: f64,
    /// For how long the oldest durable operation in flight has been so, in nanoseconds.
    pub syncing: u64,
    /// By name.
    pub series: BTreeMap<String, Durations>,
}

/// See the module page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interval {
    /// How long it was.
    pub seconds: f64,
    /// By core.
    pub cores: Vec<CoreInterval>,
    /// Clients that take nothing at its end, those of all cores, longest first.
    pub untaken: Vec<Untaken>,
}

/// A stage, a command or a kind of sync, on one line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// Its share of the time of all.
    pub share: f64,
    /// Its durations.
    pub durations: Durations,
    /// Of a command: the stage that took most, and its share.
    pub mostly: Option<(String, f64)>,
}

impl Interval {
    /// What came between two looks.
    #[must_use]
    pub fn between(before: &Sample, after: &Sample) -> Self {
        let nanos = |sample: &Sample| sample.cores.first().map_or(0, |core| core.moment);
        let seconds = nanos(after).saturating_sub(nanos(before)) as f64 / 1e9;
        Self::of(before, after, seconds)
    }

    /// All that is known of a server that has run for `seconds`.
    #[must_use]
    pub fn since_start(sample: &Sample, seconds: f64) -> Self {
        Self::of(&Sample::default(), sample, seconds)
    }

    fn of(before: &Sample, after: &Sample, seconds: f64) -> Self {
        let none = CoreSample::default();
        let cores = after.cores.iter().map(|now| {
            let then = before.cores.iter().find(|then| then.core == now.core).unwrap_or(&none);
            core_between(then, now, seconds)
        });
        let cores = cores.collect();
        let mut untaken: Vec<Untaken> = after.cores.iter().flat_map(|core| core.untaken.clone()).collect();
        untaken.sort_by_key(|client| (std::cmp::Reverse(client.nanos), client.id));
        Self { seconds, cores, untaken }
    }

    /// The durations under a name, of all cores.
    #[must_use]
    pub fn all(&self, name: &str) -> Durations {
        let mut sum = Durations::default();
        self.cores.iter().filter_map(|core| core.series.get(name)).for_each(|series| sum.add(series));
        sum
    }

    /// Of all cores: the sum of what `of` says.
    #[must_use]
    pub fn rate(&self, of: impl Fn(&CoreInterval) -> f64) -> f64 {
        self.cores.iter().map(of).sum()
    }

    /// The stages in their order, and all of them.
    #[must_use]
    pub fn stages(&self) -> Vec<Line> {
        let whole = self.all("stage/total").sum;
        let line = |name: &&str| {
            let durations = self.all(&format!("stage/{name}"));
            Line { name: (*name).to_owned(), share: share(durations.sum, whole), durations, mostly: None }
        };
        STAGES.iter().map(line).collect()
    }

    /// Commands by the time that they took together, longest first.
    #[must_use]
    pub fn commands(&self) -> Vec<Line> {
        let mut by_command: BTreeMap<&str, BTreeMap<&str, Durations>> = BTreeMap::new();
        for (name, series) in self.cores.iter().flat_map(|core| &core.series) {
            if let Some((command, stage)) =
                name.strip_prefix("command/").and_then(|rest| rest.rsplit_once('/'))
            {
                by_command.entry(command).or_default().entry(stage).or_default().add(series);
            }
        }
        let whole = self.all("stage/total").sum;
        let lines = by_command.into_iter().filter_map(|(command, mut stages)| {
            let durations = stages.remove("total").filter(|total| total.count > 0)?;
            let longest = stages.into_iter().max_by_key(|(_, of)| of.sum);
            let mostly = longest.map(|(stage, of)| (stage.to_owned(), share(of.sum, durations.sum)));
            let share = share(durations.sum, whole);
            Some(Line { name: command.to_owned(), share, durations, mostly })
        });
        let mut lines: Vec<Line> = lines.collect();
        lines.sort_by(|a, b| b.durations.sum.cmp(&a.durations.sum).then_with(|| a.name.cmp(&b.name)));
        lines
    }

    /// Classes of stalls with how many there were on each core, and the longest.
    #[must_use]
    pub fn stalls(&self) -> Vec<(&'static str, Vec<u64>, u64)> {
        let of_class = |class: &&'static str| {
            let name = format!("stall/{class}");
            let of_core = |core: &CoreInterval| core.series.get(&name).map_or(0, |series| series.count);
            (*class, self.cores.iter().map(of_core).collect(), self.all(&name).longest())
        };
        STALLS.iter().map(of_class).collect()
    }

    /// Durable operations by kind, those that there were.
    #[must_use]
    pub fn syncs(&self) -> Vec<Line> {
        let line = |kind: &&str| {
            let durations = self.all(&format!("sync/{kind}"));
            Line { name: (*kind).to_owned(), share: 0.0, durations, mostly: None }
        };
        SYNCS.iter().map(line).filter(|line| line.durations.count > 0).collect()
    }
}

fn core_between(before: &CoreSample, now: &CoreSample, seconds: f64) -> CoreInterval {
    let rate = |new: u64, old: u64| {
        if seconds > 0.0 { new.saturating_sub(old) as f64 / seconds } else { 0.0 }
    };
    let none = Durations::default();
    let since = |(name, durations): (&String, &Durations)| {
        (name.clone(), durations.since(before.series.get(name).unwrap_or(&none)))
    };
    CoreInterval {
        core: now.core,
        requests: rate(now.requests, before.requests),
        input_bytes: rate(now.input_bytes, before.input_bytes),
        output_bytes: rate(now.output_bytes, before.output_bytes),
        syncing: now.syncing,
        series: now.series.iter().map(since).collect(),
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
