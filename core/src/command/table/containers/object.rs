//! OBJECT.

use pinion_shard::{Key, ObjectField, Read};

use super::super::{EMPTY, Keys, Parse, Spec};
use crate::command::action::{Action, Local};
use crate::command::error::CommandError;
use crate::command::parse::key_at;
use crate::resp::Request;

const NO_FREQUENCY: &str = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
                            switching between policies at runtime LRU and LFU data will take some time to adjust.";

const fn field(name: &'static str, since: &'static str, summary: &'static str, parse: Parse) -> Spec {
    Spec {
        name,
        arity: 3,
        flags: "readonly",
        categories: "@keyspace @read @slow",
        tips: "nondeterministic_output",
        keys: Some(Keys { first: 2, last: 2, step: 1, flags: "RO", notes: "" }),
        group: "generic",
        since,
        summary,
        complexity: "O(1)",
        parse,
        ..EMPTY
    }
}

pub(in crate::command::table) const OBJECT: &[Spec] = &[
    field("object|encoding", "2.2.3", "Inspect the internal encoding of a Redis object", |request| {
        of(&request, ObjectField::Encoding)
    }),
    field("object|idletime", "2.2.3", "Get the time since a Redis object was last accessed", |request| {
        of(&request, ObjectField::IdleTime)
    }),
    Spec {
        name: "object|help",
        arity: 2,
        flags: "loading stale",
        categories: "@keyspace @slow",
        group: "generic",
        since: "6.2.0",
        summary: "Show helpful text about the different subcommands",
        complexity: "O(1)",
        parse: |_| Ok(Action::Local(Local::ObjectHelp)),
        ..EMPTY
    },
    field("object|freq", "4.0.0", "Get the logarithmic access frequency counter of a Redis object", |_| {
        Err(CommandError::Text(NO_FREQUENCY))
    }),
    field("object|refcount", "2.2.3", "Get the number of references to the value of the key", |request| {
        of(&request, ObjectField::RefCount)
    }),
];

fn of<'a>(request: &Request<'a>, field: ObjectField) -> Result<Action<'a>, CommandError<'a>> {
    let key: Key<'a> = key_at(request, 2)?;
    Ok(Action::Read(Read::Object { key, field }))
}
