//! The text of INFO, under the names that dashboards read.
//!
//! A field of Redis is shown where it is true here. There is no line of a database: a write does not look whether its key
//! is new, so nobody counts keys before DBSIZE does. `used_memory_rss` and `used_cpu_*` are at most half a second old.
//! `used_memory_peak` is what the process occupied at most, rows in memory that was given before they came included. `cmdstat` and `latency_percentiles_usec` count the whole time in the server, the wait for the
//! log included, where Redis counts its one thread's time of execution.

use std::fmt::Write as _;

use crate::host::Now;
use crate::metrics::Counters;
use crate::tally::Tally;
use crate::turn::Settings;

/// The version of Redis whose behaviour clients may expect.
const REDIS_VERSION: &str = "7.0.15";
/// The sections, in the order in which they are shown, and whether they are without being asked for.
const SECTIONS: [(&str, bool); 12] = [
    ("server", true),
    ("clients", true),
    ("memory", true),
    ("persistence", true),
    ("stats", true),
    ("replication", true),
    ("cpu", true),
    ("commandstats", false),
    ("errorstats", true),
    ("latencystats", false),
    ("cluster", true),
    ("keyspace", true),
];

/// What was seen on all cores together.
pub struct Seen<'a> {
    /// What they counted.
    pub counters: &'a Counters,
    /// The same by command.
    pub tally: &'a Tally,
    /// Ticks of a microsecond.
    pub ticks_per_micro: u64,
    /// Stalled turns of the answering core by phase.
    pub stalls: &'a str,
}

/// Whether a section is shown when these were asked for.
fn is_shown(section: &str, default: bool, asked: &[Vec<u8>]) -> bool {
    (asked.is_empty() && default)
        || asked.iter().any(|name| match &name[..] {
            b"all" | b"everything" => true,
            b"default" => default,
            name => name == section.as_bytes(),
        })
}

/// Whether the figures of every command are needed for these sections.
#[must_use]
pub fn needs_commands(asked: &[Vec<u8>]) -> bool {
    ["commandstats", "latencystats"].iter().any(|section| is_shown(section, false, asked))
}

