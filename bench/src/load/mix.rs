//! What is sent: requests from templates, each chosen by its weight.

use std::io::Write;

use super::keys::Chooser;
use super::values::ValueSizes;

/// Keys of one scan at most, as YCSB's workload E has it.
const SCAN_KEYS_MAX: u64 = 100;
/// A key is `key:` and twelve digits.
const KEY_BYTES: usize = 16;

/// A part of a request.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(Vec<u8>),
    Key,
    /// The length of an argument: so many bytes and so many values.
    Length(usize, usize),
    Value,
}

/// How the key of a request comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naming {
    /// By the chooser.
    Chosen,
    /// One that did not exist.
    Inserted,
    /// MGET of 1 to 100 keys in a row from a chosen one.
    Scanned,
}

#[derive(Clone, Debug, PartialEq)]
struct Template {
    parts: Vec<Part>,
    requests: u32,
    naming: Naming,
    /// The sum of the weights up to this one.
    until: f64,
}

/// Templates with their weights.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mix {
    templates: Vec<Template>,
}

impl Mix {
    /// Adds `COMMAND ARGUMENT...`, optionally with `=WEIGHT` or `=WEIGHT%` at its end. `__key__` and `__value__` are
    /// replaced wherever they stand; all of them in one request are the same.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn add_command(&mut self, text: &str) -> Result<(), String> {
        let (command, weight) = split_weight(text)?;
        if command.split_whitespace().next().is_none() {
            return Err(format!("the command {text:?} is empty; write for instance \"GET __key__=90\""));
        }
        self.add(&[command], Naming::Chosen, weight);
        Ok(())
    }

    /// Adds a list such as `get=90,set=10`; the names are those of [`shorthand`].
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn add_list(&mut self, text: &str) -> Result<(), String> {
        for item in text.split(',') {
            let (name, weight) = split_weight(item)?;
            let (commands, naming) = shorthand(name.trim()).ok_or_else(|| {
                format!(
                    "{:?} in the mix {text:?} is none of get, set, del, incr, ping, insert, scan, rmw; give other \
                     commands with --command",
                    name.trim()
                )
            })?;
            self.add(commands, naming, weight);
        }
        Ok(())
    }

    fn add(&mut self, commands: &[&str], naming: Naming, weight: f64) {
        let mut parts = Vec::new();
        for command in commands {
            compile(command, &mut parts);
        }
        let until = self.templates.last().map_or(0.0, |t| t.until) + weight;
        self.templates.push(Template { parts, requests: commands.len() as u32, naming, until });
    }

    /// Whether nothing was added.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.templates.is_empty()
    }

    /// Appends what one choice sends, and tells how many replies it brings. `values` is as long as the longest value.
    pub fn push(
        &self,
        out: &mut Vec<u8>,
        rng: &mut fastrand::Rng,
        keys: &mut Chooser,
        sizes: &ValueSizes,
        values: &[u8],
    ) -> u32 {
        let template = match self.templates.as_slice() {
            [only] => only,
            all => {
                let at = rng.f64() * all[all.len() - 1].until;
                &all[all.partition_point(|t| t.until <= at).min(all.len() - 1)]
            }
        };
        let mut key = None;
        let mut value = None;
        if template.naming == Naming::Scanned {
            let first = keys.choose();
            let count = rng.u64(1..=SCAN_KEYS_MAX);
            let _ = write!(out, "*{}\r\n$4\r\nMGET\r\n", count + 1);
            for key in first..first + count {
                out.extend_from_slice(b"$16\r\n");
                push_key(out, key);
                out.extend_from_slice(b"\r\n");
            }
        }
        for part in &template.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Key => {
                    let key = *key.get_or_insert_with(|| match template.naming {
                        Naming::Inserted => keys.insert(),
                        _ => keys.choose(),
                    });
                    push_key(out, key);
                }
                Part::Length(bytes, count) => {
                    let value: &usize = value.get_or_insert_with(|| sizes.choose(rng));
                    let _ = write!(out, "${}\r\n", bytes + value * count);
                }
                Part::Value => out.extend_from_slice(&values[..value.unwrap_or(0)]),
            }
        }
        template.requests
    }
}

/// The commands behind a name of a mix. A scan is an MGET of 1 to 100 keys in a row: keys are dense numbers, so a range of
/// them is known without asking. A read-modify-write is a GET with the SET of the same key right behind it.
const fn shorthand(name: &str) -> Option<(&'static [&'static str], Naming)> {
    Some(match name.as_bytes() {
        b"get" => (&["GET __key__"], Naming::Chosen),
        b"set" => (&["SET __key__ __value__"], Naming::Chosen),
        b"del" => (&["DEL __key__"], Naming::Chosen),
        b"incr" => (&["INCR counter:__key__"], Naming::Chosen),
        b"ping" => (&["PING"], Naming::Chosen),
        b"insert" => (&["SET __key__ __value__"], Naming::Inserted),
        b"rmw" => (&["GET __key__", "SET __key__ __value__"], Naming::Chosen),
        b"scan" => (&[""], Naming::Scanned),
        _ => return None,
    })
}

/// Splits `TEXT=WEIGHT` or `TEXT=WEIGHT%`; without a weight it is 1. An `=` not followed by a number belongs to the text.
fn split_weight(text: &str) -> Result<(&str, f64), String> {
    let Some((before, weight)) = text.rsplit_once('=') else { return Ok((text, 1.0)) };
    match weight.trim().trim_end_matches('%').parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok((before, number)),
        Ok(_) => {
            Err(format!("the weight {weight:?} in {text:?} is not above 0; leave the command out instead"))
        }
        Err(_) => Ok((text, 1.0)),
    }
}

