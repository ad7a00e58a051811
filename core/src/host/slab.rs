//! The memory into which the kernel receives: equal buffers in one block.
#![expect(unsafe_code, reason = "the kernel writes into buffers that are lent to it")]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// The alignment of the block, in bytes.
const ALIGN_BYTES: usize = 4096;

/// Buffers of equal size. Each is either lent (the kernel may write it at any moment, nobody reads it) or held (nobody
/// writes it, it may be read). All start held.
pub struct Slab {
    at: NonNull<u8>,
    buffer_bytes: usize,
    held: Vec<bool>,
}

impl Slab {
    /// `buffers` buffers of `buffer_bytes` bytes.
    ///
    /// # Panics
    /// When either is zero, or the sum is beyond the address space.
    #[must_use]
    pub fn new(buffers: u16, buffer_bytes: usize) -> Self {
        assert!(buffers > 0 && buffer_bytes > 0, "an empty slab receives nothing");
        let layout = Self::layout(usize::from(buffers), buffer_bytes);
        // SAFETY: the size is above zero.
        let raw = unsafe { alloc_zeroed(layout) };
        let Some(at) = NonNull::new(raw) else { handle_alloc_error(layout) };
        Self { at, buffer_bytes, held: vec![true; usize::from(buffers)] }
    }

    /// Bytes of each buffer.
    #[must_use]
    pub const fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    /// How many buffers there are.
    #[must_use]
    pub const fn buffers(&self) -> usize {
        self.held.len()
    }

    /// The bytes of a held buffer.
    ///
    /// # Panics
    /// When the buffer is lent.
    #[must_use]
    pub fn bytes(&self, buffer: u16) -> &[u8] {
        assert!(self.held[usize::from(buffer)], "buffer {buffer} is lent");
        // SAFETY: inside the block, initialized since its creation; held, so that nobody writes it, and `lend`, which
        // would change that, needs `&mut self`.
        unsafe { std::slice::from_raw_parts(self.address(buffer), self.buffer_bytes) }
    }

    /// Lends a held buffer and answers its address, to be given to the kernel.
    ///
    /// # Panics
    /// When the buffer is lent already.
    pub fn lend(&mut self, buffer: u16) -> *mut u8 {
        let held = std::mem::replace(&mut self.held[usize::from(buffer)], false);
        assert!(held, "buffer {buffer} was lent twice");
        self.address(buffer)
    }

    /// Takes a lent buffer back.
    ///
    /// # Safety
    /// Nobody to whom the buffer was lent may write it from now on.
    ///
    /// # Panics
    /// When the buffer is not lent.
    pub unsafe fn take_back(&mut self, buffer: u16) {
        let held = std::mem::replace(&mut self.held[usize::from(buffer)], true);
        assert!(!held, "buffer {buffer} came back twice");
    }

    fn address(&self, buffer: u16) -> *mut u8 {
        // SAFETY: the index was checked against `held` by the caller, so the offset lies inside the block.
        unsafe { self.at.as_ptr().add(usize::from(buffer) * self.buffer_bytes) }
    }

    fn layout(buffers: usize, buffer_bytes: usize) -> Layout {
        let bytes = buffers.checked_mul(buffer_bytes).expect("a slab is smaller than the address space");
        Layout::from_size_align(bytes, ALIGN_BYTES).expect("a slab fits a layout")
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        if self.held.iter().all(|&held| held) {
            // SAFETY: allocated in `new` with the same layout; no buffer is lent, so nobody writes it any more.
            unsafe { dealloc(self.at.as_ptr(), Self::layout(self.held.len(), self.buffer_bytes)) }
        }
        // A block of which the kernel may still hold a part is leaked: it ends with the process.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lent_buffer_is_written_by_its_borrower_and_read_after_it_came_back() {
        let mut slab = Slab::new(3, 64);
        let at = slab.lend(1);
        // SAFETY: the buffer is lent to this test and has 64 bytes.
        unsafe { at.write_bytes(7, 64) };
        // SAFETY: this test writes no more.
        unsafe { slab.take_back(1) };
        assert_eq!(slab.bytes(1), [7; 64]);
        assert_eq!(slab.bytes(0), [0; 64]);
        assert_eq!(slab.bytes(2), [0; 64]);
    }

    #[test]
    #[should_panic(expected = "is lent")]
    fn a_lent_buffer_is_not_read() {
        let mut slab = Slab::new(2, 64);
        let _ = slab.lend(1);
        let _ = slab.bytes(1);
    }
}
