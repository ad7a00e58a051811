//! The bare disk through a bare ring: no framing, no checksum, no reader, and unless asked for, the same data in each write.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use io_uring::{IoUring, opcode, types};

use crate::{Outcome, figures};

/// Direct I/O asks for memory and offsets aligned to this.
const ALIGN: usize = 4096;

/// The load, as flags.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// The file's directory
    #[arg(long)]
    dir: PathBuf,
    /// Bytes of a write
    #[arg(long, default_value_t = 256 << 10)]
    batch_bytes: usize,
    /// Writes in flight
    #[arg(long, default_value_t = 4)]
    depth: usize,
    /// Bytes of the file, written before the measurement
    #[arg(long, default_value_t = 256 << 20)]
    file_bytes: u64,
    /// Seconds of measurement
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Copy new data into the buffer of each write
    #[arg(long)]
    copy: bool,
    /// CPU to pin to
    #[arg(long, default_value_t = 0)]
    cpu: usize,
}

/// Memory that direct I/O accepts.
pub struct Block {
    at: *mut u8,
    layout: Layout,
}

impl Block {
    /// `bytes` zeros, aligned.
    pub fn zeroed(bytes: usize) -> Self {
        let layout = Layout::from_size_align(bytes.max(1), ALIGN).expect("a sound size");
        // SAFETY: the size is not zero.
        let at = unsafe { alloc_zeroed(layout) };
        assert!(!at.is_null(), "out of memory");
        Self { at, layout }
    }

    /// The memory.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: this value owns `layout.size()` initialized bytes at `at`.
        unsafe { std::slice::from_raw_parts_mut(self.at, self.layout.size()) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout and freed once.
        unsafe { dealloc(self.at, self.layout) }
    }
}

/// Writes until the time is over and prints the rate, the bandwidth and the latencies.
pub fn run(options: &Options) -> Outcome<()> {
    affinity::set_thread_affinity([options.cpu]).map_err(|e| e.to_string())?;
    let path = options.dir.join("raw-ring");
    let file = prepare(&path, options)?;
    let mut blocks: Vec<Block> = (0..options.depth).map(|_| Block::zeroed(options.batch_bytes)).collect();
    let vectors: Vec<libc::iovec> = blocks
        .iter_mut()
        .map(|block| {
            block.bytes_mut().fill(b'x');
            libc::iovec { iov_base: block.at.cast(), iov_len: options.batch_bytes }
        })
        .collect();
    let mut ring: IoUring = IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(64)?;
    // SAFETY: the blocks outlive the ring's last write: every completion is awaited below.
    unsafe { ring.submitter().register_buffers(&vectors)? };
    ring.submitter().register_files(&[file.as_raw_fd()])?;
    let mut latency = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3)?;
    let mut since = vec![Instant::now(); options.depth];
    let data = vec![b'y'; options.batch_bytes];
    let (mut offset, mut done, mut flying) = (0u64, 0u64, 0usize);
    let begun = Instant::now();
    let end = begun + Duration::from_secs_f64(options.seconds);
    let mut free: Vec<usize> = (0..options.depth).collect();
    loop {
        while Instant::now() < end
            && let Some(slot) = free.pop()
        {
            if options.copy {
                blocks[slot].bytes_mut().copy_from_slice(&data);
            }
            let bytes = options.batch_bytes as u32;
            let write = opcode::WriteFixed::new(types::Fixed(0), blocks[slot].at, bytes, slot as u16)
                .offset(offset)
                .rw_flags(libc::RWF_DSYNC)
                .build()
                .user_data(slot as u64);
            offset = (offset + options.batch_bytes as u64) % options.file_bytes;
            since[slot] = Instant::now();
            // SAFETY: buffer and file are registered and stay so until the completion.
            unsafe { ring.submission().push(&write).map_err(|e| e.to_string())? };
            flying += 1;
        }
        if flying == 0 {
            break;
        }
        ring.submit_and_wait(1)?;
        let completed: Vec<(usize, i32)> =
            ring.completion().map(|entry| (entry.user_data() as usize, entry.result())).collect();
        for (slot, result) in completed {
            if result != options.batch_bytes as i32 {
                return Err(format!("a write answered {result}").into());
            }
            latency.saturating_record(since[slot].elapsed().as_nanos() as u64);
            free.push(slot);
            flying -= 1;
            done += 1;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let bandwidth = done as f64 * options.batch_bytes as f64 / 1e6 / seconds;
    figures::print(done, seconds, &latency, &format!("mb_per_s={bandwidth:.1}"));
    std::fs::remove_file(path)?;
    Ok(())
}

/// A file whose blocks were all written and synced, so that a sync of a write has no metadata to write.
fn prepare(path: &std::path::Path, options: &Options) -> Outcome<File> {
    if !options.file_bytes.is_multiple_of(options.batch_bytes as u64)
        || !options.batch_bytes.is_multiple_of(ALIGN)
    {
        return Err("batches must be aligned and fill the file exactly".into());
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(libc::O_DIRECT)
        .open(path)?;
    let mut zeros = Block::zeroed(1 << 20);
    let mut at = 0;
    while at < options.file_bytes {
        let bytes = zeros.bytes_mut();
        let some = bytes.len().min((options.file_bytes - at) as usize);
        file.write_all_at(&bytes[..some], at)?;
        at += some as u64;
    }
    file.sync_all()?;
    Ok(file)
}
