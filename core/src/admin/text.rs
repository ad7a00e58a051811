//! The figures of all cores as OpenMetrics text.

use std::collections::BTreeMap;
use std::fmt;

use pinion_shard::{Load, RangeLoad};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::labels::{CODES_MAX, COMMANDS_MAX, CORES_MAX, GROUPS_MAX, bounded};
use super::{BOUNDS_MICROS, CoreFigures, Distribution};
use crate::metrics::Counters;
use crate::stages::STAGES;
use crate::stalls::CLASSES;

/// How a number behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It only grows.
    Total,
    /// It is what is there at the moment.
    Now,
}
use Kind::{Now, Total};

/// A counter of a core as a metric: its name without prefix and suffix, what it is, its help.
type Shown = (fn(&Counters) -> u64, Kind, &'static str, &'static str);

/// A number of a load as a metric: its name without prefix and suffix, its help, what it is.
type ShownLoad = (&'static str, &'static str, fn(&Load) -> u64);

/// Every counter.
const COUNTERS: &[Shown] = &[
    (|of| of.commands, Total, "replies", "Replies that left towards their clients"),
    (|of| of.errors, Total, "error_replies", "Replies that were errors"),
    (|of| of.writes, Total, "write_commands", "Commands that changed rows"),
    (|of| of.reads, Total, "read_commands", "Commands that looked at rows"),
    (|of| of.batches, Total, "batches", "Batches given to groups"),
    (|of| of.connections_received, Total, "connections_received", "Connections accepted"),
    (|of| of.connections, Now, "connections", "Connections"),
    (|of| of.input_bytes, Total, "input_bytes", "Bytes received from clients"),
    (|of| of.output_bytes, Total, "output_bytes", "Bytes sent to clients"),
    (
        |of| of.replies_refused,
        Total,
        "replies_refused",
        "Replies refused because clients had not taken others",
    ),
    (
        |of| of.inputs_refused,
        Total,
        "inputs_refused",
        "Connections ended because too much input was incomplete",
    ),
    (|of| of.clients_cut, Total, "clients_cut", "Connections ended because they took none of their replies"),
    (|of| of.turns_stalled, Total, "turns_stalled", "Turns longer than a millisecond"),
    (|of| of.turns, Total, "turns", "Turns"),
    (|of| of.input_held_bytes, Now, "input_held_bytes", "Bytes of incomplete commands"),
    (|of| of.unsent_bytes, Now, "unsent_bytes", "Bytes of replies that clients have not taken"),
    (|of| of.requests_forwarded, Total, "requests_forwarded", "Requests to sibling cores"),
    (|of| of.memtable_bytes, Now, "memtable_bytes", "Bytes of rows that are not flushed"),
    (|of| of.cache_bytes, Now, "cache_bytes", "Bytes of cached blocks"),
    (|of| of.log_bytes, Now, "log_bytes", "Bytes of the log that are still needed"),
    (|of| of.proposal_bytes, Now, "proposal_bytes", "Bytes of proposals that are not applied"),
    (|of| of.groups, Now, "groups", "Groups"),
    (|of| of.groups_damaged, Now, "groups_damaged", "Groups that lost records and refuse to serve"),
    (|of| of.groups_halted, Now, "groups_halted", "Groups that cannot execute an entry and refuse to serve"),
    (|of| of.tables_damaged, Now, "tables_damaged", "Tables in which damage was found"),
    (|of| of.cores_without_space, Now, "cores_without_space", "Cores that refuse writes: the disk is full"),
    (|of| of.keyspace_hits, Total, "keyspace_hits", "Keys that reads looked for and found"),
    (|of| of.keyspace_misses, Total, "keyspace_misses", "Keys that reads looked for and did not find"),
    (|of| of.commands_per_second, Now, "replies_per_second", "Replies in a second, of late"),
    (|of| of.input_bytes_per_second, Now, "input_bytes_per_second", "Bytes received in a second, of late"),
    (|of| of.output_bytes_per_second, Now, "output_bytes_per_second", "Bytes sent in a second, of late"),
];

/// How many counters are shown.
#[cfg(test)]
pub(super) const COUNTERS_SHOWN: usize = COUNTERS.len();

