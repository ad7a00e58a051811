//! Settings that may change while the server runs (CONFIG SET, a reload), and what CONFIG GET shows of all of them.
//!
//! All cores share one [`Live`] ([`crate::publish`]); a change makes a new one, or none if any part of it is refused.

use std::collections::BTreeMap;

use super::values::{parse_bool, parse_count, parse_micros};
use super::{SETTINGS, SLOWLOG_ABOVE_MICROS, SLOWLOG_MAX, Setting};

/// What is in force. See the module page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// Whether durations of requests are recorded; if not, they are only counted.
    pub latency_tracking: bool,
    /// Requests that take so many microseconds stand in the slow log; negative: none.
    pub slowlog_above_micros: i64,
    /// Entries of the slow log, at most.
    pub slowlog_max: usize,
    /// Every setting by its name, secrets left out, and those of Redis that its tools ask for.
    pub shown: BTreeMap<String, String>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            latency_tracking: true,
            slowlog_above_micros: SLOWLOG_ABOVE_MICROS,
            slowlog_max: SLOWLOG_MAX,
            shown: BTreeMap::new(),
        }
    }
}

/// Why a change is refused. The setting is shown as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LiveError {
    /// There is no such setting.
    #[error("Unknown option or number of arguments for CONFIG SET - '{0}'")]
    Unknown(String),
    /// It is named twice.
    #[error("CONFIG SET failed (possibly related to argument '{0}') - duplicate parameter")]
    Twice(String),
    /// It cannot change while the server runs.
    #[error("CONFIG SET failed (possibly related to argument '{0}') - can't set immutable config")]
    Immutable(String),
    /// The value makes no sense.
    #[error("CONFIG SET failed (possibly related to argument '{name}') - {expected}")]
    Value {
        /// The setting.
        name: String,
        /// What is expected instead.
        expected: String,
    },
}

/// The names that may change, in words for people.
#[must_use]
pub fn reloadable() -> Vec<&'static str> {
    SETTINGS.iter().filter(|setting| setting.reloads).map(|setting| setting.name).collect()
}

/// What is expected of yes and no, as the oracle says it.
const YES_OR_NO: &str = "argument must be 'yes' or 'no'";

fn between(text: &str, min: i64, max: i64) -> String {
    match text.parse::<i64>() {
        Ok(_) => format!("argument must be between {min} and {max} inclusive"),
        Err(_) => "argument couldn't be parsed into an integer".to_owned(),
    }
}

impl Live {
    /// What is in force after all of these changes: names in any case, and values as in a file.
    ///
    /// # Errors
    /// When one of them is refused; none is in force then.
    pub fn with<'a>(&self, changes: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, LiveError> {
        let (mut changed, mut seen) = (self.clone(), Vec::new());
        for (asked, value) in changes {
            let name = asked.to_ascii_lowercase();
            if !self.shown.contains_key(&name) {
                return Err(LiveError::Unknown(asked.to_owned()));
            }
            if seen.contains(&name) {
                return Err(LiveError::Twice(asked.to_owned()));
            }
            changed.change(&name, value).map_err(|refused| match refused {
                None => LiveError::Immutable(asked.to_owned()),
                Some(expected) => LiveError::Value { name: asked.to_owned(), expected },
            })?;
            seen.push(name);
        }
        Ok(changed)
    }

    /// Changes one setting. Refuses with what is expected, or with nothing when it cannot change.
    fn change(&mut self, name: &str, value: &str) -> Result<(), Option<String>> {
        // Tools set what is in force already.
        if self.shown.get(name).is_some_and(|shown| shown == value) {
            return Ok(());
        }
        match name {
            "latency-tracking" => {
                self.latency_tracking = parse_bool(value).map_err(|_| YES_OR_NO.to_owned())?;
            }
            "slowlog-log-slower-than" => {
                self.slowlog_above_micros = parse_micros(value).map_err(|_| between(value, -1, i64::MAX))?;
            }
            "slowlog-max-len" => {
                let max = crate::slow::LOG_MAX as u64;
                let entries = parse_count(value, 0, max).map_err(|_| between(value, 0, max as i64))?;
                self.slowlog_max = usize::try_from(entries).expect("small");
            }
            _ => return Err(None),
        }
        debug_assert!(SETTINGS.iter().any(|setting: &Setting| setting.name == name && setting.reloads));
        let shown = match value {
            "true" | "on" | "1" if name == "latency-tracking" => "yes",
            "false" | "off" | "0" if name == "latency-tracking" => "no",
            value => value.trim(),
        };
        self.shown.insert(name.to_owned(), shown.to_ascii_lowercase());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Live {
        let shown = [
            ("latency-tracking", "yes"),
            ("slowlog-log-slower-than", "10000"),
            ("slowlog-max-len", "128"),
            ("port", "6379"),
            ("save", ""),
        ];
        let shown = shown.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Live { shown: shown.into(), ..Live::default() }
    }

    #[test]
    fn changes_are_in_force_together_or_not_at_all() {
        let old = live();
        let new = old.with([("LATENCY-tracking", "no"), ("slowlog-max-len", "7"), ("port", "6379")]);
        let new = new.expect("they make sense");
        assert_eq!((new.latency_tracking, new.slowlog_max), (false, 7));
        assert_eq!((&new.shown["latency-tracking"][..], &new.shown["slowlog-max-len"][..]), ("no", "7"));
        let cases = [
            (("nothing", "1"), "Unknown option or number of arguments for CONFIG SET - 'nothing'"),
            (("port", "1"), "(possibly related to argument 'port') - can't set immutable config"),
            (("save", "900 1"), "can't set immutable config"),
            (("latency-tracking", "maybe"), "argument must be 'yes' or 'no'"),
            (("slowlog-log-slower-than", "x"), "argument couldn't be parsed into an integer"),
            (("slowlog-log-slower-than", "-2"), "argument must be between -1 and"),
            (("slowlog-max-len", "4097"), "argument must be between 0 and 4096 inclusive"),
        ];
        for (pair, expected) in cases {
            let first = if pair.0 == "save" { ("port", "6379") } else { ("save", "") };
            let error = old.with([first, pair]).expect_err(pair.0);
            assert!(error.to_string().contains(expected), "{error}");
        }
        let error = old.with([("slowlog-max-len", "8"), ("slowlog-MAX-len", "9")]).expect_err("twice");
        assert!(error.to_string().contains("'slowlog-MAX-len') - duplicate parameter"), "{error}");
    }

    #[test]
    fn every_setting_that_is_said_to_reload_does() {
        let other = |name: &str| match name {
            "latency-tracking" => "no",
            "slowlog-log-slower-than" => "-1",
            "slowlog-max-len" => "0",
            name => panic!("{name}: this test does not know another value"),
        };
        for name in reloadable() {
            let new = live().with([(name, other(name))]).expect(name);
            assert_ne!(new, live(), "{name}");
            assert_eq!(new.shown[name], other(name));
        }
    }
}
