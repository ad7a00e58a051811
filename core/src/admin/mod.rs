//! What the server shows about itself over HTTP, on a port of its own: metrics, and whether it lives and is ready.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | 200: everything that is counted, in the OpenMetrics text format, labels bounded ([`labels`]) |
//! | `/livez` | 200 when every core answers within [`WAIT`]; 503 names those that do not |
//! | `/readyz` | 200 when it also serves all of its groups, takes writes and was not asked to stop; 503 says what is the matter |
//!
//! The port is off unless `admin-port` is set. It has a thread of its own, which is on no core's CPU by itself; cores are
//! asked through a [`Board`]: they look at it a few times a second and between turns, and answer in steps of some tens of
//! microseconds. Requests are bounded: at most [`http::CONNECTIONS_MAX`] connections, five seconds for a request, GET only.
//! Nothing that is shown is a secret: no keys, no values, no names of clients.

mod board;
mod figures;
pub mod http;
pub mod labels;
mod reporter;
mod text;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use board::{Board, Health};
pub use figures::{BOUNDS_MICROS, CommandFigures, CoreFigures, Distribution};
pub use reporter::Reporter;
pub use text::metrics;

/// How long cores may take to answer before they are shown as not answering.
pub const WAIT: Duration = Duration::from_secs(2);
