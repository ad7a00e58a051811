//! The ring itself: submissions, completions, and the buffers that the kernel picks from when bytes arrive.
#![expect(unsafe_code, reason = "the kernel reads and writes memory that submissions point to")]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use io_uring::{IoUring, cqueue, opcode, squeue};

use pinion_wal::disk::AlignedBuf;

use super::{RingError, Token, TokenKind};
use crate::host::Slab;

/// Submissions that wait for the next enter, at most; more are submitted in between.
const SUBMISSIONS: u32 = 1024;
/// Completions that the kernel keeps without overflowing into its slow list.
const COMPLETIONS: u32 = 8192;
/// Buffers registered with the kernel, at most: those of the log, which are used again and again, come first.
const REGISTERED_MAX: u32 = 16;
/// A submission that the kernel refuses is tried so often, with this pause in nanoseconds, before the core gives up.
const REFUSALS_MAX: u32 = 10_000;
/// See [`REFUSALS_MAX`].
const REFUSAL_NANOS: u64 = 1_000_000;
/// The group number of the receive buffers.
pub const RECEIVE_GROUP: u16 = 0;

const ENTER_GETEVENTS: u32 = 1;
const ENTER_EXT_ARG: u32 = 1 << 3;

/// One completion.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// Whose.
    pub token: Token,
    /// A count, or a negated `errno`.
    pub result: i32,
    flags: u32,
}

impl Completion {
    /// Whether the same submission will complete again.
    pub fn more(self) -> bool {
        cqueue::more(self.flags)
    }

    /// The receive buffer that was used.
    pub fn buffer(self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }
}

/// How an enter waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    No,
    /// For one completion.
    Forever,
    /// For one completion, but no longer than this many nanoseconds.
    Nanos(u64),
}

/// The kernel's `struct io_uring_getevents_arg`.
#[repr(C)]
#[derive(Default)]
struct EnterArgument {
    sigmask: u64,
    sigmask_sz: u32,
    min_wait_usec: u32,
    timespec: u64,
}

/// The ring of one core, used by one thread.
pub struct Ring {
    uring: IoUring,
    buffers: Option<BufferRing>,
    /// Numbers given to registered buffers; the maximum when there are none left.
    registered: u32,
    /// Completions taken while a submission had to wait.
    stashed: VecDeque<Completion>,
}

/// Sets a ring up with everything that the host relies on.
pub fn set_up() -> Result<IoUring, RingError> {
    let uring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_cqsize(COMPLETIONS)
        .build(SUBMISSIONS)
        .map_err(RingError::from_setup)?;
    if !uring.params().is_feature_ext_arg() || !uring.params().is_feature_nodrop() {
        return Err(RingError::TooOld);
    }
    Ok(uring)
}

impl Ring {
    /// A ring without receive buffers. It belongs to the calling thread.
    pub fn new() -> Result<Self, RingError> {
        let uring = set_up()?;
        Ok(Self { uring, buffers: None, registered: 0, stashed: VecDeque::new() })
    }

    /// The descriptor of the ring, to which siblings send wake-ups.
    pub fn fd(&self) -> RawFd {
        self.uring.as_raw_fd()
    }

