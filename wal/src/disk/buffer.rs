//! Block-aligned buffers, the only memory that direct I/O touches.
#![expect(unsafe_code, reason = "aligned allocation has no safe form in std")]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::BLOCK_BYTES;

/// A heap buffer whose address and capacity are multiples of [`BLOCK_BYTES`]. Its bytes are always initialized.
pub struct AlignedBuf {
    at: NonNull<u8>,
    capacity: usize,
    fixed: Option<u16>,
}

impl AlignedBuf {
    /// A buffer of zeros of at least `bytes` bytes, rounded up to whole blocks (at least one).
    #[must_use]
    pub fn zeroed(bytes: usize) -> Self {
        let capacity = bytes.max(1).next_multiple_of(BLOCK_BYTES);
        let layout = Self::layout(capacity);
        // SAFETY: the layout has a size above zero.
        let raw = unsafe { alloc_zeroed(layout) };
        let Some(at) = NonNull::new(raw) else { handle_alloc_error(layout) };
        Self { at, capacity, fixed: None }
    }

    /// Bytes this buffer holds.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// The index under which the host registered this buffer with the kernel, if it did.
    #[must_use]
    pub const fn fixed(&self) -> Option<u16> {
        self.fixed
    }

    /// Notes that the host registered this buffer under `index`.
    pub const fn set_fixed(&mut self, index: u16) {
        self.fixed = Some(index);
    }

    fn layout(capacity: usize) -> Layout {
        Layout::from_size_align(capacity, BLOCK_BYTES).expect("a capacity of whole blocks fits a layout")
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `at` points to `capacity` initialized bytes that this value owns.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.capacity) }
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` excludes every other reference.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr(), self.capacity) }
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with the same layout, and never freed before.
        unsafe { dealloc(self.at.as_ptr(), Self::layout(self.capacity)) }
    }
}

// SAFETY: the buffer owns its memory and shares it with nobody.
unsafe impl Send for AlignedBuf {}

impl std::fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AlignedBuf").field("capacity", &self.capacity).field("fixed", &self.fixed).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_aligned_zeroed_and_writable_to_its_last_byte() {
        for bytes in [0, 1, BLOCK_BYTES, BLOCK_BYTES + 1, 1 << 20] {
            let mut buf = AlignedBuf::zeroed(bytes);
            assert_eq!(buf.as_ptr() as usize % BLOCK_BYTES, 0);
            assert_eq!(buf.capacity() % BLOCK_BYTES, 0);
            assert!(buf.capacity() >= bytes.max(1));
            assert!(buf.iter().all(|&b| b == 0));
            let last = buf.len() - 1;
            buf[last] = 7;
            assert_eq!(buf[last], 7);
        }
    }
}
