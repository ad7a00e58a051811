//! PINION.

use super::super::{EMPTY, Spec};
use crate::command::action::{Action, Report};
use crate::command::error::CommandError;
use crate::resp::Request;

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
