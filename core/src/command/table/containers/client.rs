//! CLIENT.

use super::super::{EMPTY, Spec};
use crate::command::action::{Action, Local, Report};

pub(in crate::command::table) const CLIENT: &[Spec] = &[
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
