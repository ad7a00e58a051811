//! The text of INFO, under the names that dashboards read.

use std::fmt::Write as _;

use crate::host::Now;
use crate::metrics::Counters;
use crate::turn::Settings;

/// The version of Redis whose behaviour clients may expect.
const REDIS_VERSION: &str = "7.0.15";
/// The sections, in the order in which they are shown.
const SECTIONS: [&str; 8] =
    ["server", "clients", "memory", "persistence", "stats", "replication", "cpu", "keyspace"];

/// The sections that were asked for, of counters summed over all cores.
#[must_use]
pub fn render(
    counters: &Counters,
    settings: &Settings,
    now: Now,
    stalls: &str,
    sections: &[Vec<u8>],
) -> String {
    let everything = sections.is_empty()
        || sections.iter().any(|name| matches!(&name[..], b"all" | b"default" | b"everything"));
    let mut text = String::new();
    for name in SECTIONS {
        if !everything && !sections.iter().any(|asked| asked == name.as_bytes()) {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        let _ = write!(text, "# {}{}\r\n", name[..1].to_ascii_uppercase(), &name[1..]);
        for (field, value) in fields(name, counters, settings, now, stalls) {
            let _ = write!(text, "{field}:{value}\r\n");
        }
    }
    text
}

fn fields(
    section: &str,
    counters: &Counters,
    settings: &Settings,
    now: Now,
    stalls: &str,
) -> Vec<(&'static str, String)> {
    let uptime_seconds = now.mono.0.saturating_sub(settings.started.0) / 1_000_000_000;
    let used = counters.memtable_bytes
        + counters.cache_bytes
        + counters.proposal_bytes
        + counters.input_held_bytes
        + counters.unsent_bytes;
    match section {
        "server" => vec![
            ("redis_version", REDIS_VERSION.to_owned()),
            ("pinion_version", env!("CARGO_PKG_VERSION").to_owned()),
            ("redis_mode", "standalone".to_owned()),
            ("os", std::env::consts::OS.to_owned()),
            ("arch_bits", usize::BITS.to_string()),
            ("process_id", settings.process_id.to_string()),
            ("run_id", settings.run_id.clone()),
            ("tcp_port", settings.port.to_string()),
            ("server_time_usec", (now.wall_ms * 1_000).to_string()),
            ("uptime_in_seconds", uptime_seconds.to_string()),
            ("uptime_in_days", (uptime_seconds / 86_400).to_string()),
            ("cores", settings.cores.to_string()),
            ("groups", counters.groups.to_string()),
            ("groups_damaged", counters.groups_damaged.to_string()),
            ("groups_halted", counters.groups_halted.to_string()),
            ("tables_damaged", counters.tables_damaged.to_string()),
        ],
        "clients" => vec![
            ("connected_clients", counters.connections.to_string()),
            ("blocked_clients", "0".to_owned()),
            ("client_input_held_bytes", counters.input_held_bytes.to_string()),
            ("client_output_held_bytes", counters.unsent_bytes.to_string()),
        ],
        "memory" => vec![
            ("used_memory", used.to_string()),
            ("maxmemory", settings.memory_bytes_max.to_string()),
            ("maxmemory_policy", "noeviction".to_owned()),
            ("memtable_bytes", counters.memtable_bytes.to_string()),
            ("cache_bytes", counters.cache_bytes.to_string()),
            ("proposal_bytes", counters.proposal_bytes.to_string()),
        ],
        "persistence" => vec![
            ("loading", "0".to_owned()),
            ("aof_enabled", "1".to_owned()),
            ("aof_current_size", counters.log_bytes.to_string()),
            (
                "aof_last_write_status",
                if counters.cores_without_space == 0 { "ok" } else { "err" }.to_owned(),
            ),
            ("log_retained_bytes", counters.log_bytes.to_string()),
        ],
        "stats" => vec![
            ("total_connections_received", counters.connections_received.to_string()),
            ("total_commands_processed", counters.commands.to_string()),
            ("total_net_input_bytes", counters.input_bytes.to_string()),
            ("total_net_output_bytes", counters.output_bytes.to_string()),
            ("total_error_replies", counters.errors.to_string()),
            ("total_reads_processed", counters.reads.to_string()),
            ("total_writes_processed", counters.writes.to_string()),
            ("client_query_buffer_limit_disconnections", counters.inputs_refused.to_string()),
            ("client_output_buffer_limit_disconnections", counters.clients_cut.to_string()),
            ("replies_refused", counters.replies_refused.to_string()),
            ("batches", counters.batches.to_string()),
            ("requests_forwarded", counters.requests_forwarded.to_string()),
            ("turns", counters.turns.to_string()),
            ("turns_stalled", counters.turns_stalled.to_string()),
            ("turns_stalled_here", stalls.to_owned()),
        ],
        "replication" => vec![
            ("role", "master".to_owned()),
            ("connected_slaves", "0".to_owned()),
            ("master_replid", settings.run_id.clone()),
            ("master_repl_offset", "0".to_owned()),
        ],
        "cpu" => vec![("turns_stalled", counters.turns_stalled.to_string())],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use pinion_shard::{CoreId, NodeId};

    use super::*;

    #[test]
    fn a_section_that_was_asked_for_is_shown_alone_and_none_means_all() {
        let settings = Settings::new(CoreId(0), 1, NodeId(1));
        let counters = Counters { connections: 3, ..Counters::default() };
        let shown = |sections: &[Vec<u8>]| render(&counters, &settings, Now::default(), "", sections);
        let clients = shown(&[b"clients".to_vec()]);
        assert!(clients.starts_with("# Clients\r\nconnected_clients:3\r\n"), "{clients}");
        assert_eq!(clients.matches('#').count(), 1);
        assert_eq!(shown(&[]).matches('#').count(), SECTIONS.len());
        assert_eq!(shown(&[b"nonsense".to_vec()]), "");
    }
}
