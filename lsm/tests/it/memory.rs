//! Trees whose rows are all in memtables.

use std::cell::Cell as StdCell;
use std::future::Future;
use std::rc::Rc;

use pinion_lsm::{Boundary, Cache, Cell, Engine, Get, KeyRange, OpenError, Options, Timestamp, Tree, TreeId};
use pinion_wal::disk::sim::{Faults, SimDisk};
use pinion_wal::disk::{Disk, block_on};
use pinion_wal::task::Tasks;
use pinion_wal::{LogIndex, Ticks};

struct Still(StdCell<u64>);

impl Ticks for Still {
    fn now(&self) -> u64 {
        self.0.get()
    }

    fn per_micro(&self) -> u64 {
        1
    }
}

struct World {
    disk: Disk,
    sim: SimDisk,
    tasks: Tasks,
    engine: Engine,
}

impl World {
    fn new() -> Self {
        let (disk, sim) = (Disk::new(), SimDisk::new(1, Faults::default()));
        let tasks = Tasks::new(Rc::new(Still(StdCell::new(0))));
        let engine = Engine::new(disk.clone(), tasks.spawner(), Cache::new(1 << 20), Options::default());
        Self { disk, sim, tasks, engine }
    }

    fn wait<T>(&mut self, future: impl Future<Output = T>) -> T {
        block_on(&self.disk, &mut self.sim, Some(&mut self.tasks), future)
    }

    fn open(&mut self) -> Result<(Tree, Boundary), OpenError> {
        let engine = self.engine.clone();
        self.wait(async move { engine.open_tree(TreeId(16)).await })
    }
}

fn put(tree: &Tree, key: &[u8], at: u64, value: Option<&[u8]>) {
    tree.put(key, Tree::hash(key), Timestamp(at), value.map_or(Cell::Tombstone, Cell::Inline));
}

fn get(tree: &Tree, key: &[u8], at: u64) -> Option<(u64, Option<Vec<u8>>)> {
    let with = |at: Timestamp, cell: Cell<'_>| match cell {
        Cell::Inline(value) => (at.0, Some(value.to_vec())),
        Cell::Tombstone => (at.0, None),
    };
    match tree.get(key, Tree::hash(key), Timestamp(at), with) {
        Get::Found(found) => Some(found),
        Get::Absent => None,
        Get::OnDisk(probe) => panic!("{probe:?}"),
    }
}

#[test]
fn reads_see_the_newest_version_at_their_timestamp_across_sealed_memtables() {
    let mut world = World::new();
    let (tree, boundary) = world.open().unwrap();
    assert_eq!(boundary, Boundary::default());
    put(&tree, b"a", 1, Some(b"one"));
    put(&tree, b"b", 2, Some(b"b"));
    tree.seal(Boundary { index: LogIndex(1), ..Boundary::default() });
    put(&tree, b"a", 3, None);
    tree.seal(Boundary { index: LogIndex(2), ..Boundary::default() });
    put(&tree, b"a", 5, Some(b"five"));

    assert_eq!(get(&tree, b"a", 0), None);
    assert_eq!(get(&tree, b"a", 2), Some((1, Some(b"one".to_vec()))));
    assert_eq!(get(&tree, b"a", 4), Some((3, None)));
    assert_eq!(get(&tree, b"a", 9), Some((5, Some(b"five".to_vec()))));
    assert_eq!(get(&tree, b"c", 9), None);

    for (at, expected) in [(2, &["a", "b"][..]), (4, &["b"]), (5, &["a", "b"])] {
        let mut cursor = tree.cursor(KeyRange::default(), Timestamp(at));
        let mut seen = Vec::new();
        while let Some(row) = world.wait(cursor.next()).unwrap() {
            seen.push(String::from_utf8(row.key.to_vec()).unwrap());
        }
        assert_eq!(seen, expected);
        seen.clear();
        while let Some(row) = world.wait(cursor.prev()).unwrap() {
            seen.insert(0, String::from_utf8(row.key.to_vec()).unwrap());
        }
        assert_eq!(seen, expected);
    }
}

#[test]
fn a_tree_has_one_writer() {
    let mut world = World::new();
    let open = world.open().unwrap();
    assert_eq!(world.open().err(), Some(OpenError::AlreadyOpen(TreeId(16))));
    drop(open);
    assert!(world.open().is_ok());
}
