//! Tests of the house itself, and of the tools.
#![expect(clippy::disallowed_methods, reason = "these tests start real programs")]

mod grafana;
mod house;
mod oracle;
mod promises;
mod torture;
mod tree;