/// The figures of all cores, as the text of one scrape. A core that did not answer shows `pinion_core_up` 0 alone.
#[must_use]
pub fn metrics(cores: Vec<Option<CoreFigures>>, version: &'static str) -> String {
    let mut registry = Registry::with_prefix("pinion");
    registry.register_collector(Box::new(Scrape { cores, version }));
    let mut text = String::new();
    text::encode(&mut text, &registry).expect("writing to memory does not fail");
    text
}

#[derive(Debug)]
struct Scrape {
    cores: Vec<Option<CoreFigures>>,
    version: &'static str,
}

/// One metric: a family of numbers under labels.
struct Family<'a>(MetricEncoder<'a>);

impl<'a> Family<'a> {
    fn of(
        encoder: &'a mut DescriptorEncoder<'_>,
        name: &'a str,
        help: &'a str,
        unit: Option<&'a Unit>,
        kind: MetricType,
    ) -> Result<Self, fmt::Error> {
        Ok(Self(encoder.encode_descriptor(name, help, unit, kind)?))
    }

    fn put(&mut self, labels: &impl EncodeLabelSet, metric: &impl EncodeMetric) -> fmt::Result {
        metric.encode(self.0.encode_family(labels)?)
    }

    fn number(&mut self, labels: &impl EncodeLabelSet, kind: Kind, number: u64) -> fmt::Result {
        match kind {
            Total => self.put(labels, &ConstCounter::new(number)),
            Now => self.put(labels, &ConstGauge::new(i64::try_from(number).unwrap_or(i64::MAX))),
        }
    }

    fn distribution(&mut self, labels: &impl EncodeLabelSet, of: &Distribution) -> fmt::Result {
        let bounds = BOUNDS_MICROS.iter().map(|&micros| micros as f64 / 1e6).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(of.counts).collect();
        let mut family = self.0.encode_family(labels)?;
        family.encode_histogram::<NoLabelSet>(of.sum_nanos as f64 / 1e9, of.count(), &buckets, None)
    }
}

const fn metric_type(kind: Kind) -> MetricType {
    match kind {
        Total => MetricType::Counter,
        Now => MetricType::Gauge,
    }
}

impl Scrape {
    /// The figures of the cores that answered, under their labels.
    fn by_core<T>(&self, of: impl Fn(&CoreFigures) -> T, add: impl FnMut(&mut T, T)) -> Vec<(String, T)> {
        let answered = self.cores.iter().enumerate();
        let answered = answered.filter_map(|(core, figures)| Some((core.to_string(), of(figures.as_ref()?))));
        bounded(answered, CORES_MAX, add)
    }

    fn cores_up(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Whether the core answered in time";
        let mut family = Family::of(encoder, "core_up", help, None, MetricType::Gauge)?;
        let up = self
            .cores
            .iter()
            .enumerate()
            .map(|(core, figures)| (core.to_string(), u64::from(figures.is_some())));
        for (core, up) in bounded(up, CORES_MAX, |sum, up| *sum += up) {
            family.number(&[("core", core)], Now, up)?;
        }
        Ok(())
    }

    fn build(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Always 1; the label says which version runs";
        let mut family = Family::of(encoder, "build_info", help, None, MetricType::Gauge)?;
        family.number(&[("version", self.version)], Now, 1)
    }

    fn counters(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for &(number, kind, name, help) in COUNTERS {
            let mut family = Family::of(encoder, name, help, None, metric_type(kind))?;
            for (core, number) in self.by_core(|of| number(&of.counters), |sum, more| *sum += more) {
                family.number(&[("core", core)], kind, number)?;
            }
        }
        Ok(())
    }

