//! Random commands against the model: any lanes, rows in memory or on a disk that answers in any order, restarts in between.

use std::collections::BTreeMap;

use pinion_lsm::Options;
use pinion_wal::disk::Disk;
use pinion_wal::disk::sim::{Faults, SimDisk};

use super::model::Model;
use super::replica::{Replica, committed};
use crate::apply::Metrics;
use crate::reply::OwnedReply;
use crate::{
    BatchBuilder, BitOp, Command, Committed, Control, Digest, Expire, ExpireWhen, Key, Kind, List, LogIndex,
    ObjectField, Read, Reply, SetWhen, Term, TypeFilter,
};

/// The seeds to run: `PINION_SEED` alone, or a few fixed ones.
fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("PINION_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => {
            let scale = std::env::var("PINION_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
            (1..=scale.unwrap_or(count)).collect()
        }
    }
}

/// Says how to replay a failure.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay: PINION_SEED={} cargo test -p pinion-shard apply::tests::random", self.0);
        }
    }
}

/// A log, and what a Redis would answer to it.
struct Script {
    entries: Vec<Committed>,
    /// Of every entry, the replies to its commands in order.
    replies: Vec<Vec<OwnedReply>>,
    /// After every command, at its timestamp: what there is, and the time.
    models: BTreeMap<u64, (Model, u64)>,
}

fn key_name(rng: &mut fastrand::Rng) -> Vec<u8> {
    match rng.u8(..20) {
        0 => b"zero\0key".to_vec(),
        1 => format!("long:{}", "x".repeat(100)).into_bytes(),
        _ => format!("key:{}", rng.u8(..30)).into_bytes(),
    }
}

fn value(rng: &mut fastrand::Rng) -> Vec<u8> {
    match rng.u8(..10) {
        0..4 => rng.i64(-20..20).to_string().into_bytes(),
        4 => Vec::new(),
        5 => i64::MAX.to_string().into_bytes(),
        6 => b"007".to_vec(),
        _ => (0..rng.usize(..300)).map(|_| rng.u8(..)).collect(),
    }
}

fn expire(rng: &mut fastrand::Rng, now: u64) -> Expire {
    match rng.u8(..9) {
        0 | 1 => Expire::Clear,
        2 | 3 => Expire::Keep,
        4 => Expire::At(now as i64 + rng.i64(-50..500)),
        5 => Expire::In(i64::MAX - 3),
        _ => Expire::In(rng.i64(1..300)),
    }
}

fn set_expire(rng: &mut fastrand::Rng, now: u64) -> Expire {
    match expire(rng, now) {
        // The parser refuses what is not positive.
        Expire::At(at) => Expire::At(at.max(1)),
        other => other,
    }
}

