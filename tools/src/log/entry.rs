//! What an entry holds, for people: its batches, and each command with its keys; values are cut.

use std::fmt::Write as _;

use pinion_shard::{Batch, Command, Control, Key, Kind, batches};
use serde_json::{Value, json};

/// Of a value as much is shown, unless all of it is asked for.
const VALUE_BYTES_SHOWN: usize = 32;

/// A command or control.
pub struct Shown {
    /// What it is called in the log.
    pub name: String,
    /// The keys it names.
    pub keys: Vec<String>,
    /// The values it carries, cut.
    pub values: Vec<String>,
    /// What else there is to say.
    pub rest: String,
}

/// The batches of an entry: each with its header in words, and its commands. Ends with the first error.
pub fn open(data: &[u8], whole_values: bool) -> Result<Vec<(String, Vec<Shown>)>, String> {
    let mut all = Vec::new();
    for batch in batches(data) {
        let batch = batch.map_err(|e| e.to_string())?;
        batch.check_body().map_err(|e| e.to_string())?;
        batch.check_lengths().map_err(|e| e.to_string())?;
        let header = &batch.header;
        let head = format!(
            "batch of {} at timestamp {}, time {} ms, range {} version {}",
            header.count,
            header.stamp.base.0,
            header.stamp.time_ms,
            header.stamp.range.0,
            header.stamp.range_version
        );
        all.push((head, bodies(&batch, whole_values)?));
    }
    Ok(all)
}

fn bodies(batch: &Batch<'_>, whole: bool) -> Result<Vec<Shown>, String> {
    match batch.header.kind {
        Kind::Commands => {
            batch.commands().map(|one| one.map(|c| command(&c, whole)).map_err(|e| e.to_string())).collect()
        }
        Kind::Control => {
            batch.controls().map(|one| one.map(|c| control(&c, whole)).map_err(|e| e.to_string())).collect()
        }
    }
}

fn cut(bytes: &[u8], whole: bool) -> String {
    if whole || bytes.len() <= VALUE_BYTES_SHOWN {
        return format!("\"{}\"", bytes.escape_ascii());
    }
    format!("\"{}\"… ({} bytes)", bytes[..VALUE_BYTES_SHOWN].escape_ascii(), bytes.len())
}

fn key_text(key: &[u8]) -> String {
    format!("\"{}\"", key.escape_ascii())
}

/// The name of a variant, as it stands in the code.
fn variant(debug: &str) -> String {
    debug.chars().take_while(|c| c.is_alphanumeric()).collect()
}

fn shown(name: String, keys: &[Key<'_>], values: &[&[u8]], rest: String, whole: bool) -> Shown {
    Shown {
        name,
        keys: keys.iter().map(|key| key_text(key.bytes())).collect(),
        values: values.iter().map(|value| cut(value, whole)).collect(),
        rest,
    }
}

fn command(command: &Command<'_>, whole: bool) -> Shown {
    let name = variant(&format!("{command:?}"));
    match command {
        Command::Set { key, value, when, expire, get } => {
            let rest = format!("when {when:?}, expire {expire:?}, get {get}");
            shown(name, &[*key], &[value], rest, whole)
        }
        Command::Append { key, value } => shown(name, &[*key], &[value], String::new(), whole),
        Command::SetRange { key, offset, value } => {
            shown(name, &[*key], &[value], format!("offset {offset}"), whole)
        }
        Command::IncrBy { key, delta } => shown(name, &[*key], &[], format!("by {delta}"), whole),
        Command::GetDel { key } | Command::Persist { key } => shown(name, &[*key], &[], String::new(), whole),
        Command::GetEx { key, expire } => shown(name, &[*key], &[], format!("expire {expire:?}"), whole),
        Command::Del { keys } => shown(name, &keys.keys().collect::<Vec<_>>(), &[], String::new(), whole),
        Command::Expire { key, expire, when } => {
            shown(name, &[*key], &[], format!("expire {expire:?}, when {when:?}"), whole)
        }
        Command::MSet { pairs, only_new } => {
            let (keys, values): (Vec<_>, Vec<_>) = pairs.pairs().unzip();
            shown(name, &keys, &values, format!("only new {only_new}"), whole)
        }
        Command::SetBit { key, offset, bit } => {
            shown(name, &[*key], &[], format!("offset {offset}, bit {}", u8::from(*bit)), whole)
        }
        Command::IncrByFloat { key, delta } => {
            shown(name, &[*key], &[], format!("by {}", delta.escape_ascii()), whole)
        }
        Command::Transfer { keys, replace, remove } => {
            let rest = format!("replace {replace}, remove {remove}");
            shown(name, &keys.keys().collect::<Vec<_>>(), &[], rest, whole)
        }
        other => shown(name, &[], &[], cut_debug(&format!("{other:?}"), whole), whole),
    }
}

fn control(control: &Control<'_>, whole: bool) -> Shown {
    let name = variant(&format!("{control:?}"));
    match control {
        Control::Reap { keys } => shown(name, &keys.keys().collect::<Vec<_>>(), &[], String::new(), whole),
        Control::PutRow { key, value } => shown(name, &[*key], &[value], String::new(), whole),
        other => shown(name, &[], &[], cut_debug(&format!("{other:?}"), whole), whole),
    }
}

/// What has neither keys nor values of its own kind, as the code prints it.
fn cut_debug(debug: &str, whole: bool) -> String {
    let most = if whole { usize::MAX } else { 160 };
    let text: String = debug.chars().take(most).collect();
    if text.len() < debug.len() { format!("{text}…") } else { text }
}

impl Shown {
    /// As one line.
    pub fn text(&self) -> String {
        let mut line = self.name.clone();
        if self.values.len() == self.keys.len() {
            for (key, value) in self.keys.iter().zip(&self.values) {
                let _ = write!(line, " {key} = {value}");
            }
        } else {
            for word in self.keys.iter().chain(&self.values) {
                let _ = write!(line, " {word}");
            }
        }
        if !self.rest.is_empty() && self.rest != self.name {
            let _ = write!(line, " ({})", self.rest);
        }
        line
    }

    /// As a JSON object.
    pub fn json(&self) -> Value {
        json!({"command": self.name, "keys": self.keys, "values": self.values, "rest": self.rest})
    }
}
