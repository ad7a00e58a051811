//! What a running server says of itself, in one look: version, cores, groups, memory, log, clients, health.
//!
//! The figures are those of INFO. The judgement is a pure function of them ([`Status::complaints`]).

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::client::{Client, Value};

/// A server that does not answer for so long is told as such.
const PATIENCE: Duration = Duration::from_secs(10);
const MIB: u64 = 1 << 20;

/// Whom to ask, as flags.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Address of the server
    #[arg(long, default_value = "127.0.0.1:6379")]
    pub address: String,
    /// Password, if the server asks for one
    #[arg(long, env = "PINION_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
    /// Answer one JSON object
    #[arg(long)]
    pub json: bool,
}

/// What is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// What was found.
    pub found: String,
    /// What a person can do.
    pub remedy: &'static str,
}

/// What the server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// Its process.
    pub process_id: u64,
    /// Seconds since its start.
    pub uptime_seconds: u64,
    /// Pinned cores.
    pub cores: u64,
    /// Groups it holds.
    pub groups: u64,
    /// Groups that refuse because of damage.
    pub groups_damaged: u64,
    /// Groups that cannot execute their log.
    pub groups_halted: u64,
    /// Tables with damage.
    pub tables_damaged: u64,
    /// Connected clients.
    pub clients: u64,
    /// Bytes in use of what the ledger counts.
    pub memory_used_bytes: u64,
    /// The configured total.
    pub memory_bytes_max: u64,
    /// Bytes of log that are kept.
    pub log_bytes: u64,
    /// Whether a core waits for space on its disk.
    pub disk_full: bool,
}

/// Asks a server. Answers the text to print, and whether all is well.
///
/// # Errors
/// A sentence with the address, what happened there, and what to do.
pub fn run(options: &Options) -> Result<(String, bool), String> {
    let unreachable = |e: std::io::Error| {
        format!("{}: {e}: is the server running there? --address names another place", options.address)
    };
    let mut client = Client::connect(options.address.as_str(), PATIENCE).map_err(unreachable)?;
    if let Some(password) = &options.password {
        answered(client.call(&[b"AUTH", password.as_bytes()]).map_err(unreachable)?, "AUTH")?;
    }
    let reply = answered(client.call(&[b"INFO"]).map_err(unreachable)?, "INFO")?;
    let Value::Bulk(Some(text)) = reply else {
        return Err(format!("{}: INFO was answered with {reply:?}", options.address));
    };
    let status =
        Status::read(&String::from_utf8_lossy(&text)).map_err(|e| format!("{}: {e}", options.address))?;
    let text = if options.json { status.json() } else { status.to_string() };
    Ok((text, status.complaints().is_empty()))
}

fn answered(reply: Value, what: &str) -> Result<Value, String> {
    match reply {
        Value::Error(text) if text.starts_with("NOAUTH") => {
            Err(format!("{text} Give it with --password or PINION_PASSWORD."))
        }
        Value::Error(text) => Err(format!("{what} was refused: {text}")),
        good => Ok(good),
    }
}

impl Status {
    /// Reads the answer of INFO.
    ///
    /// # Errors
    /// Names the field that is missing or is no number: another program, or another version of this one.
    pub fn read(info: &str) -> Result<Self, String> {
        let fields: BTreeMap<&str, &str> =
            info.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
        let text = |name: &str| {
            let missing = || format!("INFO has no field {name}: this is no Pinion server of this version");
            fields.get(name).copied().ok_or_else(missing)
        };
        let number = |name: &str| {
            let value = text(name)?;
            value.parse::<u64>().map_err(|_| format!("INFO says {name}:{value}, expected a number"))
        };
        Ok(Self {
            version: text("pinion_version")?.to_owned(),
            process_id: number("process_id")?,
            uptime_seconds: number("uptime_in_seconds")?,
            cores: number("cores")?,
            groups: number("groups")?,
            groups_damaged: number("groups_damaged")?,
            groups_halted: number("groups_halted")?,
            tables_damaged: number("tables_damaged")?,
            clients: number("connected_clients")?,
            memory_used_bytes: number("used_memory")?,
            memory_bytes_max: number("maxmemory")?,
            log_bytes: number("log_retained_bytes")?,
            disk_full: text("aof_last_write_status")? != "ok",
        })
    }

