//! What operates, inspects and breaks a node.
//!
//! * [`torture`]: a real server under load, killed again and again; every acknowledged write must be there.
//! * [`latency`]: where the time of a request goes, as the server counted it and as the client saw it.
//! * [`client`] and [`process`]: the protocol and the process of a server, as seen from outside.
//!
//! Nothing here is part of a server; clocks, threads, sockets and files are its own.

pub mod client;
pub mod latency;
pub mod process;
pub mod torture;
