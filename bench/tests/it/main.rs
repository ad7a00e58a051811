//! The program against real servers.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests start servers and talk to them"
)]

mod compare;
mod ends;
mod redis;
mod shapes;

use std::process::{Command, Output};

/// Runs the program with `flags`.
fn bench(flags: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinion-bench"));
    command.args(flags.split_whitespace()).output().expect("the program starts")
}

/// Runs the program, which must succeed, and answers what it printed.
fn figures(flags: &str) -> String {
    let output = bench(flags);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{flags}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// The number behind ` name=`.
fn figure(text: &str, name: &str) -> f64 {
    let name = format!("{name}=");
    let word = text.split_whitespace().find_map(|word| word.strip_prefix(&name));
    word.and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no figure {name} in {text}"))
}
