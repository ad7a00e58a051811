use pinion_shard::{GroupId, Load, RangeLoad};

use super::labels::{CODES_MAX, CORES_MAX, GROUPS_MAX, OTHER, bounded};
use super::text::COUNTERS_SHOWN;
use super::*;
use crate::metrics::Counters;
use crate::stages::{STAGES, Stages, Trail};

/// The values of `label` in a scrape, and the sum of `metric` over its lines.
fn look(text: &str, metric: &str, label: &str) -> (Vec<String>, u64) {
    let (mut values, mut sum) = (Vec::new(), 0);
    for line in text.lines().filter(|line| line.starts_with(&format!("{metric}{{"))) {
        let (_, rest) = line.split_once(&format!("{label}=\"")).expect("the label is there");
        values.push(rest.split('"').next().expect("it is quoted").to_owned());
        sum += line.rsplit(' ').next().expect("a number").parse::<u64>().expect("a number");
    }
    (values, sum)
}

fn figures(commands: u64) -> CoreFigures {
    CoreFigures { counters: Counters { commands, ..Counters::default() }, ..CoreFigures::default() }
}

/// O2: every label has a bound, what is beyond it is under `other`, and the sums stay true.
#[test]
fn labels_are_bounded_and_sums_stay_true() {
    let cores = CORES_MAX + 40;
    let mut all: Vec<_> = (0..cores as u64).map(figures).collect();
    all[3].ranges = (0..2_000)
        .map(|group| RangeLoad {
            group: GroupId(group),
            slots: group as u16..group as u16 + 1,
            load: Load { reads: 1, writes: 2, written_bytes: 3 },
        })
        .collect();
    all[5].codes = (0..500).map(|code| (format!("E{code}"), 1)).collect();
    let text = metrics(all.into_iter().map(Some).collect(), "0");
    let cases = [
        ("pinion_replies_total", "core", CORES_MAX, (cores * (cores - 1) / 2) as u64),
        ("pinion_core_up", "core", CORES_MAX, cores as u64),
        ("pinion_range_reads_total", "group", GROUPS_MAX, 2_000),
        ("pinion_range_written_bytes_total", "group", GROUPS_MAX, 6_000),
        ("pinion_errors_total", "code", CODES_MAX, 500),
    ];
    for (metric, label, bound, expected) in cases {
        let (values, sum) = look(&text, metric, label);
        assert_eq!((values.len(), sum), (bound + 1, expected), "{metric}");
        assert_eq!(values.last().map(String::as_str), Some(OTHER), "{metric}");
    }
}

#[test]
fn what_fits_a_bound_has_no_other() {
    let items = |count: u32| (0..count).map(|item| (item.to_string(), 1));
    assert_eq!(bounded(items(3), 3, |sum, more| *sum += more).len(), 3);
    let four = bounded(items(6), 3, |sum, more| *sum += more);
    assert_eq!((four.len(), &four[3]), (4, &(OTHER.to_owned(), 3)));
}

#[test]
fn every_counter_is_shown_and_a_silent_core_is_told() {
    assert_eq!(COUNTERS_SHOWN, Counters::COUNT);
    let text = metrics(vec![Some(figures(7)), None], "1.2.3");
    assert!(text.contains("pinion_replies_total{core=\"0\"} 7\n"), "{text}");
    assert!(text.contains("pinion_core_up{core=\"0\"} 1\npinion_core_up{core=\"1\"} 0\n"), "{text}");
    assert!(text.contains("pinion_build_info{version=\"1.2.3\"} 1\n"), "{text}");
    assert!(!text.contains("pinion_replies_total{core=\"1\"}"), "{text}");
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn durations_fall_into_their_buckets_and_none_is_lost() {
    let (mut stages, per_micro) = (Stages::new(), 1_000);
    let micros = [3, 9, 11, 99, 5_000, 20_000_000];
    for micros in micros {
        stages.record(&Trail::default(), 0, micros * per_micro, 1);
    }
    let whole = stages.whole_distribution(per_micro);
    let up_to = |bound: u64| -> u64 {
        let inside = BOUNDS_MICROS.iter().filter(|&&upper| upper <= bound).count();
        whole.counts[..inside].iter().sum()
    };
    assert_eq!((up_to(10), up_to(25), up_to(100), up_to(10_000), up_to(10_000_000)), (2, 3, 4, 5, 5));
    assert_eq!((whole.count(), whole.sum_nanos), (6, micros.iter().sum::<u64>() * 1_000));
    let text = metrics(vec![Some(CoreFigures { whole, ..CoreFigures::default() })], "0");
    let buckets: Vec<&str> =
        text.lines().filter(|line| line.starts_with("pinion_request_seconds_bucket")).collect();
    assert_eq!(buckets.len(), BOUNDS_MICROS.len() + 1);
    assert!(buckets[0].ends_with("le=\"0.00001\",core=\"0\"} 2"), "{}", buckets[0]);
    assert!(buckets[19].contains("le=\"+Inf\"") && buckets[19].ends_with("} 6"), "{}", buckets[19]);
    assert_eq!(look(&text, "pinion_stage_seconds_count", "stage").0, STAGES.map(|stage| stage.name()));
}

#[test]
fn health_says_what_is_the_matter() {
    assert_eq!(Board::readiness(&[Some(figures(1))]), Health::Good);
    let full = Counters { cores_without_space: 1, groups_damaged: 2, ..Counters::default() };
    let answers = [
        Some(CoreFigures { counters: full, ..CoreFigures::default() }),
        None,
        Some(CoreFigures { stopping: true, ..CoreFigures::default() }),
    ];
    assert_eq!(Board::liveness(&answers), Health::Bad(vec!["core 1 does not answer".to_owned()]));
    let Health::Bad(lines) = Board::readiness(&answers) else { panic!("it is not ready") };
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[2].starts_with("core 0: 2: groups lost records"), "{lines:?}");
}
