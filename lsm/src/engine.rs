//! The engine of a core: what its trees share.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use pinion_wal::disk::Disk;
use pinion_wal::task::Spawner;

use crate::boundary::Boundary;
use crate::cache::Cache;
use crate::error::OpenError;
use crate::ids::TreeId;
use crate::options::Options;
use crate::tree::{Tree, TreeShared};

/// The trees of a core, their disk, cache and budgets. Clones share it; it stays on its thread.
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Rc<EngineShared>,
}

pub(crate) struct EngineShared {
    #[expect(dead_code, reason = "the flush writes there")]
    pub disk: Disk,
    #[expect(dead_code, reason = "the flush runs there")]
    pub spawner: Spawner,
    pub cache: Cache,
    pub options: Options,
    trees: RefCell<BTreeMap<TreeId, Weak<TreeShared>>>,
}

impl Engine {
    /// An engine without open trees.
    #[must_use]
    pub fn new(disk: Disk, spawner: Spawner, cache: Cache, options: Options) -> Self {
        let shared = EngineShared { disk, spawner, cache, options, trees: RefCell::default() };
        Self { shared: Rc::new(shared) }
    }

    /// Opens a tree, or creates it; answers how far its tables reach (zero when fresh).
    ///
    /// # Errors
    /// When the disk fails, the tree is damaged, or it is open already.
    pub async fn open_tree(&self, id: TreeId) -> Result<(Tree, Boundary), OpenError> {
        if self.tree(id).is_some() {
            return Err(OpenError::AlreadyOpen(id));
        }
        let tree = Tree::fresh(id, self.shared.clone());
        self.shared.trees.borrow_mut().insert(id, Rc::downgrade(&tree.shared));
        let boundary = tree.flushed();
        Ok((tree, boundary))
    }

    /// Bytes of all memtables.
    #[must_use]
    pub fn memtable_bytes(&self) -> usize {
        self.shared.memtable_bytes()
    }

    fn tree(&self, id: TreeId) -> Option<Tree> {
        let shared = self.shared.trees.borrow().get(&id)?.upgrade()?;
        Some(Tree { shared })
    }
}

impl EngineShared {
    pub fn memtable_bytes(&self) -> usize {
        let trees = self.trees.borrow();
        trees.values().filter_map(Weak::upgrade).map(|tree| tree.memtable_bytes()).sum()
    }
}
