//! What is free of one budget, in chunks that cores lease and give back.
//!
//! `free + leased by all cores = chunks`, at every moment and in every interleaving: a chunk is leased once, and none is
//! lost. A core that finds too little free says so; siblings that hold more than an equal share then give some back.

use super::sync::{Arc, AtomicU64, Ordering, planted};

/// The free chunks of one budget, shared by all cores.
#[derive(Debug)]
pub struct Pool {
    free: AtomicU64,
    /// Cores that hold less than an equal share and want more.
    wanting: AtomicU64,
}

impl Pool {
    /// A pool of `chunks` free chunks.
    #[must_use]
    pub fn new(chunks: u64) -> Arc<Self> {
        Arc::new(Self { free: AtomicU64::new(chunks), wanting: AtomicU64::new(0) })
    }

    /// Takes up to `chunks` of what is free and answers how many.
    #[must_use]
    pub fn take(&self, chunks: u64) -> u64 {
        // Only counts pass between the cores, nothing that they count: no order with other memory is needed.
        let mut free = self.free.load(Ordering::Relaxed);
        loop {
            let taken = chunks.min(free);
            if taken == 0 {
                return 0;
            }
            if planted("double-lease") {
                self.free.store(free - taken, Ordering::Relaxed);
                return taken;
            }
            let swapped =
                self.free.compare_exchange_weak(free, free - taken, Ordering::Relaxed, Ordering::Relaxed);
            match swapped {
                Ok(_) => return taken,
                Err(now) => free = now,
            }
        }
    }

    /// Gives chunks back.
    pub fn give(&self, chunks: u64) {
        if chunks > 0 {
            self.free.fetch_add(chunks, Ordering::Relaxed);
        }
    }

    /// A core begins to want more, or ceases to.
    pub fn want(&self, wants: bool) {
        if wants {
            self.wanting.fetch_add(1, Ordering::Relaxed);
        } else {
            self.wanting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether a core with less than an equal share wants more.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.wanting.load(Ordering::Relaxed) > 0
    }

    /// Chunks that are free.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }
}
