//! Reading the TOML file into the same texts that flags and the environment give.

use std::path::Path;

use super::{ConfigError, Kind, SETTINGS, Setting};

/// The settings of the file `path` with the content `text`, in its order.
pub fn parse(path: &Path, text: &str) -> Result<Vec<(&'static Setting, String)>, ConfigError> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
        path: path.to_owned(),
        reason: error.to_string().trim_end().to_owned(),
    })?;
    let mut values = Vec::new();
    for (key, value) in table {
        let name = key.replace('_', "-");
        let found = SETTINGS.iter().find(|setting| setting.name == name && name != "config");
        let Some(setting) = found else {
            return Err(ConfigError::Unknown { path: path.to_owned(), nearest: nearest(&name), key });
        };
        values.push((setting, as_text(path, setting, &value)?));
    }
    Ok(values)
}

fn as_text(path: &Path, setting: &Setting, value: &toml::Value) -> Result<String, ConfigError> {
    use toml::Value;
    match (value, setting.kind) {
        (Value::String(text), _) => Ok(text.clone()),
        (Value::Integer(number), Kind::Count | Kind::Bytes | Kind::Cpus | Kind::Groups) => {
            Ok(number.to_string())
        }
        (Value::Boolean(yes), Kind::Bool) => Ok(yes.to_string()),
        (Value::Array(numbers), Kind::Cpus | Kind::Groups) if numbers.iter().all(Value::is_integer) => {
            let numbers: Vec<String> = numbers.iter().map(Value::to_string).collect();
            Ok(numbers.join(","))
        }
        _ => Err(ConfigError::Value {
            given: super::Source::File { path: path.to_owned(), key: setting.key() },
            value: if setting.kind == Kind::Secret { "(not shown)".to_owned() } else { value.to_string() },
            expected: match setting.kind {
                Kind::Path | Kind::Address | Kind::Secret => "a text in quotes".to_owned(),
                Kind::Count => "a whole number".to_owned(),
                Kind::Bytes => "a number of bytes, or a text like \"4GiB\"".to_owned(),
                Kind::Cpus => "a list of CPUs like [0, 1]".to_owned(),
                Kind::Groups => "a list of groups like [16, 17]".to_owned(),
                Kind::Bool => "true or false".to_owned(),
            },
        }),
    }
}

/// The key that is most like `name`.
fn nearest(name: &str) -> String {
    let settings = SETTINGS.iter().filter(|setting| setting.name != "config");
    let best = settings.min_by_key(|setting| distance(setting.name, name)).expect("the table is not empty");
    best.key()
}

/// How many characters must be inserted, removed or replaced to make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}