    fn stages(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "How long requests spent in each stage; the stages of a request sum to its whole";
        let mut family = Family::of(encoder, "stage", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (place, stage) in STAGES.iter().enumerate() {
            for (core, durations) in self.by_core(|of| of.stages[place], |sum, more| sum.add(&more)) {
                family.distribution(&[("core", &core[..]), ("stage", stage.name())], &durations)?;
            }
        }
        let help = "How long requests took, from the last byte read to the send submitted";
        let mut family = Family::of(encoder, "request", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (core, durations) in self.by_core(|of| of.whole, |sum, more| sum.add(&more)) {
            family.distribution(&[("core", core)], &durations)?;
        }
        Ok(())
    }

    fn stalls(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "What held a core up for a millisecond or more (the disk: ten), by class";
        let mut family = Family::of(encoder, "stalls", help, None, MetricType::Counter)?;
        for (place, class) in CLASSES.iter().enumerate() {
            for (core, stalls) in self.by_core(|of| of.stalls[place], |sum, more| *sum += more) {
                family.number(&[("core", &core[..]), ("class", class.name())], Total, stalls)?;
            }
        }
        Ok(())
    }

    /// Commands of all cores together: a command and a core at once would be too many labels.
    fn commands(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut sums: BTreeMap<&str, ([u64; 3], Distribution)> = BTreeMap::new();
        for command in self.cores.iter().flatten().flat_map(|core| &core.commands) {
            let (counts, durations) = sums.entry(command.name).or_default();
            for (sum, more) in counts.iter_mut().zip([command.calls, command.failed, command.rejected]) {
                *sum += more;
            }
            durations.add(&command.durations);
        }
        let sums = sums.into_iter().map(|(name, sum)| (name.to_owned(), sum));
        let sums = bounded(sums, COMMANDS_MAX, |sum, more| {
            (0..3).for_each(|place| sum.0[place] += more.0[place]);
            sum.1.add(&more.1);
        });
        let counts = [
            ("command_calls", "Commands carried out, those that failed included"),
            ("command_failures", "Commands that failed"),
            ("command_rejections", "Commands refused before anything was done"),
        ];
        for (place, (name, help)) in counts.into_iter().enumerate() {
            let mut family = Family::of(encoder, name, help, None, MetricType::Counter)?;
            for (command, (counts, _)) in &sums {
                family.number(&[("command", &command[..])], Total, counts[place])?;
            }
        }
        let help = "How long commands took, the wait for the log included";
        let mut family = Family::of(encoder, "command", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (command, (_, durations)) in &sums {
            family.distribution(&[("command", &command[..])], durations)?;
        }
        Ok(())
    }

    fn errors(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for (code, count) in self.cores.iter().flatten().flat_map(|core| &core.codes) {
            *sums.entry(code).or_default() += count;
        }
        let mut family = Family::of(encoder, "errors", "Errors by their code", None, MetricType::Counter)?;
        let sums = sums.into_iter().map(|(code, count)| (code.to_owned(), count));
        for (code, count) in bounded(sums, CODES_MAX, |sum, more| *sum += more) {
            family.number(&[("code", code)], Total, count)?;
        }
        Ok(())
    }

    /// The load of each range, by its group: they are one today.
    fn ranges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut ranges: Vec<&RangeLoad> = self.cores.iter().flatten().flat_map(|core| &core.ranges).collect();
        ranges.sort_by_key(|range| range.slots.start);
        let labelled = ranges.into_iter().map(|range| (range.group.to_string(), range.load));
        let labelled = bounded(labelled, GROUPS_MAX, |sum, more| {
            sum.reads += more.reads;
            sum.writes += more.writes;
            sum.written_bytes += more.written_bytes;
        });
        let shown: [ShownLoad; 3] = [
            ("range_reads", "Reads of the range of a group, counted at its owner", |load| load.reads),
            ("range_writes", "Writes to the range of a group, counted at its owner", |load| load.writes),
            ("range_written_bytes", "Bytes of those writes", |load| load.written_bytes),
        ];
        for (name, help, number) in shown {
            let mut family = Family::of(encoder, name, help, None, MetricType::Counter)?;
            for (group, load) in &labelled {
                family.number(&[("group", &group[..])], Total, number(load))?;
            }
        }
        Ok(())
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.build(&mut encoder)?;
        self.cores_up(&mut encoder)?;
        self.counters(&mut encoder)?;
        self.stages(&mut encoder)?;
        self.stalls(&mut encoder)?;
        self.commands(&mut encoder)?;
        self.errors(&mut encoder)?;
        self.ranges(&mut encoder)
    }
}
