//! The ordered index of a memtable: wide leaves of 8-byte key prefixes.
//!
//! It sees a key once, at its first version. A prefix (the first eight bytes of the key: keyspace, slot and hash) tells
//! nearly all keys apart by one integer compare; only equal prefixes read the keys themselves. Three levels: the root
//! names branches, a branch names leaves, a leaf holds up to [`LEAF`] keys in order.
//!
//! Invariants: no leaf and no branch is empty; firsts[i] is the first key of child i; keys rise strictly.

use super::arena::{Arena, Ref};
use crate::slab::prefetch;

/// Keys of a leaf.
const LEAF: usize = 64;
/// Leaves of a branch.
const BRANCH: usize = 256;

#[derive(Default)]
pub(super) struct Order {
    firsts: Vec<First>,
    branches: Vec<Branch>,
    keys: usize,
    leaves: usize,
}

#[derive(Clone, Copy)]
struct First {
    prefix: u64,
    at: Ref,
}

struct Branch {
    firsts: Vec<First>,
    #[expect(clippy::vec_box, reason = "a branch that grows must not move its leaves")]
    leaves: Vec<Box<Leaf>>,
}

struct Leaf {
    prefixes: [u64; LEAF],
    refs: [Ref; LEAF],
    len: usize,
}

/// A position between or at keys; valid until the next insertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    branch: usize,
    leaf: usize,
    key: usize,
}

/// A key with its prefix, to be compared with keys of the index.
#[derive(Clone, Copy)]
struct Probe<'a> {
    prefix: u64,
    key: &'a [u8],
    arena: &'a Arena,
}

impl<'a> Probe<'a> {
    fn new(key: &'a [u8], arena: &'a Arena) -> Self {
        Self { prefix: prefix_of(key), key, arena }
    }

    /// Whether the key at `at` with `prefix` lies before the probe.
    fn is_after(&self, prefix: u64, at: Ref) -> bool {
        prefix < self.prefix || (prefix == self.prefix && self.arena.entry(at).key() < self.key)
    }

    /// Whether the key at `at` with `prefix` lies before the probe or is it.
    fn is_at_or_after(&self, prefix: u64, at: Ref) -> bool {
        prefix < self.prefix || (prefix == self.prefix && self.arena.entry(at).key() <= self.key)
    }

    /// The last child whose first key is not after the probe; the first child if there is none.
    fn child(&self, firsts: &[First]) -> usize {
        firsts.partition_point(|first| self.is_at_or_after(first.prefix, first.at)).saturating_sub(1)
    }
}

/// The first eight bytes as a number that orders as the bytes do; short keys are filled with zeros.
fn prefix_of(key: &[u8]) -> u64 {
    if let Some(head) = key.first_chunk::<8>() {
        return u64::from_be_bytes(*head);
    }
    let mut head = [0; 8];
    head[..key.len()].copy_from_slice(key);
    u64::from_be_bytes(head)
}

impl Order {
    #[cfg(test)]
    pub const fn len(&self) -> usize {
        self.keys
    }

    /// Bytes of the index itself.
    pub const fn bytes(&self) -> usize {
        self.leaves * size_of::<Leaf>()
    }

    /// Adds the key of the entry at `at`, which is not in the index.
    pub fn insert(&mut self, at: Ref, arena: &Arena) {
        let probe = Probe::new(arena.entry(at).key(), arena);
        let first = First { prefix: probe.prefix, at };
        self.keys += 1;
        if self.branches.is_empty() {
            self.branches.push(Branch { firsts: vec![first], leaves: vec![Leaf::with(first)] });
            self.firsts.push(first);
            self.leaves = 1;
            return;
        }
        let b = probe.child(&self.firsts);
        let branch = &mut self.branches[b];
        let before = branch.leaves.len();
        branch.insert(&probe, first);
        self.leaves += branch.leaves.len() - before;
        self.firsts[b] = branch.firsts[0];
        if branch.leaves.len() > BRANCH {
            let upper = branch.split();
            self.firsts.insert(b + 1, upper.firsts[0]);
            self.branches.insert(b + 1, upper);
        }
    }

    /// Asks for the leaf to which `key` belongs.
    pub fn prefetch(&self, key: &[u8]) {
        // By prefixes alone: of equal ones, any leaf near the right one is good enough.
        let prefix = prefix_of(key);
        let child =
            |firsts: &[First]| firsts.partition_point(|first| first.prefix <= prefix).saturating_sub(1);
        if let Some(branch) = self.branches.get(child(&self.firsts)) {
            branch.leaves[child(&branch.firsts)].prefetch();
        }
    }

