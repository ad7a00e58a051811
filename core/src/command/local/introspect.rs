//! COMMAND: what the table says of itself.

use pinion_shard::glob_matches;

use crate::command::lookup::lookup;
use crate::command::parse::pattern;
use crate::command::{CommandError, Keys, Spec, TABLE};
use crate::resp::{Encoder, Request};

type Answered<'a> = Result<(), CommandError<'a>>;

/// The row of a name, which may be that of a subcommand: `client|id`.
fn find(name: &[u8]) -> Option<&'static Spec> {
    let Some(bar) = memchr::memchr(b'|', name) else { return Some(lookup(name)?.spec()) };
    let container = lookup(&name[..bar])?.spec();
    container.subcommands.iter().find(|sub| sub.name.as_bytes().eq_ignore_ascii_case(name))
}

pub(super) fn count(encoder: &mut Encoder<'_>) {
    encoder.integer(TABLE.len() as i64);
}

pub(super) fn all(encoder: &mut Encoder<'_>) {
    encoder.array(TABLE.len());
    for spec in &TABLE {
        details(spec, encoder);
    }
}

pub(super) fn info(request: &Request<'_>, encoder: &mut Encoder<'_>) {
    if request.len() == 2 {
        return all(encoder);
    }
    encoder.array(request.len() - 2);
    for name in request.args(2) {
        match find(name) {
            Some(spec) => details(spec, encoder),
            None => encoder.null(),
        }
    }
}

fn details(spec: &Spec, encoder: &mut Encoder<'_>) {
    encoder.array(10);
    encoder.bulk(spec.name.as_bytes());
    encoder.integer(i64::from(spec.arity));
    words(spec.flags, encoder);
    let keys = spec.keys.as_ref();
    encoder.integer(keys.map_or(0, |keys| i64::from(keys.first)));
    encoder.integer(keys.map_or(0, |keys| i64::from(keys.last)));
    encoder.integer(keys.map_or(0, |keys| i64::from(keys.step)));
    words(spec.categories, encoder);
    encoder.set(spec.tips.split_ascii_whitespace().count());
    spec.tips.split_ascii_whitespace().for_each(|tip| encoder.bulk(tip.as_bytes()));
    let specs = key_specs(spec);
    encoder.set(specs.len());
    specs.iter().for_each(|keys| key_spec(keys, encoder));
    if spec.subcommands.is_empty() {
        return encoder.set(0);
    }
    encoder.array(spec.subcommands.len());
    for sub in spec.subcommands {
        details(sub, encoder);
    }
}

/// Its keys, by how they are used.
fn key_specs(spec: &Spec) -> Vec<Keys> {
    match (spec.keys, spec.second_key) {
        (Some(keys), Some(flags)) => {
            let first = keys.first;
            vec![Keys { last: first, ..keys }, Keys { first: first + 1, flags, ..keys }]
        }
        (keys, _) => keys.into_iter().collect(),
    }
}

fn words(words: &str, encoder: &mut Encoder<'_>) {
    encoder.set(words.split_ascii_whitespace().count());
    words.split_ascii_whitespace().for_each(|word| encoder.simple(word));
}

fn key_spec(keys: &Keys, encoder: &mut Encoder<'_>) {
    encoder.map(3 + usize::from(!keys.notes.is_empty()));
    if !keys.notes.is_empty() {
        encoder.bulk(b"notes");
        encoder.bulk(keys.notes.as_bytes());
    }
    encoder.bulk(b"flags");
    words(keys.flags, encoder);
    encoder.bulk(b"begin_search");
    encoder.map(2);
    encoder.bulk(b"type");
    encoder.bulk(b"index");
    encoder.bulk(b"spec");
    encoder.map(1);
    encoder.bulk(b"index");
    encoder.integer(i64::from(keys.first));
    encoder.bulk(b"find_keys");
    encoder.map(2);
    encoder.bulk(b"type");
    encoder.bulk(b"range");
    encoder.bulk(b"spec");
    encoder.map(3);
    encoder.bulk(b"lastkey");
    // Counted from the first key.
    encoder.integer(i64::from(if keys.last < 0 { keys.last } else { keys.last - keys.first }));
    encoder.bulk(b"keystep");
    encoder.integer(i64::from(keys.step));
    encoder.bulk(b"limit");
    encoder.integer(0);
}

