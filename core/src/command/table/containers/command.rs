//! COMMAND.

use super::super::{EMPTY, Spec};
use crate::command::action::{Action, Local};

pub(in crate::command::table) const COMMAND: &[Spec] = &[
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
