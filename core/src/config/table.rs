//! The table of settings.

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file or directory.
    Path,
    /// An IP address.
    Address,
    /// A whole number.
    Count,
    /// Bytes, with or without a unit.
    Bytes,
    /// A list of CPUs.
    Cpus,
    /// A list of groups.
    Groups,
    /// Yes or no.
    Bool,
    /// What must not be shown.
    Secret,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name, as a flag without the dashes.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// A word for the value in the help.
    pub value_name: &'static str,
    /// What holds when it is not given, in words.
    pub default: &'static str,
    /// One line.
    pub docs: &'static str,
    /// Whether it may change while the server runs.
    pub reloads: bool,
}

impl Setting {
    /// Its environment variable.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("PINION_{}", self.name.replace('-', "_").to_uppercase())
    }

    /// Its key in a file.
    #[must_use]
    pub fn key(&self) -> String {
        self.name.replace('-', "_")
    }
}

const fn setting(
    name: &'static str,
    kind: Kind,
    value_name: &'static str,
    default: &'static str,
    docs: &'static str,
) -> Setting {
    Setting { name, kind, value_name, default, docs, reloads: false }
}

impl Setting {
    const fn reloads(self) -> Self {
        Self { reloads: true, ..self }
    }
}

/// Every setting.
pub const SETTINGS: &[Setting] = &[
    setting("config", Kind::Path, "FILE", "none", "A TOML file with settings"),
    setting(
        "data-dir",
        Kind::Path,
        "DIR",
        "./pinion-data",
        "Where the data lives; made when it is not there",
    ),
    setting("bind", Kind::Address, "ADDR", "127.0.0.1", "The address that clients connect to"),
    setting("port", Kind::Count, "N", "6379", "The port that clients connect to; 0 picks a free one"),
    setting("cores", Kind::Cpus, "LIST", "all", "The CPUs to run on, one core each, like 0,1 or 0-3"),
    setting(
        "memory",
        Kind::Bytes,
        "BYTES",
        "two fifths of the machine's",
        "Memory for everything, like 4GiB",
    ),
    setting(
        "groups",
        Kind::Count,
        "N",
        "four per core",
        "Data groups, decided at the first start for ever (1 to 1024)",
    ),
    setting(
        "requirepass",
        Kind::Secret,
        "PASSWORD",
        "none",
        "What clients must send with AUTH; others can see flags",
    ),
    setting("requirepass-file", Kind::Path, "FILE", "none", "A file whose first line is that password"),
    setting(
        "protected-mode",
        Kind::Bool,
        "yes|no",
        "yes",
        "Refuse to listen beyond loopback without a password",
    ),
    setting("maxclients", Kind::Count, "N", "10000", "Client connections, at most"),
    setting(
        "cluster-enabled",
        Kind::Bool,
        "yes|no",
        "no",
        "Answer CLUSTER, so that cluster clients may be used; any core still answers whatever it is asked",
    ),
    setting(
        "cluster-announce-ip",
        Kind::Address,
        "ADDR",
        "the one that the client connected to",
        "The address that cluster clients are told",
    ),
    setting(
        "core-ports",
        Kind::Count,
        "N",
        "none",
        "In cluster mode, the first of as many ports as there are cores: each leads to its core; 0 picks free ones",
    ),
    setting(
        "admin-port",
        Kind::Count,
        "N",
        "none",
        "The port of metrics and health over HTTP; 0 picks a free one",
    ),
    setting("admin-bind", Kind::Address, "ADDR", "127.0.0.1", "The address of that port"),
    setting(
        "admin-exposed",
        Kind::Bool,
        "yes|no",
        "no",
        "Let that address be one beyond loopback: whoever reaches it sees the figures, no keys and no values",
    ),
    setting(
        "latency-tracking",
        Kind::Bool,
        "yes|no",
        "yes",
        "Record how long requests and turns take; without, they are only counted",
    )
    .reloads(),
    setting(
        "slowlog-log-slower-than",
        Kind::Count,
        "MICROS",
        "10000",
        "Requests that take so many microseconds stand in the slow log; -1: none do",
    )
    .reloads(),
    setting(
        "slowlog-max-len",
        Kind::Count,
        "N",
        "128",
        "Requests that the slow log keeps, at most (0 to 4096)",
    )
    .reloads(),
    setting(
        "accept-loss",
        Kind::Groups,
        "LIST",
        "none",
        "Groups like 16,17 whose damaged records are given up, for one start: they serve again with what is left",
    ),
];
