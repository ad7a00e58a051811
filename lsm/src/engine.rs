//! The engine of a core: what its trees share.

use std::cell::{Cell as StdCell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use pinion_wal::disk::{Cause, Disk, DiskError};
use pinion_wal::task::Spawner;
use pinion_wal::{LogIndex, Mono};

use crate::boundary::Boundary;
use crate::cache::Cache;
use crate::error::{OpenError, Poison};
use crate::format::{tree_dir, tree_of_dir};
use crate::gate::{Throttle, Timer};
use crate::ids::TreeId;
use crate::options::Options;
use crate::tree::{Tree, TreeShared};

/// Directories of trees that are being removed.
const DROPPED: &str = "dropped-";

/// The trees of a core, their disk, cache and budgets. Clones share it; it stays on its thread.
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Rc<EngineShared>,
}

pub(crate) struct EngineShared {
    pub disk: Disk,
    pub spawner: Spawner,
    pub cache: Cache,
    pub options: Options,
    /// Bytes of all memtables above which trees have no room.
    pub memtable_bytes_max: StdCell<usize>,
    /// Compactions of this core run one at a time.
    pub compactions: Throttle,
    pub timer: Timer,
    trees: RefCell<BTreeMap<TreeId, Slot>>,
    poison: RefCell<Option<Poison>>,
}

/// A tree that is being opened, or was opened and may have been closed since.
enum Slot {
    Opening,
    Open(Weak<TreeShared>),
}

impl Engine {
    /// An engine without open trees.
    #[must_use]
    pub fn new(disk: Disk, spawner: Spawner, cache: Cache, options: Options) -> Self {
        options.check();
        cache.slab().set_kept_bytes(options.memtable_bytes_max + cache.metrics().budget_bytes);
        let shared = EngineShared {
            disk,
            spawner,
            cache,
            memtable_bytes_max: StdCell::new(options.memtable_bytes_max),
            options,
            compactions: Throttle::new(1),
            timer: Timer::default(),
            trees: RefCell::default(),
            poison: RefCell::default(),
        };
        Self { shared: Rc::new(shared) }
    }

    /// Opens a tree, or creates it; answers how far its tables reach (zero when fresh). A tree counts as open until its
    /// last handle is gone and its background work has ended.
    ///
    /// # Errors
    /// When the disk fails, the tree is damaged, or it is open already.
    pub async fn open_tree(&self, id: TreeId) -> Result<(Tree, Boundary), OpenError> {
        self.open_tree_behind(id, LogIndex(1)).await
    }

    /// Opens a tree whose log begins at the entry `first`: the rows must contain everything before it.
    ///
    /// # Errors
    /// When they do not, and like [`Engine::open_tree`].
    pub async fn open_tree_behind(&self, id: TreeId, first: LogIndex) -> Result<(Tree, Boundary), OpenError> {
        self.claim(id)?;
        let opened = Tree::open(id, self.shared.clone(), first).await;
        let mut trees = self.shared.trees.borrow_mut();
        let tree = match opened {
            Ok(tree) => tree,
            Err(error) => {
                trees.remove(&id);
                return Err(error);
            }
        };
        trees.insert(id, Slot::Open(Rc::downgrade(&tree.shared)));
        drop(trees);
        tree.shared.start_jobs();
        let boundary = tree.flushed();
        Ok((tree, boundary))
    }

