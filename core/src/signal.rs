//! Signals that ask the server to stop or to reload, as something to wait for.
#![expect(unsafe_code, reason = "signal masks are set by calls of libc")]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

/// The signals that ask for a stop, and the one that asks to read the configuration again.
const TAKEN: [i32; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To stop.
    Stop,
    /// To read the configuration again.
    Reload,
}

/// The signals of this process that the server takes, taken from their default fate.
pub struct StopSignals {
    descriptor: OwnedFd,
}

impl StopSignals {
    /// Takes the signals over, for this thread and those it starts later. Call it before any thread is started.
    pub fn take_over() -> io::Result<Self> {
        // SAFETY: the set is written by `sigemptyset` before anything reads it, and lives on this stack.
        let descriptor = unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in TAKEN {
                libc::sigaddset(&raw mut set, signal);
            }
            let refused = libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            if refused != 0 {
                return Err(io::Error::from_raw_os_error(refused));
            }
            libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call above has just made it.
        Ok(Self { descriptor: unsafe { OwnedFd::from_raw_fd(descriptor) } })
    }

    /// Takes a signal that has arrived.
    pub fn next(&self) -> Option<Asked> {
        let mut info = [0_u8; size_of::<libc::signalfd_siginfo>()];
        let read = rustix::io::read(&self.descriptor, &mut info).ok()?;
        let number: [u8; 4] = info[..4].try_into().expect("four bytes");
        let asked = if i32::from_ne_bytes(number) == libc::SIGHUP { Asked::Reload } else { Asked::Stop };
        (read == info.len()).then_some(asked)
    }
}

impl AsFd for StopSignals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Sends a signal to the calling thread, which has it blocked.
#[cfg(test)]
pub fn raise_here(signal: i32) {
    // SAFETY: a blocked signal runs no handler; the thread is the calling one.
    unsafe { libc::pthread_kill(libc::pthread_self(), signal) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_to_this_thread_is_taken_and_kills_nothing() {
        #[expect(clippy::disallowed_methods, reason = "the mask belongs to a thread: this one must not stay")]
        let taken = std::thread::spawn(|| {
            let signals = StopSignals::take_over().expect("signals can be taken over");
            assert_eq!(signals.next(), None);
            raise_here(libc::SIGTERM);
            let first = signals.next();
            raise_here(libc::SIGHUP);
            (first, signals.next())
        });
        assert_eq!(taken.join().expect("the thread ends"), (Some(Asked::Stop), Some(Asked::Reload)));
    }
}