/// Appends the request of a command; nothing for an empty one.
fn compile(command: &str, parts: &mut Vec<Part>) {
    fn text(parts: &mut Vec<Part>, bytes: &[u8]) {
        match parts.last_mut() {
            Some(Part::Text(text)) => text.extend_from_slice(bytes),
            _ => parts.push(Part::Text(bytes.to_vec())),
        }
    }
    let arguments: Vec<&str> = command.split_whitespace().collect();
    if arguments.is_empty() {
        return;
    }
    text(parts, format!("*{}\r\n", arguments.len()).as_bytes());
    for argument in arguments {
        let values = argument.matches("__value__").count();
        let keys = argument.matches("__key__").count();
        let fixed = argument.len() - 9 * values - 7 * keys + KEY_BYTES * keys;
        if values == 0 {
            text(parts, format!("${fixed}\r\n").as_bytes());
        } else {
            parts.push(Part::Length(fixed, values));
        }
        for (i, piece) in argument.split("__value__").enumerate() {
            if i > 0 {
                parts.push(Part::Value);
            }
            for (j, piece) in piece.split("__key__").enumerate() {
                if j > 0 {
                    parts.push(Part::Key);
                }
                if !piece.is_empty() {
                    text(parts, piece.as_bytes());
                }
            }
        }
        text(parts, b"\r\n");
    }
}

/// Appends a key.
pub(super) fn push_key(out: &mut Vec<u8>, key: u64) {
    let mut digits = *b"key:000000000000";
    let (mut left, mut at) = (key, 15);
    while left > 0 && at > 3 {
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        at -= 1;
    }
    out.extend_from_slice(&digits);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::super::keys::{Distribution, KeyCount, Shape};
    use super::*;

    fn chooser(keys: u64) -> Chooser {
        let shape = Shape { theta: 0.99, hot_keys: 0.2, hot_traffic: 0.8 };
        Chooser::new(Distribution::Sequential, shape, keys, KeyCount::new(AtomicU64::new(keys)), 1, (0, 1))
    }

    fn sent(mix: &Mix, requests: usize) -> Vec<(String, u32)> {
        let (mut rng, mut keys) = (fastrand::Rng::with_seed(9), chooser(10));
        let mut all = Vec::new();
        for _ in 0..requests {
            let mut out = Vec::new();
            let replies = mix.push(&mut out, &mut rng, &mut keys, &ValueSizes::Fixed(3), b"abc");
            all.push((String::from_utf8(out).expect("ASCII"), replies));
        }
        all
    }

    #[test]
    fn templates_become_requests() {
        let mut mix = Mix::default();
        mix.add_command("SETRANGE a:__key__ 10 <__value__>=5%").expect("sound");
        let expected = "*4\r\n$8\r\nSETRANGE\r\n$18\r\na:key:000000000000\r\n$2\r\n10\r\n$5\r\n<abc>\r\n";
        assert_eq!(sent(&mix, 1), [(expected.to_owned(), 1)]);
        let mut mix = Mix::default();
        mix.add_list("rmw").expect("sound");
        let expected = "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000000\r\n*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000000\r\n$3\r\nabc\r\n";
        assert_eq!(sent(&mix, 1), [(expected.to_owned(), 2)]);
        let mut mix = Mix::default();
        mix.add_list("insert").expect("sound");
        assert!(sent(&mix, 1)[0].0.contains("key:000000000010"), "ten keys exist already");
    }

    #[test]
    fn a_mix_sends_each_command_in_proportion_to_its_weight() {
        let mut mix = Mix::default();
        mix.add_list("get=70,set=20").expect("sound");
        mix.add_command("PING=10").expect("sound");
        let all = sent(&mix, 10_000);
        for (name, expected) in [("GET", 7000.0), ("SET", 2000.0), ("PING", 1000.0_f64)] {
            let found =
                all.iter().filter(|(text, _)| text.contains(&format!("\r\n{name}\r\n"))).count() as f64;
            let deviation = (expected * (1.0 - expected / 10_000.0)).sqrt();
            assert!((found - expected).abs() < 4.0 * deviation, "{name}: {found}");
        }
    }

    #[test]
    fn a_scan_reads_keys_in_a_row() {
        let mut mix = Mix::default();
        mix.add_list("scan").expect("sound");
        for (text, replies) in sent(&mix, 50) {
            let keys: Vec<u64> = text.split("key:").skip(1).filter_map(|k| k[..12].parse().ok()).collect();
            assert!(text.starts_with(&format!("*{}\r\n$4\r\nMGET\r\n", keys.len() + 1)) && replies == 1);
            assert!((1..=100).contains(&keys.len()) && keys.windows(2).all(|w| w[1] == w[0] + 1));
        }
    }

    #[test]
    fn what_is_wrong_with_a_mix_is_said() {
        let error = Mix::default().add_list("get=90,frobnicate=10").expect_err("no such name");
        assert!(error.contains("frobnicate") && error.contains("--command"), "{error}");
        assert!(Mix::default().add_list("get=0").is_err());
        assert!(Mix::default().add_command("=5").is_err());
        assert_eq!(split_weight("SET a b=c"), Ok(("SET a b=c", 1.0)));
    }

    #[test]
    fn keys_have_their_digits() {
        for (key, text) in [(0, "key:000000000000"), (7, "key:000000000007"), (999_999, "key:000000999999")] {
            let mut out = Vec::new();
            push_key(&mut out, key);
            assert_eq!(out, text.as_bytes());
        }
    }
}
