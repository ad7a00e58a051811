//! Reading single values. Each answers with what was expected when it was given something else.

/// A whole number within bounds.
pub fn parse_count(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let expected = || format!("a whole number from {min} to {max}");
    text.trim().parse().ok().filter(|count| (min..=max).contains(count)).ok_or_else(expected)
}

/// Microseconds, or -1 for never.
pub fn parse_micros(text: &str) -> Result<i64, String> {
    let expected = || "whole microseconds, or -1 for none".to_owned();
    text.trim().parse().ok().filter(|micros| *micros >= -1).ok_or_else(expected)
}

/// Yes or no.
pub fn parse_bool(text: &str) -> Result<bool, String> {
    match text.trim().to_lowercase().as_str() {
        "yes" | "true" | "on" | "1" => Ok(true),
        "no" | "false" | "off" | "0" => Ok(false),
        _ => Err("yes or no".to_owned()),
    }
}

const UNITS: [(&str, u64); 14] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("k", 1 << 10),
    ("m", 1 << 20),
    ("g", 1 << 30),
    ("t", 1 << 40),
    ("b", 1),
    ("", 1),
];

/// Bytes with an optional unit, within bounds.
pub fn parse_bytes(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let expected = || {
        format!(
            "bytes from {} to {}, like 512MiB or 4GiB (also KiB, TiB, KB, MB, GB)",
            show_bytes(min),
            show_bytes(max)
        )
    };
    let lower = text.trim().to_lowercase();
    let digits = lower.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = lower[digits.len()..].trim();
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let bytes = digits.parse::<u64>().ok().zip(factor).and_then(|(count, factor)| count.checked_mul(factor));
    bytes.filter(|bytes| (min..=max).contains(bytes)).ok_or_else(expected)
}

/// Bytes for people: whole mebibytes from one on.
pub fn show_bytes(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{bytes}"),
        _ if bytes.is_multiple_of(1 << 30) => format!("{}GiB", bytes >> 30),
        _ => format!("{}MiB", bytes >> 20),
    }
}

/// A list of groups like `16,17`, each once.
pub fn parse_groups(text: &str) -> Result<Vec<u32>, String> {
    let expected = || "groups, each once, like 16 or 16,17".to_owned();
    let numbers = text.split(',').map(|part| part.trim().parse::<u32>().map_err(|_| expected()));
    let groups = numbers.collect::<Result<Vec<u32>, String>>()?;
    let twice = groups.iter().enumerate().any(|(at, group)| groups[..at].contains(group));
    if twice { Err(expected()) } else { Ok(groups) }
}

/// A list of CPUs like `0,2,4-7`, each once and available.
pub fn parse_cpus(text: &str, available: &[usize]) -> Result<Vec<usize>, String> {
    let expected = || {
        let names: Vec<String> = available.iter().map(usize::to_string).collect();
        format!("CPUs, each once, from {} (like 0,1 or 0-3)", names.join(","))
    };
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<usize>().ok();
        let (first, last) = number(first).zip(number(last)).ok_or_else(expected)?;
        if first > last || last - first > 4096 {
            return Err(expected());
        }
        cpus.extend(first..=last);
    }
    let mut sorted = cpus.clone();
    sorted.sort_unstable();
    sorted.dedup();
    let sound = sorted.len() == cpus.len() && cpus.iter().all(|cpu| available.contains(cpu));
    if sound { Ok(cpus) } else { Err(expected()) }
}
