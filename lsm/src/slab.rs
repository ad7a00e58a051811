//! Memory in pieces of powers of two, carved from regions on huge pages.
//!
//! One slab per core serves the arenas of all its memtables and the blocks of its cache. Pieces are buddies: neighbours
//! merge when both are free, and a region whose pieces are all free goes back to the kernel, unless the slab maps no more than what its owner lets it keep: the next memtable takes the memory of
//! the last one, and the kernel need not zero it anew.
//!
//! | invariant | who keeps it |
//! |---|---|
//! | a piece is handed out once until it is dropped | the free lists hold disjoint ranges; `check` |
//! | a piece lives no longer than its region | a piece holds the slab, the slab holds the regions |
//! | the bytes of a piece are initialized | regions come zeroed from the kernel |
#![expect(unsafe_code, reason = "slicing memory of the kernel has no safe form in std")]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;

use crate::regions::{Mapping, Regions, populate};

pub use crate::regions::REGION_BYTES;

/// The smallest piece, in bytes.
pub const PIECE_BYTES_MIN: usize = 4096;
/// Bytes that stay mapped although they are free, until the owner says otherwise.
const KEPT_BYTES: usize = 16 * REGION_BYTES;
const ORDERS: usize = (REGION_BYTES / PIECE_BYTES_MIN).ilog2() as usize + 1;
const TOP: usize = ORDERS - 1;

/// A source of [`Piece`]s. Clones share it; it stays on its thread.
#[derive(Clone, Default)]
pub struct Slab {
    inner: Rc<RefCell<Inner>>,
}

struct Inner {
    /// Free regions go back to the kernel while more than this is mapped.
    kept_bytes: usize,
    source: Regions,
    /// Regions in use, and pieces too large for one; a free number holds `None`.
    regions: Vec<Option<Memory>>,
    /// Free pieces by order, as (region, offset): the lowest is used first, so that regions can drain.
    free: [BTreeSet<(u32, u32)>; ORDERS],
    used_bytes: usize,
    mapped_bytes: usize,
}

impl Default for Inner {
    fn default() -> Self {
        let (source, regions, free) = Default::default();
        Self { kept_bytes: KEPT_BYTES, source, regions, free, used_bytes: 0, mapped_bytes: 0 }
    }
}

/// Exclusive, initialized memory, aligned to 4 KiB; it returns to its slab when dropped.
pub struct Piece {
    at: NonNull<u8>,
    bytes: usize,
    region: u32,
    offset: u32,
    slab: Slab,
}

impl Slab {
    /// A slab that has mapped nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes a piece for `bytes` bytes occupies.
    #[must_use]
    pub fn piece_bytes(bytes: usize) -> usize {
        if bytes > REGION_BYTES {
            bytes.next_multiple_of(PIECE_BYTES_MIN)
        } else {
            bytes.max(PIECE_BYTES_MIN).next_power_of_two()
        }
    }

    /// A piece of at least `bytes` bytes with arbitrary contents.
    #[must_use]
    pub fn piece(&self, bytes: usize) -> Piece {
        let bytes = Self::piece_bytes(bytes);
        let mut inner = self.inner.borrow_mut();
        let (region, offset) =
            if bytes > REGION_BYTES { (inner.map(bytes), 0) } else { inner.take(order_of(bytes)) };
        inner.used_bytes += bytes;
        let memory = inner.regions[region as usize].as_ref().expect("a taken piece lies in a mapped region");
        assert!(offset as usize + bytes <= memory.bytes());
        // SAFETY: the offset lies within the memory, by the assertion above.
        let at = unsafe { memory.at().add(offset as usize) };
        Piece { at, bytes, region, offset, slab: self.clone() }
    }

    /// A piece of at least `bytes` bytes, all zero.
    #[must_use]
    pub fn zeroed(&self, bytes: usize) -> Piece {
        let mut piece = self.piece(bytes);
        piece.fill(0);
        piece
    }

    /// Lets the slab keep free memory as long as it maps no more than `bytes`: the budgets of all that lives in it.
    pub(crate) fn set_kept_bytes(&self, bytes: usize) {
        let mut inner = self.inner.borrow_mut();
        inner.kept_bytes = bytes;
        inner.give_back();
    }

    /// As [`Slab::set_kept_bytes`], when one of the budgets changes.
    pub(crate) fn change_kept_bytes(&self, from: usize, to: usize) {
        let kept = self.inner.borrow().kept_bytes;
        self.set_kept_bytes(kept.saturating_sub(from) + to);
    }

