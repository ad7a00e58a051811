//! The blocking driver: carries out each operation with a system call, in the order of submission.
//!
//! For tests, tools and re-homing at start. Files are opened with `O_DIRECT` where the file system allows it; durable
//! writes are `pwritev2` with `RWF_DSYNC`, or a write and `fdatasync` where that is unknown.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{self, AtFlags, FallocateFlags, Mode, OFlags};
use rustix::io::{self, Errno, ReadWriteFlags};

use super::{Access, AlignedBuf, Cause, Disk, DiskError, DiskOp, Done, Driver, FileId, Outcome, Submission};

/// The blocking driver of one data directory. See the module page.
#[derive(Debug)]
pub struct DirectDisk {
    root: OwnedFd,
    files: BTreeMap<FileId, OwnedFd>,
}

impl DirectDisk {
    /// A driver of the directory `root`, which must exist.
    pub fn new(root: impl AsRef<Path>) -> Result<Self, DiskError> {
        let root = root.as_ref();
        match fs::open(root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fd) => Ok(Self { root: fd, files: BTreeMap::new() }),
            Err(errno) => Err(DiskError {
                op: super::OpKind::Open,
                path: root.display().to_string(),
                offset: None,
                cause: Cause::from_errno(errno.raw_os_error()),
            }),
        }
    }

    /// Carries out all waiting submissions and completes them; answers how many.
    pub fn drive(&mut self, disk: &Disk) -> usize {
        let mut completed = 0;
        while let Some(Submission { id, op }) = disk.next_submission() {
            disk.complete(id, self.carry_out(disk, op));
            completed += 1;
        }
        completed
    }

    fn carry_out(&mut self, disk: &Disk, op: DiskOp) -> Outcome {
        let kind = op.kind();
        let (path, offset) = match &op {
            DiskOp::Open { path, .. } | DiskOp::Remove { path } | DiskOp::MakeDir { path } => {
                (path.clone(), None)
            }
            DiskOp::Read { file, offset, .. } | DiskOp::Write { file, offset, .. } => {
                (disk.path_of(*file), Some(*offset))
            }
            DiskOp::Close { file } | DiskOp::Sync { file } | DiskOp::Preallocate { file, .. } => {
                (disk.path_of(*file), None)
            }
            DiskOp::Rename { from, .. } | DiskOp::Link { from, .. } => (from.clone(), None),
            DiskOp::List { dir } | DiskOp::SyncDir { dir } => (dir.clone(), None),
            DiskOp::FreeSpace => (String::from("."), None),
        };
        self.call(op).map_err(|cause| DiskError { op: kind, path, offset, cause })
    }

    fn call(&mut self, op: DiskOp) -> Result<Done, Cause> {
        match op {
            DiskOp::Open { file, path, access } => return self.open(file, &path, access),
            DiskOp::Close { file } => drop(self.files.remove(&file)),
            DiskOp::Preallocate { file, bytes } => {
                os(fs::fallocate(self.fd(file)?, FallocateFlags::empty(), 0, bytes))?;
            }
            DiskOp::Read { file, offset, buf, len } => return read(self.fd(file)?, offset, buf, len),
            DiskOp::Write { file, offset, buf, len, durable } => {
                return write(self.fd(file)?, offset, buf, len, durable);
            }
            DiskOp::Sync { file } => os(fs::fdatasync(self.fd(file)?))?,
            DiskOp::Rename { from, to } => os(fs::renameat(&self.root, from, &self.root, to))?,
            DiskOp::Link { from, to } => os(fs::linkat(&self.root, from, &self.root, to, AtFlags::empty()))?,
            DiskOp::Remove { path } => match fs::unlinkat(&self.root, &path, AtFlags::empty()) {
                Err(Errno::ISDIR) => os(fs::unlinkat(&self.root, &path, AtFlags::REMOVEDIR))?,
                other => os(other)?,
            },
            DiskOp::MakeDir { path } => os(fs::mkdirat(&self.root, path, Mode::from(0o755)))?,
            DiskOp::List { dir } => return self.list(&dir),
            DiskOp::SyncDir { dir } => os(fs::fsync(self.open_dir(&dir)?))?,
            DiskOp::FreeSpace => {
                let stat = os(fs::fstatvfs(&self.root))?;
                return Ok(Done::Free(stat.f_bavail * stat.f_frsize));
            }
        }
        Ok(Done::Nothing)
    }

    fn fd(&self, file: FileId) -> Result<&OwnedFd, Cause> {
        self.files.get(&file).ok_or(Cause::Os(libc::EBADF))
    }

    fn open(&mut self, file: FileId, path: &str, access: Access) -> Result<Done, Cause> {
        let flags = OFlags::CLOEXEC
            | match access {
                Access::Read => OFlags::RDONLY,
                Access::ReadWrite => OFlags::RDWR,
                Access::CreateNew => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
            };
        let fd = match fs::openat(&self.root, path, flags | OFlags::DIRECT, Mode::from(0o644)) {
            // The file system knows no direct I/O. A file it created before it found out is opened as it is.
            Err(Errno::INVAL) => {
                let flags = if access == Access::CreateNew { flags - OFlags::EXCL } else { flags };
                os(fs::openat(&self.root, path, flags, Mode::from(0o644)))?
            }
            other => os(other)?,
        };
        let stat = os(fs::fstat(&fd))?;
        self.files.insert(file, fd);
        Ok(Done::Opened { bytes: u64::try_from(stat.st_size).unwrap_or(0) })
    }

    fn open_dir(&self, dir: &str) -> Result<OwnedFd, Cause> {
        let dir = if dir.is_empty() { "." } else { dir };
        os(fs::openat(&self.root, dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()))
    }

    fn list(&self, dir: &str) -> Result<Done, Cause> {
        let mut names = Vec::new();
        for entry in os(fs::Dir::new(self.open_dir(dir)?))? {
            let name = os(entry)?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        Ok(Done::Names(names))
    }
}

impl Driver for DirectDisk {
    fn drive(&mut self, disk: &Disk) -> usize {
        Self::drive(self, disk)
    }
}

fn read(fd: &OwnedFd, offset: u64, mut buf: AlignedBuf, len: usize) -> Result<Done, Cause> {
    let mut got = 0;
    while got < len {
        let step = match io::pread(fd, &mut buf[got..len], offset + got as u64) {
            Err(Errno::INTR) => continue,
            other => os(other)?,
        };
        got += step;
        // A part that ends within a sector ends at the end of the file: reading on would not be aligned.
        if step == 0 || !got.is_multiple_of(512) {
            break;
        }
    }
    if got == len { Ok(Done::Buffer(buf)) } else { Err(Cause::Short { expected: len, got }) }
}

fn write(fd: &OwnedFd, offset: u64, buf: AlignedBuf, len: usize, durable: bool) -> Result<Done, Cause> {
    let data = &buf[..len];
    let written = if durable {
        match io::pwritev2(fd, &[IoSlice::new(data)], offset, ReadWriteFlags::DSYNC) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                let written = os(io::pwrite(fd, data, offset))?;
                os(fs::fdatasync(fd))?;
                written
            }
            other => os(other)?,
        }
    } else {
        os(io::pwrite(fd, data, offset))?
    };
    if written == len { Ok(Done::Buffer(buf)) } else { Err(Cause::Short { expected: len, got: written }) }
}

fn os<T>(result: Result<T, Errno>) -> Result<T, Cause> {
    result.map_err(|errno| Cause::from_errno(errno.raw_os_error()))
}
