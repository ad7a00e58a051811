//! SLOWLOG.

use super::super::{EMPTY, Spec};
use crate::command::action::{Action, Local, Report};
use crate::command::error::CommandError;
use crate::resp::{Request, parse_i64};

/// Entries that SLOWLOG GET answers with when it is not told how many.
const COUNT: i64 = 10;

pub(in crate::command::table) const SLOWLOG: &[Spec] = &[
    Spec {
        name: "slowlog|reset",
        arity: 2,
        flags: "admin loading stale",
        categories: "@admin @slow @dangerous",
        tips: "request_policy:all_nodes response_policy:all_succeeded",
        group: "server",
        since: "2.2.12",
        summary: "Clear all entries from the slow log",
        complexity: "O(N) where N is the number of entries in the slowlog",
        parse: |_| Ok(Action::Report(Report::SlowlogReset)),
        ..EMPTY
    },
    Spec {
        name: "slowlog|help",
        arity: 2,
        flags: "loading stale",
        categories: "@slow",
        group: "server",
        since: "6.2.0",
        summary: "Show helpful text about the different subcommands",
        complexity: "O(1)",
        parse: |_| Ok(Action::Local(Local::SlowlogHelp)),
        ..EMPTY
    },
    Spec {
        name: "slowlog|len",
        arity: 2,
        flags: "admin loading stale",
        categories: "@admin @slow @dangerous",
        tips: "request_policy:all_nodes response_policy:agg_sum nondeterministic_output",
        group: "server",
        since: "2.2.12",
        summary: "Get the slow log's length",
        complexity: "O(1)",
        parse: |_| Ok(Action::Report(Report::SlowlogLen)),
        ..EMPTY
    },
    Spec {
        name: "slowlog|get",
        arity: -2,
        flags: "admin loading stale",
        categories: "@admin @slow @dangerous",
        tips: "request_policy:all_nodes nondeterministic_output",
        group: "server",
        since: "2.2.12",
        summary: "Get the slow log's entries",
        complexity: "O(N) where N is the number of entries returned",
        parse: get,
        ..EMPTY
    },
];

fn get(request: Request<'_>) -> Result<Action<'_>, CommandError<'_>> {
    const NOT_A_COUNT: CommandError<'static> =
        CommandError::Text("ERR count should be greater than or equal to -1");
    let count = match request.len() {
        2 => COUNT,
        3 => parse_i64(request.arg(2)).filter(|count| *count >= -1).ok_or(NOT_A_COUNT)?,
        _ => return Err(CommandError::SubcommandSyntax(request)),
    };
    Ok(Action::Report(Report::SlowlogGet { count: usize::try_from(count).unwrap_or(usize::MAX) }))
}
