//! The server.

use std::path::Path;
use std::process::ExitCode;

use pinion_core::config::{self, ConfigError, Given};
use pinion_core::node;

/// The configuration is wrong.
const EXIT_CONFIG: u8 = 2;
/// The server could not start, or had to stop.
const EXIT_FAILED: u8 = 1;

fn main() -> ExitCode {
    let flags = config::flags(&config::command().get_matches());
    let read = |path: &Path| std::fs::read_to_string(path);
    let env = |name: &str| std::env::var(name).ok();
    let hardware = node::look_at_hardware();
    let load = || Given::collect(&flags, &env, &read).and_then(|given| given.resolve(&hardware, &read));
    let config = match load() {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    match node::run(&config, &load, &mut |line| println!("pinion: {line}")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pinion: {error}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn refuse(error: &ConfigError) -> ExitCode {
    eprintln!("pinion: {error}");
    ExitCode::from(EXIT_CONFIG)
}
