//! From the arguments of a request to an [`Action`].
//!
//! What can be refused without looking at a row is refused here.

pub(super) mod bits;
pub(super) mod keyspace;
pub(super) mod server;
pub(super) mod string;

use pinion_shard::Key;
use pinion_shard::limits::{KEY_BYTES_MAX, PATTERN_BYTES_MAX};

use super::later::later;
use super::lookup::{CommandId, lookup};
use super::{Action, CommandError};
use crate::resp::{Request, parse_i64};

/// What a request asks for, and which command it is, or why it is refused. The checks are made in the order of the oracle:
/// there is such a command, it has as many arguments, the client may run commands, its arguments make sense.
#[inline]
pub fn resolve<'a>(
    request: Request<'a>,
    authenticated: bool,
) -> Result<(CommandId, Action<'a>), CommandError<'a>> {
    let Some(id) = lookup(request.name()) else { return Err(unknown(request)) };
    let mut spec = id.spec();
    if !spec.subcommands.is_empty() && request.len() > 1 {
        let name = request.arg(1);
        let found =
            spec.subcommands.iter().find(|sub| sub.short_name().as_bytes().eq_ignore_ascii_case(name));
        spec = found.ok_or(CommandError::UnknownSubcommand(request))?;
    }
    if !spec.takes(request.len()) {
        return Err(CommandError::Arity(spec.name));
    }
    if !authenticated && !spec.has_flag("no_auth") {
        return Err(CommandError::NoAuth);
    }
    Ok((id, (spec.parse)(request)?))
}

#[cold]
fn unknown(request: Request<'_>) -> CommandError<'_> {
    let name = request.name();
    if name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:") {
        CommandError::Http
    } else {
        later(name).map_or(CommandError::UnknownCommand(request), CommandError::Later)
    }
}

/// Argument 1 as a key.
#[inline]
fn key<'a>(request: &Request<'a>) -> Result<Key<'a>, CommandError<'a>> {
    key_at(request, 1)
}

/// Argument `index` as a key.
#[inline]
pub(super) fn key_at<'a>(request: &Request<'a>, index: usize) -> Result<Key<'a>, CommandError<'a>> {
    let bytes = request.arg(index);
    if bytes.len() > KEY_BYTES_MAX {
        return Err(CommandError::KeyTooLong);
    }
    Ok(Key::new(bytes))
}

/// A pattern, if it is not too long.
pub(super) fn pattern(bytes: &[u8]) -> Result<&[u8], CommandError<'_>> {
    if bytes.len() > PATTERN_BYTES_MAX { Err(CommandError::PatternTooLong) } else { Ok(bytes) }
}

fn integer<'a>(bytes: &[u8]) -> Result<i64, CommandError<'a>> {
    parse_i64(bytes).ok_or(CommandError::NotAnInteger)
}

fn is(option: &[u8], name: &str) -> bool {
    option.eq_ignore_ascii_case(name.as_bytes())
}

#[cfg(test)]
mod tests;
