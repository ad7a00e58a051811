//! The configuration of a server: one [table](SETTINGS) drives flags, environment, file, errors and documentation.
//!
//! A setting `some-name` is the flag `--some-name`, the variable `PINION_SOME_NAME` and the key `some_name` (or
//! `some-name`) of the TOML file. Flags win over the environment, the environment over the file, the file over the
//! default. What stands nowhere in the table is an error, not a silence.

mod error;
mod file;
mod live;
mod table;
mod values;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};

pub use error::{ConfigError, Source};
pub use live::{Live, LiveError, reloadable};
pub use table::{Kind, SETTINGS, Setting};

use crate::planted;
use values::{parse_bool, parse_bytes, parse_count, parse_cpus, parse_groups, parse_micros};

/// A password. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The bytes a client must send.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown =
            if planted::is("password-shown") { String::from_utf8_lossy(&self.0) } else { "(set)".into() };
        f.write_str(&shown)
    }
}

/// What a server is told at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The data directory.
    pub data_dir: PathBuf,
    /// The address that clients connect to.
    pub bind: IpAddr,
    /// The port; 0 picks a free one.
    pub port: u16,
    /// The CPU of each core.
    pub cpus: Vec<usize>,
    /// Bytes of memory for everything.
    pub memory_bytes: u64,
    /// Data groups, for a first start.
    pub groups: Option<u32>,
    /// What clients must authenticate with.
    pub password: Option<Secret>,
    /// Whether listening beyond loopback needs a password.
    pub protected: bool,
    /// Connections, at most.
    pub clients_max: usize,
    /// Whether cluster clients are answered.
    pub cluster: bool,
    /// The first port of those that lead to one core each; 0 picks free ones.
    pub core_ports: Option<u16>,
    /// The address that they are told.
    pub announced: Option<IpAddr>,
    /// Where metrics and health are shown; `None`: nowhere.
    pub admin: Option<SocketAddr>,
    /// Whether durations of requests are recorded.
    pub latency_tracking: bool,
    /// Requests that take so many microseconds stand in the slow log; negative: none.
    pub slowlog_above_micros: i64,
    /// Entries of the slow log, at most.
    pub slowlog_max: usize,
    /// Groups whose losses are accepted by this start.
    pub accept_losses: Vec<u32>,
    /// The file that it was read from, if any.
    pub file: Option<PathBuf>,
    /// Every setting as it was given or defaulted, secrets left out, by name.
    pub shown: Vec<(&'static str, String)>,
}

/// What the machine offers: the source of defaults, and of what is possible.
#[derive(Clone, Debug)]
pub struct Hardware {
    /// CPUs this process may use.
    pub cpus: Vec<usize>,
    /// Bytes of memory this process may use.
    pub memory_bytes: u64,
}

/// Of the memory of a machine, what a server takes unless it is told: this many of [`MEMORY_SHARE_OF`] parts.
const MEMORY_SHARE: u64 = 2;
/// See [`MEMORY_SHARE`].
const MEMORY_SHARE_OF: u64 = 5;
/// What is slow for the slow log unless it is told, in microseconds.
pub const SLOWLOG_ABOVE_MICROS: i64 = 10_000;
/// Entries of the slow log unless it is told.
pub const SLOWLOG_MAX: usize = 128;
/// The least memory a core works with, in bytes.
pub const MEMORY_BYTES_PER_CORE_MIN: u64 = 96 << 20;

/// Where values come from, before they are judged.
#[derive(Default)]
pub struct Given {
    /// By name.
    values: BTreeMap<&'static str, (Source, String)>,
}

impl Given {
    /// Reads flags, environment and the file that either names.
    ///
    /// `read` reads a file: the configuration file, and the file of a password.
    pub fn collect(
        flags: &BTreeMap<String, String>,
        env: &dyn Fn(&str) -> Option<String>,
        read: &dyn Fn(&Path) -> std::io::Result<String>,
    ) -> Result<Self, ConfigError> {
        let mut given = Self::default();
        for setting in SETTINGS {
            if let Some(value) = flags.get(setting.name) {
                given.values.insert(setting.name, (Source::Flag(setting.name), value.clone()));
            } else if let Some(value) = env(&setting.variable()) {
                given.values.insert(setting.name, (Source::Environment(setting.variable()), value));
            }
        }
        if let Some((_, path)) = given.values.get("config").cloned() {
            let path = PathBuf::from(path);
            let text = read(&path)
                .map_err(|cause| ConfigError::Unreadable { path: path.clone(), reason: cause.to_string() })?;
            for (setting, value) in file::parse(&path, &text)? {
                let source = Source::File { path: path.clone(), key: setting.key() };
                given.values.entry(setting.name).or_insert((source, value));
            }
        }
        Ok(given)
    }

