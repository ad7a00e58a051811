//! Integration tests of the core.

mod fuzz_resp;
mod oracle;
mod server;
mod turn;
