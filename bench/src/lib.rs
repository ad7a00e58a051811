//! What loads and measures a server.
//!
//! Figures mean something only as ratios of two programs measured side by side in one run on an idle machine; the
//! workspace `bench/peers` does that. This package holds what both sides share: [`load`], a Redis client
//! that runs closed loops (as fast as replies come) and open loops (at a fixed rate, with latencies from the moment a
//! request was meant to be sent, so that a stalled server cannot hide its stalls).
//!
//! It is not part of a server: clocks, sockets and threads are its own.

pub mod compare;
pub mod echo;
pub mod load;
pub mod log;
pub mod machine;
pub mod rows;
pub mod sweep;