    fn value<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let Some((source, value)) = self.values.get(name) else { return Ok(None) };
        let setting =
            SETTINGS.iter().find(|setting| setting.name == name).expect("names come from the table");
        parse(value).map(Some).map_err(|expected| ConfigError::Value {
            given: source.clone(),
            value: if setting.kind == Kind::Secret { "(not shown)".to_owned() } else { value.clone() },
            expected: if planted::is("error-without-remedy") { String::new() } else { expected },
        })
    }

    fn password(
        &self,
        read: &dyn Fn(&Path) -> std::io::Result<String>,
    ) -> Result<Option<Secret>, ConfigError> {
        let given = self.values.get("requirepass").map(|(_, value)| value.clone());
        let from_file = match self.values.get("requirepass-file") {
            None => None,
            Some((_, path)) => {
                let path = PathBuf::from(path);
                let text = read(&path).map_err(|cause| ConfigError::Unreadable {
                    path: path.clone(),
                    reason: cause.to_string(),
                })?;
                Some(text.lines().next().unwrap_or("").to_owned())
            }
        };
        if given.is_some() && from_file.is_some() {
            return Err(ConfigError::TwoPasswords);
        }
        Ok(given.or(from_file).filter(|text| !text.is_empty()).map(|text| Secret(text.into_bytes())))
    }

    /// Judges what was given and fills in the defaults.
    pub fn resolve(
        &self,
        hardware: &Hardware,
        read: &dyn Fn(&Path) -> std::io::Result<String>,
    ) -> Result<Config, ConfigError> {
        let port = |text: &str| parse_count(text, 0, 65_535);
        let bind = |text: &str| text.parse().map_err(|_| "an IP address, like 127.0.0.1 or ::1".to_owned());
        let cpus = self.value("cores", |text| parse_cpus(text, &hardware.cpus))?;
        let cpus = cpus.unwrap_or_else(|| hardware.cpus.clone());
        let least = MEMORY_BYTES_PER_CORE_MIN * cpus.len() as u64;
        let memory = self.value("memory", |text| parse_bytes(text, least, hardware.memory_bytes))?;
        let share = hardware.memory_bytes / MEMORY_SHARE_OF * MEMORY_SHARE;
        let config = Config {
            data_dir: self.value("data-dir", |text| Ok(PathBuf::from(text)))?.unwrap_or("pinion-data".into()),
            bind: self.value("bind", bind)?.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)),
            port: self
                .value("port", port)?
                .map_or(6379, |port| u16::try_from(port).expect("within its range")),
            memory_bytes: memory.unwrap_or_else(|| share.max(least)),
            groups: self
                .value("groups", |text| parse_count(text, 1, 1024))?
                .map(|n| u32::try_from(n).expect("small")),
            password: self.password(read)?,
            protected: self.value("protected-mode", parse_bool)?.unwrap_or(true),
            clients_max: self
                .value("maxclients", |text| parse_count(text, 1, 1_000_000))?
                .map_or(10_000, |clients| usize::try_from(clients).expect("small")),
            cluster: self.value("cluster-enabled", parse_bool)?.unwrap_or(false),
            announced: self.value("cluster-announce-ip", bind)?,
            core_ports: self.core_ports(cpus.len())?,
            admin: self.admin()?,
            latency_tracking: self.value("latency-tracking", parse_bool)?.unwrap_or(true),
            slowlog_above_micros: self
                .value("slowlog-log-slower-than", parse_micros)?
                .unwrap_or(SLOWLOG_ABOVE_MICROS),
            slowlog_max: self
                .value("slowlog-max-len", |text| parse_count(text, 0, crate::slow::LOG_MAX as u64))?
                .map_or(SLOWLOG_MAX, |entries| usize::try_from(entries).expect("small")),
            accept_losses: self.value("accept-loss", parse_groups)?.unwrap_or_default(),
            cpus,
            file: self.values.get("config").map(|(_, path)| PathBuf::from(path)),
            shown: Vec::new(),
        };
        let exposed = config.password.is_none() && !config.bind.is_loopback();
        if config.protected && exposed && !planted::is("open-without-password") {
            return Err(ConfigError::Exposed { bind: config.bind });
        }
        Ok(Config { shown: config.show(), ..config })
    }
}

