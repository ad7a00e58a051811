//! What arrives at a redis-server follows the distribution, the mix and the lengths that were asked for.
//!
//! The number of requests and the seed are fixed, so that the same keys are drawn in every run.

use super::redis::{Redis, installed};
use super::{figure, figures};

const KEYS: usize = 50;
const DRAWS: usize = 20_000;

/// How often each key was counted.
fn counts(redis: &Redis) -> Vec<f64> {
    let count = |key: usize| {
        let text = redis.say(&["GET", &format!("counter:key:{key:012}")]);
        text.lines().nth(1).and_then(|line| line.parse().ok()).unwrap_or(0.0)
    };
    (0..KEYS).map(count).collect()
}

/// With 49 degrees of freedom chi-square is above 86 once in a thousand times.
fn assert_follows(name: &str, counts: &[f64], weight: impl Fn(usize) -> f64) {
    let total: f64 = (0..KEYS).map(&weight).sum();
    let chi_square: f64 = (0..KEYS)
        .map(|key| {
            let expected = DRAWS as f64 * weight(key) / total;
            (counts[key] - expected).powi(2) / expected
        })
        .sum();
    assert!(counts.iter().sum::<f64>() == DRAWS as f64, "{name}: {counts:?}");
    assert!(chi_square < 86.0, "{name}: chi-square {chi_square} of {counts:?}");
}

#[test]
fn keys_arrive_by_their_distribution() {
    if !installed() {
        return;
    }
    let redis = Redis::start(&[]);
    let zipf = |rank: usize| 1.0 / (rank as f64 + 1.0).powf(0.99);
    for name in ["uniform", "zipfian", "sequential", "latest", "hot-set"] {
        redis.say(&["FLUSHALL"]);
        let text = figures(&format!(
            "load --address 127.0.0.1:{} --mix incr --distribution {name} --keys {KEYS} --requests {DRAWS} \
             --connections 5 --pipeline 16 --seed 7",
            redis.port
        ));
        assert_eq!(
            (figure(&text, "ops"), figure(&text, "errors"), figure(&text, "seed")),
            (20_000.0, 0.0, 7.0)
        );
        let mut counts = counts(&redis);
        match name {
            "zipfian" => {
                counts.sort_unstable_by(|a, b| b.total_cmp(a));
                assert_follows(name, &counts, zipf);
            }
            "latest" => assert_follows(name, &counts, |key| zipf(KEYS - 1 - key)),
            "hot-set" => assert_follows(name, &counts, |key| if key < 10 { 0.8 / 10.0 } else { 0.2 / 40.0 }),
            "sequential" => assert!(counts.iter().all(|&count| count == 400.0), "{counts:?}"),
            _ => assert_follows(name, &counts, |_| 1.0),
        }
    }
}

#[test]
fn presets_and_lengths_arrive_as_asked_for() {
    if !installed() {
        return;
    }
    let redis = Redis::start(&[]);
    let calls = |command: &str| {
        let info = redis.say(&["INFO", "commandstats"]);
        let line = info.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0.0_f64)
    };
    // Of 10,000 operations; four standard deviations are 200 of a half and 87 of a twentieth.
    for (preset, gets, sets, mgets, slack) in [
        ("a", 5000.0, 5000.0, 0.0, 200.0_f64),
        ("b", 9500.0, 500.0, 0.0, 87.0),
        ("c", 10_000.0, 0.0, 0.0, 0.0),
        ("d", 9500.0, 500.0, 0.0, 87.0),
        ("e", 0.0, 500.0, 9500.0, 87.0),
        ("f", 10_000.0, 5000.0, 0.0, 200.0),
    ] {
        redis.say(&["FLUSHALL"]);
        let flags = format!("load --address 127.0.0.1:{} --keys 100 --pipeline 8", redis.port);
        figures(&format!("{flags} --operation fill"));
        redis.say(&["CONFIG", "RESETSTAT"]);
        let text = figures(&format!("{flags} --preset {preset} --requests 10000"));
        assert_eq!((figure(&text, "ops"), figure(&text, "errors")), (10_000.0, 0.0), "{preset}");
        for (command, expected) in [("get", gets), ("set", sets), ("mget", mgets)] {
            let found = calls(command);
            assert!((found - expected).abs() <= slack, "{preset}: {found} of {command}");
        }
    }
    redis.say(&["FLUSHALL"]);
    let sizes = "--operation fill --keys 2000 --value-sizes list:10=50,1000=50";
    figures(&format!("load --address 127.0.0.1:{} {sizes}", redis.port));
    let lengths: Vec<String> =
        (0..2000).map(|key| redis.say(&["STRLEN", &format!("key:{key:012}")])).collect();
    let long = lengths.iter().filter(|text| text.as_str() == ":1000\r\n").count();
    assert_eq!(long + lengths.iter().filter(|text| text.as_str() == ":10\r\n").count(), 2000);
    assert!((911..=1089).contains(&long), "{long} of 2000 long values");
}
