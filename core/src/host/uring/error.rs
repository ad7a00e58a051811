//! Why a host cannot start, in sentences for the person who starts it.

use std::io;

use crate::planted;

/// The ring, or something it needs, is not to be had here.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The kernel does not know a feature that the host needs.
    #[error("this kernel's io_uring is too old: Pinion needs Linux 6.1 or later")]
    TooOld,
    /// The kernel was built or booted without io_uring.
    #[error("this kernel has no io_uring: boot one that is built with CONFIG_IO_URING")]
    Missing,
    /// It is there, but forbidden.
    #[error(
        "io_uring is forbidden here: set the sysctl kernel.io_uring_disabled to 0, and in a container allow the system \
         calls io_uring_setup, io_uring_enter and io_uring_register (Docker: --security-opt seccomp=unconfined, or a \
         profile that lists them)"
    )]
    Forbidden,
    /// The limit of locked memory is too low.
    #[error(
        "too little memory may be locked for io_uring: raise it with `ulimit -l unlimited` (or LimitMEMLOCK=infinity in a systemd unit)"
    )]
    LockedMemory,
    /// Anything else.
    #[error("io_uring cannot be set up: {0}")]
    Other(#[source] io::Error),
}

impl RingError {
    /// Tells what a failed set-up means.
    pub fn from_setup(error: io::Error) -> Self {
        match error.raw_os_error().filter(|_| !planted::is("error-without-remedy")) {
            Some(libc::EINVAL) => Self::TooOld,
            Some(libc::ENOSYS) => Self::Missing,
            Some(libc::EPERM | libc::EACCES) => Self::Forbidden,
            Some(libc::ENOMEM) => Self::LockedMemory,
            _ => Self::Other(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// O7: each reason for which a ring may be refused says what to do.
    #[test]
    fn every_refusal_names_its_remedy() {
        for (errno, remedy) in [
            (libc::EINVAL, "6.1"),
            (libc::ENOSYS, "CONFIG_IO_URING"),
            (libc::EPERM, "kernel.io_uring_disabled"),
            (libc::ENOMEM, "ulimit -l"),
        ] {
            let text = RingError::from_setup(io::Error::from_raw_os_error(errno)).to_string();
            assert!(text.contains(remedy), "{text}");
        }
    }
}
