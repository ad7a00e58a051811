//! Errors of a configuration: which setting, from where, what was expected.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// On the command line.
    Flag(&'static str),
    /// In the environment.
    Environment(String),
    /// In the file.
    File {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Environment(variable) => write!(f, "the environment variable {variable}"),
            Self::File { path, key } => write!(f, "{key} in {}", path.display()),
        }
    }
}

/// What is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value is not what its setting takes.
    #[error("{given} is {value:?}, expected {expected}")]
    Value {
        /// Where it was given.
        given: Source,
        /// What was given.
        value: String,
        /// What is possible.
        expected: String,
    },
    /// The file has a key that is no setting.
    #[error("{path} has the key {key:?}, which is no setting: did you mean {nearest}?", path = .path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The setting whose key looks most like it.
        nearest: String,
    },
    /// The file is not TOML.
    #[error("{path} is not TOML: {reason}", path = .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, column and what was expected.
        reason: String,
    },
    /// A file cannot be read.
    #[error("{path} cannot be read: {reason}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Both ways to set a password were used.
    #[error("both requirepass and requirepass-file are given: keep one")]
    TwoPasswords,
    /// Anybody could connect.
    #[error(
        "listening on {bind} without a password would let anybody on the network in: give one with --requirepass-file, \
         listen on 127.0.0.1, or say --protected-mode no"
    )]
    Exposed {
        /// The address.
        bind: IpAddr,
    },
    /// Anybody could see the figures.
    #[error(
        "metrics on {bind} would be seen by anybody on the network: let --admin-bind be 127.0.0.1, or say --admin-exposed yes"
    )]
    AdminExposed {
        /// The address.
        bind: IpAddr,
    },
}
