//! The host with the echo machine: what sockets cost without a database behind them.

use std::net::{Ipv4Addr, SocketAddr};

use clap::Args;
use pinion_core::host::uring::with_echo;

/// The server, as flags.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Port on loopback
    #[arg(long, default_value_t = 17_600)]
    pub port: u16,
    /// CPU of the core; repeated for more cores
    #[arg(long, default_values_t = [0])]
    pub cpu: Vec<usize>,
}

/// Serves until the process is killed.
///
/// # Errors
/// A sentence that says what the kernel refused.
pub fn run(options: &Options) -> Result<(), String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    with_echo(address, options.cpu.clone(), |address, _| {
        println!("echo on {address}, CPUs {:?}", options.cpu);
        loop {
            std::thread::park();
        }
    })
}
