//! What may differ between two servers, and what must not.

use pinion_core::resp::parse_i64;

use super::wire::Value;

/// A reply without what may differ: numbers of connections, order of sets.
pub(super) fn comparable(request: &[Vec<u8>], value: Value) -> Value {
    match (word(request, 0).as_slice(), value.sorted()) {
        (b"hello", Value::Array(mut values)) => {
            values[7] = Value::Null;
            Value::Array(values)
        }
        (b"hello", Value::Map(values)) => {
            Value::Map(values.into_iter().filter(|value| !matches!(value, Value::Int(_))).collect())
        }
        (b"client", Value::Int(_)) => Value::Null,
        // Keys come in any order.
        (b"keys", Value::Array(mut keys)) => {
            keys.sort();
            Value::Array(keys)
        }
        (_, value) => value,
    }
}

/// Whether the replies may differ as a whole: what containers and settings there are.
pub(super) fn differs_by_design(request: &[Vec<u8>]) -> bool {
    let (name, subcommand) = (word(request, 0), word(request, 1));
    match name.as_slice() {
        b"command" => {
            let named =
                ["info", "getkeys", "getkeysandflags"].iter().any(|name| subcommand == name.as_bytes());
            let filtered = subcommand == b"list" && request.len() > 2;
            // SYNC is a word of other commands, too; here is none of that name.
            let unknown_here = request.iter().any(|word| word.eq_ignore_ascii_case(b"sync"));
            request.len() < 3 && subcommand != b"foo" || !(named || filtered) || unknown_here
        }
        b"client" => subcommand == b"help",
        // The empty pattern finds the empty key there, nothing here.
        b"keys" => subcommand.is_empty(),
        b"config" => subcommand == b"help" || request.iter().any(|word| word.contains(&b'*')),
        // A senseless time is refused without a look at the key.
        b"getex" => request.iter().skip(3).any(|time| !parse_i64(time).is_some_and(makes_sense)),
        // So are other senseless arguments.
        b"bitcount" | b"bitpos" => {
            let first = if name == b"bitpos" { 3 } else { 2 };
            let words = request.iter().skip(2);
            let numbers = words.filter(|word| !is_unit(word)).all(|word| parse_i64(word).is_some());
            let units = request.iter().skip(first).filter(|word| is_unit(word)).count();
            let whole = match request.len().saturating_sub(first) {
                0 => true,
                1 => first == 3 && units == 0,
                2 => units == 0,
                3 => units == 1 && request.last().is_some_and(|word| is_unit(word)),
                _ => false,
            };
            !(numbers && whole)
        }
        _ => false,
    }
}

fn is_unit(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"bit") || word.eq_ignore_ascii_case(b"byte")
}

fn makes_sense(seconds: i64) -> bool {
    (1..i64::MAX / 1000).contains(&seconds)
}

/// Argument `index` in small letters; empty if there is none.
pub(super) fn word(request: &[Vec<u8>], index: usize) -> Vec<u8> {
    request.get(index).map(|word| word.to_ascii_lowercase()).unwrap_or_default()
}

/// A request, for messages.
pub(super) fn shown(request: &[Vec<u8>]) -> String {
    request.iter().map(|arg| format!("'{}'", arg.escape_ascii())).collect::<Vec<_>>().join(" ")
}
