//! The memory behind a slab, in regions of 2 MiB.
//!
//! Regions are carved from spans of address space, because the kernel counts mappings (65,530 a process by default), and
//! regions mapped one by one use them up at 128 GiB. Each region is advised to be one huge page: a random access into it
//! costs a little more than half of one into 4 KiB pages. A region that is given back keeps its address and loses its
//! memory.
//!
//! | invariant | who keeps it |
//! |---|---|
//! | a region is handed out once until it is given back | `take` and `give` move addresses to and from the free ones |
//! | regions are zero when they are taken | spans come zeroed, and what is given back loses its memory |
#![expect(unsafe_code, reason = "mapping and advising memory has no safe form in std")]

use std::ptr::NonNull;

/// The size of a region, in bytes.
pub const REGION_BYTES: usize = 2 << 20;
/// Address space that is mapped at once, in bytes.
const SPAN_BYTES: usize = 32 * REGION_BYTES;

/// Regions, mapped as they are needed; all end with this.
#[derive(Default)]
pub(crate) struct Regions {
    spans: Vec<Mapping>,
    free: Vec<NonNull<u8>>,
}

impl Regions {
    /// Exclusive, zeroed memory of [`REGION_BYTES`], aligned to its size; the last one given back first.
    pub(crate) fn take(&mut self) -> NonNull<u8> {
        if self.free.is_empty() {
            let span = Mapping::new(SPAN_BYTES);
            let offsets = (0..SPAN_BYTES).step_by(REGION_BYTES).rev();
            // SAFETY: the offsets lie within the span.
            self.free.extend(offsets.map(|offset| unsafe { span.at.add(offset) }));
            self.spans.push(span);
        }
        self.free.pop().expect("a span has regions")
    }

    /// Takes back a region that nobody uses any more.
    pub(crate) fn give(&mut self, region: NonNull<u8>) {
        assert!(self.spans.iter().any(|span| span.holds(region)), "a region of somebody else");
        // SAFETY: the region lies in one of the spans, by the assertion above, and nobody refers to its memory.
        let advised = unsafe { libc::madvise(region.as_ptr().cast(), REGION_BYTES, libc::MADV_DONTNEED) };
        assert_eq!(advised, 0, "the kernel refused to take memory back");
        self.free.push(region);
    }
}

/// Has the kernel give a region its memory now. An old kernel that does not know the advice gives it at the first use.
pub(crate) fn populate(region: NonNull<u8>) {
    // SAFETY: populating changes no byte of the region.
    unsafe { libc::madvise(region.as_ptr().cast(), REGION_BYTES, libc::MADV_POPULATE_WRITE) };
}

/// An anonymous private mapping, aligned to a region, on huge pages.
pub(crate) struct Mapping {
    at: NonNull<u8>,
    bytes: usize,
}

impl Mapping {
    /// # Panics
    /// When the kernel has no memory left: budgets are checked long before, so that this is the end of the process.
    pub(crate) fn new(bytes: usize) -> Self {
        let span = bytes + REGION_BYTES;
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches no existing memory.
        let raw = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            libc::mmap(std::ptr::null_mut(), span, protection, flags, -1, 0)
        };
        assert!(
            raw != libc::MAP_FAILED,
            "the kernel refused to map {span} bytes: lower --memory, free memory, or raise vm.max_map_count"
        );
        let raw = raw.cast::<u8>();
        let lead = raw.align_offset(REGION_BYTES);
        assert!(lead <= REGION_BYTES);
        // SAFETY: `lead + bytes + tail == span`; the edges are unmapped and never used, the middle stays mapped.
        // The advice is only advice.
        unsafe {
            let at = raw.add(lead);
            if lead > 0 {
                libc::munmap(raw.cast(), lead);
            }
            let tail = span - lead - bytes;
            if tail > 0 {
                libc::munmap(at.add(bytes).cast(), tail);
            }
            libc::madvise(at.cast(), bytes, libc::MADV_HUGEPAGE);
            Self { at: NonNull::new(at).expect("a mapping is not at address zero"), bytes }
        }
    }

    fn holds(&self, at: NonNull<u8>) -> bool {
        (at.as_ptr() as usize).wrapping_sub(self.at.as_ptr() as usize) < self.bytes
    }

    pub(crate) const fn at(&self) -> NonNull<u8> {
        self.at
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped in `new`, is unmapped once, and nobody refers to it any more.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(region: &mut NonNull<u8>) -> &mut [u8] {
        // SAFETY: a region is exclusive and initialized, and borrowed as the slice is.
        unsafe { std::slice::from_raw_parts_mut(region.as_ptr(), REGION_BYTES) }
    }

    /// Lines of the kernel's table of mappings that begin within the spans.
    fn mappings(regions: &Regions) -> usize {
        #[expect(clippy::disallowed_methods, reason = "the kernel tells its mappings in a file")]
        let maps = std::fs::read("/proc/self/maps").expect("the kernel tells its mappings");
        let maps = String::from_utf8(maps).expect("text");
        let begins = maps.lines().map(|line| {
            let (begin, _) = line.split_once('-').expect("a range");
            usize::from_str_radix(begin, 16).expect("an address")
        });
        let inside = |begin: &usize| {
            regions.spans.iter().any(|span| {
                let from = span.at().as_ptr() as usize;
                (from..from + span.bytes()).contains(begin)
            })
        };
        begins.filter(inside).count()
    }

    /// O1: regions that were given back hold no memory, and the number of mappings does not grow with the memory.
    #[test]
    fn regions_are_disjoint_zero_and_cost_few_mappings() {
        let mut regions = Regions::default();
        let mut held: Vec<NonNull<u8>> = (0..200).map(|_| regions.take()).collect();
        for (fill, region) in held.iter_mut().enumerate() {
            let bytes = bytes_of(region);
            assert!((bytes.as_ptr() as usize).is_multiple_of(REGION_BYTES));
            assert_eq!((bytes[0], bytes[REGION_BYTES - 1]), (0, 0));
            (bytes[0], bytes[REGION_BYTES - 1]) = (fill as u8 + 1, fill as u8 + 1);
        }
        for (fill, region) in held.iter_mut().enumerate() {
            let bytes = bytes_of(region);
            assert_eq!((bytes[0], bytes[REGION_BYTES - 1]), (fill as u8 + 1, fill as u8 + 1));
        }
        let count = mappings(&regions);
        assert!(count <= 2 * regions.spans.len(), "{count} mappings for 200 regions");
        held.into_iter().for_each(|region| regions.give(region));
        let mut again = regions.take();
        assert_eq!(bytes_of(&mut again)[0], 0, "what was given back lost its memory");
        assert_eq!(regions.spans.len(), 200_usize.div_ceil(SPAN_BYTES / REGION_BYTES));
    }
}
