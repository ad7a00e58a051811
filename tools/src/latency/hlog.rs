//! Intervals as HDR logs: the format of HdrHistogram's interval logs, its histograms in V2 and base64.
//!
//! One log a core. Each interval has a line for every series of stages and syncs, with the name of the series as its tag.
//! Durations are in nanoseconds; the column of maxima is in milliseconds, as HdrHistogram's tools expect it.

use std::io::Write;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriter, IntervalLogWriterBuilder, Tag};

use super::interval::CoreInterval;
use super::sample::Durations;

/// Longest duration told apart, in nanoseconds: an hour.
const NANOS_MAX: u64 = 3_600_000_000_000;
/// Nanoseconds of a millisecond.
const MAX_DIVISOR: f64 = 1e6;

/// Begins a log.
///
/// # Errors
/// When it cannot be written.
pub fn begin<'a, 'b, W: Write>(
    out: &'a mut W,
    serializer: &'b mut V2DeflateSerializer,
    began: SystemTime,
) -> std::io::Result<IntervalLogWriter<'a, 'b, W, V2DeflateSerializer>> {
    IntervalLogWriterBuilder::new()
        .add_comment("[durations in nanoseconds, by pinionctl latency record]")
        .with_start_time(began)
        .with_base_time(began)
        .with_max_value_divisor(MAX_DIVISOR)
        .begin_log_with(out, serializer)
}

/// Adds an interval of a core, which began so long after the log.
///
/// # Errors
/// When it cannot be written, in words.
pub fn add<W: Write>(
    log: &mut IntervalLogWriter<'_, '_, W, V2DeflateSerializer>,
    core: &CoreInterval,
    after: Duration,
    lasted: Duration,
) -> Result<(), String> {
    for (name, durations) in &core.series {
        if !name.starts_with("stage/") && !name.starts_with("sync/") {
            continue;
        }
        let tag = Tag::new(name).ok_or_else(|| format!("{name} is no name for a tag"))?;
        log.write_histogram(&histogram(durations), after, lasted, Some(tag))
            .map_err(|error| format!("{error:?}"))?;
    }
    Ok(())
}

fn histogram(durations: &Durations) -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, NANOS_MAX, 3).expect("the bounds are sound");
    for (value, count) in &durations.buckets {
        histogram.saturating_record_n(*value, *count);
    }
    histogram
}
