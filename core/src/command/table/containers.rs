//! Subcommands of the commands that are containers.

use super::{EMPTY, Spec};
use crate::command::action::{Action, Local, Report};
use crate::command::error::CommandError;
use crate::resp::Request;

pub(super) const COMMAND: &[Spec] = &[
    Spec {
        name: "command|count",
        arity: 2,
        flags: "loading stale",
        categories: "@slow @connection",
        group: "server",
        since: "2.8.13",
        summary: "Get total number of Redis commands",
        complexity: "O(1)",
        parse: |_| Ok(Action::Local(Local::CommandCount)),
        ..EMPTY
    },
    Spec {
        name: "command|info",
        arity: -2,
        flags: "loading stale",
        categories: "@slow @connection",
        tips: "nondeterministic_output_order",
        group: "server",
        since: "2.8.13",
        summary: "Get array of specific Redis command details, or all when no argument is given.",
        complexity: "O(N) where N is the number of commands to look up",
        parse: |_| Ok(Action::Local(Local::CommandInfo)),
        ..EMPTY
    },
    Spec {
        name: "command|list",
        arity: -2,
        flags: "loading stale",
        categories: "@slow @connection",
        tips: "nondeterministic_output_order",
        group: "server",
        since: "7.0.0",
        summary: "Get an array of Redis command names",
        complexity: "O(N) where N is the total number of Redis commands",
        parse: |_| Ok(Action::Local(Local::CommandList)),
        ..EMPTY
    },
    Spec {
        name: "command|docs",
        arity: -2,
        flags: "loading stale",
        categories: "@slow @connection",
        tips: "nondeterministic_output_order",
        group: "server",
        since: "7.0.0",
        summary: "Get array of specific Redis command documentation",
        complexity: "O(N) where N is the number of commands to look up",
        parse: |_| Ok(Action::Local(Local::CommandDocs)),
        ..EMPTY
    },
    Spec {
        name: "command|getkeys",
        arity: -4,
        flags: "loading stale",
        categories: "@slow @connection",
        group: "server",
        since: "2.8.13",
        summary: "Extract keys given a full Redis command",
        complexity: "O(N) where N is the number of arguments to the command",
        parse: |_| Ok(Action::Local(Local::CommandGetKeys)),
        ..EMPTY
    },
    Spec {
        name: "command|getkeysandflags",
        arity: -4,
        flags: "loading stale",
        categories: "@slow @connection",
        group: "server",
        since: "7.0.0",
        summary: "Extract keys and access flags given a full Redis command",
        complexity: "O(N) where N is the number of arguments to the command",
        parse: |_| Ok(Action::Local(Local::CommandGetKeysAndFlags)),
        ..EMPTY
    },
    Spec {
        name: "command|help",
        arity: 2,
        flags: "loading stale",
        categories: "@slow @connection",
        group: "server",
        since: "5.0.0",
        summary: "Show helpful text about the different subcommands",
        complexity: "O(1)",
        parse: |_| Ok(Action::Local(Local::CommandHelp)),
        ..EMPTY
    },
];

pub(super) const CLIENT: &[Spec] = &[
    Spec {
        name: "client|id",
        arity: 2,
        flags: "noscript loading stale",
        categories: "@slow @connection",
        group: "connection",
        since: "5.0.0",
        summary: "Returns the client ID for the current connection",
        complexity: "O(1)",
        parse: |_| Ok(Action::Local(Local::ClientId)),
        ..EMPTY
    },
    Spec {
        name: "client|getname",
        arity: 2,
        flags: "noscript loading stale",
        categories: "@slow @connection",
        group: "connection",
        since: "2.6.9",
        summary: "Get the current connection name",
        complexity: "O(1)",
        parse: |_| Ok(Action::Local(Local::ClientGetName)),
        ..EMPTY
    },
    Spec {
        name: "client|setname",
        arity: 3,
        flags: "noscript loading stale",
        categories: "@slow @connection",
        group: "connection",
        since: "2.6.9",
        summary: "Set the current connection name",
        complexity: "O(1)",
        parse: |_| Ok(Action::Local(Local::ClientSetName)),
        ..EMPTY
    },
    Spec {
        name: "client|info",
        arity: 2,
        flags: "noscript loading stale",
        categories: "@slow @connection",
        tips: "nondeterministic_output",
        group: "connection",
        since: "6.2.0",
        summary: "Returns information about the current client connection.",
        complexity: "O(1)",
        parse: |_| Ok(Action::Report(Report::ClientInfo)),
        ..EMPTY
    },
    Spec {
        name: "client|help",
        arity: 2,
        flags: "loading stale",
        categories: "@slow @connection",
        group: "connection",
        since: "5.0.0",
        summary: "Show helpful text about the different subcommands",
        complexity: "O(1)",
        parse: |_| Ok(Action::Local(Local::ClientHelp)),
        ..EMPTY
    },
];

pub(super) const CONFIG: &[Spec] = &[
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

pub(super) const PINION: &[Spec] = &[
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
