//! The files of a server that is not running: its directory is held meanwhile, and files are mapped instead of read.
#![expect(unsafe_code, reason = "a mapped file is memory that the file system may take back")]
#![expect(clippy::disallowed_methods, reason = "looks at the files of a server that does not run")]

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use pinion_core::node::LOCK_FILE;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// A data directory that no server can open meanwhile. A copy without a lock file is nobody's.
#[derive(Debug)]
pub struct Held {
    path: PathBuf,
    _lock: Option<File>,
}

impl Held {
    /// Holds the data directory `path`, without changing anything in it.
    ///
    /// # Errors
    /// A sentence: it is no directory, or a server uses it.
    pub fn new(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        if !path.is_dir() {
            return Err(format!("{shown} is no directory: name the data directory of a server"));
        }
        let lock = match File::open(path.join(LOCK_FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            opened => Some(opened.map_err(|e| format!("{shown}/{LOCK_FILE}: {e}"))?),
        };
        if let Some(lock) = &lock {
            match flock(lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    return Err(format!(
                        "{shown} is in use by a server: stop it first, or look at a copy of the directory"
                    ));
                }
                Err(errno) => return Err(format!("{shown}/{LOCK_FILE} cannot be locked: {errno}")),
            }
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The names in the directory `within` it, sorted.
    ///
    /// # Errors
    /// A sentence with the directory.
    pub fn names(&self, within: &str) -> Result<Vec<String>, String> {
        let dir = self.path.join(within);
        let failed = |e: io::Error| format!("{}: {e}", dir.display());
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&dir).map_err(failed)? {
            names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// Maps a file of it; `None` if there is none.
    ///
    /// # Errors
    /// A sentence with the file.
    pub fn map(&self, file: &str) -> Result<Option<Mapped>, String> {
        let path = self.path.join(file);
        let failed = |e: io::Error| format!("{}: {e}", path.display());
        let opened = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        if opened.metadata().map_err(failed)?.len() == 0 {
            return Ok(Some(Mapped(None)));
        }
        // SAFETY: the mapping is only read. Nobody shortens the file while the directory is held: its server is the only
        // one that writes there. A file that is shortened all the same, or that its disk cannot read, ends this program by
        // a signal and nothing else.
        let map = unsafe { Mmap::map(&opened) }.map_err(failed)?;
        Ok(Some(Mapped(Some(map))))
    }
}

/// The bytes of a file.
#[derive(Debug)]
pub struct Mapped(Option<Mmap>);

impl std::ops::Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("pinion-offline-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a directory for the test");
        path
    }

    /// D7: what a server uses is not looked at, and no server starts while it is.
    #[test]
    fn a_directory_in_use_is_refused() {
        let path = scratch("used");
        let server = pinion_core::node::Directory::hold(&path).expect("it is free");
        let error = Held::new(&path).expect_err("a server holds it");
        assert!(error.contains("in use by a server") && error.contains("stop it"), "{error}");
        drop(server);
        let held = Held::new(&path).expect("it is free again");
        assert!(pinion_core::node::Directory::hold(&path).is_err());
        drop(held);
        assert!(Held::new(Path::new("/dev/null")).expect_err("no directory").contains("/dev/null"));
        let _ = std::fs::remove_dir_all(&path);
    }

    #[test]
    fn files_are_mapped_whole() {
        let path = scratch("mapped");
        std::fs::write(path.join("a"), b"bytes").expect("it is written");
        std::fs::write(path.join("empty"), b"").expect("it is written");
        let held = Held::new(&path).expect("it is nobody's");
        assert_eq!(&*held.map("a").expect("it is readable").expect("it is there"), b"bytes");
        assert_eq!(&*held.map("empty").expect("it is readable").expect("it is there"), b"");
        assert!(held.map("other").expect("absence is no error").is_none());
        assert_eq!(held.names("").expect("it is a directory"), ["a", "empty"]);
        let _ = std::fs::remove_dir_all(&path);
    }
}
