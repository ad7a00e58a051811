//! Full disks, poison, damage under reads, pins, removal, and the real disk.

use std::cell::Cell as StdCell;
use std::future::Future;
use std::rc::Rc;

use pinion_lsm::{
    Boundary, Cache, Cell, Compression, Engine, Flaw, Get, KeyRange, OpenError, Options, OwnedCell,
    ReadError, Timestamp, Tree, TreeId,
};
use pinion_wal::disk::direct::DirectDisk;
use pinion_wal::disk::sim::{Fault, Faults, Image, Pattern, SimDisk};
use pinion_wal::disk::{Cause, Disk, Driver, OpKind, block_on};
use pinion_wal::task::Tasks;
use pinion_wal::{LogIndex, Mono, Ticks};

const TREE: TreeId = TreeId(16);

struct Still(StdCell<u64>);

impl Ticks for Still {
    fn now(&self) -> u64 {
        self.0.get()
    }

    fn per_micro(&self) -> u64 {
        1
    }
}

/// An engine and what drives it.
struct World<D> {
    disk: Disk,
    driver: D,
    tasks: Tasks,
    engine: Engine,
    now: u64,
}

impl<D: Driver> World<D> {
    fn new(driver: D) -> Self {
        let options = Options {
            block_bytes: 512,
            table_bytes: 8 << 10,
            level0_tables_compact: 3,
            compression: Compression::None,
            ..Options::default()
        };
        let disk = Disk::new();
        let tasks = Tasks::new(Rc::new(Still(StdCell::new(0))));
        let engine = Engine::new(disk.clone(), tasks.spawner(), Cache::new(4 << 20), options);
        Self { disk, driver, tasks, engine, now: 0 }
    }

    fn wait<T>(&mut self, future: impl Future<Output = T>) -> T {
        block_on(&self.disk, &mut self.driver, Some(&mut self.tasks), future)
    }

    fn open(&mut self) -> Result<(Tree, Boundary), OpenError> {
        let engine = self.engine.clone();
        self.wait(async move { engine.open_tree(TREE).await })
    }

    /// Runs background work for some steps of a second.
    fn run(&mut self) {
        for _ in 0..20 {
            self.tasks.run_all();
            while self.driver.drive(&self.disk) > 0 {
                self.tasks.run_all();
            }
            self.now += 1_000;
            self.engine.tick(Mono(0).plus_millis(self.now));
        }
    }

    fn get(&mut self, tree: &Tree, key: &[u8], at: u64) -> Result<Option<OwnedCell>, ReadError> {
        match tree.get(key, Tree::hash(key), Timestamp(at), |_, cell| cell.to_owned()) {
            Get::Found(cell) => Ok(Some(cell)),
            Get::Absent => Ok(None),
            Get::OnDisk(probe) => {
                let tree = tree.clone();
                Ok(self.wait(async move { tree.read(probe).await })?.map(|(_, cell)| cell))
            }
        }
    }
}

fn sim(faults: Faults) -> World<SimDisk> {
    World::new(SimDisk::new(1, faults))
}

fn key(number: u64) -> [u8; 8] {
    pinion_lsm::hash_of(&number.to_le_bytes()).to_be_bytes()
}

fn value(number: u64, at: u64) -> Vec<u8> {
    format!("value of {number:06} at {at:06}").into_bytes()
}

fn fill(tree: &Tree, at: u64, index: u64) {
    for number in 0..200 {
        let key = key(number);
        tree.put(&key, Tree::hash(&key), Timestamp(at), Cell::Inline(&value(number, at)));
    }
    tree.seal(Boundary { index: LogIndex(index), ..Boundary::default() });
}

fn expected(number: u64, at: u64) -> Option<OwnedCell> {
    Some(Cell::Inline(&value(number, at)).to_owned())
}

