//! Linearizability of registers and counters in time n log n, for histories whose written values are all different.
//!
//! The operations on one written value (the write and the reads that saw it) form a cluster. In any legal order a cluster
//! is contiguous, so with `first_end` the earliest end in it and `last_begin` the latest beginning, a cluster with
//! `first_end < last_begin` (a forward zone) occupies at least that interval, and any other can be placed at one moment
//! anywhere between `last_begin` and `first_end` (a backward zone). The history is linearizable exactly when no two
//! forward zones overlap, no backward zone lies within a forward one, and no read ends before its write begins
//! (Gibbons and Korach, Testing shared memories, 1997).
//!
//! A write without an outcome may take effect at any time after it began, or never: unless somebody read it, it is left
//! out; otherwise it never ends.

use std::collections::BTreeMap;

/// What an operation on a register did. Values are numbers, never used twice; 0 is the absence of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Wrote this value.
    Write(u64),
    /// Read this value.
    Read(u64),
}

/// An operation on a register: from the sending of the command to its reply, in nanoseconds of virtual time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What it did.
    pub act: Act,
    /// When it was sent.
    pub begun: u64,
    /// When it was answered; `None` when its outcome is unknown.
    pub ended: Option<u64>,
}

#[derive(Debug)]
struct Cluster {
    write_begun: u64,
    written: bool,
    read: bool,
    first_end: u64,
    last_begin: u64,
}

impl Default for Cluster {
    fn default() -> Self {
        Self { write_begun: 0, written: false, read: false, first_end: u64::MAX, last_begin: 0 }
    }
}

/// Checks the history of one register that began absent.
///
/// # Errors
/// A sentence with the values that cannot be ordered.
pub fn check_register(history: &[Operation]) -> Result<(), String> {
    let mut clusters: BTreeMap<u64, Cluster> = BTreeMap::new();
    // Absence was "written" before everything.
    clusters.insert(0, Cluster { written: true, first_end: 0, ..Cluster::default() });
    for operation in history {
        let (value, is_write) = match operation.act {
            Act::Write(value) => (value, true),
            Act::Read(value) => (value, false),
        };
        let cluster = clusters.entry(value).or_default();
        if is_write {
            if std::mem::replace(&mut cluster.written, true) {
                return Err(format!("value {value} was written twice: the workload is wrong"));
            }
            cluster.write_begun = operation.begun;
        } else if operation.ended.is_some() {
            cluster.read = true;
        } else {
            continue;
        }
        cluster.first_end = cluster.first_end.min(operation.ended.unwrap_or(u64::MAX));
        cluster.last_begin = cluster.last_begin.max(operation.begun);
    }
    // A write that nobody saw and that was not answered may never have happened.
    clusters.retain(|_, cluster| cluster.read || cluster.first_end < u64::MAX);
    for (value, cluster) in &clusters {
        if !cluster.written {
            return Err(format!("value {value} was read, but nobody wrote it"));
        }
        if cluster.first_end < cluster.write_begun {
            return Err(format!("value {value} was read before its write began"));
        }
    }
    check_zones(&clusters)
}

fn check_zones(clusters: &BTreeMap<u64, Cluster>) -> Result<(), String> {
    let is_forward = |cluster: &Cluster| cluster.first_end < cluster.last_begin;
    let mut forward: Vec<(u64, u64, u64)> = clusters
        .iter()
        .filter(|(_, cluster)| is_forward(cluster))
        .map(|(value, cluster)| (cluster.first_end, cluster.last_begin, *value))
        .collect();
    forward.sort_unstable();
    for pair in forward.windows(2) {
        let [(_, end, first), (begin, _, second)] = pair else { continue };
        if begin < end {
            return Err(format!("values {first} and {second} were each read before and after the other"));
        }
    }
    for (value, cluster) in clusters.iter().filter(|(_, cluster)| !is_forward(cluster)) {
        // Forward zones are disjoint now: only the last that begins before this one can hold it.
        let before = forward.partition_point(|(begin, ..)| *begin < cluster.last_begin);
        if let Some((_, end, around)) = before.checked_sub(1).map(|place| forward[place])
            && cluster.first_end < end
        {
            return Err(format!("value {value} stood between two sights of value {around}"));
        }
    }
    Ok(())
}

/// An INCR and the sum it answered.
#[derive(Clone, Copy, Debug)]
pub struct Increment {
    /// When it was sent.
    pub begun: u64,
    /// When it was answered, and with what; `None` when its outcome is unknown.
    pub ended: Option<(u64, i64)>,
}

