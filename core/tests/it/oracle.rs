//! Against the oracle: redis-server 7.0.15 and we are told the same, and must answer the same.
//!
//! Without the oracle these tests print NOT RUN; where `CI` is set that is a failure.

mod cluster;
mod compare;
mod differential;
mod generate;
mod patterns;
mod process;
mod served;
mod session;
mod simulated;
mod wire;

/// A number from the environment.
pub(crate) fn env_number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}