    /// What is wrong; empty when the server is healthy.
    #[must_use]
    pub fn complaints(&self) -> Vec<Complaint> {
        let mut complaints = Vec::new();
        let mut complain = |is: bool, found: String, remedy| {
            if is {
                complaints.push(Complaint { found, remedy });
            }
        };
        complain(
            self.groups_damaged > 0,
            format!("{} of {} groups are damaged and refuse", self.groups_damaged, self.groups),
            "the server named them at its start: restore the data directory, or give up what is lost with --accept-loss",
        );
        complain(
            self.groups_halted > 0,
            format!("{} of {} groups cannot execute their log", self.groups_halted, self.groups),
            "the server named the entry: start the version that wrote it, or restore the data directory",
        );
        complain(
            self.tables_damaged > 0,
            format!("{} tables are damaged", self.tables_damaged),
            "reads of what they hold are refused: restore the data directory",
        );
        complain(
            self.disk_full,
            "the disk is full: writes are refused, reads are served".into(),
            "free space on the file system of the data directory; writes go on by themselves",
        );
        complaints
    }

    fn json(&self) -> String {
        let complaints = self.complaints();
        let told: Vec<_> = complaints.iter().map(|c| json!({"found": c.found, "remedy": c.remedy})).collect();
        let all = json!({
            "version": self.version, "process_id": self.process_id, "uptime_seconds": self.uptime_seconds,
            "cores": self.cores, "groups": self.groups, "groups_damaged": self.groups_damaged,
            "groups_halted": self.groups_halted, "tables_damaged": self.tables_damaged,
            "clients": self.clients, "memory_used_bytes": self.memory_used_bytes,
            "memory_bytes_max": self.memory_bytes_max, "log_bytes": self.log_bytes,
            "disk_full": self.disk_full, "healthy": complaints.is_empty(), "complaints": told,
        });
        all.to_string()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "pinion {}, process {}, up {} s", self.version, self.process_id, self.uptime_seconds)?;
        writeln!(f, "cores    {}", self.cores)?;
        writeln!(f, "groups   {}", self.groups)?;
        writeln!(f, "clients  {}", self.clients)?;
        writeln!(f, "memory   {} of {} MiB", self.memory_used_bytes / MIB, self.memory_bytes_max / MIB)?;
        writeln!(f, "log      {} MiB kept", self.log_bytes / MIB)?;
        let complaints = self.complaints();
        if complaints.is_empty() {
            return writeln!(f, "health   ok");
        }
        for complaint in complaints {
            writeln!(f, "health   BAD: {}: {}", complaint.found, complaint.remedy)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "# Server\r\npinion_version:0.1.0\r\nprocess_id:7\r\nuptime_in_seconds:60\r\ncores:2\r\n\
        groups:18\r\ngroups_damaged:0\r\ngroups_halted:0\r\ntables_damaged:0\r\n# Clients\r\n\
        connected_clients:3\r\nused_memory:2097152\r\nmaxmemory:4194304\r\nlog_retained_bytes:1048576\r\n\
        aof_last_write_status:ok\r\n";

    #[test]
    fn a_healthy_server_is_told_as_such() {
        let status = Status::read(INFO).expect("every field is there");
        assert_eq!(status.complaints(), []);
        let text = status.to_string();
        assert!(text.contains("memory   2 of 4 MiB") && text.ends_with("health   ok\n"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&status.json()).expect("it is JSON");
        assert_eq!((&json["healthy"], &json["groups"]), (&json!(true), &json!(18)));
    }

    #[test]
    fn each_trouble_is_told_with_its_remedy() {
        for (good, bad, words) in [
            ("groups_damaged:0", "groups_damaged:2", "2 of 18 groups are damaged"),
            ("groups_halted:0", "groups_halted:1", "1 of 18 groups cannot execute"),
            ("tables_damaged:0", "tables_damaged:5", "5 tables are damaged"),
            ("status:ok", "status:err", "the disk is full"),
        ] {
            let status = Status::read(&INFO.replace(good, bad)).expect("every field is there");
            let complaints = status.complaints();
            assert_eq!(complaints.len(), 1, "{bad}");
            assert!(complaints[0].found.contains(words), "{complaints:?}");
            assert!(status.to_string().contains(complaints[0].remedy), "{status}");
            let json: serde_json::Value = serde_json::from_str(&status.json()).expect("it is JSON");
            assert_eq!(json["healthy"], json!(false));
            assert_eq!(json["complaints"][0]["remedy"], json!(complaints[0].remedy));
        }
    }

    #[test]
    fn another_program_is_told_by_what_is_missing() {
        let error = Status::read("# Server\r\nredis_version:7.0.15\r\n").expect_err("that is Redis");
        assert!(error.contains("no field pinion_version"), "{error}");
        let error = Status::read(&INFO.replace("cores:2", "cores:two")).expect_err("that is no number");
        assert!(error.contains("cores:two"), "{error}");
    }
}