/// The sections that were asked for, all lower case; none: those that Redis shows then.
#[must_use]
pub fn render(seen: &Seen<'_>, settings: &Settings, now: Now, asked: &[Vec<u8>]) -> String {
    let mut text = String::new();
    for (name, default) in SECTIONS {
        if !is_shown(name, default, asked) {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        let title =
            if name == "cpu" { "CPU".to_owned() } else { name[..1].to_ascii_uppercase() + &name[1..] };
        let _ = write!(text, "# {title}\r\n");
        match name {
            "commandstats" => text.push_str(&seen.tally.command_lines(seen.ticks_per_micro)),
            "latencystats" => text.push_str(&seen.tally.latency_lines(seen.ticks_per_micro)),
            "errorstats" => text.push_str(&seen.tally.error_lines()),
            _ => {
                for (field, value) in fields(name, seen, settings, now) {
                    let _ = write!(text, "{field}:{value}\r\n");
                }
            }
        }
    }
    text
}

fn fields(section: &str, seen: &Seen<'_>, settings: &Settings, now: Now) -> Vec<(&'static str, String)> {
    let counters = seen.counters;
    match section {
        "server" => server(counters, settings, now),
        "clients" => vec![
            ("connected_clients", counters.connections.to_string()),
            ("cluster_connections", "0".to_owned()),
            ("maxclients", setting(settings, "maxclients")),
            ("blocked_clients", "0".to_owned()),
            ("tracking_clients", "0".to_owned()),
            ("clients_in_timeout_table", "0".to_owned()),
            ("client_input_held_bytes", counters.input_held_bytes.to_string()),
            ("client_output_held_bytes", counters.unsent_bytes.to_string()),
        ],
        "memory" => memory(counters, settings),
        "persistence" => persistence(counters),
        "stats" => stats(seen),
        "replication" => replication(settings),
        "cpu" => cpu(counters, settings),
        "cluster" => vec![("cluster_enabled", u8::from(settings.cluster.is_some()).to_string())],
        _ => Vec::new(),
    }
}

/// The value of a setting as CONFIG GET shows it.
fn setting(settings: &Settings, name: &str) -> String {
    settings.live.newest().shown.get(name).cloned().unwrap_or_default()
}

fn server(counters: &Counters, settings: &Settings, now: Now) -> Vec<(&'static str, String)> {
    let uptime_seconds = now.mono.0.saturating_sub(settings.started.0) / 1_000_000_000;
    vec![
        ("redis_version", REDIS_VERSION.to_owned()),
        ("pinion_version", env!("CARGO_PKG_VERSION").to_owned()),
        ("redis_mode", if settings.cluster.is_some() { "cluster" } else { "standalone" }.to_owned()),
        ("os", std::env::consts::OS.to_owned()),
        ("arch_bits", usize::BITS.to_string()),
        ("multiplexing_api", "io_uring".to_owned()),
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
    ]
}

fn memory(counters: &Counters, settings: &Settings) -> Vec<(&'static str, String)> {
    let clients = counters.input_held_bytes + counters.unsent_bytes;
    let rows = counters.memtable_bytes + counters.cache_bytes;
    let used = rows + counters.proposal_bytes + clients;
    let process = settings.vitals.figures();
    let peak = process.resident_bytes_max.max(used);
    vec![
        ("used_memory", used.to_string()),
        ("used_memory_human", human(used)),
        ("used_memory_rss", process.resident_bytes.to_string()),
        ("used_memory_rss_human", human(process.resident_bytes)),
        ("used_memory_peak", peak.to_string()),
        ("used_memory_peak_human", human(peak)),
        ("used_memory_dataset", rows.to_string()),
        ("mem_clients_normal", clients.to_string()),
        ("mem_clients_slaves", "0".to_owned()),
        ("maxmemory", settings.memory_bytes_max.to_string()),
        ("maxmemory_human", human(settings.memory_bytes_max)),
        ("maxmemory_policy", "noeviction".to_owned()),
        ("memtable_bytes", counters.memtable_bytes.to_string()),
        ("cache_bytes", counters.cache_bytes.to_string()),
        ("proposal_bytes", counters.proposal_bytes.to_string()),
    ]
}

fn cpu(counters: &Counters, settings: &Settings) -> Vec<(&'static str, String)> {
    let process = settings.vitals.figures();
    let seconds = |micros: u64| format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    vec![
        ("used_cpu_sys", seconds(process.system_micros)),
        ("used_cpu_user", seconds(process.user_micros)),
        ("used_cpu_sys_children", seconds(0)),
        ("used_cpu_user_children", seconds(0)),
        ("turns_stalled", counters.turns_stalled.to_string()),
    ]
}

/// Bytes in a second as Redis shows them.
fn kibibytes(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / 1_024.0)
}

/// Bytes as Redis shows them to people.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["K", "M", "G", "T", "P"];
    if bytes < 1 << 10 {
        return format!("{bytes}B");
    }
    let unit = ((bytes.ilog2() / 10) as usize).min(UNITS.len());
    format!("{:.2}{}", bytes as f64 / (1u64 << (10 * unit)) as f64, UNITS[unit - 1])
}

fn persistence(counters: &Counters) -> Vec<(&'static str, String)> {
    let written = if counters.cores_without_space == 0 { "ok" } else { "err" };
    vec![
        ("loading", "0".to_owned()),
        ("async_loading", "0".to_owned()),
        ("rdb_changes_since_last_save", "0".to_owned()),
        ("rdb_bgsave_in_progress", "0".to_owned()),
        ("rdb_last_bgsave_status", "ok".to_owned()),
        ("aof_enabled", "1".to_owned()),
        ("aof_rewrite_in_progress", "0".to_owned()),
        ("aof_last_write_status", written.to_owned()),
        ("aof_current_size", counters.log_bytes.to_string()),
        ("log_retained_bytes", counters.log_bytes.to_string()),
    ]
}