    /// Keeps the kernel's own workers on `cpus` and at most `workers_max` of either kind.
    pub fn confine_workers(&self, cpus: &[usize], workers_max: u32) -> io::Result<()> {
        // SAFETY: a set of CPUs is plain data; all zeros is the empty set.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        for &cpu in cpus {
            // SAFETY: writes one bit inside `set`; the macro ignores numbers beyond it.
            unsafe { libc::CPU_SET(cpu, &mut set) };
        }
        if !cpus.is_empty() {
            self.uring.submitter().register_iowq_aff(&set)?;
        }
        self.uring.submitter().register_iowq_max_workers(&mut [workers_max, workers_max])
    }

    /// Gives the kernel all buffers of `slab` to receive into.
    pub fn provide(&mut self, slab: &mut Slab) -> io::Result<()> {
        assert!(self.buffers.is_none(), "one slab per ring");
        let entries = u16::try_from(slab.buffers()).expect("a slab counts its buffers in 16 bits");
        let mut ring = BufferRing::new(entries);
        let address = ring.entries.as_ptr() as u64;
        // SAFETY: the ring's memory is page-aligned, has `entries` entries, and lives as long as `self.uring` (it is
        // leaked when dropped with the ring alive in the kernel, see `Drop`).
        unsafe { self.uring.submitter().register_buf_ring_with_flags(address, entries, RECEIVE_GROUP, 0)? };
        for buffer in 0..entries {
            ring.add(slab, buffer);
        }
        ring.publish();
        self.buffers = Some(ring);
        Ok(())
    }

    /// Registers the memory of `buf` with the kernel, which spares it the look-up of pages in every write, and tells the
    /// buffer its number. A buffer that finds no room, or no memory that may be locked, is used as it is.
    pub fn register_buffer(&mut self, buf: &mut AlignedBuf) {
        if self.registered == 0 && self.uring.submitter().register_buffers_sparse(REGISTERED_MAX).is_err() {
            self.registered = REGISTERED_MAX;
        }
        if self.registered >= REGISTERED_MAX {
            return;
        }
        let vector = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.capacity() };
        // SAFETY: the kernel pins the pages behind the address: they stay its own even if the buffer is freed, and
        // nothing but the buffer that carries the number ever uses them through the ring.
        let updated =
            unsafe { self.uring.submitter().register_buffers_update(self.registered, &[vector], None) };
        match updated {
            Ok(()) => {
                buf.set_fixed(u16::try_from(self.registered).expect("a small number"));
                self.registered += 1;
            }
            Err(_) => self.registered = REGISTERED_MAX,
        }
    }

    /// Lends a buffer back to the kernel; it is seen at the next [`Ring::publish_buffers`].
    pub fn lend(&mut self, slab: &mut Slab, buffer: u16) {
        self.buffers.as_mut().expect("buffers were provided before one came").add(slab, buffer);
    }

    /// Shows the kernel what was lent.
    pub fn publish_buffers(&mut self) {
        if let Some(buffers) = &mut self.buffers {
            buffers.publish();
        }
    }

    /// Queues a submission; submits what is queued when there is no room.
    ///
    /// # Safety
    /// Everything the entry points to stays valid until its completion (its last one, of several) was taken.
    pub unsafe fn push(&mut self, entry: &squeue::Entry, token: Token) {
        let entry = entry.clone().user_data(token.bits());
        for _ in 0..REFUSALS_MAX {
            // SAFETY: promised by the caller.
            if unsafe { self.uring.submission().push(&entry) }.is_ok() {
                return;
            }
            match self.uring.submit() {
                Ok(_) => {}
                // The kernel has no room for completions, or no memory: taking some makes room, and a moment may help.
                Err(error) if is_transient(&error) => {
                    self.stash_completions();
                    if let Err(error) = self.enter(Wait::Nanos(REFUSAL_NANOS)) {
                        panic!("the ring of this core cannot be entered: {error}");
                    }
                    self.stash_completions();
                }
                Err(error) => panic!("the ring of this core refuses submissions: {error}"),
            }
        }
        panic!(
            "the kernel has taken no submission for {REFUSALS_MAX} ms: it is out of memory, or its io_uring is stuck"
        );
    }

    /// Takes the completions that are there, for [`Ring::next`] to answer first: their slots are free then.
    fn stash_completions(&mut self) {
        while let Some(entry) = self.uring.completion().next() {
            let token = Token::from_bits(entry.user_data());
            self.stashed.push_back(Completion { token, result: entry.result(), flags: entry.flags() });
        }
    }

    /// Submits what is queued, lets the kernel finish what it can, and waits as asked.
    pub fn enter(&mut self, wait: Wait) -> io::Result<()> {
        // What was stashed is answered at once.
        let wait = if self.stashed.is_empty() { wait } else { Wait::No };
        let submissions = u32::try_from(self.uring.submission().len()).expect("the queue is small");
        let nanos = if let Wait::Nanos(nanos) = wait { nanos } else { 0 };
        let time = [nanos / 1_000_000_000, nanos % 1_000_000_000];
        let mut argument = EnterArgument::default();
        if matches!(wait, Wait::Nanos(_)) {
            argument.timespec = (&raw const time) as u64;
        }
        let want = u32::from(wait != Wait::No);
        let flags = ENTER_GETEVENTS | ENTER_EXT_ARG;
        // SAFETY: the argument and the time it points to live until the call returns; what submissions point to is
        // promised by the callers of `push`.
        let entered = unsafe { self.uring.submitter().enter(submissions, want, flags, Some(&argument)) };
        match entered {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ETIME) || is_transient(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether an enter would find something: a completion is there, or the kernel has work to finish for this thread.
    pub fn is_ready(&mut self) -> bool {
        !self.stashed.is_empty() || !self.uring.completion().is_empty() || self.uring.submission().taskrun()
    }

    /// The next completion.
    pub fn next(&mut self) -> Option<Completion> {
        if let Some(completion) = self.stashed.pop_front() {
            return Some(completion);
        }
        let entry = self.uring.completion().next()?;
        let token = Token::from_bits(entry.user_data());
        Some(Completion { token, result: entry.result(), flags: entry.flags() })
    }
}

/// Queues a submission that points to no memory at all.
pub fn push_without_memory(ring: &mut Ring, entry: &squeue::Entry, token: Token) {
    // SAFETY: there is nothing that would have to stay valid.
    unsafe { ring.push(entry, token) };
}

/// Reads from `descriptor` into `place`, which the caller neither looks at, moves nor drops before the completion.
pub fn push_read(ring: &mut Ring, descriptor: RawFd, place: &mut Box<[u8; 8]>, token: Token) {
    let entry = opcode::Read::new(io_uring::types::Fd(descriptor), place.as_mut_ptr(), 8).build();
    // SAFETY: the box belongs to the host, which keeps it until the completion and leaks it if it ends earlier.
    unsafe { ring.push(&entry, token) };
}

/// Wakes the core whose ring this is, if it still is one.
pub fn wake(ring: &mut Ring, sibling: RawFd) {
    let token = Token::plain(TokenKind::Ignored);
    let entry = opcode::MsgRingData::new(io_uring::types::Fd(sibling), 0, token.bits(), None).build();
    push_without_memory(ring, &entry.flags(squeue::Flags::SKIP_SUCCESS), token);
}

/// Cancels the submission that carries `token`, if it is still in the kernel.
pub fn cancel(ring: &mut Ring, token: Token) {
    let entry = opcode::AsyncCancel::new(token.bits()).build().flags(squeue::Flags::SKIP_SUCCESS);
    push_without_memory(ring, &entry, Token::plain(TokenKind::Ignored));
}

/// Owns a descriptor that the kernel has just handed out in a completion.
pub fn take_descriptor(descriptor: i32) -> OwnedFd {
    assert!(descriptor >= 0, "{descriptor} is an error, not a descriptor");
    // SAFETY: the kernel made it for the completion that carried it, and a completion is taken once.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// Errors of an enter that go away by themselves: the next turn tries again.
fn is_transient(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY))
}

