//! CONFIG.

use super::super::{EMPTY, Spec};
use crate::chore::Chore;
use crate::command::action::{Action, Local, Report};
use crate::command::error::CommandError;
use crate::resp::Request;

pub(in crate::command::table) const CONFIG: &[Spec] = &[
    Spec {
        name: "config|get",
        arity: -3,
        flags: "admin noscript loading stale",
        categories: "@admin @slow @dangerous",
        group: "server",
        since: "2.0.0",
        summary: "Get the values of configuration parameters",
        complexity: "O(N) when N is the number of configuration parameters provided",
        parse: |_| Ok(Action::Local(Local::ConfigGet)),
        ..EMPTY
    },
    Spec {
        name: "config|set",
        arity: -4,
        flags: "admin noscript loading stale",
        categories: "@admin @slow @dangerous",
        tips: "request_policy:all_nodes response_policy:all_succeeded",
        group: "server",
        since: "2.0.0",
        summary: "Set configuration parameters to the given values",
        complexity: "O(N) when N is the number of configuration parameters provided",
        parse: config_set,
        ..EMPTY
    },
    Spec {
        name: "config|resetstat",
        arity: 2,
        flags: "admin noscript loading stale",
        categories: "@admin @slow @dangerous",
        group: "server",
        since: "2.0.0",
        summary: "Reset the stats returned by INFO",
        complexity: "O(1)",
        parse: |_| Ok(Action::Report(Report::ResetStatistics)),
        ..EMPTY
    },
    Spec {
        name: "config|rewrite",
        arity: 2,
        flags: "admin noscript loading stale",
        categories: "@admin @slow @dangerous",
        group: "server",
        since: "2.8.0",
        summary: "Rewrite the configuration file with the in memory configuration",
        complexity: "O(1)",
        parse: |_| Ok(Action::Chore(Chore::RewriteConfig)),
        ..EMPTY
    },
    Spec {
        name: "config|help",
        arity: 2,
        flags: "loading stale",
        categories: "@slow",
        group: "server",
        since: "5.0.0",
        summary: "Show helpful text about the different subcommands",
        complexity: "O(1)",
        parse: |_| Ok(Action::Local(Local::ConfigHelp)),
        ..EMPTY
    },
];

/// CONFIG SET name value [name value …].
fn config_set(request: Request<'_>) -> Result<Action<'_>, CommandError<'_>> {
    if request.len().is_multiple_of(2) {
        Ok(Action::Local(Local::ConfigSet))
    } else {
        Err(CommandError::Syntax)
    }
}