fn stats(seen: &Seen<'_>) -> Vec<(&'static str, String)> {
    let counters = seen.counters;
    vec![
        ("total_connections_received", counters.connections_received.to_string()),
        ("total_commands_processed", counters.commands.to_string()),
        ("instantaneous_ops_per_sec", counters.commands_per_second.to_string()),
        ("total_net_input_bytes", counters.input_bytes.to_string()),
        ("total_net_output_bytes", counters.output_bytes.to_string()),
        ("instantaneous_input_kbps", kibibytes(counters.input_bytes_per_second)),
        ("instantaneous_output_kbps", kibibytes(counters.output_bytes_per_second)),
        ("evicted_keys", "0".to_owned()),
        ("evicted_clients", "0".to_owned()),
        ("keyspace_hits", counters.keyspace_hits.to_string()),
        ("keyspace_misses", counters.keyspace_misses.to_string()),
        ("pubsub_channels", "0".to_owned()),
        ("pubsub_patterns", "0".to_owned()),
        ("latest_fork_usec", "0".to_owned()),
        ("total_forks", "0".to_owned()),
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
        ("turns_stalled_here", seen.stalls.to_owned()),
    ]
}

fn replication(settings: &Settings) -> Vec<(&'static str, String)> {
    vec![
        ("role", "master".to_owned()),
        ("connected_slaves", "0".to_owned()),
        ("master_failover_state", "no-failover".to_owned()),
        ("master_replid", settings.run_id.clone()),
        ("master_replid2", "0".repeat(40)),
        ("master_repl_offset", "0".to_owned()),
        ("second_repl_offset", "-1".to_owned()),
        ("repl_backlog_active", "0".to_owned()),
        ("repl_backlog_size", "0".to_owned()),
        ("repl_backlog_first_byte_offset", "0".to_owned()),
        ("repl_backlog_histlen", "0".to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use pinion_shard::{CoreId, NodeId};

    use super::*;
    use crate::vitals::Figures;

    fn shown(asked: &[&str]) -> String {
        let settings = Settings::new(CoreId(0), 1, NodeId(1));
        let counters = Counters { connections: 3, ..Counters::default() };
        let mut tally = Tally::default();
        tally.error(b"ERR no");
        let seen = Seen { counters: &counters, tally: &tally, ticks_per_micro: 1_000, stalls: "" };
        let asked: Vec<Vec<u8>> = asked.iter().map(|name| name.as_bytes().to_vec()).collect();
        render(&seen, &settings, Now::default(), &asked)
    }

    #[test]
    fn a_section_that_was_asked_for_is_shown_alone() {
        let clients = shown(&["clients"]);
        assert!(clients.starts_with("# Clients\r\nconnected_clients:3\r\n"), "{clients}");
        assert_eq!(clients.matches('#').count(), 1);
        assert_eq!(shown(&["errorstats"]), "# Errorstats\r\nerrorstat_ERR:count=1\r\n");
        assert_eq!(shown(&["nonsense"]), "");
    }

    #[test]
    fn figures_of_commands_are_shown_when_asked_for_or_with_all() {
        assert_eq!(shown(&[]).matches('#').count(), SECTIONS.len() - 2);
        assert_eq!(shown(&["default"]), shown(&[]));
        assert_eq!(shown(&["all"]).matches('#').count(), SECTIONS.len());
        assert_eq!(shown(&["default", "commandstats"]).matches('#').count(), SECTIONS.len() - 1);
        let asked = |name: &str| needs_commands(&[name.as_bytes().to_vec()]);
        assert!(asked("all") && asked("latencystats") && !asked("default") && !asked("server"));
    }

    #[test]
    fn rates_and_cpu_have_the_form_that_dashboards_read() {
        let settings = Settings::new(CoreId(0), 1, NodeId(1));
        let (user_micros, system_micros) = (1_500_000, 20_000);
        settings.vitals.set(Figures { user_micros, system_micros, resident_bytes: 7, resident_bytes_max: 9 });
        let counters =
            Counters { commands_per_second: 5, input_bytes_per_second: 1_536, ..Counters::default() };
        let seen = Seen { counters: &counters, tally: &Tally::default(), ticks_per_micro: 1, stalls: "" };
        let text = render(&seen, &settings, Now::default(), &[]);
        for line in [
            "used_cpu_user:1.500000",
            "used_cpu_sys:0.020000",
            "used_memory_rss:7",
            "used_memory_peak:9",
            "instantaneous_ops_per_sec:5",
            "instantaneous_input_kbps:1.50",
            "keyspace_hits:0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in {text}");
        }
    }

    #[test]
    fn bytes_for_people_are_those_of_redis() {
        let shown = [0, 1023, 1024, 1536, 5 << 20, 3 << 30].map(human);
        assert_eq!(shown, ["0B", "1023B", "1.00K", "1.50K", "5.00M", "3.00G"]);
    }
}
