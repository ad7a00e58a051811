//! The node: a data directory, a configuration, and pinned cores that serve together.
//!
//! A start goes through: signals taken over, address bound, directory held, layout read (or founded) and homed on the
//! cores there are, every core opened on its own thread; then, and only then, all listen. Whatever fails before leaves
//! nothing half-started.

mod allocator;
mod directory;
mod error;
mod hardware;
mod limits;
mod news;
mod reload;
mod start;
mod watch;

#[cfg(test)]
mod tests;

pub use directory::{Directory, DirectoryError, LOCK_FILE};
pub use error::NodeError;
pub use hardware::look as look_at_hardware;
pub use limits::make_room_for;
pub use news::News;
pub use reload::{Load, Reload};
pub use start::run;
pub use watch::watch;
