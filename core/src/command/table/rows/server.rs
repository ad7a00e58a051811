//! The server.

use super::super::containers::{COMMAND, CONFIG, PINION, SLOWLOG};
use super::super::{EMPTY, Spec};
use crate::command::action::{Action, Local, Report};
use crate::command::parse::{keyspace, server};

pub(super) const ROWS: &[Spec] = &[
    Spec {
        name: "flushall",
        arity: -1,
        flags: "write",
        categories: "@keyspace @write @slow @dangerous",
        tips: "request_policy:all_shards response_policy:all_succeeded",
        group: "server",
        since: "1.0.0",
        summary: "Remove all keys from all databases",
        complexity: "O(N) where N is the total number of keys in all databases",
        parse: keyspace::flushall,
        ..EMPTY
    },
    Spec {
        name: "flushdb",
        arity: -1,
        flags: "write",
        categories: "@keyspace @write @slow @dangerous",
        tips: "request_policy:all_shards response_policy:all_succeeded",
        group: "server",
        since: "1.0.0",
        summary: "Remove all keys from the current database",
        complexity: "O(N) where N is the number of keys in the selected database",
        parse: keyspace::flushall,
        ..EMPTY
    },
    Spec {
        name: "dbsize",
        arity: 1,
        flags: "readonly fast",
        categories: "@keyspace @read @fast",
        tips: "request_policy:all_shards response_policy:agg_sum",
        group: "server",
        since: "1.0.0",
        summary: "Return the number of keys in the selected database",
        complexity: "O(1)",
        parse: keyspace::dbsize,
        ..EMPTY
    },
    Spec {
        name: "command",
        arity: -1,
        flags: "loading stale",
        categories: "@slow @connection",
        tips: "nondeterministic_output_order",
        group: "server",
        since: "2.8.13",
        summary: "Get array of Redis command details",
        complexity: "O(N) where N is the total number of Redis commands",
        subcommands: COMMAND,
        parse: |_| Ok(Action::Local(Local::Command)),
        ..EMPTY
    },
    Spec {
        name: "config",
        arity: -2,
        flags: "",
        categories: "@slow",
        group: "server",
        since: "2.0.0",
        summary: "A container for server configuration commands",
        complexity: "Depends on subcommand.",
        subcommands: CONFIG,
        ..EMPTY
    },
    Spec {
        name: "info",
        arity: -1,
        flags: "loading stale",
        categories: "@slow @dangerous",
        tips: "nondeterministic_output request_policy:all_shards response_policy:special",
        group: "server",
        since: "1.0.0",
        summary: "Get information and statistics about the server",
        complexity: "O(1)",
        parse: |_| Ok(Action::Report(Report::Info)),
        ..EMPTY
    },
    Spec {
        name: "save",
        arity: 1,
        flags: "admin noscript no_async_loading no_multi",
        categories: "@admin @slow @dangerous",
        group: "server",
        since: "1.0.0",
        summary: "Synchronously save the dataset to disk",
        complexity: "O(N) where N is the total number of keys in all databases",
        parse: |_| Ok(Action::Report(Report::Save { says: "OK" })),
        ..EMPTY
    },
    Spec {
        name: "bgsave",
        arity: -1,
        flags: "admin noscript no_async_loading",
        categories: "@admin @slow @dangerous",
        group: "server",
        since: "1.0.0",
        summary: "Asynchronously save the dataset to disk",
        complexity: "O(1)",
        parse: server::bgsave,
        ..EMPTY
    },
    Spec {
        name: "bgrewriteaof",
        arity: 1,
        flags: "admin noscript no_async_loading",
        categories: "@admin @slow @dangerous",
        group: "server",
        since: "1.0.0",
        summary: "Asynchronously rewrite the append-only file",
        complexity: "O(1)",
        parse: |_| Ok(Action::Report(Report::Save { says: "Background append only file rewriting started" })),
        ..EMPTY
    },
    Spec {
        name: "lastsave",
        arity: 1,
        flags: "loading stale fast",
        categories: "@admin @fast @dangerous",
        tips: "nondeterministic_output",
        group: "server",
        since: "1.0.0",
        summary: "Get the UNIX time stamp of the last successful save to disk",
        complexity: "O(1)",
        parse: |_| Ok(Action::Local(Local::LastSave)),
        ..EMPTY
    },
    Spec {
        name: "shutdown",
        arity: -1,
        flags: "admin noscript loading stale no_multi allow_busy",
        categories: "@admin @slow @dangerous",
        group: "server",
        since: "1.0.0",
        summary: "Synchronously save the dataset to disk and then shut down the server",
        complexity: "O(N) when saving, where N is the total number of keys in all databases when saving data, otherwise O(1)",
        parse: server::shutdown,
        ..EMPTY
    },
    Spec {
        name: "time",
        arity: 1,
        flags: "loading stale fast",
        categories: "@fast",
        tips: "nondeterministic_output",
        group: "server",
        since: "2.6.0",
        summary: "Return the current server time",
        complexity: "O(1)",
        parse: |_| Ok(Action::Local(Local::Time)),
        ..EMPTY
    },
    Spec {
        name: "slowlog",
        arity: -2,
        categories: "@slow",
        group: "server",
        since: "2.2.12",
        summary: "A container for slow log commands",
        complexity: "Depends on subcommand.",
        subcommands: SLOWLOG,
        ..EMPTY
    },
    Spec {
        name: "pinion",
        arity: -2,
        categories: "@slow",
        group: "server",
        since: "0.1.0",
        summary: "A container for commands of Pinion itself",
        complexity: "Depends on subcommand.",
        subcommands: PINION,
        ..EMPTY
    },
];