/// Calls `then` with a random command.
fn random_command(rng: &mut fastrand::Rng, now: u64, then: impl FnOnce(&Command<'_>)) {
    let (name, bytes) = (key_name(rng), value(rng));
    let key = Key::new(&name);
    let names: Vec<Vec<u8>> = (0..rng.usize(1..6)).map(|_| key_name(rng)).collect();
    let values: Vec<Vec<u8>> = names.iter().map(|_| value(rng)).collect();
    let keys: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    let pairs: Vec<&[u8]> =
        names.iter().zip(&values).flat_map(|(key, value)| [&key[..], &value[..]]).collect();
    let when = [SetWhen::Always, SetWhen::Always, SetWhen::Absent, SetWhen::Present][rng.usize(..4)];
    let float = format!("{}{}", rng.i64(-9..9), if rng.bool() { ".5" } else { "" }).into_bytes();
    let second = key_name(rng);
    let two: [&[u8]; 2] = [&name, &second];
    // Keys of their own: a number that other commands have cut or lengthened is beyond the model.
    let float_key = format!("float:{}", rng.u8(..4)).into_bytes();
    then(&match rng.u8(..53) {
        0..10 => {
            let expire = set_expire(rng, now);
            Command::Set { key, value: &bytes, when, expire, get: rng.u8(..4) == 0 }
        }
        10..14 => Command::Append { key, value: &bytes },
        14..17 => Command::SetRange { key, offset: rng.u64(..400), value: &bytes },
        17 => Command::SetRange { key, offset: 16 << 20, value: &bytes },
        18..24 => Command::IncrBy { key, delta: if rng.u8(..9) == 0 { i64::MAX } else { rng.i64(-9..9) } },
        24..26 => Command::GetDel { key },
        26..28 => Command::GetEx { key, expire: set_expire(rng, now) },
        28..31 => Command::Del { keys: List::new(&keys) },
        31..35 => {
            let expire = match expire(rng, now) {
                Expire::Clear | Expire::Keep => Expire::In(rng.i64(-100..100)),
                other => other,
            };
            use ExpireWhen::{Always, Earlier, Later, None, Some, SomeEarlier};
            let when = [Always, None, Some, Later, Earlier, SomeEarlier][rng.usize(..6)];
            Command::Expire { key, expire, when }
        }
        35 => Command::Persist { key },
        36..39 => Command::MSet { pairs: List::new(&pairs), only_new: rng.u8(..3) == 0 },
        39 if rng.u8(..8) == 0 => Command::FlushAll,
        39 => Command::Persist { key },
        42..44 => Command::IncrByFloat { key: Key::new(&float_key), delta: &float },
        44 => {
            Command::Set { key: Key::new(&float_key), value: &bytes, when, expire: Expire::Keep, get: false }
        }
        46..50 => {
            let (replace, remove) = (rng.bool(), rng.bool());
            let keys = List::new(&two);
            Command::Transfer { keys, replace, remove }
        }
        50 => Command::BitOp { op: BitOp::Not, keys: List::new(&two) },
        51 | 52 if keys.len() > 1 => {
            Command::BitOp { op: [BitOp::And, BitOp::Or, BitOp::Xor][rng.usize(..3)], keys: List::new(&keys) }
        }
        40..42 => Command::SetBit { key, offset: rng.u64(..400), bit: rng.bool() },
        _ => Command::SetBit { key, offset: (8 << 24) + rng.u64(..9) * (8 << 30), bit: true },
    });
}

impl Script {
    fn random(rng: &mut fastrand::Rng, count: usize) -> Self {
        let mut script = Self { entries: Vec::new(), replies: Vec::new(), models: BTreeMap::new() };
        let (mut model, mut at, mut now) = (Model::default(), 1 << 20, 1_000);
        let mut own = BatchBuilder::default();
        own.push_control(&Control::Own { range: 1, version: 1, first_slot: 0, last_slot: 16383 });
        script.entries.push(committed(1, at, now, own, Kind::Control));
        script.replies.push(Vec::new());
        while script.entries.len() < count {
            let index = script.entries.len() as u64 + 1;
            let (mut data, mut replies) = (Vec::new(), Vec::new());
            for _ in 0..rng.usize(1..4) {
                (at, now) = (at + rng.u64(200..300), now + rng.u64(..20));
                let (builder, kind) = match rng.u8(..12) {
                    0 => (random_control(rng), Kind::Control),
                    _ => (script.commands(rng, &mut model, at, now, &mut replies), Kind::Commands),
                };
                data.extend_from_slice(&committed(index, at, now, builder, kind).data);
            }
            let entry = Committed { index: LogIndex(index), term: Term(1), data: data.into(), answer: true };
            script.entries.push(entry);
            script.replies.push(replies);
        }
        script
    }

    fn commands(
        &mut self,
        rng: &mut fastrand::Rng,
        model: &mut Model,
        at: u64,
        now: u64,
        replies: &mut Vec<OwnedReply>,
    ) -> BatchBuilder {
        let mut builder = BatchBuilder::default();
        for number in 0..rng.u64(1..40) {
            random_command(rng, now, |command| {
                builder.push(command);
                replies.push(model.execute(command, now as i64));
            });
            self.models.insert(at + number, (model.clone(), now));
        }
        builder
    }
}

fn random_control(rng: &mut fastrand::Rng) -> BatchBuilder {
    let mut builder = BatchBuilder::default();
    let names: Vec<Vec<u8>> = (0..20).map(|_| key_name(rng)).collect();
    let keys: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    builder.push_control(&match rng.u8(..3) {
        0 => Control::Nothing,
        _ => Control::Reap { keys: List::new(&keys) },
    });
    builder
}

/// How one run goes; its results must not depend on it.
struct Course {
    lanes: u32,
    seed: u64,
    memtable_bytes_seal: usize,
    memtable_bytes_max: usize,
    cache_bytes: usize,
    restarts: bool,
}

/// What a run came to.
#[derive(Default)]
struct Outcome {
    digest: Digest,
    overtook: u64,
    fetched: u64,
    /// Restarts that found something in tables.
    recovered: u64,
    /// Restarts that went on within an entry.
    resumed: u64,
}

/// Runs a script; compares every reply and many reads with the model.
fn run(script: &Script, course: &Course) -> Outcome {
    let mut outcome = Outcome::default();
    let mut rng = fastrand::Rng::with_seed(course.seed);
    let &Course { memtable_bytes_seal, memtable_bytes_max, .. } = course;
    let options = || Options { memtable_bytes_seal, memtable_bytes_max, ..Options::default() };
    let (disk, sim) = (Disk::new(), SimDisk::new(course.seed, Faults::default()));
    let mut replica = Replica::on(disk, sim, course.lanes, options(), course.cache_bytes);
    let (mut submitted, mut seen, mut answered) = (0usize, Vec::new(), 0);
    while submitted < script.entries.len() {
        for _ in 0..rng.usize(1..5) {
            if let Some(entry) = script.entries.get(submitted) {
                let answer = submitted >= answered;
                replica.apply.submit(Committed { answer, ..entry.clone() }).expect("it is the next");
                submitted += 1;
                answered = answered.max(submitted);
            }
        }
        for _ in 0..rng.usize(..6) {
            replica.run_once().expect("every entry can be executed");
            if rng.bool() {
                replica.step_disk();
            }
            compare_reads(script, &mut replica, &mut rng);
        }
        if replica.apply.tree().should_seal() || rng.u8(..30) == 0 {
            replica.apply.request_seal();
        }
        seen.extend(replica.take_replies().into_iter().map(|(_, reply)| reply));
        if course.restarts && rng.u8(..25) == 0 {
            replica.settle();
            seen.extend(replica.take_replies().into_iter().map(|(_, reply)| reply));
            let digest = replica.apply.digest();
            outcome.count(&replica);
            let (disk, sim) = replica.close();
            let end = submitted as u64;
            replica = Replica::on(disk, sim, course.lanes, options(), course.cache_bytes);
            let LogIndex(from) = replica.apply.applied().0;
            outcome.recovered += u64::from(from > 0);
            outcome.resumed += u64::from(replica.apply.executed.is_some());
            for entry in &script.entries[from as usize..end as usize] {
                let replayed = Committed { answer: false, ..entry.clone() };
                replica.apply.submit(replayed).expect("it is the next");
            }
            replica.settle();
            assert_eq!(replica.apply.digest(), digest, "after a restart from entry {from} of {end}");
        }
    }
    replica.settle();
    seen.extend(replica.take_replies().into_iter().map(|(_, reply)| reply));
    let expected: Vec<_> = script.replies.iter().flatten().cloned().collect();
    assert_eq!(seen.len(), expected.len());
    for (number, (seen, expected)) in seen.iter().zip(&expected).enumerate() {
        assert_eq!(seen, expected, "command {number}");
    }
    for _ in 0..50 {
        compare_reads(script, &mut replica, &mut rng);
    }
    compare_pages(script, &mut replica, &mut rng);
    outcome.count(&replica);
    outcome.digest = replica.apply.digest().expect("nothing is in flight");
    outcome
}

impl Outcome {
    fn count(&mut self, replica: &Replica) {
        let Metrics { overtook, fetched, .. } = replica.apply.metrics();
        self.overtook += overtook;
        self.fetched += fetched;
    }
}

fn compare_reads(script: &Script, replica: &mut Replica, rng: &mut fastrand::Rng) {
    let published = replica.apply.published().0;
    // Mostly the newest timestamp, sometimes one before it.
    let upto = if rng.u8(..4) == 0 { rng.u64(..=published) } else { published };
    let Some((&at, (model, now))) = script.models.range(..=upto).next_back() else { return };
    let now = now + [0, 0, 5, 100][rng.usize(..4)];
    let name = key_name(rng);
    let key = Key::new(&name);
    let names: Vec<Vec<u8>> = (0..rng.usize(1..5)).map(|_| key_name(rng)).collect();
    let keys: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    let read = match rng.u8(..12) {
        0 | 1 => Read::Get { key },
        2 => Read::MGet { keys: List::new(&keys) },
        3 => Read::StrLen { key },
        4 => Read::GetRange { key, start: rng.i64(-12..12), end: rng.i64(-12..12) },
        5 => Read::Exists { keys: List::new(&keys) },
        11 => {
            let fields = [ObjectField::Encoding, ObjectField::RefCount, ObjectField::IdleTime];
            Read::Object { key, field: fields[rng.usize(..3)] }
        }
        6 => Read::Type { key },
        7 => Read::GetBit { key, offset: rng.u64(..400) },
        8 => {
            let (start, end, in_bits) = (rng.i64(-99..99), rng.i64(-99..99), rng.bool());
            Read::BitCount { key, start, end, in_bits }
        }
        9 => {
            let (start, in_bits) = (rng.i64(-99..99), rng.bool());
            let end = rng.bool().then(|| rng.i64(-99..99));
            Read::BitPos { key, bit: rng.bool(), start, end, in_bits: in_bits && end.is_some() }
        }
        _ => Read::Ttl { key, in_millis: rng.bool(), absolute: rng.bool() },
    };
    let expected = model.read(&read, now as i64);
    assert_eq!(replica.read_at(&read, at, now), expected, "{read:?} at {at}, time {now}");
}

fn compare_pages(script: &Script, replica: &mut Replica, rng: &mut fastrand::Rng) {
    let Some((&at, (model, now))) = script.models.iter().next_back() else { return };
    let expected = model.live_keys(*now as i64);
    let (mut keys, mut cursor, count) = (Vec::new(), 0, rng.u32(1..20));
    loop {
        let scan = Read::Scan { cursor, count, pattern: b"", kind: TypeFilter::String };
        let OwnedReply::Page(next, page) = replica.read_at(&scan, at, *now) else { panic!("no page") };
        assert!(page.len() <= count as usize, "no two of these keys share a place");
        keys.extend(page);
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    keys.sort();
    assert_eq!(keys, expected);
    let (mut total, mut cursor) = (0, 0);
    loop {
        let size = Read::DbSize { cursor, count };
        let OwnedReply::Plain(Reply::Page { cursor: next, count }) = replica.read_at(&size, at, *now) else {
            panic!("no page")
        };
        total += count as usize;
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(total, expected.len());
}

/// Runs one seed with 1, 2, 4 and 8 lanes, in memory and with little of it, and compares what they come to.
fn run_seed(seed: u64) -> Outcome {
    let _replay = Replay(seed);
    let mut rng = fastrand::Rng::with_seed(seed);
    let script = Script::random(&mut rng, 120);
    let mut sum = Outcome::default();
    for lanes in [1, 2, 4, 8] {
        for small in [false, true] {
            let (memtable_bytes_seal, cache_bytes) =
                if small { (16 << 10, 16 << 10) } else { (64 << 20, 8 << 20) };
            // So little that many an entry does not fit as a whole.
            let memtable_bytes_max = if small && lanes > 1 { 32 << 10 } else { 1 << 30 };
            let (seed, restarts) = (rng.u64(..), small);
            let course =
                Course { lanes, seed, memtable_bytes_seal, memtable_bytes_max, cache_bytes, restarts };
            let outcome = run(&script, &course);
            if lanes == 1 {
                assert_eq!(outcome.overtook, 0, "one lane lets nobody pass");
                if !small {
                    sum.digest = outcome.digest;
                }
            }
            assert_eq!(outcome.digest, sum.digest, "with {lanes} lanes");
            sum.overtook += outcome.overtook;
            sum.fetched += outcome.fetched;
            sum.recovered += outcome.recovered;
            sum.resumed += outcome.resumed;
        }
    }
    sum
}

/// T12: the replies are those of the model and the digest is one, for 1, 2, 4 and 8 lanes, whatever the disk does and whenever
/// the replica restarts.
#[test]
fn any_lanes_give_the_replies_of_the_model_and_one_digest() {
    let seeds = seeds(10);
    let outcomes: Vec<_> = seeds.iter().map(|&seed| run_seed(seed)).collect();
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    let counts = [sum(|o| o.fetched), sum(|o| o.overtook), sum(|o| o.recovered), sum(|o| o.resumed)];
    assert!(seeds.len() == 1 || counts.iter().all(|&count| count > 20), "rows were in memory: {counts:?}");
}

/// The check above can fail: each of these bugs is caught within a few seeds.
#[cfg(feature = "planted")]
#[test]
fn planted_bugs_are_caught() {
    for name in ["lanes-do-not-hold", "stale-fetch", "replay-from-wrong-index"] {
        crate::planted::plant(name);
        let caught = (1..=20).any(|seed| std::panic::catch_unwind(|| run_seed(seed)).is_err());
        crate::planted::plant("");
        assert!(caught, "{name}");
    }
}
