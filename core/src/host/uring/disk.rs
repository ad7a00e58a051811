//! Disk operations on the ring.
//!
//! Reads, writes, syncs, preallocation, opening, closing, renaming, linking, removing and making directories are
//! submissions of the ring. What the ring has no operation for (listing a directory, asking for free space) or what never
//! waits (the size of an open file, opening a directory) is an ordinary system call: the first two happen at the start
//! of a server and at most once a second.
//!
//! A failed write or sync is never tried again. Files are opened for direct I/O where their file system knows it.
#![expect(unsafe_code, reason = "disk operations point to buffers and paths that the kernel uses")]

use std::ffi::CString;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};

use io_uring::{opcode, squeue, types};
use pinion_wal::disk::{
    Access, AlignedBuf, Cause, Disk, DiskError, DiskOp, Done, FileId, OpId, OpKind, Submission,
};
use rustix::fs::{self, Mode, OFlags};

use super::Token;
use super::ring::{Completion, Ring, take_descriptor};

/// Waits for the data, and what is needed to read it back, to be on stable storage.
const RWF_DSYNC: i32 = 2;
/// Direct I/O transfers whole sectors: a read that ends within one has reached the end of the file.
const SECTOR_BYTES: usize = 512;

/// The files of one core and its operations in flight.
pub struct DiskOps {
    root: OwnedFd,
    /// By [`FileId`].
    files: Vec<Option<OwnedFd>>,
    flying: Vec<Option<Flying>>,
    free: Vec<u32>,
}

/// An operation in the kernel, with all the memory it points to.
struct Flying {
    id: OpId,
    kind: OpKind,
    place: Place,
    offset: Option<u64>,
    work: Work,
}

/// What an operation is about. The name of a file is looked up only when it failed.
enum Place {
    File(FileId),
    Path(String),
}

impl Place {
    fn error(self, disk: &Disk, op: OpKind, offset: Option<u64>, cause: Cause) -> DiskError {
        let path = match self {
            Self::File(file) => disk.path_of(file),
            Self::Path(path) => path,
        };
        DiskError { op, path, offset, cause }
    }
}

enum Work {
    Open { file: FileId, path: CString, access: Access, direct: bool },
    Read { fd: RawFd, buf: AlignedBuf, len: usize, got: usize },
    Write { buf: AlignedBuf, len: usize },
    Sync,
    SyncDir { _dir: OwnedFd },
    Remove { path: CString, is_dir: bool },
    Paths { _from: CString, _to: CString },
    Path { _path: CString },
    Plain,
}

/// What becomes of an operation after a step of it.
enum Step {
    Done(Result<Done, Cause>),
    /// It goes on with another submission.
    Again(Work),
}

impl DiskOps {
    /// The disk of the directory `root`.
    pub fn new(root: OwnedFd) -> Self {
        Self { root, files: Vec::new(), flying: Vec::new(), free: Vec::new() }
    }

    /// Operations in the kernel.
    pub fn in_flight(&self) -> usize {
        self.flying.len() - self.free.len()
    }

    /// Takes every waiting submission of `disk` to the ring; answers how many were carried out at once.
    pub fn submit(&mut self, disk: &Disk, ring: &mut Ring) -> usize {
        let mut done_at_once = 0;
        while let Some(Submission { id, op }) = disk.next_submission() {
            done_at_once += usize::from(self.begin(disk, id, op, ring));
        }
        done_at_once
    }

    /// A step of an operation has ended.
    pub fn completed(&mut self, disk: &Disk, completion: Completion, ring: &mut Ring) {
        let slot = completion.token.slot();
        let flying = self.flying[slot as usize].take().expect("an operation completes once");
        let Flying { id, kind, place, offset, work } = flying;
        match self.step(work, completion.result) {
            Step::Done(result) => {
                self.free.push(slot);
                disk.complete(id, result.map_err(|cause| place.error(disk, kind, offset, cause)));
            }
            Step::Again(work) => {
                self.flying[slot as usize] = Some(Flying { id, kind, place, offset, work });
                self.push(slot, ring);
            }
        }
    }