    /// The spot of the first key at or after `key`, which may be past the last.
    pub fn seek(&self, key: &[u8], arena: &Arena) -> Spot {
        let probe = Probe::new(key, arena);
        if self.branches.is_empty() {
            return Spot { branch: 0, leaf: 0, key: 0 };
        }
        let branch = probe.child(&self.firsts);
        let leaf = probe.child(&self.branches[branch].firsts);
        let key = self.branches[branch].leaves[leaf].position(&probe);
        self.normalized(Spot { branch, leaf, key })
    }

    /// The spot past the last key.
    pub const fn end(&self) -> Spot {
        Spot { branch: self.branches.len(), leaf: 0, key: 0 }
    }

    /// The first version of the key at `spot`.
    pub fn at(&self, spot: Spot) -> Option<Ref> {
        let leaf = self.branches.get(spot.branch)?.leaves.get(spot.leaf)?;
        (spot.key < leaf.len).then(|| leaf.refs[spot.key])
    }

    /// The spot after `spot`.
    pub fn next(&self, spot: Spot) -> Spot {
        self.normalized(Spot { key: spot.key + 1, ..spot })
    }

    /// The spot before `spot`, unless it is the first.
    pub fn previous(&self, spot: Spot) -> Option<Spot> {
        if spot.key > 0 {
            return Some(Spot { key: spot.key - 1, ..spot });
        }
        let (branch, leaf) = match (spot.branch, spot.leaf) {
            (0, 0) => return None,
            (branch, 0) => (branch - 1, self.branches[branch - 1].leaves.len() - 1),
            (branch, leaf) => (branch, leaf - 1),
        };
        Some(Spot { branch, leaf, key: self.branches[branch].leaves[leaf].len - 1 })
    }

    /// Moves a spot past the end of its leaf to the next leaf.
    fn normalized(&self, spot: Spot) -> Spot {
        let Some(branch) = self.branches.get(spot.branch) else { return self.end() };
        if spot.key < branch.leaves[spot.leaf].len {
            spot
        } else if spot.leaf + 1 < branch.leaves.len() {
            Spot { branch: spot.branch, leaf: spot.leaf + 1, key: 0 }
        } else {
            Spot { branch: spot.branch + 1, leaf: 0, key: 0 }
        }
    }
}

impl Branch {
    fn insert(&mut self, probe: &Probe<'_>, first: First) {
        let l = probe.child(&self.firsts);
        let leaf = &mut self.leaves[l];
        leaf.prefetch();
        let at = leaf.position(probe);
        if leaf.len < LEAF {
            leaf.insert(at, first);
            self.firsts[l] = self.leaves[l].first();
            return;
        }
        // Rising keys leave full leaves behind them; others leave room on both sides.
        let upper = if at == LEAF { Leaf::with(first) } else { leaf.split(at, first) };
        self.firsts[l] = leaf.first();
        self.firsts.insert(l + 1, upper.first());
        self.leaves.insert(l + 1, upper);
    }

    fn split(&mut self) -> Self {
        let half = self.leaves.len() / 2;
        Self { firsts: self.firsts.split_off(half), leaves: self.leaves.split_off(half) }
    }
}

impl Leaf {
    fn with(first: First) -> Box<Self> {
        let mut leaf = Box::new(Self { prefixes: [0; LEAF], refs: [Ref::NONE; LEAF], len: 0 });
        leaf.insert(0, first);
        leaf
    }

    fn prefetch(&self) {
        let start = std::ptr::from_ref(self).cast::<u8>();
        for line in (0..size_of::<Self>()).step_by(64) {
            prefetch(start.wrapping_add(line));
        }
    }

    const fn first(&self) -> First {
        First { prefix: self.prefixes[0], at: self.refs[0] }
    }

    /// The number of keys before the probe.
    fn position(&self, probe: &Probe<'_>) -> usize {
        let mut at = self.prefixes[..self.len].partition_point(|&prefix| prefix < probe.prefix);
        while at < self.len && probe.is_after(self.prefixes[at], self.refs[at]) {
            at += 1;
        }
        at
    }

    fn insert(&mut self, at: usize, first: First) {
        self.prefixes.copy_within(at..self.len, at + 1);
        self.refs.copy_within(at..self.len, at + 1);
        self.prefixes[at] = first.prefix;
        self.refs[at] = first.at;
        self.len += 1;
    }

    /// Moves the upper half to a new leaf and inserts `first` at its place `at` in one of the two.
    fn split(&mut self, at: usize, first: First) -> Box<Self> {
        const HALF: usize = LEAF / 2;
        let mut upper = Box::new(Self { prefixes: [0; LEAF], refs: [Ref::NONE; LEAF], len: LEAF - HALF });
        upper.prefixes[..LEAF - HALF].copy_from_slice(&self.prefixes[HALF..]);
        upper.refs[..LEAF - HALF].copy_from_slice(&self.refs[HALF..]);
        self.len = HALF;
        if at <= HALF {
            self.insert(at, first);
        } else {
            upper.insert(at - HALF, first);
        }
        upper
    }
}
