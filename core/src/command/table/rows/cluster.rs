//! The cluster.

use super::super::containers::CLUSTER;
use super::super::{EMPTY, Spec};
use crate::command::action::{Action, ClusterAsk};

pub(super) const ROWS: &[Spec] = &[
    Spec {
        name: "cluster",
        arity: -2,
        flags: "",
        categories: "@slow",
        group: "cluster",
        since: "3.0.0",
        summary: "A container for cluster commands",
        complexity: "Depends on subcommand.",
        subcommands: CLUSTER,
        ..EMPTY
    },
    Spec {
        name: "readonly",
        arity: 1,
        flags: "loading stale fast",
        categories: "@fast @connection",
        group: "cluster",
        since: "3.0.0",
        summary: "Enables read queries for a connection to a cluster replica node",
        complexity: "O(1)",
        parse: |_| Ok(Action::Cluster(ClusterAsk::Done)),
        ..EMPTY
    },
    Spec {
        name: "readwrite",
        arity: 1,
        flags: "loading stale fast",
        categories: "@fast @connection",
        group: "cluster",
        since: "3.0.0",
        summary: "Disables read queries for a connection to a cluster replica node",
        complexity: "O(1)",
        parse: |_| Ok(Action::Cluster(ClusterAsk::Done)),
        ..EMPTY
    },
    Spec {
        name: "asking",
        arity: 1,
        flags: "fast",
        categories: "@fast @connection",
        group: "cluster",
        since: "3.0.0",
        summary: "Sent by cluster clients after an -ASK redirect",
        complexity: "O(1)",
        parse: |_| Ok(Action::Cluster(ClusterAsk::Done)),
        ..EMPTY
    },
];