/// D6: a full disk delays the flush and nothing else; it goes on when space returns.
#[test]
fn a_full_disk_is_waited_for() {
    let mut world = sim(Faults { capacity_bytes: Some(16 << 10), ..Faults::default() });
    let (tree, _) = world.open().unwrap();
    fill(&tree, 1, 1);
    world.run();
    assert_eq!(tree.metrics().trouble.map(|error| error.cause), Some(Cause::NoSpace));
    assert!(tree.metrics().work.abandoned > 1 && world.engine.poisoned().is_none());
    assert_eq!((tree.flushed().index, tree.metrics().sealed), (LogIndex(0), 1));
    assert_eq!(world.get(&tree, &key(7), 9), Ok(expected(7, 1)));
    world.driver.set_capacity(None);
    world.run();
    assert_eq!((tree.flushed().index, tree.metrics().trouble), (LogIndex(1), None));
    assert_eq!(world.get(&tree, &key(7), 9), Ok(expected(7, 1)));
}

/// D6: a compaction that the disk has no room for takes none of it from the flushes, and runs when there is room.
#[test]
fn a_compaction_leaves_space_for_flushes() {
    let mut world = sim(Faults::default());
    let (tree, _) = world.open().unwrap();
    let used =
        |world: &World<SimDisk>| -> u64 { world.driver.image().paths().iter().map(|(_, bytes)| bytes).sum() };
    fill(&tree, 1, 1);
    world.run();
    let table = table_path(world.driver.image()).1;
    // Less than the oldest table takes.
    let spare = table / 2 + (8 << 10);
    let capacity = used(&world) + 2 * table + spare;
    world.driver.set_capacity(Some(capacity));
    for index in 2..4 {
        fill(&tree, index, index);
        for _ in 0..200 {
            world.tasks.run_all();
            Driver::drive(&mut world.driver, &world.disk);
            world.now += 100;
            world.engine.tick(Mono(0).plus_millis(world.now));
            let left = capacity - used(&world);
            let tables = world.driver.image().paths();
            let tables = tables.iter().filter(|(path, _)| path.ends_with(".table")).count() as u64;
            assert!(tables <= index, "a flush makes one, {left} of {capacity} bytes are left");
        }
    }
    let metrics = tree.metrics();
    assert_eq!((metrics.level_tables[0], metrics.work.compactions), (3, 0));
    assert_eq!(metrics.trouble.map(|error| error.cause), Some(Cause::NoSpace));
    world.driver.set_capacity(None);
    world.run();
    assert_eq!((tree.metrics().level_tables[0], tree.metrics().trouble), (0, None));
    assert_eq!(world.get(&tree, &key(7), 9), Ok(expected(7, 3)));
}

/// D6: when the disk has no room for all of level 0 at once, it is compacted in parts, and the tree takes writes again.
#[test]
fn a_level_that_does_not_fit_is_compacted_in_parts() {
    let mut world = sim(Faults::default());
    let options = Options { level0_tables_compact: 3, level0_tables_max: 6, ..Options::default() };
    world.engine = Engine::new(world.disk.clone(), world.tasks.spawner(), Cache::new(4 << 20), options);
    let (tree, _) = world.open().unwrap();
    tree.set_safe_point(Timestamp(9));
    let used =
        |world: &World<SimDisk>| -> u64 { world.driver.image().paths().iter().map(|(_, bytes)| bytes).sum() };
    let mut table = 16 << 10;
    for index in 1..=6 {
        // Room for the table and the edit that names it, and not for a compaction of even one.
        let capacity = used(&world) + table + (4 << 10);
        world.driver.set_capacity(Some(capacity));
        fill(&tree, index, index);
        world.run();
        table = table_path(world.driver.image()).1;
    }
    assert_eq!((tree.metrics().level_tables[0], tree.metrics().work.compactions), (6, 0));
    assert!(!tree.room(), "too many tables");
    let capacity = used(&world) + 4 * table;
    world.driver.set_capacity(Some(capacity));
    world.run();
    assert!(tree.room() && tree.metrics().level_tables[0] < 3, "{:?}", tree.metrics());
    for number in 0..200 {
        assert_eq!(world.get(&tree, &key(number), 9), Ok(expected(number, 6)));
    }
}

