//! PINION.

use super::super::{EMPTY, Spec};
use crate::command::action::{Action, Report};
use crate::command::error::CommandError;
use crate::resp::{Request, parse_i64};
use crate::series::FAMILIES;

pub(in crate::command::table) const PINION: &[Spec] = &[
    Spec {
        name: "pinion|flush",
        arity: 2,
        flags: "admin loading stale",
        categories: "@admin @slow @dangerous",
        group: "server",
        since: "0.1.0",
        summary: "Flush the memtables of every core to tables, in the background",
        complexity: "O(1)",
        parse: |_| Ok(Action::Report(Report::Flush)),
        ..EMPTY
    },
    Spec {
        name: "pinion|latency",
        arity: -2,
        flags: "admin loading stale",
        categories: "@admin @slow @dangerous",
        tips: "nondeterministic_output",
        group: "server",
        since: "0.1.0",
        summary: "Durations of stages, stalls and syncs with their buckets, by core",
        complexity: "O(N) where N is the number of commands that were seen",
        parse: latency,
        ..EMPTY
    },
    Spec {
        name: "pinion|slowest",
        arity: -2,
        flags: "admin loading stale",
        categories: "@admin @slow @dangerous",
        tips: "nondeterministic_output",
        group: "server",
        since: "0.1.0",
        summary: "The requests that took longest, with the duration of each stage",
        complexity: "O(N) where N is the number of requests that are kept",
        parse: slowest,
        ..EMPTY
    },
    Spec {
        name: "pinion|stages",
        arity: -2,
        flags: "loading stale",
        categories: "@slow",
        tips: "nondeterministic_output",
        group: "server",
        since: "0.1.0",
        summary: "Durations of the stages of requests, by core",
        complexity: "O(1)",
        parse: stages,
        ..EMPTY
    },
];

/// PINION LATENCY [family ...].
fn latency(request: Request<'_>) -> Result<Action<'_>, CommandError<'_>> {
    let known = |asked: &[u8]| FAMILIES.iter().any(|family| asked.eq_ignore_ascii_case(family.as_bytes()));
    if request.args(2).all(known) { Ok(Action::Report(Report::Latency)) } else { Err(CommandError::Syntax) }
}

/// Requests that PINION SLOWEST answers with when it is not told how many.
const SLOWEST_COUNT: usize = 10;

/// PINION SLOWEST [count], or PINION SLOWEST RESET.
fn slowest(request: Request<'_>) -> Result<Action<'_>, CommandError<'_>> {
    let report = match request.get(2) {
        None => Report::Slowest { count: SLOWEST_COUNT },
        Some(_) if request.len() > 3 => return Err(CommandError::Syntax),
        Some(word) if word.eq_ignore_ascii_case(b"reset") => Report::SlowestReset,
        Some(count) => {
            let count = parse_i64(count).and_then(|count| usize::try_from(count).ok());
            Report::Slowest { count: count.ok_or(CommandError::NotAnInteger)? }
        }
    };
    Ok(Action::Report(report))
}

/// PINION STAGES, or PINION STAGES RESET.
fn stages(request: Request<'_>) -> Result<Action<'_>, CommandError<'_>> {
    match request.get(2) {
        None => Ok(Action::Report(Report::Stages)),
        Some(word) if request.len() == 3 && word.eq_ignore_ascii_case(b"reset") => {
            Ok(Action::Report(Report::StagesReset))
        }
        Some(_) => Err(CommandError::Syntax),
    }
}
