//! Subcommands of the commands that are containers.

mod client;
mod cluster;
mod command;
mod config;
mod object;
mod pinion;
mod slowlog;

pub(super) use client::CLIENT;
pub(super) use cluster::CLUSTER;
pub(super) use command::COMMAND;
pub(super) use config::CONFIG;
pub(super) use object::OBJECT;
pub(super) use pinion::PINION;
pub(super) use slowlog::SLOWLOG;
