//! The load, as flags, and what they mean together.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::LoadError;
use super::keys::{Distribution, Shape};
use super::mix::Mix;
use super::schedule::Pace;
use super::values::ValueSizes;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Operation {
    /// GET of a chosen key
    Get,
    /// SET of a chosen key
    Set,
    /// SET of every key once, in order
    Fill,
    /// PING
    Ping,
    /// A line of `value_bytes` that an echo server sends back
    Echo,
}

/// The core workloads of YCSB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// Half reads, half updates, Zipfian
    A,
    /// 95 % reads, 5 % updates, Zipfian
    B,
    /// Reads only, Zipfian
    C,
    /// 95 % reads of the latest keys, 5 % inserts
    D,
    /// 95 % scans (an MGET of 1 to 100 keys in a row), 5 % inserts, Zipfian
    E,
    /// Half reads, half read-modify-writes (a GET with the SET right behind it, one operation), Zipfian
    F,
}

/// Where a Redis server is if nobody says otherwise.
pub const ADDRESS: &str = "127.0.0.1:6379";

/// The load, as flags.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Address of the server
    #[arg(long, default_value = ADDRESS)]
    pub address: String,
    /// UNIX socket of the server, instead of the address
    #[arg(long)]
    pub socket: Option<PathBuf>,
    /// User to log in as; needs a password
    #[arg(long, requires = "password")]
    pub user: Option<String>,
    /// Password to log in with
    #[arg(long, env = "PINION_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
    /// Version of the protocol: 2 or 3
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=3))]
    pub resp: u8,
    /// What is sent, unless a mix, commands or a preset say more
    #[arg(long, value_enum, default_value = "get")]
    pub operation: Operation,
    /// Weighted requests, for instance get=90,set=10; of get, set, del, incr, ping, insert, scan, rmw
    #[arg(long)]
    pub mix: Option<String>,
    /// Any command, for instance "SETRANGE __key__ 10 __value__=5%"; repeated for more, weights after the last `=`
    #[arg(long)]
    pub command: Vec<String>,
    /// A core workload of YCSB, with its mix and its distribution of keys
    #[arg(long, value_enum, conflicts_with_all = ["mix", "command", "distribution"])]
    pub preset: Option<Preset>,
    /// How keys are chosen; uniform without it
    #[arg(long, value_enum)]
    pub distribution: Option<Distribution>,
    /// Exponent of the Zipfian distributions
    #[arg(long, default_value_t = 0.99)]
    pub theta: f64,
    /// Part of the keys that is hot
    #[arg(long, default_value_t = 0.2)]
    pub hot_keys: f64,
    /// Part of the requests that goes to the hot keys
    #[arg(long, default_value_t = 0.8)]
    pub hot_traffic: f64,
    /// Connections, dealt out among the threads
    #[arg(long, default_value_t = 50)]
    pub connections: u32,
    /// Threads
    #[arg(long, default_value_t = 1)]
    pub threads: u32,
    /// Operations a connection sends before it waits (closed loop only); a read-modify-write is one of two requests
    #[arg(long, default_value_t = 1)]
    pub pipeline: u32,
    /// Operations per second in all; without it the loop is closed
    #[arg(long)]
    pub rate: Option<f64>,
    /// How the requests of an open loop are spread over time
    #[arg(long, value_enum, default_value = "fixed")]
    pub pace: Pace,
    /// Requests per second at the end of a ramp or of steps
    #[arg(long, requires = "rate")]
    pub rate_end: Option<f64>,
    /// Steps from `--rate` to `--rate-end`
    #[arg(long, default_value_t = 5)]
    pub steps: u32,
    /// Seconds of measurement; a fill ends when every key was written
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Operations of the measurement, instead of seconds (closed loop only)
    #[arg(long, conflicts_with_all = ["rate", "seconds"])]
    pub requests: Option<u64>,
    /// Seconds of the same load before the measurement
    #[arg(long, default_value_t = 0.0)]
    pub warm_up_seconds: f64,
    /// SETs every key once before anything else
    #[arg(long)]
    pub preload: bool,
    /// Keys are `key:` and twelve digits below this number
    #[arg(long, default_value_t = 1_000_000)]
    pub keys: u64,
    /// Bytes of a value
    #[arg(long, default_value_t = 128)]
    pub value_bytes: usize,
    /// Lengths of values: BYTES, uniform:MIN-MAX, list:BYTES=WEIGHT,... or lognormal:MEDIAN,SIGMA
    #[arg(long, conflicts_with = "value_bytes")]
    pub value_sizes: Option<ValueSizes>,
    /// Seed of everything that is random
    #[arg(long, env = "PINION_SEED", default_value_t = 1)]
    pub seed: u64,
    /// CPU the first thread is pinned to; the others follow
    #[arg(long)]
    pub cpu: Option<usize>,
    /// Niceness of the threads, from 0 to 19, for a load on the CPUs of its server
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(i32).range(0..=19))]
    pub nice: i32,
    /// File for the figures as JSON
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// File for the percentiles as HdrHistogram prints them, in microseconds
    #[arg(long)]
    pub hgrm: Option<PathBuf>,
}