/// What is declared dead goes with its tables, without a compaction of them, once the safe point has passed it.
#[test]
fn dead_tables_go_at_once() {
    let mut world = sim(Faults::default());
    let (tree, _) = world.open().unwrap();
    for index in 1..6 {
        fill(&tree, index, index);
        world.run();
    }
    let tables = |world: &World<SimDisk>| {
        world.driver.image().paths().into_iter().filter(|(path, _)| path.ends_with(".table")).count()
    };
    let before = tables(&world);
    assert!(tree.metrics().level_tables[..2].iter().all(|&tables| tables > 1));
    tree.set_drop_below(b"another", Timestamp(5));
    tree.set_safe_point(Timestamp(4));
    tree.set_drop_below(b"", Timestamp(5));
    world.run();
    assert_eq!(tables(&world), before, "not passed yet");
    tree.set_drop_below(b"", Timestamp(4));
    world.run();
    assert_eq!(tables(&world), 1, "the table of the last versions");
    assert_eq!(world.get(&tree, &key(7), 9), Ok(expected(7, 5)));
    tree.set_drop_below(b"", Timestamp(5));
    tree.set_safe_point(Timestamp(5));
    world.run();
    assert_eq!((tables(&world), tree.metrics().level_bytes.iter().sum()), (0, 0));
    let mut world =
        World::new(SimDisk::from_image(world.driver.crashed(Pattern::Nothing, 1), 2, Faults::default()));
    let (tree, boundary) = world.open().unwrap();
    assert_eq!(boundary.index, LogIndex(5));
    assert_eq!(world.get(&tree, &key(7), 9), Ok(None));
}

/// D6: an edit that does not fit waits too, and goes to a new manifest: what the old one's end holds is unknown.
#[test]
fn an_edit_that_does_not_fit_goes_to_a_new_manifest() {
    let mut faults = Faults::default();
    faults.rules.push(pinion_wal::disk::sim::Rule {
        kind: Some(OpKind::Write),
        path_part: "MANIFEST-".to_owned(),
        nth: 2,
        for_ever: false,
        fault: Fault::NoSpace,
    });
    let mut world = sim(faults);
    let (tree, _) = world.open().unwrap();
    fill(&tree, 1, 1);
    world.run();
    assert_eq!((tree.flushed().index, tree.metrics().work.rollovers), (LogIndex(1), 1));
    let mut world =
        World::new(SimDisk::from_image(world.driver.crashed(Pattern::Nothing, 1), 2, Faults::default()));
    let (tree, boundary) = world.open().unwrap();
    assert_eq!(boundary.index, LogIndex(1));
    assert_eq!(world.get(&tree, &key(7), 9), Ok(expected(7, 1)));
}

/// D6: a manifest that cannot be replaced while the disk is full is tried again, and no attempt leaves a file open.
#[test]
fn retries_on_a_full_disk_keep_no_file_open() {
    let mut faults = Faults::default();
    let mut full = |part: &str, nth| {
        faults.rules.push(pinion_wal::disk::sim::Rule {
            kind: Some(OpKind::Write),
            path_part: part.to_owned(),
            nth,
            for_ever: false,
            fault: Fault::NoSpace,
        });
    };
    full("MANIFEST-", 2);
    (2..6).for_each(|nth| full("CURRENT.tmp", nth));
    let mut world = sim(faults);
    let (tree, _) = world.open().unwrap();
    assert_eq!(world.driver.open_files(), 1, "the manifest");
    fill(&tree, 1, 1);
    world.run();
    assert_eq!((tree.flushed().index, tree.metrics().work.rollovers), (LogIndex(1), 1));
    assert_eq!(world.driver.open_files(), 2, "the manifest and a table");
}

