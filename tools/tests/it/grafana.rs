//! The dashboard shows what the server tells.

use std::collections::BTreeSet;

use pinion_core::admin::{CommandFigures, CoreFigures, Distribution, metrics};
use pinion_shard::{GroupId, Load, RangeLoad};

const DASHBOARD: &str = include_str!("../../grafana/pinion.json");

/// The names of metrics in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c: char| !is_name(c)).filter(|word| word.starts_with("pinion_")).collect()
}

#[test]
fn every_metric_of_the_dashboard_is_told() {
    let command =
        CommandFigures { name: "get", calls: 1, failed: 0, rejected: 0, durations: Distribution::default() };
    let load = Load { reads: 1, writes: 1, written_bytes: 1 };
    let figures = CoreFigures {
        commands: vec![command],
        codes: vec![("ERR".to_owned(), 1)],
        ranges: vec![RangeLoad { group: GroupId(16), slots: 0..1, load }],
        ..CoreFigures::default()
    };
    let told = metrics(vec![Some(figures)], "0");
    let told = names(&told);
    let _: serde_json::Value = serde_json::from_str(DASHBOARD).expect("the dashboard is JSON");
    let shown = names(DASHBOARD);
    assert!(shown.len() > 20, "{shown:?}");
    let unknown: Vec<_> = shown.difference(&told).collect();
    assert!(unknown.is_empty(), "the dashboard asks for what nobody tells: {unknown:?}");
}
