use std::collections::BTreeMap;
use std::rc::Rc;

use super::*;
use crate::cell::OwnedCell;
use crate::hash::hash_of;

type Model = BTreeMap<Vec<u8>, BTreeMap<u64, OwnedCell>>;

fn seed() -> u64 {
    let seed = std::env::var("PINION_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("replay with: PINION_SEED={seed} cargo test -p pinion-lsm memtable");
    seed
}

/// Keys of several shapes: short ones, long shared prefixes (equal first eight bytes), prefixes of one another.
fn random_key(rng: &mut fastrand::Rng, spread: u32) -> Vec<u8> {
    let number = rng.u32(..spread);
    match rng.u8(..4) {
        0 => number.to_be_bytes()[..rng.usize(0..=4)].to_vec(),
        1 => format!("shared-prefix-{number:06}").into_bytes(),
        2 => hash_of(&number.to_le_bytes()).to_be_bytes().to_vec(),
        _ => vec![b'x'; rng.usize(..20)],
    }
}

fn check_point(table: &Memtable, model: &Model, key: &[u8], at: u64) {
    let expected = model.get(key).and_then(|versions| versions.range(..=at).next_back());
    let expected = expected.map(|(&at, cell)| (Timestamp(at), cell.clone()));
    let hash = hash_of(key);
    table.prefetch_slot(hash);
    table.prefetch_entry(hash);
    let got = table.get(key, hash, Timestamp(at), |at, cell| (at, cell.to_owned()));
    assert_eq!(got, expected, "key {key:?} at {at}");
}

#[test]
fn equals_a_map_of_versions_under_random_puts_reads_and_walks() {
    let mut rng = fastrand::Rng::with_seed(seed());
    for (keys, rows) in [(3, 200), (300, 3_000), (100_000, 20_000)] {
        let slab = Slab::new();
        let table = Rc::new(Memtable::new(&slab));
        let mut model = Model::new();
        for now in 1..=rows {
            let key = random_key(&mut rng, keys);
            let value = vec![now as u8; if rng.u8(..200) == 0 { 100_000 } else { rng.usize(..200) }];
            let cell = if rng.u8(..5) == 0 { Cell::Tombstone } else { Cell::Inline(&value) };
            // Two puts may share a timestamp: the last one counts.
            let at = 1 + now / 2;
            table.put(&key, hash_of(&key), Timestamp(at), cell);
            model.entry(key).or_default().insert(at, cell.to_owned());
            let key = random_key(&mut rng, keys);
            check_point(&table, &model, &key, rng.u64(..=now));
        }
        assert_eq!((table.rows(), table.keys()), (rows as usize, model.len()));
        for (key, versions) in &model {
            check_point(&table, &model, key, u64::MAX);
            check_point(&table, &model, key, versions.keys().next().unwrap() - 1);
        }
        walk(&table, &model);
        drop(table);
        assert_eq!(slab.used_bytes(), 0);
    }
}

fn walk(table: &Rc<Memtable>, model: &Model) {
    let mut cursor = MemtableCursor::new(table.clone());
    let mut key = Vec::new();
    cursor.seek(b"");
    for (expected, versions) in model {
        assert!(cursor.copy_key(&mut key));
        assert_eq!(&key, expected);
        let mut seen = Vec::new();
        cursor.walk(&mut cursor.versions(), |at, cell| {
            seen.push((at.0, cell.to_owned()));
            true
        });
        seen.reverse();
        assert!(seen.iter().map(|(at, cell)| (at, cell)).eq(versions));
        cursor.next();
    }
    assert!(!cursor.copy_key(&mut key));
    cursor.seek_before(None);
    for expected in model.keys().rev() {
        assert!(cursor.copy_key(&mut key));
        assert_eq!(&key, expected);
        cursor.previous();
    }
    assert!(!cursor.copy_key(&mut key));
}

#[test]
fn a_cursor_finds_its_place_again_when_keys_arrive_around_it() {
    let mut rng = fastrand::Rng::with_seed(seed());
    let table = Rc::new(Memtable::new(&Slab::new()));
    let mut model = Model::new();
    let mut cursor = MemtableCursor::new(table.clone());
    let mut place: Option<Vec<u8>> = None;
    let mut key = Vec::new();
    for now in 1..20_000 {
        for _ in 0..rng.u8(..3) {
            let new = random_key(&mut rng, 3_000);
            table.put(&new, hash_of(&new), Timestamp(now), Cell::Inline(&new));
            model.entry(new.clone()).or_default().insert(now, Cell::Inline(&new).to_owned());
        }
        let target = random_key(&mut rng, 3_000);
        let after = |key: &[u8]| model.range(key.to_vec()..).next().map(|(key, _)| key.clone());
        let before = |key: &[u8]| model.range(..key.to_vec()).next_back().map(|(key, _)| key.clone());
        match rng.u8(..10) {
            0 => (cursor.seek(&target), place = after(&target)).0,
            1 => (cursor.seek_before(Some(&target)), place = before(&target)).0,
            2..6 => {
                cursor.next();
                place = place.and_then(|key| after(&[&key[..], &[0]].concat()));
            }
            _ => {
                cursor.previous();
                place = place.and_then(|key| before(&key));
            }
        }
        assert_eq!(cursor.copy_key(&mut key).then(|| key.clone()), place);
    }
}

#[test]
fn keys_whose_hashes_collide_are_told_apart() {
    let table = Memtable::new(&Slab::new());
    // One tag for all: every split is in vain, segments grow instead.
    for number in 0..2_000u64 {
        table.put(&number.to_be_bytes(), 7 << 40, Timestamp(1), Cell::Inline(&number.to_le_bytes()));
    }
    for number in 0..2_000u64 {
        let got = table.get(&number.to_be_bytes(), 7 << 40, Timestamp::MAX, |_, cell| cell.to_owned());
        assert_eq!(got, Some(Cell::Inline(&number.to_le_bytes()).to_owned()));
    }
}

#[test]
fn rising_and_falling_keys_keep_the_order() {
    for falling in [false, true] {
        let table = Rc::new(Memtable::new(&Slab::new()));
        let mut model = Model::new();
        for number in 0..40_000u32 {
            let key = if falling { 40_000 - number } else { number }.to_be_bytes();
            table.put(&key, hash_of(&key), Timestamp(1), Cell::Tombstone);
            model.entry(key.to_vec()).or_default().insert(1, OwnedCell::Tombstone);
        }
        walk(&table, &model);
    }
}

#[test]
#[should_panic(expected = "a version at")]
fn a_version_before_the_newest_of_its_key_is_refused() {
    let table = Memtable::new(&Slab::new());
    table.put(b"k", 1, Timestamp(2), Cell::Tombstone);
    table.put(b"k", 1, Timestamp(1), Cell::Tombstone);
}

#[test]
fn a_small_memtable_owns_little_memory() {
    let slab = Slab::new();
    let table = Memtable::new(&slab);
    assert_eq!((table.bytes(), slab.used_bytes()), (0, 0));
    table.put(b"k", 1, Timestamp(1), Cell::Inline(b"v"));
    assert!(table.bytes() <= 16 << 10, "{}", table.bytes());
}
