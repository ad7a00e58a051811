//! Point reads and writes of a million keys in one tree, from memtables and from cached tables.
//!
//! `taskset -c 1 cargo run --release -p pinion-lsm --example points`

use std::hint::black_box;
use std::rc::Rc;

use pinion_lsm::{Boundary, Cache, Cell, Engine, Get, Hint, Options, Timestamp, Tree, TreeId};
use pinion_wal::disk::direct::DirectDisk;
use pinion_wal::disk::{Disk, block_on};
use pinion_wal::task::Tasks;
use pinion_wal::{LogIndex, Ticks};

const KEYS: u64 = 1_000_000;
const READS: u64 = 2_000_000;
const VALUE: [u8; 128] = [7; 128];

/// Nanoseconds that this thread has run: other processes disturb it less than the time of day.
fn cpu_nanos() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).expect("time does not run backwards")
}

struct Clock;

impl Ticks for Clock {
    fn now(&self) -> u64 {
        cpu_nanos()
    }

    fn per_micro(&self) -> u64 {
        1_000
    }
}

/// A key as the server makes them: keyspace, slot, hash, the client's key, terminator, row kind.
fn key(number: u64) -> [u8; 28] {
    let mut key = [0; 28];
    let hash = pinion_lsm::hash_of(&number.to_le_bytes());
    key[0] = 1;
    key[1..3].copy_from_slice(&(hash as u16 & 0x3fff).to_be_bytes());
    key[3..9].copy_from_slice(&hash.to_be_bytes()[..6]);
    key[9..13].copy_from_slice(b"key:");
    let mut rest = number;
    for digit in key[13..25].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key[27] = 1;
    key
}

fn report(what: &str, count: u64, start: u64) {
    let nanos = (cpu_nanos() - start) as f64 / count as f64;
    println!("{what:44} {nanos:7.0} ns  {:6.2} M/s", 1_000.0 / nanos);
}

fn read(tree: &Tree, key: &[u8], hash: u64) {
    match tree
        .get(key, hash, Timestamp::MAX, |_, cell| black_box(matches!(cell, Cell::Inline(v) if v[5] == 7)))
    {
        Get::Found(found) => assert!(found),
        Get::Absent => panic!("a key is missing"),
        Get::OnDisk(_) => panic!("a block is not cached"),
    }
}

fn puts(tree: &Tree, numbers: &[u64], from: u64, batch: usize) {
    let start = cpu_nanos();
    for (round, numbers) in numbers.chunks(batch).enumerate() {
        let mut keys = [([0; 28], 0); 64];
        for (slot, &number) in keys.iter_mut().zip(numbers) {
            let key = key(number);
            *slot = (key, Tree::hash(&key));
        }
        let keys = &keys[..numbers.len()];
        if batch > 1 {
            keys.iter().for_each(|(_, hash)| tree.prefetch_slot(*hash));
            keys.iter().for_each(|(_, hash)| tree.prefetch_entry(*hash));
        }
        for (key, hash) in keys {
            tree.put(key, *hash, Timestamp(from + round as u64), Cell::Inline(&VALUE));
        }
    }
    report(&format!("put over old keys, by {batch}"), numbers.len() as u64, start);
}

fn reads(tree: &Tree, numbers: &[u64], what: &str) {
    let start = cpu_nanos();
    for &number in numbers {
        let key = key(number);
        read(tree, &key, Tree::hash(&key));
    }
    report(&format!("{what}, one by one"), READS, start);
    for batch in [4, 16, 64] {
        let start = cpu_nanos();
        for numbers in numbers.chunks(batch) {
            let mut keys = [([0; 28], 0); 64];
            for (slot, &number) in keys.iter_mut().zip(numbers) {
                let key = key(number);
                let hash = Tree::hash(&key);
                tree.prefetch_slot(hash);
                *slot = (key, hash);
            }
            let keys = &keys[..numbers.len()];
            let mut hints = [Hint::default(); 64];
            let mut round = || {
                let keys = keys.iter().zip(&mut hints);
                let more = keys.map(|((key, hash), hint)| tree.prefetch_next(key, *hash, hint));
                more.fold(false, |any, more| any | more)
            };
            while round() {}
            keys.iter().for_each(|(key, hash)| read(tree, key, *hash));
        }
        report(&format!("{what}, prefetched by {batch}"), READS, start);
    }
}

fn main() {
    let dir = std::env::temp_dir().join(format!("pinion-points-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a temporary directory");
    let (disk, mut driver) = (Disk::new(), DirectDisk::new(&dir).expect("the directory exists"));
    let mut tasks = Tasks::new(Rc::new(Clock));
    let engine = Engine::new(disk.clone(), tasks.spawner(), Cache::new(1 << 30), Options::default());
    let open = engine.open_tree(TreeId(16));
    let (tree, _) = block_on(&disk, &mut driver, Some(&mut tasks), open).expect("a fresh tree");

    let start = cpu_nanos();
    for number in 0..READS {
        black_box(Tree::hash(&key(number % KEYS)));
    }
    report("making and hashing a key (in all below)", READS, start);

    let mut rng = fastrand::Rng::with_seed(1);
    let start = cpu_nanos();
    for number in 0..KEYS {
        let key = key(number);
        tree.put(&key, Tree::hash(&key), Timestamp(1), Cell::Inline(&VALUE));
    }
    report("put of new keys", KEYS, start);
    println!("{:44} {:7} MiB", "memtable", tree.memtable_bytes() >> 20);
    let numbers: Vec<u64> = (0..READS).map(|_| rng.u64(..KEYS)).collect();
    reads(&tree, &numbers, "get from the memtable");
    puts(&tree, &numbers, 2, 1);
    puts(&tree, &numbers, READS + 3, 16);

    let start = cpu_nanos();
    tree.set_safe_point(Timestamp(2 * READS + 3));
    tree.seal(Boundary { index: LogIndex(1), ..Boundary::default() });
    block_on(&disk, &mut driver, Some(&mut tasks), async {
        while !tree.is_idle() {
            pinion_wal::task::yield_now().await;
        }
    });
    report("flush of a key", KEYS, start);
    println!("{:44} {:?}", "levels", tree.metrics().level_bytes);
    for number in 0..KEYS {
        let key = key(number);
        if let Get::OnDisk(probe) = tree.get(&key, Tree::hash(&key), Timestamp::MAX, |_, _| ()) {
            let read = tree.read(probe);
            let found = block_on(&disk, &mut driver, Some(&mut tasks), read).expect("undamaged");
            assert!(found.is_some());
        }
    }
    println!("{:44} {:?}", "cache", engine.cache().metrics());
    reads(&tree, &numbers, "get from cached tables");
    std::fs::remove_dir_all(&dir).expect("the temporary directory");
}