    /// Maps memory until `bytes` are mapped, as far as they may be kept, and has the kernel find and zero it now: its first
    /// use costs no more than the later ones.
    pub(crate) fn warm(&self, bytes: usize) {
        let mut inner = self.inner.borrow_mut();
        while inner.mapped_bytes + REGION_BYTES <= bytes.min(inner.kept_bytes) {
            let region = inner.map(REGION_BYTES);
            let memory = inner.regions[region as usize].as_ref().expect("mapped just now");
            populate(memory.at());
            inner.free[TOP].insert((region, 0));
        }
    }

    /// Bytes in pieces that are handed out.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.inner.borrow().used_bytes
    }

    /// Bytes mapped from the kernel: at most the used ones and what fragments them, or those that it may keep.
    #[must_use]
    pub fn mapped_bytes(&self) -> usize {
        self.inner.borrow().mapped_bytes
    }
}

fn order_of(bytes: usize) -> usize {
    (bytes / PIECE_BYTES_MIN).ilog2() as usize
}

impl Inner {
    fn take(&mut self, order: usize) -> (u32, u32) {
        let from = (order..ORDERS).find(|&order| !self.free[order].is_empty());
        let from = from.unwrap_or_else(|| {
            let region = self.map(REGION_BYTES);
            self.free[TOP].insert((region, 0));
            TOP
        });
        let (region, offset) = self.free[from].pop_first().expect("found not empty above");
        for order in (order..from).rev() {
            let half = u32::try_from(PIECE_BYTES_MIN << order).expect("below a region");
            self.free[order].insert((region, offset + half));
        }
        (region, offset)
    }

    fn give(&mut self, region: u32, mut offset: u32, bytes: usize) {
        self.used_bytes -= bytes;
        if bytes > REGION_BYTES {
            self.unmap(region);
            return;
        }
        let mut order = order_of(bytes);
        while order < TOP {
            let size = u32::try_from(PIECE_BYTES_MIN << order).expect("below a region");
            if !self.free[order].remove(&(region, offset ^ size)) {
                break;
            }
            offset &= !size;
            order += 1;
        }
        self.free[order].insert((region, offset));
        self.give_back();
    }

    /// Gives free regions back to the kernel, the last ones first, as long as too much is mapped.
    fn give_back(&mut self) {
        while self.mapped_bytes > self.kept_bytes
            && let Some((region, _)) = self.free[TOP].pop_last()
        {
            self.unmap(region);
        }
    }

    fn map(&mut self, bytes: usize) -> u32 {
        let memory = if bytes == REGION_BYTES {
            Memory::Region(self.source.take())
        } else {
            Memory::Own(Mapping::new(bytes))
        };
        self.mapped_bytes += bytes;
        let free = self.regions.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            self.regions.push(None);
            self.regions.len() - 1
        });
        self.regions[index] = Some(memory);
        u32::try_from(index).expect("regions fit the address space")
    }

    fn unmap(&mut self, region: u32) {
        let memory = self.regions[region as usize].take().expect("unmapped once");
        self.mapped_bytes -= memory.bytes();
        if let Memory::Region(region) = memory {
            self.source.give(region);
        }
    }
}

impl Piece {
    /// The bytes as little words; their order within a word is the machine's.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        // SAFETY: the piece is aligned to 4 KiB, a multiple of 8 bytes long, initialized, and borrowed as `self` is.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr().cast(), self.bytes / 8) }
    }

    /// As [`Piece::words`], to be written.
    pub fn words_mut(&mut self) -> &mut [u64] {
        // SAFETY: as in `words`, and `&mut self` excludes every other reference.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr().cast(), self.bytes / 8) }
    }

    /// Asks the processor to load the cache line at `offset`; out of bounds it does nothing.
    #[inline]
    pub fn prefetch(&self, offset: usize) {
        if offset < self.bytes {
            // SAFETY: the offset lies within the piece.
            let line = unsafe { self.at.as_ptr().add(offset) };
            prefetch(line);
        }
    }
}

/// Asks the processor to load a cache line, wherever it is.
#[inline]
pub(crate) fn prefetch(line: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing that the program can see, and faults nowhere.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

impl Deref for Piece {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: `at` points to `bytes` initialized bytes that this piece alone owns while its slab lives.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.bytes) }
    }
}

