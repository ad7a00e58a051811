//! The fastest a directory can be read: its files in order, direct, one large read after another.

use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;

use crate::Outcome;
use crate::ring::Block;

/// Bytes of one read.
const READ_BYTES: usize = 1 << 20;

/// What to read, as flags.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// The directory
    #[arg(long)]
    dir: PathBuf,
}

/// Reads everything once and prints the bandwidth.
pub fn run(options: &Options) -> Outcome<()> {
    let mut names: Vec<PathBuf> =
        std::fs::read_dir(&options.dir)?.map(|e| Ok(e?.path())).collect::<Outcome<_>>()?;
    names.sort();
    let mut block = Block::zeroed(READ_BYTES);
    let begun = Instant::now();
    let mut total = 0u64;
    for name in names.iter().filter(|name| name.is_file()) {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(name)?;
        let mut offset = 0;
        loop {
            let buf = block.bytes_mut();
            // SAFETY: the buffer is `READ_BYTES` long and lives through the call.
            let read = unsafe { libc::pread(file.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), offset) };
            match read {
                0 => break,
                n if n < 0 => return Err(std::io::Error::last_os_error().into()),
                n => offset += n as i64,
            }
        }
        total += offset as u64;
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("bytes={total} seconds={seconds:.4} mb_per_s={:.1}", total as f64 / 1e6 / seconds);
    Ok(())
}