/// D4: an end of the manifest that was there is missed before anything is deleted: the log begins behind the rows.
#[test]
fn a_lost_edit_is_missed_before_its_table_is_removed() {
    let mut world = sim(Faults::default());
    let (tree, _) = world.open().unwrap();
    for index in 1..3 {
        fill(&tree, index, index);
        world.run();
    }
    let mut image = world.driver.crashed(Pattern::Nothing, 1);
    let paths = image.paths();
    let (manifest, bytes) = paths.iter().find(|(path, _)| path.contains("MANIFEST-")).expect("a manifest");
    image.damage(manifest, bytes - 4096, |sector| sector.fill(0), 512);
    for (first, behind) in [(4, true), (3, true), (2, false)] {
        let mut world = World::new(SimDisk::from_image(image.clone(), 1, Faults::default()));
        let engine = world.engine.clone();
        let opened = world.wait(async move { engine.open_tree_behind(TREE, LogIndex(first)).await });
        let tables =
            |image: &Image| image.paths().iter().filter(|(path, _)| path.ends_with(".table")).count();
        if behind {
            let missed = OpenError::Behind { tree: TREE, rows: LogIndex(1), first: LogIndex(first) };
            assert_eq!(opened.map(drop), Err(missed));
            assert_eq!(world.driver.image().paths(), paths, "nothing is deleted, nothing is new");
        } else {
            assert_eq!(opened.unwrap().1.index, LogIndex(1), "the log has the rest");
            assert_eq!(tables(world.driver.image()), 1, "its table never counted");
        }
    }
}

/// A step of a cursor that failed is taken again: no row is passed over.
#[test]
fn a_cursor_goes_on_where_a_read_failed() {
    let mut failed = 0;
    for nth in 1..30 {
        let mut faults = Faults::default();
        let (path_part, fault) = (".table".to_owned(), Fault::Error(5));
        faults.rules.push(pinion_wal::disk::sim::Rule {
            kind: Some(OpKind::Read),
            path_part,
            nth,
            for_ever: false,
            fault,
        });
        let mut world = World::new(SimDisk::from_image(flushed(), 1, faults));
        let (tree, _) = world.open().unwrap();
        let mut expected: Vec<_> = (0..200).map(key).collect();
        expected.sort_unstable();
        for forward in [true, false] {
            let mut cursor = tree.cursor(KeyRange::default(), Timestamp(9));
            let (keys, errors) = world.wait(async {
                let (mut keys, mut errors) = (Vec::new(), 0);
                loop {
                    let row = if forward { cursor.next().await } else { cursor.prev().await };
                    match row {
                        Ok(Some(row)) => keys.push(<[u8; 8]>::try_from(row.key).unwrap()),
                        Ok(None) => return (keys, errors),
                        Err(_) => errors += 1,
                    }
                }
            });
            assert_eq!(keys, expected, "read {nth} failed, forward: {forward}");
            expected.reverse();
            failed += errors;
        }
    }
    assert!(failed > 20, "{failed} failures");
}

