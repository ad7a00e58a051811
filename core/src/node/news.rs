//! What cores have to tell people, and the thread that prints it.
//!
//! Cores never write to a terminal: it may block. They leave a line here and ring; the thread that started them prints.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

/// Lines for people, from any thread. There are at most as many as groups: each tells once that it refuses to serve.
pub struct News {
    lines: Mutex<Vec<String>>,
    /// Readable while there are lines that nobody took.
    bell: OwnedFd,
}

impl News {
    /// None yet.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> std::io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { lines: Mutex::default(), bell })
    }

    /// Leaves a line.
    pub fn tell(&self, line: String) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        rustix::io::write(&self.bell, &1_u64.to_ne_bytes()).expect("the count is far from its end");
    }

    /// Takes the lines.
    #[must_use]
    pub fn take(&self) -> Vec<String> {
        // Silent if nothing rang. What is told from here on rings again.
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl AsFd for News {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