    /// Starts an operation; answers whether it was carried out at once.
    fn begin(&mut self, disk: &Disk, id: OpId, op: DiskOp, ring: &mut Ring) -> bool {
        let kind = op.kind();
        let (place, offset) = place_of(&op);
        match self.prepare(op, ring) {
            Ok(Prepared::Fly(work, entry)) => {
                let slot = self.free.pop().unwrap_or_else(|| {
                    self.flying.push(None);
                    u32::try_from(self.flying.len() - 1).expect("operations are counted in 32 bits")
                });
                self.flying[slot as usize] = Some(Flying { id, kind, place, offset, work });
                match entry {
                    // SAFETY: the entry points to nothing but memory on the heap that `work` owns, which stays in
                    // `flying` until the completion (and is leaked if the host ends earlier).
                    Some(entry) => unsafe { ring.push(&entry, Token::disk(slot)) },
                    None => self.push(slot, ring),
                }
                false
            }
            Ok(Prepared::Done(done)) => {
                disk.complete(id, Ok(done));
                true
            }
            Err(cause) => {
                disk.complete(id, Err(place.error(disk, kind, offset, cause)));
                true
            }
        }
    }

    fn prepare(&mut self, op: DiskOp, ring: &mut Ring) -> Result<Prepared, Cause> {
        let root = types::Fd(self.root.as_raw_fd());
        Ok(match op {
            DiskOp::Open { file, path, access } => {
                Prepared::step(Work::Open { file, path: c_path(path)?, access, direct: true })
            }
            DiskOp::Read { file, buf, len, .. } => {
                Prepared::step(Work::Read { fd: self.fd(file)?, buf, len, got: 0 })
            }
            DiskOp::Write { file, offset, mut buf, len, durable } => {
                let fd = types::Fd(self.fd(file)?);
                if durable && buf.fixed().is_none() {
                    ring.register_buffer(&mut buf);
                }
                let bytes = u32::try_from(len).map_err(|_| Cause::Os(libc::EINVAL))?;
                let flags = if durable { RWF_DSYNC } else { 0 };
                let entry = match buf.fixed() {
                    Some(index) => opcode::WriteFixed::new(fd, buf.as_ptr(), bytes, index)
                        .offset(offset)
                        .rw_flags(flags)
                        .build(),
                    None => {
                        opcode::Write::new(fd, buf.as_ptr(), bytes).offset(offset).rw_flags(flags).build()
                    }
                };
                Prepared::Fly(Work::Write { buf, len }, Some(entry))
            }
            DiskOp::Close { file } => {
                let fd = self.take(file)?.into_raw_fd();
                Prepared::Fly(Work::Plain, Some(opcode::Close::new(types::Fd(fd)).build()))
            }
            DiskOp::Preallocate { file, bytes } => {
                let fd = types::Fd(self.fd(file)?);
                Prepared::Fly(Work::Plain, Some(opcode::Fallocate::new(fd, bytes).build()))
            }
            DiskOp::Sync { file } => {
                let fd = types::Fd(self.fd(file)?);
                let entry = opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build();
                Prepared::Fly(Work::Sync, Some(entry))
            }
            DiskOp::SyncDir { dir } => {
                let dir = self.open_dir(&dir)?;
                let entry = opcode::Fsync::new(types::Fd(dir.as_raw_fd())).build();
                Prepared::Fly(Work::SyncDir { _dir: dir }, Some(entry))
            }
            DiskOp::Rename { from, to } => {
                let (from, to) = (c_path(from)?, c_path(to)?);
                let entry = opcode::RenameAt::new(root, from.as_ptr(), root, to.as_ptr()).build();
                Prepared::Fly(Work::Paths { _from: from, _to: to }, Some(entry))
            }
            DiskOp::Link { from, to } => {
                let (from, to) = (c_path(from)?, c_path(to)?);
                let entry = opcode::LinkAt::new(root, from.as_ptr(), root, to.as_ptr()).build();
                Prepared::Fly(Work::Paths { _from: from, _to: to }, Some(entry))
            }
            DiskOp::Remove { path } => Prepared::step(Work::Remove { path: c_path(path)?, is_dir: false }),
            DiskOp::MakeDir { path } => {
                let path = c_path(path)?;
                let entry = opcode::MkDirAt::new(root, path.as_ptr()).mode(0o755).build();
                Prepared::Fly(Work::Path { _path: path }, Some(entry))
            }
            DiskOp::List { dir } => Prepared::Done(Done::Names(self.list(&dir)?)),
            DiskOp::FreeSpace => {
                let stat = os(fs::fstatvfs(&self.root))?;
                Prepared::Done(Done::Free(stat.f_bavail * stat.f_frsize))
            }
        })
    }