/// D2: a failed write of a manifest, or a failed sync of a directory, is never retried: the engine stops.
#[test]
fn a_failed_edit_poisons_the_engine() {
    // The directory is synced three times when it is made, then once a flush.
    for (kind, part, nth, errno, flushed) in [
        (OpKind::Write, "MANIFEST-", 2, libc::EIO, 0),
        (OpKind::Write, "MANIFEST-", 3, libc::EIO, 1),
        (OpKind::SyncDir, "tree-", 4, libc::EIO, 0),
        (OpKind::SyncDir, "tree-", 4, libc::ENOSPC, 0),
        (OpKind::SyncDir, "tree-", 5, libc::EIO, 1),
    ] {
        let mut faults = Faults::default();
        let path_part = part.to_owned();
        let fault = Fault::Error(errno);
        faults.rules.push(pinion_wal::disk::sim::Rule {
            kind: Some(kind),
            path_part,
            nth,
            for_ever: false,
            fault,
        });
        let mut world = sim(faults);
        let (tree, _) = world.open().unwrap();
        for index in 1..4 {
            fill(&tree, index, index);
            world.run();
        }
        let poison = world.engine.poisoned().expect("poisoned");
        assert_eq!((poison.tree, poison.cause.cause), (TREE, Cause::from_errno(errno)));
        assert_eq!(tree.flushed().index, LogIndex(flushed), "nothing after it");
        assert!(poison.to_string().contains("restart"), "{poison}");
        assert_eq!(world.get(&tree, &key(7), 9), Ok(expected(7, 3)), "reads go on");
        let engine = world.engine.clone();
        let refused = world.wait(async move { engine.open_tree(TreeId(17)).await.err() });
        assert!(matches!(refused, Some(OpenError::Poisoned(_))));
    }
}

/// D2: what an open finds is durable before anything is recorded behind it: the process before may have ended before its
/// last sync of the directory.
#[test]
fn an_open_makes_durable_what_it_relies_on() {
    let lost_sync = Faults::default().with(OpKind::SyncDir, 4, true, Fault::Error(5));
    let mut world = sim(lost_sync);
    world.open().map(|_| ()).expect_err("its directory was not synced");
    let image = world.driver.image().clone();
    let mut world = World::new(SimDisk::from_image(image, 1, Faults::default()));
    let (tree, _) = world.open().unwrap();
    // A flush without rows writes no table, whose sync of the directory would hide it.
    tree.seal(Boundary { index: LogIndex(1), ..Boundary::default() });
    world.run();
    assert_eq!(tree.flushed().index, LogIndex(1));
    let image = world.driver.crashed(Pattern::Nothing, 1);
    let mut world = World::new(SimDisk::from_image(image, 2, Faults::default()));
    let (_, boundary) = world.open().unwrap();
    assert_eq!(boundary.index, LogIndex(1));
}

/// O1: a tree whose tables cannot be read, or that always has something to compact, keeps no other tree from compacting.
#[test]
fn trees_take_turns_at_compacting() {
    for unreadable in [false, true] {
        let mut world = sim(Faults::default());
        let (busy, _) = world.open().unwrap();
        let engine = world.engine.clone();
        let (other, _) = world.wait(async move { engine.open_tree(TreeId(17)).await }).unwrap();
        fill(&busy, 1, 1);
        world.run();
        if unreadable {
            let rule = pinion_wal::disk::sim::Rule {
                kind: Some(OpKind::Read),
                path_part: "tree-00000016/".into(),
                nth: 1,
                for_ever: true,
                fault: Fault::Error(5),
            };
            world.driver.set_faults(Faults { rules: vec![rule], ..Faults::default() });
        }
        for index in 2..30 {
            fill(&busy, index, index);
            fill(&other, index, index);
            world.run();
        }
        assert!(other.room() && other.metrics().work.compactions > 3, "{:?}", other.metrics());
        assert_eq!(busy.room(), !unreadable);
        assert_eq!(busy.metrics().trouble.is_some(), unreadable);
    }
}

/// A cursor that passes many keys without a visible row lets other tasks run meanwhile.
#[test]
fn a_cursor_yields_among_deleted_keys() {
    struct Counting(StdCell<u64>);
    impl Ticks for Counting {
        fn now(&self) -> u64 {
            self.0.set(self.0.get() + 1);
            self.0.get()
        }

        fn per_micro(&self) -> u64 {
            1
        }
    }
    let (disk, mut tasks) = (Disk::new(), Tasks::new(Rc::new(Counting(StdCell::new(0)))));
    let engine = Engine::new(disk.clone(), tasks.spawner(), Cache::new(1 << 20), Options::default());
    let mut driver = SimDisk::new(1, Faults::default());
    let (tree, _) =
        block_on(&disk, &mut driver, Some(&mut tasks), async move { engine.open_tree(TREE).await }).unwrap();
    for number in 0..50_000 {
        let key = key(number);
        tree.put(&key, Tree::hash(&key), Timestamp(1), Cell::Tombstone);
    }
    let mut cursor = tree.cursor(KeyRange::default(), Timestamp(1));
    let mut walk = std::pin::pin!(async { cursor.next().await.map(|row| row.is_none()) });
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut polls = 1;
    while walk.as_mut().poll(&mut context).is_pending() {
        polls += 1;
    }
    assert!(polls > 10, "{polls} polls");
}

