//! A recording as one HTML file that needs nothing else.

use super::interval::{Interval, PERCENTILES, STAGES};
use super::plot::{self, Axis, Points};
use super::text;

/// What a recording keeps of each of its intervals.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moment {
    /// Its end, in seconds since the beginning.
    pub at: f64,
    /// Requests in a second, by core.
    pub requests: Vec<f64>,
    /// Percentiles of all requests, and the longest, in nanoseconds.
    pub percentiles: Vec<u64>,
    /// The longest sync, in nanoseconds.
    pub sync: u64,
    /// Stalls of all classes.
    pub stalls: u64,
}

impl Moment {
    /// That of an interval which ended at `at`.
    #[must_use]
    pub fn of(interval: &Interval, at: f64) -> Self {
        let total = interval.all("stage/total");
        let percentiles = PERCENTILES.iter().map(|(_, share)| total.quantile(*share));
        let syncs = interval.syncs();
        Self {
            at,
            requests: interval.cores.iter().map(|core| core.requests).collect(),
            percentiles: percentiles.chain([total.longest()]).collect(),
            sync: syncs.iter().map(|sync| sync.durations.longest()).max().unwrap_or(0),
            stalls: interval.stalls().iter().flat_map(|(_, counts, _)| counts).sum(),
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn plots(whole: &Interval, moments: &[Moment]) -> Result<Vec<String>, String> {
    let by_percentile = |names: &[String]| -> Vec<(String, Points)> {
        let series = names.iter().map(|name| (name, whole.all(name)));
        let seen = series.filter(|(_, durations)| durations.longest() > 0);
        seen.map(|(name, durations)| {
            let short = name.rsplit('/').next().unwrap_or_default().to_owned();
            (short, plot::percentiles(|share| durations.quantile(share)))
        })
        .collect()
    };
    let stages: Vec<String> = STAGES.iter().map(|stage| format!("stage/{stage}")).collect();
    let syncs: Vec<String> = super::interval::SYNCS.iter().map(|kind| format!("sync/{kind}")).collect();
    let cores = whole.cores.iter().filter_map(|core| {
        let total = core.series.get("stage/total").filter(|total| total.count > 0)?;
        Some((format!("core {}", core.core), plot::percentiles(|share| total.quantile(share))))
    });
    let over_time = |of: &dyn Fn(&Moment) -> f64| -> Points {
        moments.iter().map(|moment| (moment.at, of(moment))).collect()
    };
    let names = PERCENTILES.iter().map(|(name, _)| *name).chain(["max"]);
    let mut durations: Vec<(String, Points)> = names
        .enumerate()
        .map(|(place, name)| {
            let of = move |moment: &Moment| moment.percentiles.get(place).copied().unwrap_or(0) as f64;
            (name.to_owned(), over_time(&of))
        })
        .collect();
    durations.push(("longest sync".to_owned(), over_time(&|moment| moment.sync as f64)));
    let mut rates: Vec<(String, Points)> = (0..whole.cores.len())
        .map(|place| {
            let of = move |moment: &Moment| moment.requests.get(place).copied().unwrap_or(0.0);
            (format!("core {}", whole.cores[place].core), over_time(&of))
        })
        .collect();
    rates.push(("all".to_owned(), over_time(&|moment| moment.requests.iter().sum())));
    let stalls = vec![("stalls".to_owned(), over_time(&|moment| moment.stalls as f64))];
    let (nines, time) = (Axis::Nines, Axis::Seconds);
    [
        ("Stages by percentile", nines, Axis::Durations, by_percentile(&stages)),
        ("All stages together, by core", nines, Axis::Durations, cores.collect()),
        ("Syncs of the disk by percentile", nines, Axis::Durations, by_percentile(&syncs)),
        ("Requests over time, from the last byte read to the send", time, Axis::Durations, durations),
        ("Requests in a second", time, Axis::Rate, rates),
        ("Stalls in each interval", time, Axis::Rate, stalls),
    ]
    .into_iter()
    .filter(|(_, _, _, lines)| !lines.is_empty())
    .map(|(title, x, y, lines)| plot::draw(title, x, y, &lines))
    .collect()
}

/// The report: `whole` is all of the recording, `moments` its intervals; `began` says when, for people.
///
/// # Errors
/// When a plot cannot be drawn, in words.
pub fn html(address: &str, began: &str, whole: &Interval, moments: &[Moment]) -> Result<String, String> {
    let plots = plots(whole, moments)?;
    let table = escaped(&text::table(whole));
    let title = format!("Latency of {}, {began}", escaped(address));
    let style = "body{font-family:sans-serif;max-width:1040px;margin:2em auto;color:#222}pre{font-size:12px;\
                 overflow-x:auto;background:#f6f6f6;padding:1em}svg{display:block;margin:1em 0;max-width:100%}";
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title><style>{style}</style>\
         </head><body>\n<h1>{title}</h1>\n<p>{}</p>\n",
        escaped(&text::headline(whole))
    );
    for plot in plots {
        page.push_str(&plot);
    }
    page.push_str(&format!("<h2>All figures</h2>\n<pre>{table}</pre>\n</body></html>\n"));
    Ok(page)
}
