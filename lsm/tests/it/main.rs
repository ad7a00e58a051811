//! The crate from outside.

mod crash;
mod disk;
mod memory;
mod planted;
mod rows;

/// A size or seed from the environment.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