/// A manifest whose first record is larger than a manifest should be is not written anew with every edit.
#[test]
fn a_large_state_is_not_written_with_every_edit() {
    let mut world = World::new(SimDisk::new(1, Faults::default()));
    let options = Options { manifest_bytes_max: 0, ..Options::default() };
    world.engine = Engine::new(world.disk.clone(), world.tasks.spawner(), Cache::new(4 << 20), options);
    let (tree, _) = world.open().unwrap();
    for index in 1..=10 {
        fill(&tree, index, index);
        world.run();
    }
    let work = tree.metrics().work;
    let edits = work.flushes + work.compactions;
    assert!(edits >= 10 && (2..=edits / 2).contains(&work.rollovers), "{work:?}");
}

/// A manifest that cannot be replaced because too many files are open is replaced later.
#[test]
fn a_new_manifest_waits_for_files() {
    for (kind, part, nth) in [(OpKind::Open, "MANIFEST-", 2), (OpKind::SyncDir, "tree-", 6)] {
        let rule = pinion_wal::disk::sim::Rule {
            kind: Some(kind),
            path_part: part.to_owned(),
            nth,
            for_ever: false,
            fault: Fault::Error(libc::EMFILE),
        };
        let mut world = World::new(SimDisk::new(1, Faults { rules: vec![rule], ..Faults::default() }));
        let options = Options { manifest_bytes_max: 0, ..Options::default() };
        world.engine = Engine::new(world.disk.clone(), world.tasks.spawner(), Cache::new(4 << 20), options);
        let (tree, _) = world.open().unwrap();
        for index in 1..=4 {
            fill(&tree, index, index);
            world.run();
        }
        let work = tree.metrics().work;
        assert_eq!((tree.flushed().index, work.abandoned), (LogIndex(4), 1), "{kind:?}");
        assert!(work.rollovers > 0);
    }
}

/// A failed output is abandoned whole and built again under a new number.
#[test]
fn a_failed_flush_starts_over() {
    for (kind, part, nth, errno) in [
        (OpKind::Write, ".table", 1, libc::EIO),
        (OpKind::Sync, ".table", 1, libc::EIO),
        (OpKind::Open, ".table", 1, libc::EIO),
        // The directory cannot be opened: its sync has not been tried.
        (OpKind::SyncDir, "tree-", 4, libc::EMFILE),
    ] {
        let mut faults = Faults::default();
        let (path_part, fault) = (part.to_owned(), Fault::Error(errno));
        faults.rules.push(pinion_wal::disk::sim::Rule {
            kind: Some(kind),
            path_part,
            nth,
            for_ever: false,
            fault,
        });
        let mut world = sim(faults);
        let (tree, _) = world.open().unwrap();
        fill(&tree, 1, 1);
        world.run();
        assert_eq!((tree.flushed().index, tree.metrics().work.abandoned), (LogIndex(1), 1));
        let tables = world.driver.image().paths().iter().filter(|(path, _)| path.ends_with(".table")).count();
        assert_eq!(tables, 1, "the failed one is gone");
    }
}

fn table_path(image: &Image) -> (String, u64) {
    image.paths().into_iter().find(|(path, _)| path.ends_with(".table")).expect("a table")
}