/// Checks the increments of one counter that began at 0, and that its last value is `last`.
///
/// # Errors
/// A sentence with the sums that cannot be ordered.
pub fn check_counter(history: &[Increment], last: i64) -> Result<(), String> {
    let mut answered: Vec<(u64, u64, i64)> =
        history.iter().filter_map(|i| i.ended.map(|(ended, sum)| (i.begun, ended, sum))).collect();
    let unknown = history.len() - answered.len();
    let least = answered.len() as i64;
    if !(least..=least + unknown as i64).contains(&last) {
        return Err(format!("{least} increments were answered, {unknown} not, but the counter is {last}"));
    }
    let mut sums: Vec<i64> = answered.iter().map(|(.., sum)| *sum).collect();
    sums.sort_unstable();
    if let Some(twice) = sums.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("the sum {} was answered twice", twice[0]));
    }
    if sums.first().is_some_and(|&sum| sum < 1) || sums.last().is_some_and(|&sum| sum > last) {
        return Err(format!("sums {:?}..{:?} of a counter that is {last}", sums.first(), sums.last()));
    }
    // Whoever begins after an answer must see a larger sum: walk both orders at once.
    let mut by_end = answered.clone();
    by_end.sort_unstable_by_key(|(_, ended, _)| *ended);
    answered.sort_unstable();
    let (mut ended_before, mut largest) = (by_end.iter().peekable(), 0);
    for (begun, _, sum) in answered {
        while let Some((.., earlier)) = ended_before.next_if(|(_, ended, _)| *ended < begun) {
            largest = largest.max(*earlier);
        }
        if sum <= largest {
            return Err(format!("the sum {sum} was answered to a command sent after the sum {largest}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether some order of all answered operations, and of any of the others, explains every read: by trying all.
    fn explainable(history: &[Operation], done: &mut Vec<bool>, value: u64) -> bool {
        let open = |i: &usize| !done[*i];
        let left: Vec<usize> = (0..history.len()).filter(open).collect();
        if left.iter().all(|&i| history[i].ended.is_none()) {
            return true;
        }
        let first_end = left.iter().filter_map(|&i| history[i].ended).min().unwrap_or(u64::MAX);
        for i in left {
            if history[i].begun > first_end {
                continue;
            }
            let next = match history[i].act {
                Act::Write(written) => written,
                Act::Read(read) if history[i].ended.is_none() || read == value => value,
                Act::Read(_) => continue,
            };
            done[i] = true;
            let found = explainable(history, done, next);
            done[i] = false;
            if found {
                return true;
            }
        }
        false
    }

    fn random_history(rng: &mut fastrand::Rng) -> Vec<Operation> {
        let writes = rng.u64(1..4);
        let mut history = Vec::new();
        for value in 1..=writes {
            let begun = rng.u64(1..20);
            let ended = (rng.u32(0..4) > 0).then(|| begun + rng.u64(1..8));
            history.push(Operation { act: Act::Write(value), begun, ended });
        }
        for _ in 0..rng.u32(0..5) {
            let begun = rng.u64(1..24);
            let act = Act::Read(rng.u64(0..=writes));
            history.push(Operation { act, begun, ended: Some(begun + rng.u64(1..8)) });
        }
        history
    }

    #[test]
    fn zones_agree_with_trying_every_order() {
        let seed = std::env::var("PINION_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
        println!("replay: PINION_SEED={seed} cargo test -p pinion-tools zones_agree");
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut sound, mut unsound) = (0, 0);
        for round in 0..20_000 {
            let history = random_history(&mut rng);
            let expected = explainable(&history, &mut vec![false; history.len()], 0);
            let found = check_register(&history);
            assert_eq!(found.is_ok(), expected, "round {round}: {found:?} of {history:?}");
            if expected { sound += 1 } else { unsound += 1 }
        }
        assert!(sound > 1_000 && unsound > 1_000, "{sound} sound, {unsound} unsound: one side is not tried");
    }

    #[test]
    fn counters_that_repeat_jump_or_go_back_are_found_out() {
        let at = |begun, ended, sum| Increment { begun, ended: Some((ended, sum)) };
        let unknown = Increment { begun: 5, ended: None };
        assert_eq!(check_counter(&[at(1, 2, 1), at(3, 4, 2), unknown], 3), Ok(()));
        assert_eq!(check_counter(&[at(1, 9, 2), at(2, 8, 1)], 2), Ok(()));
        for (history, last) in [
            (vec![at(1, 2, 1), at(3, 4, 1)], 2),
            (vec![at(1, 2, 2), at(3, 4, 1)], 2),
            (vec![at(1, 2, 1), at(3, 4, 2)], 1),
            (vec![at(1, 2, 1), at(3, 4, 2)], 3),
            (vec![at(1, 2, 1), at(3, 4, 7)], 2),
        ] {
            assert!(check_counter(&history, last).is_err(), "{history:?} with {last}");
        }
    }
}
