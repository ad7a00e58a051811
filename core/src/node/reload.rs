//! Settings that change while the server runs: read again (SIGHUP), or written to the file (CONFIG REWRITE).
//!
//! A reload gives every reloadable setting the value that flags, environment and file give it now, or its default: what
//! CONFIG SET changed and CONFIG REWRITE did not write is undone. A configuration that does not load changes nothing.

use std::io::Write as _;
use std::path::Path;

use toml_edit::{DocumentMut, Item, value};

use crate::chore::{Answer, Chore};
use crate::config::{Config, ConfigError, Live, SETTINGS, reloadable};
use crate::publish::Published;

/// Reads the configuration again, as at the start.
pub type Load<'a> = &'a dyn Fn() -> Result<Config, ConfigError>;

/// What changes settings on the thread that watches the cores.
pub struct Reload<'a> {
    load: Load<'a>,
    /// As it was loaded last: what differs from it in what needs a restart is told.
    loaded: Config,
    live: Published<Live>,
}

impl<'a> Reload<'a> {
    /// For a server that was started with `loaded`.
    pub fn new(load: Load<'a>, loaded: Config, live: Published<Live>) -> Self {
        Self { load, loaded, live }
    }

    /// Reads the configuration again; answers what came of it, in a line for people.
    pub fn reload(&mut self) -> String {
        match (self.load)() {
            Ok(config) => self.take_over(config),
            Err(error) => format!("the configuration was not reloaded, the old one stays in force: {error}"),
        }
    }

    fn take_over(&mut self, config: Config) -> String {
        let reloads = reloadable();
        let before = self.live.newest();
        let shown = |name: &str| config.shown.iter().find(|(known, _)| *known == name);
        let changes = reloads.iter().filter_map(|&name| shown(name)).map(|(name, value)| (*name, &value[..]));
        if let Err(refused) = self.live.update(|live| live.with(changes)) {
            return format!("the configuration was not reloaded, the old one stays in force: {refused}");
        }
        let after = self.live.newest();
        let changed: Vec<&str> =
            reloads.iter().copied().filter(|&name| before.shown.get(name) != after.shown.get(name)).collect();
        let differs = |(name, value): &&(&'static str, String)| {
            !reloads.contains(name)
                && self.loaded.shown.iter().any(|(known, old)| known == name && old != value)
        };
        let waiting: Vec<&str> = config.shown.iter().filter(differs).map(|(name, _)| *name).collect();
        let mut line = match &changed[..] {
            [] => "the configuration was reloaded: no setting that may change has changed".to_owned(),
            names => format!("the configuration was reloaded: {} changed", names.join(", ")),
        };
        if !waiting.is_empty() {
            line += &format!("; {} will change with a restart", waiting.join(", "));
        }
        line
    }

    /// Carries out what a core asked for.
    pub fn carry_out(&self, chore: Chore) -> Answer {
        match chore {
            Chore::RewriteConfig => self.rewrite(),
        }
    }

    fn rewrite(&self) -> Answer {
        let Some(path) = &self.loaded.file else {
            return Err("The server is running without a config file".to_owned());
        };
        let failed = |cause: std::io::Error| format!("Rewriting config file: {}: {cause}", path.display());
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let text = rewritten(&text, &self.live.newest(), &self.loaded)
            .map_err(|why| format!("Rewriting config file: {} is not TOML: {why}", path.display()))?;
        replace(path, &text).map_err(failed)
    }
}

/// The file's text with the values in force: those of its keys, and those that differ from what was loaded. Comments and order
/// stay.
fn rewritten(text: &str, live: &Live, loaded: &Config) -> Result<String, toml_edit::TomlError> {
    let mut document: DocumentMut = text.parse()?;
    for name in reloadable() {
        let setting =
            SETTINGS.iter().find(|setting| setting.name == name).expect("names come from the table");
        let Some(now) = live.shown.get(name) else { continue };
        let key = [setting.key(), name.to_owned()].into_iter().find(|key| document.contains_key(key));
        let at_start = loaded.shown.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
        if key.is_none() && at_start == Some(now) {
            continue;
        }
        let item: Item = match (&now[..], now.parse::<i64>()) {
            ("yes", _) => value(true),
            ("no", _) => value(false),
            (_, Ok(number)) => value(number),
            (text, _) => value(text),
        };
        let place = document.entry(&key.unwrap_or_else(|| setting.key())).or_insert(Item::None);
        // The blanks and the comment around a value are part of it.
        let around = place.as_value().map(|value| value.decor().clone());
        *place = item;
        if let (Some(around), Some(value)) = (around, place.as_value_mut()) {
            *value.decor_mut() = around;
        }
    }
    Ok(document.to_string())
}

/// Puts `text` in the place of a file: a crash leaves the old one or the new one.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).open(&beside)?;
    file.set_permissions(std::fs::metadata(path)?.permissions())?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    #[expect(clippy::disallowed_methods, reason = "a file of the administrator, not of the data directory")]
    std::fs::rename(&beside, path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::OpenOptions::new().read(true).open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Given, Hardware};

    /// A configuration that shows this.
    fn loaded(shown: Vec<(&'static str, String)>) -> Config {
        let hardware = Hardware { cpus: vec![0], memory_bytes: 8 << 30 };
        let config = Given::default().resolve(&hardware, &|_| unreachable!("no file is named"));
        Config { shown, ..config.expect("the defaults make sense") }
    }

    #[test]
    fn a_rewrite_keeps_what_a_person_wrote() {
        let loaded = loaded(vec![("latency-tracking", "yes".to_owned())]);
        let text =
            "# mine\nport = 7000 # the port\n\nslowlog_max_len = 5   # few\nslowlog-log-slower-than = 1\n";
        let shown = [("latency-tracking", "no"), ("slowlog-max-len", "7"), ("slowlog-log-slower-than", "1")];
        let shown = shown.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let live = Live { shown, ..Live::default() };
        let new = rewritten(text, &live, &loaded).expect("it is TOML");
        let expected = "# mine\nport = 7000 # the port\n\nslowlog_max_len = 7   # few\nslowlog-log-slower-than = 1\nlatency_tracking = false\n";
        assert_eq!(new, expected);
        assert_eq!(rewritten(&new, &live, &loaded).expect("it is TOML"), new);
    }
}