/// A tree with one table of uncompressed blocks of equal size.
fn flushed() -> Image {
    let mut world = sim(Faults::default());
    let (tree, _) = world.open().expect("a working disk");
    fill(&tree, 1, 1);
    world.run();
    assert_eq!(tree.metrics().level_tables[0], 1);
    world.driver.crashed(Pattern::Nothing, 1)
}

/// The first data block: its envelope says how long it is.
fn first_block_bytes(image: &Image, path: &str) -> usize {
    let bytes = image.contents(path).expect("the table exists");
    24 + u32::from_le_bytes(bytes[4..8].try_into().expect("four bytes")) as usize
}

/// Exchanges the first two data blocks of the table; every key must still be right or an error.
fn reads_of_exchanged_blocks() -> Result<u32, String> {
    let mut image = flushed();
    let (path, bytes) = table_path(&image);
    let block = first_block_bytes(&image, &path);
    let whole = usize::try_from(bytes).expect("a small table");
    image.damage(
        &path,
        0,
        |bytes| {
            let (first, second) = bytes[..2 * block].split_at_mut(block);
            first.swap_with_slice(second);
        },
        whole,
    );
    let mut world = World::new(SimDisk::from_image(image, 1, Faults::default()));
    let (tree, _) = world.open().map_err(|error| error.to_string())?;
    let mut refused = 0;
    for number in 0..200 {
        match world.get(&tree, &key(number), 9) {
            Ok(found) if found == expected(number, 1) => {}
            Ok(found) => return Err(format!("key {number}: {found:?}")),
            Err(ReadError::Corruption(corruption)) => {
                assert_eq!((corruption.file.as_str(), corruption.what), (path.as_str(), Flaw::Checksum));
                refused += 1;
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(refused)
}

/// D3: a valid block at another block's place is damage; other keys are served.
#[test]
fn exchanged_blocks_are_refused_and_others_are_served() {
    let refused = reads_of_exchanged_blocks().unwrap();
    assert!((2..50).contains(&refused), "{refused} of 200 keys");
}

/// D3: and a checksum without its position would serve them.
#[test]
fn a_checksum_without_position_is_caught() {
    pinion_wal::planted::plant("block-checksum-without-position");
    let found = reads_of_exchanged_blocks();
    pinion_wal::planted::plant("");
    assert!(found.is_err_and(|what| what.starts_with("key ")), "wrong answers");
}

/// D3: damage stops the reads that need it, the compaction of its table, and nothing else.
#[test]
fn damage_is_an_error_of_the_read_and_left_alone() {
    let mut image = flushed();
    let (path, _) = table_path(&image);
    image.flip(&path, 100, 3);
    let mut world = World::new(SimDisk::from_image(image, 1, Faults::default()));
    let (tree, _) = world.open().unwrap();
    let errors = (0..200).filter(|&number| world.get(&tree, &key(number), 9).is_err()).count();
    assert!((1..30).contains(&errors), "{errors} of 200 keys");
    assert_eq!(tree.metrics().damaged_tables, 1);
    let mut cursor = tree.cursor(KeyRange::default(), Timestamp(9));
    let walk = world.wait(async move { cursor.next().await.map(|row| row.is_some()) });
    assert!(matches!(walk, Err(ReadError::Corruption(_))));
    let verifying = tree.clone();
    assert!(world.wait(async move { verifying.verify().await }).is_err());
    for index in 2..8 {
        fill(&tree, index, index);
        world.run();
    }
    assert_eq!(tree.flushed().index, LogIndex(7), "flushes go on");
    assert!(world.engine.poisoned().is_none());
    assert_eq!(world.get(&tree, &key(7), 7), Ok(expected(7, 7)));
}

/// Files stay while a cursor or a probe holds them, and go with the last holder.
#[test]
fn readers_pin_the_tables_they_began_with() {
    let mut world = sim(Faults::default());
    let (tree, _) = world.open().unwrap();
    fill(&tree, 1, 1);
    world.run();
    let first = table_path(world.driver.image()).0;
    let mut cursor = tree.cursor(KeyRange::default(), Timestamp(1));
    let probe = match tree.get(&key(7), Tree::hash(&key(7)), Timestamp(1), |_, _| ()) {
        Get::OnDisk(probe) => probe,
        other => panic!("{other:?}"),
    };
    for index in 2..8 {
        fill(&tree, index, index);
        tree.set_safe_point(Timestamp(index));
        world.run();
    }
    assert!(tree.metrics().work.compactions > 0);
    let exists = |world: &World<SimDisk>| world.driver.image().contents(&first).is_some();
    assert!(exists(&world), "pinned");
    let reading = tree.clone();
    let found = world.wait(async move { reading.read(probe).await }).unwrap();
    assert_eq!(found.map(|(_, cell)| cell), expected(7, 1));
    let rows = world.wait(async {
        let mut rows = 0;
        while let Some(row) = cursor.next().await.unwrap() {
            assert_eq!(row.at, Timestamp(1));
            rows += 1;
        }
        rows
    });
    assert_eq!(rows, 200);
    drop(cursor);
    world.run();
    assert!(!exists(&world), "removed with its last reader");
}

/// D5: a dropped tree does not come back, and an interrupted removal is finished later.
#[test]
fn a_dropped_tree_is_gone() {
    let mut world = sim(Faults::default());
    let (tree, _) = world.open().unwrap();
    fill(&tree, 1, 1);
    world.run();
    let engine = world.engine.clone();
    let refused = world.wait(async move { engine.drop_tree(TREE).await });
    assert_eq!(refused, Err(OpenError::AlreadyOpen(TREE)));
    drop(tree);
    let before = world.driver.image().clone();
    let mut point = 0;
    loop {
        let mut again = World::new(SimDisk::from_image(before.clone(), 1, Faults::default()));
        again.driver.halt_after(Some(point));
        let engine = again.engine.clone();
        let dropping = async move { engine.drop_tree(TREE).await };
        let done = pinion_wal::disk::run_until(&again.disk, &mut again.driver, None, dropping);
        for pattern in pinion_wal::disk::sim::PATTERNS {
            let image = again.driver.crashed(pattern, point);
            let mut after = World::new(SimDisk::from_image(image, 1, Faults::default()));
            let engine = after.engine.clone();
            let trees = after.wait(async move {
                engine.remove_leftovers().await.unwrap();
                engine.list_trees().await.unwrap()
            });
            assert!(trees.is_empty() || trees == [TREE] && done.is_err());
            if trees == [TREE] {
                let (tree, boundary) = after.open().unwrap();
                assert_eq!(boundary.index, LogIndex(1));
                assert_eq!(after.get(&tree, &key(7), 9), Ok(expected(7, 1)));
            } else {
                assert!(after.driver.image().paths().is_empty());
            }
        }
        if done.is_ok() {
            break;
        }
        point += 1;
    }
    assert!(point > 5, "{point} points");
}

/// The same on the real disk.
#[test]
fn a_real_disk_holds_rows() {
    let dir = std::env::temp_dir().join(format!("pinion-lsm-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    for round in 0..3u64 {
        let mut world = World::new(DirectDisk::new(&dir).unwrap());
        let (tree, boundary) = world.open().unwrap();
        assert_eq!(boundary.index, LogIndex(round * 5));
        for index in boundary.index.0 + 1..=boundary.index.0 + 5 {
            if index > 1 {
                assert_eq!(world.get(&tree, &key(7), index), Ok(expected(7, index - 1)));
            }
            fill(&tree, index, index);
            world.run();
        }
        let verifying = tree.clone();
        assert_eq!(world.wait(async move { verifying.verify().await }), Ok(()));
        drop(tree);
        world.run();
    }
    std::fs::remove_dir_all(&dir).unwrap();
}
