//! CONFIG.

use super::super::{EMPTY, Spec};
use crate::command::action::{Action, Local};

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
