//! A tree on a simulated disk, for the benches of rows.

use std::future::Future;
use std::rc::Rc;

use pinion_lsm::{Cache, Engine, Options, Tree, TreeId};
use pinion_shard::{Key, REDIS_KEYSPACE, RowKey, RowKind};
use pinion_wal::Ticks;
use pinion_wal::disk::sim::{Faults, SimDisk};
use pinion_wal::disk::{Disk, Driver, block_on};
use pinion_wal::task::Tasks;

/// No slices are cut here: time stands still.
struct Still;

impl Ticks for Still {
    fn now(&self) -> u64 {
        0
    }

    fn per_micro(&self) -> u64 {
        1
    }
}

/// A tree and what drives it.
pub struct Rows {
    /// The tree.
    pub tree: Tree,
    disk: Disk,
    driver: SimDisk,
    tasks: Tasks,
}

/// The key of a row, and its hash.
#[must_use]
pub fn row(number: u64) -> (RowKey, u64) {
    let name = format!("key:{number:012}");
    let row = Key::new(name.as_bytes()).row(REDIS_KEYSPACE, RowKind::Metadata);
    let hash = Tree::hash(&row);
    (row, hash)
}

impl Rows {
    /// A fresh tree, with a cache of so many bytes.
    #[must_use]
    pub fn new(cache_bytes: usize) -> Self {
        let (disk, mut tasks) = (Disk::new(), Tasks::new(Rc::new(Still)));
        let mut driver = SimDisk::new(1, Faults::default());
        let cache = Cache::new(cache_bytes);
        let engine = Engine::new(disk.clone(), tasks.spawner(), cache, Options::default());
        let opened = block_on(&disk, &mut driver, Some(&mut tasks), engine.open_tree(TreeId(16)));
        let (tree, _) = opened.expect("an empty disk opens");
        Self { tree, disk, driver, tasks }
    }

    /// Waits for `future`, with background work in between.
    pub fn wait<T>(&mut self, future: impl Future<Output = T>) -> T {
        block_on(&self.disk, &mut self.driver, Some(&mut self.tasks), future)
    }

    /// Lets the background work until `done`.
    pub fn run_until(&mut self, done: impl Fn(&Tree) -> bool) {
        while !done(&self.tree) {
            self.tasks.run_all();
            Driver::drive(&mut self.driver, &self.disk);
        }
    }
}