impl Given {
    fn core_ports(&self, cores: usize) -> Result<Option<u16>, ConfigError> {
        let cluster = self.value("cluster-enabled", parse_bool)?.unwrap_or(false);
        let shared = self.value("port", |text| parse_count(text, 0, 65_535))?.unwrap_or(6379);
        let cores = cores as u64;
        self.value("core-ports", |text| {
            let first = parse_count(text, 0, 65_536 - cores)?;
            if !cluster {
                return Err(
                    "cluster-enabled yes beside it: only cluster clients are told of these ports".to_owned()
                );
            }
            if first != 0 && (first..first + cores).contains(&shared) {
                return Err(format!("{cores} ports in a row that leave out {shared}, the port of all cores"));
            }
            Ok(u16::try_from(first).expect("within its range"))
        })
    }

    fn admin(&self) -> Result<Option<SocketAddr>, ConfigError> {
        let parse = |text: &str| text.parse().map_err(|_| "an IP address, like 127.0.0.1 or ::1".to_owned());
        let bind: IpAddr =
            self.value("admin-bind", parse)?.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
        let exposed = self.value("admin-exposed", parse_bool)?.unwrap_or(false);
        let Some(port) = self.value("admin-port", |text| parse_count(text, 0, 65_535))? else {
            return Ok(None);
        };
        if !bind.is_loopback() && !exposed && !planted::is("open-without-password") {
            return Err(ConfigError::AdminExposed { bind });
        }
        Ok(Some(SocketAddr::new(bind, u16::try_from(port).expect("within its range"))))
    }
}

impl Config {
    /// The address and port that clients connect to.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        SocketAddr::new(self.bind, self.port)
    }

    fn show(&self) -> Vec<(&'static str, String)> {
        let cpus: Vec<String> = self.cpus.iter().map(usize::to_string).collect();
        let losses: Vec<String> = self.accept_losses.iter().map(u32::to_string).collect();
        vec![
            ("accept-loss", losses.join(",")),
            ("admin-bind", self.admin.map(|at| at.ip().to_string()).unwrap_or_default()),
            ("admin-port", self.admin.map(|at| at.port().to_string()).unwrap_or_default()),
            ("bind", self.bind.to_string()),
            ("cluster-announce-ip", self.announced.map(|at| at.to_string()).unwrap_or_default()),
            ("cluster-enabled", if self.cluster { "yes" } else { "no" }.to_owned()),
            ("core-ports", self.core_ports.map(|first| first.to_string()).unwrap_or_default()),
            ("cores", cpus.join(",")),
            ("data-dir", self.data_dir.display().to_string()),
            ("groups", self.groups.map(|groups| groups.to_string()).unwrap_or_default()),
            ("latency-tracking", if self.latency_tracking { "yes" } else { "no" }.to_owned()),
            ("maxclients", self.clients_max.to_string()),
            ("memory", self.memory_bytes.to_string()),
            ("port", self.port.to_string()),
            ("protected-mode", if self.protected { "yes" } else { "no" }.to_owned()),
            ("slowlog-log-slower-than", self.slowlog_above_micros.to_string()),
            ("slowlog-max-len", self.slowlog_max.to_string()),
        ]
    }
}

/// The command line of the server, made from the table.
#[must_use]
pub fn command() -> Command {
    let mut command = Command::new("pinion")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A distributed, transactional key-value server that speaks the Redis protocol")
        .after_help("Flags win over environment variables, those over the file, the file over defaults.");
    for setting in SETTINGS {
        let help = format!("{} [env: {}] [default: {}]", setting.docs, setting.variable(), setting.default);
        let arg = Arg::new(setting.name).long(setting.name).value_name(setting.value_name).help(help);
        command = command.arg(arg.action(ArgAction::Set));
    }
    command
}

/// The flags of a parsed command line, by name.
#[must_use]
pub fn flags(matches: &clap::ArgMatches) -> BTreeMap<String, String> {
    let given = |setting: &Setting| {
        matches.get_one::<String>(setting.name).map(|value| (setting.name.to_owned(), value.clone()))
    };
    SETTINGS.iter().filter_map(given).collect()
}
