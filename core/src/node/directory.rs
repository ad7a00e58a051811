//! The data directory: made, opened and held by one server at a time.

use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{self, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::planted;

/// The file that the server of a directory holds locked. It stays when the server ends: a lock ends by itself.
pub const LOCK_FILE: &str = "LOCK";

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Another server uses it.
    #[error(
        "the data directory {path} is in use by another server{holder}: stop that one, or choose another directory with \
         --data-dir",
        path = .path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process, as far as it is known.
        holder: String,
    },
    /// It cannot be made or opened.
    #[error("the data directory {path} cannot be {what}: {cause}; choose another with --data-dir", path = .path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        cause: std::io::Error,
    },
}

/// A data directory that this process holds. Dropping it lets go.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    _lock: std::fs::File,
}

impl Directory {
    /// Makes the directory when it is not there, durably, and locks it.
    pub fn hold(path: &Path) -> Result<Self, DirectoryError> {
        let unusable = |what, errno: Errno| DirectoryError::Unusable {
            path: path.to_owned(),
            what,
            cause: errno.into(),
        };
        make(path).map_err(|errno| unusable("made", errno))?;
        let root = open_dir(path).map_err(|errno| unusable("opened", errno))?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let lock = fs::openat(&root, LOCK_FILE, flags, Mode::from(0o644))
            .map_err(|errno| unusable("written to", errno))?;
        let mut lock = std::fs::File::from(lock);
        match fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(_) if planted::is("directory-not-locked") => {}
            Err(Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let holder =
                    lock.read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u32>().ok());
                let holder = holder.map(|process| format!(" (process {process})")).unwrap_or_default();
                return Err(DirectoryError::InUse { path: path.to_owned(), holder });
            }
            Err(errno) => return Err(unusable("locked", errno)),
        }
        // For the message above only: nothing depends on it.
        let _ = lock.set_len(0).and_then(|()| lock.rewind());
        let _ = writeln!(lock, "{}", std::process::id());
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn open_dir(path: &Path) -> rustix::io::Result<OwnedFd> {
    fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Makes `path` and what is missing above it, each durable in its parent.
fn make(path: &Path) -> rustix::io::Result<()> {
    match fs::mkdir(path, Mode::from(0o755)) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(()),
        Err(Errno::NOENT) => {
            make(parent(path))?;
            fs::mkdir(path, Mode::from(0o755))?;
        }
        Err(errno) => return Err(errno),
    }
    fs::fsync(open_dir(parent(path))?)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("pinion-directory-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        path
    }

    /// D7: a directory has one holder; the second is told who it is and what to do.
    #[test]
    fn a_directory_is_held_once() {
        let path = scratch("held").join("a/b");
        let first = Directory::hold(&path).expect("it is made");
        let error = Directory::hold(&path).expect_err("it is held").to_string();
        let process = std::process::id().to_string();
        for part in [path.to_str().expect("text"), process.as_str(), "--data-dir"] {
            assert!(error.contains(part), "{part} is missing in: {error}");
        }
        drop(first);
        let again = Directory::hold(&path).expect("it was let go");
        assert_eq!(again.path(), path);
        let _ = std::fs::remove_dir_all(scratch("held"));
    }

    /// O7: a place where no directory can be is named with the reason.
    #[test]
    fn a_place_that_is_no_directory_is_named() {
        let error =
            Directory::hold(Path::new("/proc/pinion-data")).expect_err("nothing is made there").to_string();
        assert!(error.contains("/proc/pinion-data") && error.contains("--data-dir"), "{error}");
        let error = Directory::hold(Path::new("/dev/null")).expect_err("it is no directory").to_string();
        assert!(error.contains("/dev/null cannot be opened"), "{error}");
    }
}