    /// Submits the next step of the operation in `slot`, for operations that may take several.
    fn push(&mut self, slot: u32, ring: &mut Ring) {
        let root = types::Fd(self.root.as_raw_fd());
        let flying = self.flying[slot as usize].as_mut().expect("the caller has put it there");
        let entry: squeue::Entry = match &mut flying.work {
            Work::Open { path, access, direct, .. } => {
                let flags = open_flags(*access) | if *direct { libc::O_DIRECT } else { 0 };
                opcode::OpenAt::new(root, path.as_ptr()).flags(flags).mode(0o644).build()
            }
            Work::Read { fd, buf, len, got } => {
                let offset = flying.offset.expect("a read has an offset") + *got as u64;
                let rest = u32::try_from(*len - *got).expect("reads are below 4 GiB");
                let (fd, fixed) = (types::Fd(*fd), buf.fixed());
                let at = buf[*got..].as_mut_ptr();
                match fixed {
                    Some(index) => opcode::ReadFixed::new(fd, at, rest, index).offset(offset).build(),
                    None => opcode::Read::new(fd, at, rest).offset(offset).build(),
                }
            }
            Work::Remove { path, is_dir } => {
                let flags = if *is_dir { libc::AT_REMOVEDIR } else { 0 };
                opcode::UnlinkAt::new(root, path.as_ptr()).flags(flags).build()
            }
            _ => unreachable!("this operation has one step"),
        };
        // SAFETY: the entry points to nothing but memory on the heap that the operation in `flying` owns until its
        // completion was taken (it is leaked if the host ends earlier).
        unsafe { ring.push(&entry, Token::disk(slot)) };
    }

    fn step(&mut self, work: Work, result: i32) -> Step {
        let failed = || Step::Done(Err(Cause::from_errno(-result)));
        match work {
            Work::Open { file, path, mut access, direct: true } if result == -libc::EINVAL => {
                // The file system knows no direct I/O. A file it made before it found out is opened as it is.
                if access == Access::CreateNew
                    && fs::accessat(&self.root, &path, fs::Access::EXISTS, fs::AtFlags::empty()).is_ok()
                {
                    access = Access::ReadWrite;
                }
                Step::Again(Work::Open { file, path, access, direct: false })
            }
            Work::Read { fd, buf, len, got } if result == -libc::EINTR || result == -libc::EAGAIN => {
                Step::Again(Work::Read { fd, buf, len, got })
            }
            Work::Remove { path, is_dir: false } if result == -libc::EISDIR => {
                Step::Again(Work::Remove { path, is_dir: true })
            }
            _ if result < 0 => failed(),
            Work::Open { file, .. } => Step::Done(self.opened(file, take_descriptor(result))),
            Work::Read { fd, buf, len, got } => {
                let step = result.unsigned_abs() as usize;
                let got = got + step;
                if got == len {
                    Step::Done(Ok(Done::Buffer(buf)))
                } else if step == 0 || !got.is_multiple_of(SECTOR_BYTES) {
                    Step::Done(Err(Cause::Short { expected: len, got }))
                } else {
                    Step::Again(Work::Read { fd, buf, len, got })
                }
            }
            Work::Write { buf, len } => {
                let got = result.unsigned_abs() as usize;
                let whole = got == len;
                Step::Done(if whole {
                    Ok(Done::Buffer(buf))
                } else {
                    Err(Cause::Short { expected: len, got })
                })
            }
            _ => Step::Done(Ok(Done::Nothing)),
        }
    }

