//! The node: a data directory, a configuration, and pinned cores that serve together.

mod directory;
mod hardware;

pub use directory::{Directory, DirectoryError, LOCK_FILE};
pub use hardware::look as look_at_hardware;
