//! What operates, inspects and breaks a node.
//!
//! * [`torture`]: a real server under load, killed again and again; every acknowledged write must be there.
//! * [`latency`]: where the time of a request goes, as the server counted it and as the client saw it.
//! * [`status`]: what a running server says of itself, judged.
//! * [`doctor`]: whether a machine is fit for a server.
//! * [`log`], [`table`] and [`offline`]: the files of a server that is not running, dumped and verified.
//! * [`profile`]: where the CPU of a running server goes, as a flame graph.
//! * [`sim`]: whole nodes on virtual time with faults drawn from a seed; histories are judged.
//! * [`crash_points`]: the crash harnesses of every layer, driven together.
//! * [`client`] and [`process`]: the protocol and the process of a server, as seen from outside.
//!
//! Nothing here is part of a server; clocks, threads, sockets and files are its own.

pub mod client;
pub mod crash_points;
pub mod doctor;
pub mod latency;
pub mod log;
pub mod offline;
pub mod process;
pub mod profile;
pub mod sim;
pub mod status;
pub mod table;
pub mod torture;
