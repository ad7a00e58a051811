//! The connection.

use super::super::containers::CLIENT;
use super::super::{EMPTY, Spec};
use crate::command::action::{Action, Local};

pub(super) const ROWS: &[Spec] = &[
    Spec {
        name: "ping",
        arity: -1,
        flags: "fast",
        categories: "@fast @connection",
        tips: "request_policy:all_shards response_policy:all_succeeded",
        group: "connection",
        since: "1.0.0",
        summary: "Ping the server",
        complexity: "O(1)",
        parse: |_| Ok(Action::Local(Local::Ping)),
        ..EMPTY
    },
    Spec {
        name: "echo",
        arity: 2,
        flags: "loading stale fast",
        categories: "@fast @connection",
        group: "connection",
        since: "1.0.0",
        summary: "Echo the given string",
        complexity: "O(1)",
        parse: |_| Ok(Action::Local(Local::Echo)),
        ..EMPTY
    },
    Spec {
        name: "hello",
        arity: -1,
        flags: "noscript loading stale fast no_auth allow_busy",
        categories: "@fast @connection",
        group: "connection",
        since: "6.0.0",
        summary: "Handshake with Redis",
        complexity: "O(1)",
        parse: |_| Ok(Action::Local(Local::Hello)),
        ..EMPTY
    },
    Spec {
        name: "auth",
        arity: -2,
        flags: "noscript loading stale fast no_auth allow_busy",
        categories: "@fast @connection",
        group: "connection",
        since: "1.0.0",
        summary: "Authenticate to the server",
        complexity: "O(N) where N is the number of passwords defined for the user",
        parse: |_| Ok(Action::Local(Local::Auth)),
        ..EMPTY
    },
    Spec {
        name: "select",
        arity: 2,
        flags: "loading stale fast",
        categories: "@fast @connection",
        group: "connection",
        since: "1.0.0",
        summary: "Change the selected database for the current connection",
        complexity: "O(1)",
        parse: |_| Ok(Action::Local(Local::Select)),
        ..EMPTY
    },
    Spec {
        name: "quit",
        arity: -1,
        flags: "noscript loading stale fast no_auth allow_busy",
        categories: "@fast @connection",
        group: "connection",
        since: "1.0.0",
        summary: "Close the connection",
        complexity: "O(1)",
        parse: |_| Ok(Action::Local(Local::Quit)),
        ..EMPTY
    },
    Spec {
        name: "reset",
        arity: 1,
        flags: "noscript loading stale fast no_auth allow_busy",
        categories: "@fast @connection",
        group: "connection",
        since: "6.2.0",
        summary: "Reset the connection",
        complexity: "O(1)",
        parse: |_| Ok(Action::Local(Local::Reset)),
        ..EMPTY
    },
    Spec {
        name: "client",
        arity: -2,
        flags: "",
        categories: "@slow",
        group: "connection",
        since: "2.4.0",
        summary: "A container for client connection commands",
        complexity: "Depends on subcommand.",
        subcommands: CLIENT,
        ..EMPTY
    },
];
