//! Patterns: malformed ones included, they match what the oracle says.

use std::collections::BTreeSet;

use pinion_shard::glob_matches;

use super::env_number;
use super::process::Server;
use super::wire::{Connection, Peer, Value};

/// Letters of keys and patterns: few, and all that is special.
const LETTERS: &[u8] = b"ab-]^[c\\d";
const SPECIAL: &[u8] = b"ab-]^[c\\*?";

#[test]
fn patterns_match_as_at_the_oracle() {
    let Some(redis) = Server::redis(&[]) else { return };
    let (seed, count) = (env_number("PINION_SEED", 1), env_number("PINION_ORACLE_PATTERNS", 3_000));
    println!(
        "PINION_SEED={seed} PINION_ORACLE_PATTERNS={count} cargo test -p pinion-core --test it oracle::patterns"
    );
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut word = |letters: &[u8], len_max: usize| -> Vec<u8> {
        (0..rng.usize(0..=len_max)).map(|_| letters[rng.usize(..letters.len())]).collect()
    };
    let mut oracle = Connection::open(redis.address).expect("it answers");
    // The oracle finds the empty key with `*` and with an empty pattern only, not with `**`; that is not followed.
    let keys: BTreeSet<Vec<u8>> = (0..300).map(|_| word(LETTERS, 6)).filter(|key| !key.is_empty()).collect();
    for key in &keys {
        oracle.ask(&[b"set".to_vec(), key.clone(), b"1".to_vec()]);
    }
    let mut matched = 0;
    for _ in 0..count {
        let pattern = word(SPECIAL, 8);
        let Value::Array(found) = oracle.ask(&[b"keys".to_vec(), pattern.clone()]) else { panic!("no keys") };
        let found: BTreeSet<Value> = found.into_iter().collect();
        let ours = keys.iter().filter(|key| glob_matches(&pattern, key)).cloned().map(Value::Bulk).collect();
        assert_eq!(found, ours, "seed {seed}: {}", pattern.escape_ascii());
        matched += found.len();
    }
    assert!(matched > 1000, "{matched}");
}
