//! What one core may use of a budget: a floor that is always its own, and chunks leased from the node's pool.
//!
//! ```text
//! line of the ledger = floor of every core + chunks of the pool
//! lease of a core    = its floor + the chunks it holds
//! ```
//!
//! So the leases of all cores never exceed the line, no core can be starved, and a core alone under load may use half of
//! what was meant for its siblings. Chunks that are idle go back; a core with more than an equal share gives one back when
//! a sibling looked for some in vain, also when it uses them (a cache is never idle).

use super::pool::Pool;
use super::sync::Arc;

/// Of a line, this many parts are for the pool, out of [`PARTS`].
const POOL_PARTS: u64 = 1;
/// See [`POOL_PARTS`].
const PARTS: u64 = 2;
/// The pool has this many chunks for each core, so that one is small against a core's floor.
const CHUNKS_PER_CORE: u64 = 16;

/// A line of the ledger, as cores lease it. Clones are the same line.
#[derive(Clone, Debug)]
pub struct Budget {
    pool: Arc<Pool>,
    floor_bytes: u64,
    chunk_bytes: u64,
    /// Chunks of all.
    pool_chunks: u64,
    /// Chunks of each core when all want as many as they can get.
    fair_chunks: u64,
}

impl Budget {
    /// A line of `bytes` for `cores` cores.
    #[must_use]
    pub fn shared(bytes: u64, cores: u64) -> Self {
        if cores <= 1 {
            return Self::fixed(bytes);
        }
        let chunk_bytes = bytes * POOL_PARTS / PARTS / (cores * CHUNKS_PER_CORE);
        let chunks = cores * CHUNKS_PER_CORE;
        let floor_bytes = (bytes - chunks * chunk_bytes) / cores;
        Self {
            pool: Pool::new(chunks),
            floor_bytes,
            chunk_bytes,
            pool_chunks: chunks,
            fair_chunks: CHUNKS_PER_CORE,
        }
    }

    /// A line of one core: nothing of it is leased.
    #[must_use]
    pub fn fixed(bytes: u64) -> Self {
        Self { pool: Pool::new(0), floor_bytes: bytes, chunk_bytes: 1, pool_chunks: 0, fair_chunks: 0 }
    }

    /// What a core leases of this line, at first its floor.
    #[must_use]
    pub fn lease(&self) -> Lease {
        Lease { budget: self.clone(), chunks: 0, wants: false }
    }
}

/// What a core may use now. Dropped, its chunks go back.
#[derive(Debug)]
pub struct Lease {
    budget: Budget,
    chunks: u64,
    /// Whether the pool was told that this core wants more.
    wants: bool,
}

impl Lease {
    /// Bytes that may be used.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        (self.budget.floor_bytes + self.chunks * self.budget.chunk_bytes) as usize
    }

    /// Bytes that might be used if no sibling used more than its floor.
    #[must_use]
    pub const fn bytes_max(&self) -> usize {
        (self.budget.floor_bytes + self.budget.pool_chunks * self.budget.chunk_bytes) as usize
    }

    /// Whether some of it is of the pool.
    #[must_use]
    pub const fn is_above_floor(&self) -> bool {
        self.chunks > 0
    }

    /// Whether `bytes` may be used; leases what is missing, as far as it is free.
    pub fn reach(&mut self, bytes: usize) -> bool {
        let Budget { pool, chunk_bytes, fair_chunks, .. } = &self.budget;
        if bytes > self.bytes() && (self.chunks < *fair_chunks || !pool.is_wanted()) {
            let missing = (bytes - self.bytes()) as u64;
            self.chunks += pool.take(missing.div_ceil(*chunk_bytes));
        }
        let reached = bytes <= self.bytes();
        self.want(!reached && self.chunks < self.budget.fair_chunks);
        reached
    }

    /// Leases one chunk more than `used` bytes need, gives back what lies beyond, and one more when a sibling wants it and
    /// this core has more than its share. Call it once a turn. Answers whether [`Lease::bytes`] has changed.
    pub fn follow(&mut self, used: usize) -> bool {
        if self.budget.fair_chunks == 0 {
            return false;
        }
        let before = self.chunks;
        let Budget { floor_bytes, chunk_bytes, .. } = self.budget;
        let needed = used as u64 + chunk_bytes;
        self.reach(needed as usize);
        let mut keep = needed.saturating_sub(floor_bytes).div_ceil(chunk_bytes);
        if self.chunks > self.budget.fair_chunks && self.budget.pool.is_wanted() {
            keep = keep.min(self.chunks - 1);
        }
        self.give_all_but(keep);
        self.chunks != before
    }

    fn give_all_but(&mut self, keep: u64) {
        if keep < self.chunks {
            self.budget.pool.give(self.chunks - keep);
            self.chunks = keep;
        }
    }

    fn want(&mut self, wants: bool) {
        if std::mem::replace(&mut self.wants, wants) != wants {
            self.budget.pool.want(wants);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.give_all_but(0);
        self.want(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// O1: whatever cores ask for, their leases stay within the line, and each always has its floor.
    #[test]
    fn leases_stay_within_the_line() {
        for seed in 0..50 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (cores, line) = (rng.u64(1..5), rng.u64(1 << 20..1 << 30));
            let budget = Budget::shared(line, cores);
            let mut leases: Vec<Lease> = (0..cores).map(|_| budget.lease()).collect();
            let floor = leases[0].bytes();
            assert!(floor as u64 >= line / 2 / cores);
            for _ in 0..500 {
                let lease = rng.usize(..leases.len());
                let used = rng.usize(..line as usize);
                if rng.bool() {
                    leases[lease].reach(used);
                } else {
                    leases[lease].follow(used);
                }
                let sum: usize = leases.iter().map(Lease::bytes).sum();
                assert!(sum as u64 <= line, "seed {seed}: {sum} of {line}");
                assert!(leases.iter().all(|lease| lease.bytes() >= floor));
            }
        }
    }

    /// A core alone has half of what was meant for the others; when they come, it gives back until all are equal.
    #[test]
    fn idle_budget_is_used_and_returned_when_siblings_want_it() {
        let budget = Budget::shared(64 << 20, 2);
        let (mut first, mut second) = (budget.lease(), budget.lease());
        assert!(first.reach(48 << 20) && !first.reach(49 << 20));
        for _ in 0..100 {
            second.follow(40 << 20);
            first.follow(48 << 20);
        }
        assert_eq!((first.bytes(), second.bytes()), (32 << 20, 32 << 20));
        first.follow(0);
        assert!(second.reach(48 << 20), "what is idle is free");
        drop(second);
        assert!(first.reach(48 << 20));
    }
}