impl DerefMut for Piece {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` excludes every other reference.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr(), self.bytes) }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.slab.inner.borrow_mut().give(self.region, self.offset, self.bytes);
    }
}

impl std::fmt::Debug for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Piece").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// What pieces are carved from, or one large piece.
enum Memory {
    Region(NonNull<u8>),
    Own(Mapping),
}

impl Memory {
    const fn at(&self) -> NonNull<u8> {
        match self {
            Self::Region(at) => *at,
            Self::Own(mapping) => mapping.at(),
        }
    }

    const fn bytes(&self) -> usize {
        match self {
            Self::Region(_) => REGION_BYTES,
            Self::Own(mapping) => mapping.bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Slab {
        /// Free and used ranges cover every region exactly.
        fn check(&self) {
            let inner = self.inner.borrow();
            let free: usize = inner
                .free
                .iter()
                .enumerate()
                .map(|(order, set)| set.len() * (PIECE_BYTES_MIN << order))
                .sum();
            assert_eq!(free + inner.used_bytes, inner.mapped_bytes);
        }
    }

    /// O1: what is warmed stays within what may be kept, is there before anybody uses it, and is used first.
    #[test]
    fn warm_memory_is_resident_and_used_first() {
        let slab = Slab::new();
        slab.set_kept_bytes(3 * REGION_BYTES);
        slab.warm(2 * REGION_BYTES);
        assert_eq!((slab.mapped_bytes(), slab.used_bytes()), (2 * REGION_BYTES, 0));
        slab.check();
        let pieces = [slab.piece(REGION_BYTES), slab.piece(REGION_BYTES)];
        for piece in &pieces {
            let mut resident = vec![0_u8; piece.len() / 4096];
            // SAFETY: the piece is mapped, and there is a byte for each of its pages.
            let asked = unsafe {
                libc::mincore(piece.as_ptr().cast_mut().cast(), piece.len(), resident.as_mut_ptr())
            };
            assert_eq!(asked, 0);
            assert!(resident.iter().all(|page| page & 1 == 1), "a page is not there yet");
        }
        assert_eq!(slab.mapped_bytes(), 2 * REGION_BYTES);
        slab.warm(9 * REGION_BYTES);
        assert_eq!(slab.mapped_bytes(), 3 * REGION_BYTES, "no more than what may be kept");
    }

    #[test]
    fn pieces_are_aligned_disjoint_and_writable_in_every_size() {
        let slab = Slab::new();
        let mut pieces = Vec::new();
        for (fill, bytes) in
            [1, 4096, 4097, 65_536, REGION_BYTES, REGION_BYTES + 1, 5 << 20].into_iter().enumerate()
        {
            let mut piece = slab.piece(bytes);
            assert!(piece.len() >= bytes && (piece.as_ptr() as usize).is_multiple_of(PIECE_BYTES_MIN));
            piece.fill(fill as u8 + 1);
            pieces.push(piece);
            slab.check();
        }
        for (fill, piece) in pieces.iter().enumerate() {
            assert!(piece.iter().all(|&b| b == fill as u8 + 1));
            assert_eq!(piece.words().len() * 8, piece.len());
        }
        let mut zeroed = slab.zeroed(4096);
        assert!(zeroed.iter().all(|&b| b == 0));
        zeroed.words_mut()[511] = u64::MAX;
        assert_eq!(zeroed[4095], 0xff);
        zeroed.prefetch(0);
        zeroed.prefetch(1 << 30);
    }

    #[test]
    fn random_pieces_merge_back_into_whole_regions() {
        let mut rng = fastrand::Rng::with_seed(7);
        let slab = Slab::new();
        let mut live: Vec<(Piece, u8)> = Vec::new();
        for step in 0..5_000u32 {
            if live.len() > 100 || (!live.is_empty() && rng.bool()) {
                let (piece, fill) = live.swap_remove(rng.usize(..live.len()));
                assert!(piece.first() == Some(&fill) && piece.last() == Some(&fill));
            } else {
                let mut piece = slab.piece(rng.usize(1..300_000));
                let fill = step as u8;
                piece.fill(fill);
                live.push((piece, fill));
            }
            slab.check();
        }
        live.clear();
        slab.check();
        assert_eq!(slab.used_bytes(), 0);
        assert!((1..=KEPT_BYTES).contains(&slab.mapped_bytes()));
        assert!(slab.inner.borrow().free[..TOP].iter().all(BTreeSet::is_empty), "buddies merged");
    }

    /// O1: free memory stays mapped up to what the owner grants, and goes as soon as it grants less.
    #[test]
    fn free_regions_are_kept_up_to_a_bound() {
        let slab = Slab::new();
        let regions = |count| (0..count).map(|_| slab.piece(REGION_BYTES)).collect::<Vec<_>>();
        for (kept, expected) in [(40, 30), (20, 20), (0, 0)] {
            slab.set_kept_bytes(kept * REGION_BYTES);
            drop(regions(30));
            slab.check();
            assert_eq!(slab.mapped_bytes(), expected * REGION_BYTES);
        }
        slab.set_kept_bytes(8 * REGION_BYTES);
        let held = regions(10);
        drop(regions(10));
        assert_eq!(slab.mapped_bytes(), 10 * REGION_BYTES, "what is used stays");
        drop(held);
        assert_eq!(slab.mapped_bytes(), 8 * REGION_BYTES);
        slab.set_kept_bytes(3 * REGION_BYTES);
        assert_eq!((slab.mapped_bytes(), slab.used_bytes()), (3 * REGION_BYTES, 0));
    }
}
