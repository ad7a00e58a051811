//! The block cache of a core.

use std::cell::Cell as StdCell;
use std::rc::Rc;

use crate::slab::Slab;

/// The memory of a core's rows: the slab of memtables and blocks, and the budget of cached blocks. Clones share it.
#[derive(Clone)]
pub struct Cache {
    slab: Slab,
    budget: Rc<StdCell<usize>>,
}

impl Cache {
    /// A cache of at most `bytes` bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self { slab: Slab::new(), budget: Rc::new(StdCell::new(bytes)) }
    }

    /// Changes the budget, so that bytes can be leased between cores.
    pub fn resize(&self, bytes: usize) {
        self.budget.set(bytes);
    }

    /// The budget in bytes.
    #[must_use]
    pub fn budget_bytes(&self) -> usize {
        self.budget.get()
    }

    /// The slab that memtables and blocks share.
    #[must_use]
    pub const fn slab(&self) -> &Slab {
        &self.slab
    }
}
