//! The arguments of a request in a few bytes, without its secrets.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | count of arguments |
//! | per argument: 4 | its length |
//! | 2 | how many of its bytes follow |
//! | … | these bytes |
//!
//! Arguments beyond those that are there were left out. [`show`] makes of it what the oracle shows: 32 arguments at most
//! and 128 bytes of each. Here all of them together have [`BYTES_MAX`] bytes, so that long ones may be cut earlier.

use crate::command::CommandId;
use crate::resp::Request;

/// Bytes of a sketch, at most.
pub const BYTES_MAX: usize = 512;
/// Arguments that are shown.
const ARGUMENTS_MAX: usize = 32;
/// Bytes of an argument that are shown.
const ARGUMENT_BYTES_MAX: usize = 128;
const HEAD_BYTES: usize = 6;
const REDACTED: &[u8] = b"(redacted)";

/// What of a command is secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Secrets {
    /// Everything from this argument on.
    From(usize),
    /// The two arguments behind the word AUTH.
    BehindAuth,
    /// The values of settings that hold secrets, of a subcommand SET.
    Settings,
    /// What stands behind a subcommand SETUSER.
    OfSetUser,
}

/// Settings whose values are secret.
const SECRET_SETTINGS: [&str; 5] =
    ["requirepass", "masterauth", "masteruser", "tls-key-file-pass", "tls-client-key-file-pass"];

fn secrets(command: CommandId) -> Option<Secrets> {
    const AUTH: Option<CommandId> = CommandId::named("auth");
    const HELLO: Option<CommandId> = CommandId::named("hello");
    const CONFIG: Option<CommandId> = CommandId::named("config");
    const ACL: Option<CommandId> = CommandId::named("acl");
    match Some(command) {
        AUTH => Some(Secrets::From(1)),
        HELLO => Some(Secrets::BehindAuth),
        CONFIG => Some(Secrets::Settings),
        ACL => Some(Secrets::OfSetUser),
        _ => None,
    }
}

impl Secrets {
    fn hides(self, request: &Request<'_>, index: usize) -> bool {
        let is = |at: usize, word: &str| {
            request.get(at).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
        };
        match self {
            Self::From(first) => index >= first,
            Self::BehindAuth => {
                let auth = (1..request.len()).find(|&at| is(at, "auth"));
                auth.is_some_and(|auth| index == auth + 1 || index == auth + 2)
            }
            Self::Settings => {
                is(1, "set")
                    && index >= 3
                    && !index.is_multiple_of(2)
                    && SECRET_SETTINGS.iter().any(|name| is(index - 1, name))
            }
            Self::OfSetUser => is(1, "setuser") && index >= 2,
        }
    }
}

/// Hands the sketch of a request to `put`, piece by piece. Answers how many bytes it has.
#[inline]
pub fn write(command: CommandId, request: &Request<'_>, mut put: impl FnMut(&[u8])) -> usize {
    let secrets = secrets(command);
    let count = request.len();
    put(&(count as u32).to_le_bytes());
    let mut written = 4;
    let shown = if count > ARGUMENTS_MAX { ARGUMENTS_MAX - 1 } else { count };
    for (index, arg) in request.args(0).take(shown).enumerate() {
        let arg = if secrets.is_some_and(|secrets| secrets.hides(request, index)) { REDACTED } else { arg };
        if written + HEAD_BYTES > BYTES_MAX {
            break;
        }
        let kept = arg.len().min(ARGUMENT_BYTES_MAX).min(BYTES_MAX - written - HEAD_BYTES);
        put(&(arg.len() as u32).to_le_bytes());
        put(&(kept as u16).to_le_bytes());
        put(&arg[..kept]);
        written += HEAD_BYTES + kept;
    }
    written
}

/// The arguments as the oracle shows them.
#[must_use]
pub fn show(sketch: &[u8]) -> Vec<Vec<u8>> {
    let Some((count, mut rest)) = sketch.split_first_chunk() else { return Vec::new() };
    let count = u32::from_le_bytes(*count) as usize;
    let mut shown = Vec::new();
    while let Some((head, behind)) = rest.split_first_chunk::<HEAD_BYTES>() {
        let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let kept = usize::from(u16::from_le_bytes([head[4], head[5]]));
        let mut arg = behind[..kept].to_vec();
        if kept < len {
            arg.extend_from_slice(format!("... ({} more bytes)", len - kept).as_bytes());
        }
        shown.push(arg);
        rest = &behind[kept..];
    }
    if shown.len() < count {
        shown.push(format!("... ({} more arguments)", count - shown.len()).into_bytes());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::lookup;
    use crate::resp::limits::Limits;
    use crate::resp::{Arguments, Next, Parser};

    fn shown(line: &str) -> String {
        let mut arguments = Arguments::new();
        let limits = Limits { authenticated: true, bulk_bytes_max: 1 << 20 };
        let line = format!("{line}\r\n");
        let Next::Request { request, .. } = Parser::default().next(line.as_bytes(), &mut arguments, &limits)
        else {
            panic!("{line} is a request")
        };
        let mut sketch = Vec::new();
        let command = lookup(request.name()).expect("a command of the table");
        let written = write(command, &request, |bytes| sketch.extend_from_slice(bytes));
        assert!(written == sketch.len() && written <= BYTES_MAX);
        let shown =
            show(&sketch).iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect::<Vec<_>>();
        shown.join(" ")
    }

    /// Long ones are cut as redis-server 7.0.15 does.
    #[test]
    fn arguments_are_shortened_as_the_oracle_does() {
        assert_eq!(shown("GET k"), "GET k");
        let (v128, v200) = ("v".repeat(128), "v".repeat(200));
        assert_eq!(shown(&format!("SET k {v128}")), format!("SET k {v128}"));
        assert_eq!(shown(&format!("SET k {v200}")), format!("SET k {v128}... (72 more bytes)"));
        let keys = |count: usize| (1..=count).map(|n| format!("k{n}")).collect::<Vec<_>>().join(" ");
        assert_eq!(shown(&format!("MGET {}", keys(31))), format!("MGET {}", keys(31)));
        assert_eq!(
            shown(&format!("MGET {}", keys(40))),
            format!("MGET {} ... (10 more arguments)", keys(30))
        );
    }

    #[test]
    fn a_sketch_is_bounded() {
        let long = format!("MGET {}", vec!["k".repeat(150); 31].join(" "));
        let shown = shown(&long);
        assert!(shown.ends_with("more arguments)") && shown.len() < 2 * BYTES_MAX, "{shown}");
        assert_eq!(show(b""), Vec::<Vec<u8>>::new());
    }

    /// O6: nothing that shows requests shows a secret.
    #[test]
    fn secrets_are_not_in_a_sketch() {
        for (line, expected) in [
            ("AUTH pw", "AUTH (redacted)"),
            ("auth user pw", "auth (redacted) (redacted)"),
            ("HELLO 3 auth user pw SETNAME x", "HELLO 3 auth (redacted) (redacted) SETNAME x"),
            ("config set port 1 RequirePass pw", "config set port 1 RequirePass (redacted)"),
            ("CONFIG GET requirepass", "CONFIG GET requirepass"),
        ] {
            assert_eq!(shown(line), expected);
        }
    }
}
