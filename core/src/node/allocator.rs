//! The process's allocator, told to give back what is freed.
#![expect(unsafe_code, reason = "the allocator of the C library is set by a call into it")]

/// Allocations from here on are mappings of their own, which end when they are freed, in bytes.
#[cfg(target_env = "gnu")]
const MAP_BYTES_MIN: libc::c_int = 128 << 10;
/// Free memory at the end of a heap above which it goes back to the kernel, in bytes.
#[cfg(target_env = "gnu")]
const TRIM_BYTES: libc::c_int = 1 << 20;

/// Large buffers come and go (values, send buffers, messages between cores): by default the allocator keeps the holes that
/// they leave, which no budget counts. Call it before any thread is started.
pub fn give_back_what_is_freed() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the calls change two numbers of the allocator; no other thread runs yet. A value that it refuses changes
    // nothing.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAP_BYTES_MIN);
        libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_BYTES);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_allocator_goes_on_working() {
        super::give_back_what_is_freed();
        let large = vec![7_u8; 1 << 20];
        assert!(large.iter().all(|&byte| byte == 7));
    }
}
