//! What is wrong with a request, in the words of redis-server 7.0.15.

use pinion_shard::limits::{KEY_BYTES_MAX, PATTERN_BYTES_MAX};

use crate::resp::{Encoder, Request};

/// Longest part of a name, or of all arguments, that an error repeats.
const QUOTED_BYTES_MAX: usize = 128;

/// Why a request is refused before anything is done.
#[derive(Clone, Copy, Debug)]
pub enum CommandError<'a> {
    /// There is no such command.
    UnknownCommand(Request<'a>),
    /// A command of redis-server that is not served yet.
    Later(&'static str),
    /// The container has no such subcommand.
    UnknownSubcommand(Request<'a>),
    /// Too many or too few arguments for the subcommand, as it finds out itself.
    SubcommandSyntax(Request<'a>),
    /// Too many or too few arguments for the command of this name.
    Arity(&'static str),
    /// The connection has to authenticate first.
    NoAuth,
    /// An option that is not known, or not in this place.
    Syntax,
    /// A number was expected, of 64 bits.
    NotAnInteger,
    /// A time that makes no sense, for the command of this name.
    InvalidExpire(&'static str),
    /// An option of EXPIRE that is not known.
    UnsupportedOption(&'a [u8]),
    /// An option of HELLO that is not known, or lacks its value.
    HelloOption(&'a [u8]),
    /// A key beyond the limit.
    KeyTooLong,
    /// A pattern beyond the limit.
    PatternTooLong,
    /// A write whose keys lie in several slots.
    CrossSlot,
    /// An HTTP request that came astray, or was sent to do harm: the connection is closed without a word.
    Http,
    /// Any other, word for word; it starts with its code.
    Text(&'static str),
}

impl CommandError<'_> {
    /// Whether the connection is closed after it.
    pub fn closes(&self) -> bool {
        matches!(self, CommandError::Http)
    }

    /// Writes the error reply, if there is one.
    pub fn encode(&self, encoder: &mut Encoder<'_>) {
        match self {
            CommandError::Http => {}
            CommandError::Text(text) => encoder.error(text.as_bytes()),
            CommandError::NoAuth => encoder.error(b"NOAUTH Authentication required."),
            CommandError::Syntax => encoder.error(b"ERR syntax error"),
            CommandError::NotAnInteger => encoder.error(b"ERR value is not an integer or out of range"),
            CommandError::CrossSlot => {
                encoder.error(b"CROSSSLOT Keys in request don't hash to the same slot");
            }
            CommandError::Arity(name) => {
                encoder.error(format!("ERR wrong number of arguments for '{name}' command").as_bytes());
            }
            CommandError::InvalidExpire(name) => encoder.error(invalid_expire(name).as_bytes()),
            CommandError::KeyTooLong => {
                encoder.error(
                    format!("ERR key exceeds maximum allowed size ({KEY_BYTES_MAX} bytes)").as_bytes(),
                );
            }
            CommandError::PatternTooLong => {
                encoder.error(
                    format!("ERR pattern exceeds maximum allowed size ({PATTERN_BYTES_MAX} bytes)")
                        .as_bytes(),
                );
            }
            CommandError::UnsupportedOption(option) => {
                encoder
                    .error(&[b"ERR Unsupported option ", shortened(text(option), QUOTED_BYTES_MAX)].concat());
            }
            CommandError::HelloOption(option) => {
                encoder.error(
                    &[b"ERR Syntax error in HELLO option '", shortened(text(option), QUOTED_BYTES_MAX), b"'"]
                        .concat(),
                );
            }
            CommandError::Later(name) => {
                let why = "strings and keys are, other types, transactions, scripts and messages are not";
                encoder.error(format!("ERR '{name}' is not served yet: {why}").as_bytes());
            }
            CommandError::UnknownCommand(request) => encoder.error(&unknown_command(request)),
            CommandError::SubcommandSyntax(request) => {
                let container = text(request.name()).to_ascii_uppercase();
                let name = shortened(text(request.arg(1)), QUOTED_BYTES_MAX);
                let parts: [&[u8]; 5] = [
                    b"ERR unknown subcommand or wrong number of arguments for '",
                    name,
                    b"'. Try ",
                    &container,
                    b" HELP.",
                ];
                encoder.error(&parts.concat());
            }
            CommandError::UnknownSubcommand(request) => {
                let container = text(request.name()).to_ascii_uppercase();
                let name = shortened(text(request.arg(1)), QUOTED_BYTES_MAX);
                let parts: [&[u8]; 5] =
                    [b"ERR unknown subcommand '", name, b"'. Try ", &container, b" HELP."];
                encoder.error(&parts.concat());
            }
        }
    }
}

/// The error of a time that makes no sense, for the command of this name.
pub(super) fn invalid_expire(name: &str) -> String {
    format!("ERR invalid expire time in '{name}' command")
}

/// The name, and about 128 bytes of what follows.
fn unknown_command(request: &Request<'_>) -> Vec<u8> {
    let mut out = b"ERR unknown command '".to_vec();
    out.extend_from_slice(shortened(text(request.name()), QUOTED_BYTES_MAX));
    out.extend_from_slice(b"', with args beginning with: ");
    let start = out.len();
    for arg in request.args(1) {
        let written = out.len() - start;
        if written >= QUOTED_BYTES_MAX {
            break;
        }
        out.push(b'\'');
        out.extend_from_slice(shortened(text(arg), QUOTED_BYTES_MAX - written));
        out.extend_from_slice(b"' ");
    }
    out
}

/// Messages of the oracle end their arguments at a zero byte.
fn text(bytes: &[u8]) -> &[u8] {
    &bytes[..memchr::memchr(0, bytes).unwrap_or(bytes.len())]
}

fn shortened(bytes: &[u8], len: usize) -> &[u8] {
    &bytes[..bytes.len().min(len)]
}
