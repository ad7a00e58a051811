//! The decoder of the client protocol under mutated bytes: no panic, no allocation above the cap, and the same requests
//! whether the stream comes whole or in pieces.
//!
//! `PINION_FUZZ_SECONDS` says how long (default 2), `PINION_SEED` where to begin.

use std::ops::ControlFlow;
use std::time::Duration;

use pinion_core::command::{Client, Server, answer, resolve};
use pinion_core::resp::limits::{ARGUMENTS_MAX, LINE_BYTES_MAX, REQUEST_BYTES_MAX};
use pinion_core::resp::{Arguments, Encoder, Limits, Next, Parser};

use crate::oracle::env_number;

/// Streams that mutations start from.
const CORPUS: &[&[u8]] = &[
    b"*1\r\n$4\r\nPING\r\n",
    b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n",
    b"PING\r\nSET k \"a\\x41\\n b\" 'c\\'d'\r\n\r\n",
    b"*0\r\n*-1\r\n*2\r\n$4\r\nECHO\r\n$0\r\n\r\n",
    b"*12\r\n$4\r\nMGET\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n$1\r\n6\r\n$1\r\n7\r\n$1\r\n8\r\n$1\r\n9\r\n$2\r\n10\r\n$2\r\n11\r\n",
    b"*2\r\n$7\r\nCOMMAND\r\n$4\r\nDOCS\r\n*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$1\r\nx\r\n",
    b"*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n$2\r\nPX\r\n$19\r\n9223372036854775807\r\n",
    b"*1\r\n$16777217\r\n*1\r\n$16777216\r\n",
    b"*1048576\r\n$1\r\na\r\n",
    b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n*3\r\n$4\r\nAUTH\r\n$1\r\na\r\n$1\r\nb\r\n",
    b"*6\r\n$4\r\nSCAN\r\n$20\r\n18446744073709551615\r\n$5\r\nMATCH\r\n$3\r\n[a-\r\n$5\r\nCOUNT\r\n$1\r\n1\r\n",
];

/// What tends to be special.
const TOKENS: &[&[u8]] = &[
    b"\r\n",
    b"\r",
    b"\n",
    b"\0",
    b"$",
    b"*",
    b"-",
    b"$-1\r\n",
    b"*-1\r\n",
    b"9223372036854775807",
    b"18446744073709551616",
    b"0",
    b"\"",
    b"'",
    b"\\x",
    b" ",
    b"$16384\r\n",
    b"*1\r\n",
    b"\xff",
];

/// A server without a password.
struct Open;

impl Server for Open {
    fn password(&self) -> Option<&[u8]> {
        None
    }

    fn time_us(&self) -> u64 {
        0
    }

    fn set(&self, _: &[(&str, &str)]) -> Result<(), String> {
        Err("nothing changes here".to_owned())
    }

    fn settings(&self, each: &mut dyn FnMut(&str, &str)) {
        each("save", "");
    }
}

fn mutated(rng: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..rng.usize(1..4) {
        bytes.extend_from_slice(CORPUS[rng.usize(..CORPUS.len())]);
    }
    for _ in 0..rng.usize(0..6) {
        let at = rng.usize(0..=bytes.len());
        match rng.u8(0..6) {
            0 if at < bytes.len() => bytes[at] = rng.u8(..),
            1 => drop(bytes.splice(at..at, TOKENS[rng.usize(..TOKENS.len())].iter().copied())),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => bytes.truncate(at),
            4 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(0..8),
            _ if rng.u8(0..20) == 0 => {
                let run = vec![rng.u8(..); rng.usize(0..LINE_BYTES_MAX + 10)];
                drop(bytes.splice(at..at, run));
            }
            _ => {}
        }
    }
    bytes
}

/// Runs every request of `bytes`, presented in pieces that end at `cuts`; answers what was said, and whether it broke.
fn run(bytes: &[u8], cuts: &[usize], limits: &Limits) -> (Vec<Vec<Vec<u8>>>, Vec<u8>) {
    let (mut parser, mut arguments) = (Parser::new(), Arguments::new());
    let (mut requests, mut replies, mut client) = (Vec::new(), Vec::new(), Client::new(1, &Open));
    let mut start = 0;
    for end in cuts.iter().copied().chain([bytes.len()]) {
        let mut step = || {
            let held = &bytes[start..end];
            match parser.next(held, &mut arguments, limits) {
                Next::Request { request, consumed } => {
                    assert!(consumed <= held.len() && request.len() <= ARGUMENTS_MAX);
                    requests.push(request.args(0).map(<[u8]>::to_vec).collect());
                    match resolve(request, true) {
                        Ok((_, pinion_core::command::Action::Local(local))) => {
                            let _ = answer(local, &request, &mut client, &Open, &mut replies);
                        }
                        Ok(_) => {}
                        Err(error) => error.encode(&mut Encoder::new(&mut replies, client.protocol)),
                    }
                    start += consumed;
                    ControlFlow::Continue(true)
                }
                Next::Incomplete { consumed, need } => {
                    start += consumed;
                    assert!(need > end - start && need <= REQUEST_BYTES_MAX, "{need}");
                    ControlFlow::Continue(false)
                }
                Next::Broken { error } => {
                    Encoder::new(&mut replies, client.protocol).protocol_error(error);
                    ControlFlow::Break(())
                }
            }
        };
        loop {
            match step() {
                ControlFlow::Continue(true) => {}
                ControlFlow::Continue(false) => break,
                ControlFlow::Break(()) => return (requests, replies),
            }
        }
        parser.check(end - start);
    }
    (requests, replies)
}

#[test]
fn mutated_streams_neither_panic_nor_depend_on_how_they_are_cut() {
    let (seed, seconds) = (env_number("PINION_SEED", 1), env_number("PINION_FUZZ_SECONDS", 2));
    println!(
        "PINION_SEED={seed} PINION_FUZZ_SECONDS={seconds} cargo test -p pinion-core --test it fuzz_resp"
    );
    let deadline = Deadline::after(Duration::from_secs(seconds));
    let mut streams = 0u64;
    while streams == 0 || !deadline.passed() {
        // Every stream has a seed of its own, so that one can be replayed alone.
        for _ in 0..100 {
            let seed = seed.wrapping_add(streams);
            let _replay = Replay(seed);
            let mut rng = fastrand::Rng::with_seed(seed);
            let bytes = mutated(&mut rng);
            let limits = Limits { authenticated: rng.u8(0..4) > 0, ..Limits::default() };
            let mut cuts: Vec<usize> = (0..rng.usize(0..8)).map(|_| rng.usize(0..=bytes.len())).collect();
            cuts.sort_unstable();
            let whole = run(&bytes, &[], &limits);
            assert!(whole == run(&bytes, &cuts, &limits), "PINION_SEED={seed} cuts {cuts:?}");
            streams += 1;
        }
    }
    println!("{streams} streams");
    assert!(streams >= 100);
}

/// Says how to see a failure again.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!(
                "PINION_SEED={} PINION_FUZZ_SECONDS=0 cargo test -p pinion-core --test it fuzz_resp",
                self.0
            );
        }
    }
}

struct Deadline(std::time::Instant);

impl Deadline {
    #[expect(
        clippy::disallowed_methods,
        reason = "how long to look for faults is no part of what is looked at"
    )]
    fn after(duration: Duration) -> Deadline {
        Deadline(std::time::Instant::now() + duration)
    }

    #[expect(clippy::disallowed_methods, reason = "as above")]
    fn passed(&self) -> bool {
        std::time::Instant::now() >= self.0
    }
}