/// Where the server is.
#[derive(Clone, Debug)]
pub enum Target {
    /// An address.
    Tcp(SocketAddr),
    /// A UNIX socket.
    Unix(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Options {
    /// Checks what no single flag can check.
    ///
    /// # Errors
    /// A sentence that says what is wrong, and what to do.
    pub fn check(&self) -> Result<(), LoadError> {
        let wrong = |text: &str| Err(LoadError::Options(text.to_owned()));
        if self.connections == 0 || self.pipeline == 0 || self.keys == 0 || self.threads == 0 {
            return wrong("--connections, --pipeline, --keys and --threads must be at least 1");
        }
        if self.requests == Some(0) {
            return wrong("--requests must be at least 1");
        }
        if self.threads > self.connections {
            return wrong("--threads is more than --connections: each thread needs a connection of its own");
        }
        if self.keys > 1_000_000_000_000 {
            return wrong("--keys is more than twelve digits can name; give at most 1000000000000");
        }
        let above = |n: f64| n.is_finite() && n > 0.0;
        if !above(self.theta) || !above(self.seconds) || !self.rate.is_none_or(above) {
            return wrong("--theta, --seconds and --rate must be above 0");
        }
        if !(self.warm_up_seconds.is_finite() && self.warm_up_seconds >= 0.0) {
            return wrong("--warm-up-seconds must be 0 or more");
        }
        if !(0.0..=1.0).contains(&self.hot_keys) || !(0.0..=1.0).contains(&self.hot_traffic) {
            return wrong("--hot-keys and --hot-traffic are parts, from 0 to 1");
        }
        match self.pace {
            Pace::Fixed => {}
            _ if self.rate.is_none() => return wrong("--pace is for an open loop: give --rate as well"),
            Pace::Ramp | Pace::Step if !self.rate_end.is_some_and(above) => {
                return wrong("a ramp and steps need --rate-end, above 0");
            }
            _ => {}
        }
        if self.sizes().longest() > 512 << 20 {
            return wrong("--value-bytes is more than the 536870912 that a string may have");
        }
        self.requests().map(drop)
    }

    /// Where the server is.
    ///
    /// # Errors
    /// When the address has no meaning.
    pub fn target(&self) -> Result<Target, LoadError> {
        if let Some(path) = &self.socket {
            return Ok(Target::Unix(path.clone()));
        }
        let found = self.address.to_socket_addrs().ok().and_then(|mut found| found.next());
        found.map(Target::Tcp).ok_or_else(|| {
            LoadError::Options(format!("{} is not an address; give --address HOST:PORT", self.address))
        })
    }

    /// What a connection says first.
    #[must_use]
    pub fn greeting(&self) -> Vec<Vec<u8>> {
        let request = |arguments: &[&str]| {
            let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
            for argument in arguments {
                bytes.extend_from_slice(format!("${}\r\n{argument}\r\n", argument.len()).as_bytes());
            }
            bytes
        };
        let mut greeting = Vec::new();
        match (&self.user, &self.password) {
            (Some(user), Some(password)) => greeting.push(request(&["AUTH", user, password])),
            (None, Some(password)) => greeting.push(request(&["AUTH", password])),
            _ => {}
        }
        if self.resp == 3 {
            greeting.push(request(&["HELLO", "3"]));
        }
        greeting
    }

    /// The weighted requests; `None` for those operations that are none.
    ///
    /// # Errors
    /// When a command or a weight has no meaning.
    pub fn requests(&self) -> Result<Option<Mix>, LoadError> {
        let mut mix = Mix::default();
        let preset = self.preset.map(|preset| match preset {
            Preset::A => "get=50,set=50",
            Preset::B => "get=95,set=5",
            Preset::C => "get",
            Preset::D => "get=95,insert=5",
            Preset::E => "scan=95,insert=5",
            Preset::F => "get=50,rmw=50",
        });
        for list in self.mix.as_deref().into_iter().chain(preset) {
            mix.add_list(list).map_err(LoadError::Options)?;
        }
        for command in &self.command {
            mix.add_command(command).map_err(LoadError::Options)?;
        }
        if mix.is_empty() {
            let name = match self.operation {
                Operation::Get => "get",
                Operation::Set => "set",
                Operation::Ping => "ping",
                Operation::Fill | Operation::Echo => return Ok(None),
            };
            mix.add_list(name).map_err(LoadError::Options)?;
        }
        Ok(Some(mix))
    }

    /// The name of what is sent.
    #[must_use]
    pub fn name(&self) -> String {
        match self.preset {
            Some(preset) => format!("ycsb-{preset:?}").to_lowercase(),
            None if self.mix.is_some() || !self.command.is_empty() => "mix".to_owned(),
            None => format!("{:?}", self.operation).to_lowercase(),
        }
    }

    pub(super) fn keys_by(&self) -> Distribution {
        match self.preset {
            Some(Preset::D) => Distribution::Latest,
            Some(_) => Distribution::Zipfian,
            None => self.distribution.unwrap_or(Distribution::Uniform),
        }
    }

    pub(super) const fn shape(&self) -> Shape {
        Shape { theta: self.theta, hot_keys: self.hot_keys, hot_traffic: self.hot_traffic }
    }

    pub(super) fn sizes(&self) -> ValueSizes {
        self.value_sizes.clone().unwrap_or(ValueSizes::Fixed(self.value_bytes))
    }
}
