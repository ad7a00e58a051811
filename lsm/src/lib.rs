//! Rows on disk: trees of versioned rows, and the block cache.

mod ids;

pub use ids::{Timestamp, TreeId};