/// The ring of buffers lent to the kernel.
struct BufferRing {
    entries: NonNull<BufRingEntry>,
    count: u16,
    tail: u16,
}

impl BufferRing {
    fn new(count: u16) -> Self {
        assert!(count.is_power_of_two(), "{count} receive buffers: their ring counts in a power of two");
        let layout = Self::layout(count);
        // SAFETY: the size is above zero.
        let raw = unsafe { alloc_zeroed(layout) };
        let Some(entries) = NonNull::new(raw.cast()) else { handle_alloc_error(layout) };
        Self { entries, count, tail: 0 }
    }

    fn add(&mut self, slab: &mut Slab, buffer: u16) {
        let len = u32::try_from(slab.buffer_bytes()).expect("a receive buffer is small");
        let address = slab.lend(buffer) as u64;
        let index = usize::from(self.tail & (self.count - 1));
        // SAFETY: the index lies inside the ring; the kernel reads entries below the published tail alone, and every
        // buffer is lent once, so that the entry at `tail` is not one of those.
        let entry = unsafe { &mut *self.entries.as_ptr().add(index) };
        entry.set_addr(address);
        entry.set_len(len);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&mut self) {
        // SAFETY: the ring's first entry holds the tail; the kernel reads it with acquire.
        let tail = unsafe { &*BufRingEntry::tail(self.entries.as_ptr()).cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }

    fn layout(count: u16) -> Layout {
        Layout::from_size_align(usize::from(count) * size_of::<BufRingEntry>(), 4096).expect("a small layout")
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if let Some(buffers) = self.buffers.take()
            && self.uring.submitter().unregister_buf_ring(RECEIVE_GROUP).is_ok()
        {
            // SAFETY: allocated with the same layout; the kernel has just given it up.
            unsafe { dealloc(buffers.entries.as_ptr().cast(), BufferRing::layout(buffers.count)) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submission_completes_with_its_token() {
        let mut ring = Ring::new().expect("this kernel has what the host needs");
        for slot in 0..3000 {
            // SAFETY: the operation touches no memory.
            unsafe { ring.push(&opcode::Nop::new().build(), Token::disk(slot)) };
        }
        let mut seen = 0;
        while seen < 3000 {
            ring.enter(Wait::Forever).expect("entering works");
            while let Some(completion) = ring.next() {
                assert_eq!((completion.token, completion.result), (Token::disk(seen), 0));
                seen += 1;
            }
        }
    }

    /// More submissions than the kernel has room for completions, none of which is taken in between.
    #[test]
    fn submissions_beyond_the_room_for_completions_all_complete() {
        let mut ring = Ring::new().expect("this kernel has what the host needs");
        let count = 4 * COMPLETIONS;
        for slot in 0..count {
            // SAFETY: the operation touches no memory.
            unsafe { ring.push(&opcode::Nop::new().build(), Token::disk(slot)) };
        }
        let mut seen = 0;
        while seen < count {
            ring.enter(Wait::Forever).expect("entering works");
            while let Some(completion) = ring.next() {
                assert_eq!(completion.token, Token::disk(seen));
                seen += 1;
            }
        }
    }

    #[test]
    fn an_enter_without_completions_ends_at_its_time() {
        let mut ring = Ring::new().expect("this kernel has what the host needs");
        ring.enter(Wait::Nanos(1_000_000)).expect("a timeout is no error");
        assert!(ring.next().is_none());
    }

    #[test]
    fn bytes_arrive_in_lent_buffers() {
        use std::io::Write;
        use std::os::unix::net::UnixStream;
        let mut slab = Slab::new(4, 64);
        let mut ring = Ring::new().expect("this kernel has what the host needs");
        ring.provide(&mut slab).expect("buffers are accepted");
        let (mut ours, theirs) = UnixStream::pair().expect("a socket pair");
        let entry = opcode::RecvMulti::new(io_uring::types::Fd(theirs.as_raw_fd()), RECEIVE_GROUP).build();
        // SAFETY: the operation points to no memory but the slab's, and the socket outlives the ring's use of it.
        unsafe { ring.push(&entry, Token::disk(1)) };
        for round in 0..10_u8 {
            ours.write_all(&[round; 40]).expect("the pair is open");
            ring.enter(Wait::Forever).expect("entering works");
            let completion = ring.next().expect("one receive");
            assert_eq!(completion.result, 40);
            let buffer = completion.buffer().expect("a buffer was picked");
            // SAFETY: the kernel has completed the receive into this buffer.
            unsafe { slab.take_back(buffer) };
            assert_eq!(slab.bytes(buffer)[..40], [round; 40]);
            ring.lend(&mut slab, buffer);
            ring.publish_buffers();
        }
    }
}