    fn opened(&mut self, file: FileId, fd: OwnedFd) -> Result<Done, Cause> {
        let stat = os(fs::fstat(&fd))?;
        let index = file.0 as usize;
        if self.files.len() <= index {
            self.files.resize_with(index + 1, || None);
        }
        self.files[index] = Some(fd);
        Ok(Done::Opened { bytes: u64::try_from(stat.st_size).unwrap_or(0) })
    }

    fn fd(&self, file: FileId) -> Result<RawFd, Cause> {
        let fd = self.files.get(file.0 as usize).and_then(Option::as_ref);
        fd.map(AsRawFd::as_raw_fd).ok_or(Cause::Os(libc::EBADF))
    }

    fn take(&mut self, file: FileId) -> Result<OwnedFd, Cause> {
        self.files.get_mut(file.0 as usize).and_then(Option::take).ok_or(Cause::Os(libc::EBADF))
    }

    fn open_dir(&self, dir: &str) -> Result<OwnedFd, Cause> {
        let dir = if dir.is_empty() { "." } else { dir };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        os(fs::openat(&self.root, dir, flags, Mode::empty()))
    }

    fn list(&self, dir: &str) -> Result<Vec<String>, Cause> {
        let mut names = Vec::new();
        for entry in os(fs::Dir::new(self.open_dir(dir)?))? {
            let name = os(entry)?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}

enum Prepared {
    /// To be submitted: with this entry, or with that of its first step.
    Fly(Work, Option<squeue::Entry>),
    Done(Done),
}

impl Prepared {
    const fn step(work: Work) -> Self {
        Self::Fly(work, None)
    }
}

fn place_of(op: &DiskOp) -> (Place, Option<u64>) {
    match op {
        DiskOp::Open { path, .. } | DiskOp::Remove { path } | DiskOp::MakeDir { path } => {
            (Place::Path(path.clone()), None)
        }
        DiskOp::Read { file, offset, .. } | DiskOp::Write { file, offset, .. } => {
            (Place::File(*file), Some(*offset))
        }
        DiskOp::Close { file } | DiskOp::Sync { file } | DiskOp::Preallocate { file, .. } => {
            (Place::File(*file), None)
        }
        DiskOp::Rename { from, .. } | DiskOp::Link { from, .. } => (Place::Path(from.clone()), None),
        DiskOp::List { dir } | DiskOp::SyncDir { dir } => (Place::Path(dir.clone()), None),
        DiskOp::FreeSpace => (Place::Path(String::from(".")), None),
    }
}

const fn open_flags(access: Access) -> i32 {
    libc::O_CLOEXEC
        | match access {
            Access::Read => libc::O_RDONLY,
            Access::ReadWrite => libc::O_RDWR,
            Access::CreateNew => libc::O_RDWR | libc::O_CREAT | libc::O_EXCL,
        }
}

fn c_path(path: String) -> Result<CString, Cause> {
    CString::new(path).map_err(|_| Cause::Os(libc::EINVAL))
}

fn os<T>(result: rustix::io::Result<T>) -> Result<T, Cause> {
    result.map_err(|errno| Cause::from_errno(errno.raw_os_error()))
}

#[cfg(test)]
mod tests;