pub(super) fn list<'a>(request: &Request<'a>, encoder: &mut Encoder<'_>) -> Answered<'a> {
    if request.len() == 2 {
        names(TABLE.iter(), encoder);
        return Ok(());
    }
    let (5, true) = (request.len(), request.arg(2).eq_ignore_ascii_case(b"filterby")) else {
        return Err(CommandError::Syntax);
    };
    let everything = TABLE.iter().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands));
    let (by, value) = (request.arg(3), request.arg(4));
    if by.eq_ignore_ascii_case(b"module") {
        encoder.array(0);
    } else if by.eq_ignore_ascii_case(b"aclcat") {
        let has = |category: &str| category.as_bytes()[1..].eq_ignore_ascii_case(value);
        names(everything.filter(|spec| spec.categories.split_ascii_whitespace().any(has)), encoder);
    } else if by.eq_ignore_ascii_case(b"pattern") {
        let folded = pattern(value)?.to_ascii_lowercase();
        names(everything.filter(|spec| glob_matches(&folded, spec.name.as_bytes())), encoder);
    } else {
        return Err(CommandError::Syntax);
    }
    Ok(())
}

fn names(specs: impl Iterator<Item = &'static Spec>, encoder: &mut Encoder<'_>) {
    let specs: Vec<_> = specs.collect();
    encoder.array(specs.len());
    for spec in specs {
        encoder.bulk(spec.name.as_bytes());
    }
}

pub(super) fn docs(request: &Request<'_>, encoder: &mut Encoder<'_>) {
    let specs: Vec<&Spec> = match request.len() {
        2 => TABLE.iter().collect(),
        _ => request.args(2).filter_map(find).collect(),
    };
    documented(specs.iter().copied(), encoder);
}

fn documented<'s>(specs: impl ExactSizeIterator<Item = &'s Spec>, encoder: &mut Encoder<'_>) {
    encoder.map(specs.len());
    for spec in specs {
        encoder.bulk(spec.name.as_bytes());
        let deprecated = if spec.deprecated.is_some() { 3 } else { 0 };
        encoder.map(4 + deprecated + usize::from(!spec.subcommands.is_empty()));
        let texts = [
            ("summary", spec.summary),
            ("since", spec.since),
            ("group", spec.group),
            ("complexity", spec.complexity),
        ];
        for (name, text) in texts {
            encoder.bulk(name.as_bytes());
            encoder.bulk(text.as_bytes());
        }
        if let Some((since, instead)) = spec.deprecated {
            encoder.bulk(b"doc_flags");
            words("deprecated", encoder);
            encoder.bulk(b"deprecated_since");
            encoder.bulk(since.as_bytes());
            encoder.bulk(b"replaced_by");
            encoder.bulk(instead.as_bytes());
        }
        if !spec.subcommands.is_empty() {
            encoder.bulk(b"subcommands");
            documented(spec.subcommands.iter(), encoder);
        }
    }
}

pub(super) fn get_keys<'a>(request: &Request<'a>, flags: bool, encoder: &mut Encoder<'_>) -> Answered<'a> {
    let count = request.len() - 2;
    let found = lookup(request.arg(2)).map(|id| id.spec()).and_then(|spec| match spec.subcommands {
        [] => Some(spec),
        subcommands => {
            let name = request.arg(3);
            subcommands.iter().find(|sub| sub.short_name().as_bytes().eq_ignore_ascii_case(name))
        }
    });
    let spec = found.ok_or(CommandError::Text("ERR Invalid command specified"))?;
    let keys = spec.keys.ok_or(CommandError::Text("ERR The command has no key arguments"))?;
    if !spec.takes(count) {
        return Err(CommandError::Text("ERR Invalid number of arguments specified for command"));
    }
    let indices: Vec<usize> = keys.indices(count).collect();
    // What the key of a SET is used for depends on its options.
    let used = match keys.flags {
        "RW access update variable_flags" => {
            let reads = request.args(2).skip(3).any(|option| option.eq_ignore_ascii_case(b"get"));
            if reads { "RW access update" } else { "OW update" }
        }
        flags => flags,
    };
    encoder.array(indices.len());
    for (number, index) in indices.into_iter().enumerate() {
        if flags {
            encoder.array(2);
        }
        encoder.bulk(request.arg(2 + index));
        if flags {
            words(if number > 0 { spec.second_key.unwrap_or(used) } else { used }, encoder);
        }
    }
    Ok(())
}