    /// The trees on the disk, open or not, in order.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn list_trees(&self) -> Result<Vec<TreeId>, DiskError> {
        let names = self.shared.disk.list("").await?;
        Ok(names.iter().filter_map(|name| tree_of_dir(name)).collect())
    }

    /// Removes a tree and all its rows for ever. Once this has returned, it does not come back.
    ///
    /// # Errors
    /// When the tree is open, or the disk fails: then it may or may not be there.
    pub async fn drop_tree(&self, id: TreeId) -> Result<(), OpenError> {
        self.claim(id)?;
        let dropped = format!("{DROPPED}{:08}", id.0);
        let result = async {
            let disk = &self.shared.disk;
            // What an earlier attempt left is in the way of the rename.
            self.remove_dir(&dropped).await?;
            disk.rename(&tree_dir(id), &dropped).await?;
            disk.sync_dir("").await?;
            self.remove_dir(&dropped).await
        };
        let result = result.await;
        self.shared.trees.borrow_mut().remove(&id);
        Ok(result?)
    }

    /// Removes what interrupted removals of trees left. Call it once at start.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn remove_leftovers(&self) -> Result<(), DiskError> {
        let names = self.shared.disk.list("").await?;
        for name in names.iter().filter(|name| name.starts_with(DROPPED)) {
            self.remove_dir(name).await?;
        }
        Ok(())
    }

    async fn remove_dir(&self, dir: &str) -> Result<(), DiskError> {
        let disk = &self.shared.disk;
        let names = match disk.list(dir).await {
            Err(error) if error.cause == Cause::NotFound => return Ok(()),
            names => names?,
        };
        for name in names {
            disk.remove(&format!("{dir}/{name}")).await?;
        }
        disk.remove(dir).await?;
        disk.sync_dir("").await
    }

    /// Tells the time, by which retries of failed background work are paced. Call it every turn: it costs nothing.
    pub fn tick(&self, now: Mono) {
        self.shared.timer.tick(now);
    }

    /// When [`Engine::tick`] is needed next, if at all.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        self.shared.timer.next_deadline()
    }

    /// Why the engine has stopped writing, if it has: the process must stop, and start again.
    #[must_use]
    pub fn poisoned(&self) -> Option<Poison> {
        self.shared.poisoned()
    }

    /// The memory that the trees of this core share.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.shared.cache
    }

    /// Bytes of all memtables.
    #[must_use]
    pub fn memtable_bytes(&self) -> usize {
        self.shared.memtable_bytes()
    }

    /// What stands in the way of a flush that pauses, if one does.
    #[must_use]
    pub fn paused(&self) -> Option<DiskError> {
        let mut found = None;
        self.shared.each_open(|tree| found = found.take().or_else(|| tree.paused()));
        found
    }

    /// The budget of all memtables together.
    #[must_use]
    pub fn memtable_bytes_max(&self) -> usize {
        self.shared.memtable_bytes_max.get()
    }

    /// Changes the budget of all memtables together, so that bytes can be leased between cores. What lies above a smaller
    /// one stays until it is flushed.
    pub fn set_memtable_bytes_max(&self, bytes: usize) {
        let before = self.shared.memtable_bytes_max.replace(bytes);
        self.shared.cache.slab().change_kept_bytes(before, bytes);
    }

    /// Has the kernel give memory for rows now, up to `bytes` and to what may be kept: on their first use huge pages are
    /// found and zeroed in the midst of a request, for milliseconds each on a machine whose host has to find them too.
    pub fn warm(&self, bytes: usize) {
        self.shared.cache.slab().warm(bytes);
    }

    /// Takes a tree that is neither open nor being opened.
    fn claim(&self, id: TreeId) -> Result<(), OpenError> {
        if let Some(poison) = self.poisoned() {
            return Err(poison.into());
        }
        let mut trees = self.shared.trees.borrow_mut();
        let taken = trees.get(&id).is_some_and(|slot| match slot {
            Slot::Opening => true,
            Slot::Open(tree) => tree.strong_count() > 0,
        });
        if taken {
            return Err(OpenError::AlreadyOpen(id));
        }
        trees.insert(id, Slot::Opening);
        Ok(())
    }
}

impl EngineShared {
    pub fn memtable_bytes(&self) -> usize {
        let mut bytes = 0;
        self.each_open(|tree| bytes += tree.memtable_bytes());
        bytes
    }

    fn each_open(&self, mut each: impl FnMut(&TreeShared)) {
        for slot in self.trees.borrow().values() {
            if let Slot::Open(tree) = slot
                && let Some(tree) = tree.upgrade()
            {
                each(&tree);
            }
        }
    }

    pub fn poisoned(&self) -> Option<Poison> {
        self.poison.borrow().clone()
    }

    pub fn is_poisoned(&self) -> bool {
        self.poison.borrow().is_some()
    }

    /// Stops all writing; the first reason stays.
    pub fn poison(&self, tree: TreeId, cause: DiskError) -> Poison {
        self.poison.borrow_mut().get_or_insert(Poison { tree, cause }).clone()
    }
}
