//! The slowest requests that a server keeps, each with its stages.

use super::text;
use crate::client::{Client, Value};

/// The slowest requests that the server keeps, slowest first, each with the stages that took any time.
///
/// # Errors
/// A sentence that says what the server did not do.
pub fn run(client: &mut Client, count: u32) -> Result<String, String> {
    let reply =
        client.call(&[b"PINION", b"SLOWEST", count.to_string().as_bytes()]).map_err(|e| e.to_string())?;
    let Value::Array(records) = &reply else {
        return Err(format!("PINION SLOWEST was answered with {reply:?}: is this a Pinion server?"));
    };
    let mut out = String::new();
    for record in records {
        out += &slow_request(record).ok_or_else(|| format!("PINION SLOWEST: no request: {record:?}"))?;
    }
    if out.is_empty() {
        out.push_str("The server keeps no request: none was served, or latency-tracking is off.\n");
    }
    Ok(out)
}

/// One request of PINION SLOWEST: a line about it, and one for each of its stages that took any time.
fn slow_request(record: &Value) -> Option<String> {
    let Value::Array(fields) = record else { return None };
    let field = |name: &str| {
        fields.chunks_exact(2).find(|pair| text(&pair[0]).as_deref() == Some(name)).map(|pair| &pair[1])
    };
    let micros = |nanos: i64| nanos as f64 / 1e3;
    let (Value::Array(stages), Value::Array(arguments), Value::Int(core)) =
        (field("stages_ns")?, field("arguments")?, field("core")?)
    else {
        return None;
    };
    let mut durations = Vec::new();
    for pair in stages.chunks_exact(2) {
        let Value::Int(nanos) = pair[1] else { return None };
        durations.push((text(&pair[0])?, nanos));
    }
    let (_, total) = durations.pop().filter(|(name, _)| name == "total")?;
    let arguments: Vec<String> = arguments.iter().map(shown).collect();
    let mut out = format!(
        "{:>12.1} us  core {core}  {}  {}\n",
        micros(total),
        text(field("client")?)?,
        arguments.join(" ")
    );
    for (name, nanos) in durations.into_iter().filter(|(_, nanos)| *nanos > 0) {
        let share = nanos as f64 * 100.0 / total.max(1) as f64;
        out += &format!("{:>12.1} us {share:>5.1} %  {name}\n", micros(nanos));
    }
    Some(out)
}

/// An argument on one line, whatever it holds.
fn shown(value: &Value) -> String {
    match value {
        Value::Bulk(Some(bytes)) => bytes.escape_ascii().to_string(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::Bulk(Some(text.as_bytes().to_vec()))
    }

    #[test]
    fn a_slow_request_is_shown_with_the_stages_that_took_time() {
        let stages = [("parse", 0), ("persist", 3_000), ("reply", 1_000), ("total", 4_000)];
        let stages = stages.iter().flat_map(|(name, nanos)| [bulk(name), Value::Int(*nanos)]).collect();
        let record = Value::Array(vec![
            bulk("core"),
            Value::Int(1),
            bulk("client"),
            bulk("127.0.0.1:7"),
            bulk("arguments"),
            Value::Array(vec![bulk("SET"), bulk("a\nb")]),
            bulk("stages_ns"),
            Value::Array(stages),
        ]);
        let lines = slow_request(&record).expect("it is a request");
        let lines: Vec<_> = lines.lines().map(str::trim).collect();
        assert_eq!(lines[0], "4.0 us  core 1  127.0.0.1:7  SET a\\nb");
        assert_eq!(lines[1..], ["3.0 us  75.0 %  persist", "1.0 us  25.0 %  reply"]);
        assert_eq!(slow_request(&Value::Int(1)), None);
    }
}
