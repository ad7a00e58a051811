//! Trees on a simulated disk, against their model.

use pinion_lsm::harness::{RandomRun, random_operations};

use crate::number;

/// D3: under random operations every answer is what a map of versions says.
#[test]
fn equals_a_map_of_versions_under_random_operations() {
    let (first, count) = (number("PINION_SEED", 1), number("PINION_SEEDS", 12));
    let mut total = RandomRun::default();
    for seed in first..first + count {
        match random_operations(seed, 600) {
            Ok(run) => {
                total.reopened += run.reopened;
                total.flushes += run.flushes;
                total.compactions += run.compactions;
                total.evicted += run.evicted;
            }
            Err(what) => {
                panic!(
                    "{what}\nreplay with: PINION_SEED={seed} PINION_SEEDS=1 cargo test -p pinion-lsm equals_a_map"
                )
            }
        }
    }
    println!("{total:?}");
    if count >= 12 {
        assert!(
            total.reopened > 0 && total.flushes > 0 && total.compactions > 0 && total.evicted > 0,
            "{total:?}"
        );
    }
}
