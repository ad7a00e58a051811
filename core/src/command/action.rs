//! What a request asks for.

use pinion_shard::{BitOp, Command, Key, List, Read, TypeFilter};

use crate::chore::Chore;
use crate::resp::Request;

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub enum Action<'a> {
    /// A write to one key.
    Write(Command<'a>),
    /// A read of one key.
    Read(Read<'a>),
    /// Something with any number of keys, at least one.
    Keyed(Keyed<'a>),
    /// A page of keys, of whatever group the cursor stands in.
    Scan {
        /// Where the page begins.
        cursor: u64,
        /// About how many keys to look at.
        count: u32,
        /// The glob that keys must match; empty matches all.
        pattern: &'a [u8],
        /// The type that keys must have.
        kind: TypeFilter,
    },
    /// How many keys all groups hold.
    DbSize,
    /// All keys of all groups that match.
    Keys {
        /// The glob that keys must match; empty matches all.
        pattern: &'a [u8],
        /// The type that keys must have.
        kind: TypeFilter,
    },
    /// Any key of any group.
    RandomKey,
    /// All groups forget their keys.
    FlushAll,
    /// CLUSTER and its kin: from what cluster clients are told.
    Cluster(ClusterAsk),
    /// Answered by [`answer`](super::answer), from the connection and its core alone.
    Local(Local),
    /// Answered by whoever knows more than the connection.
    Report(Report),
    /// Carried out beside the cores, and answered when it is done.
    Chore(Chore),
}

/// A request with any number of keys. Its keys may lie in several groups: then it is split, and the replies are merged.
#[derive(Clone, Copy, Debug)]
pub struct Keyed<'a> {
    /// What is done with the keys.
    pub kind: KeyedKind,
    request: Request<'a>,
    /// Of the arguments behind the name, those that are keys and values: options may follow.
    count: usize,
}

/// What is done with the keys of a [`Keyed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyedKind {
    /// DEL, UNLINK: counts of the groups are added.
    Del,
    /// EXISTS, TOUCH: counts of the groups are added.
    Exists,
    /// MGET: one value per key, in order.
    MGet,
    /// MSET: keys and values in turn.
    MSet,
    /// MSETNX: keys and values in turn.
    MSetNx,
    /// RENAME: from and to.
    Rename,
    /// RENAMENX: likewise.
    RenameNx,
    /// COPY: likewise.
    Copy {
        /// Whether a key that is there is replaced.
        replace: bool,
    },
    /// BITOP: where to, then from where.
    BitOp(BitOp),
}

impl KeyedKind {
    /// The first argument that is a key.
    fn first(self) -> usize {
        if let KeyedKind::BitOp(_) = self { 2 } else { 1 }
    }

    /// Arguments per key.
    pub fn step(self) -> usize {
        match self {
            KeyedKind::Del
            | KeyedKind::Exists
            | KeyedKind::MGet
            | KeyedKind::Rename
            | KeyedKind::RenameNx
            | KeyedKind::Copy { .. }
            | KeyedKind::BitOp(_) => 1,
            KeyedKind::MSet | KeyedKind::MSetNx => 2,
        }
    }

    /// Whether it may be split between groups: a write of several keys may not, it would not be atomic.
    pub fn splits(self) -> bool {
        matches!(self, KeyedKind::Del | KeyedKind::Exists | KeyedKind::MGet)
    }

    /// Whether it changes rows.
    pub fn writes(self) -> bool {
        !matches!(self, KeyedKind::Exists | KeyedKind::MGet)
    }
}

impl<'a> Keyed<'a> {
    pub(super) fn new(kind: KeyedKind, request: Request<'a>) -> Keyed<'a> {
        let count = match kind {
            KeyedKind::Copy { .. } => 2,
            _ => request.len() - kind.first(),
        };
        debug_assert!(count >= kind.step() && count.is_multiple_of(kind.step()));
        Keyed { kind, request, count }
    }

    /// How many keys there are, repetitions counted.
    pub fn len(&self) -> usize {
        self.count / self.kind.step()
    }

    /// Never: there is a key.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The keys, in order. Each is hashed when it is drawn.
    pub fn keys(&self) -> impl Iterator<Item = Key<'a>> + use<'a> {
        self.request.args(self.kind.first()).take(self.count).step_by(self.kind.step()).map(Key::new)
    }

    /// Key `index`, and with [`KeyedKind::step`] 2 its value: what a list of a part is made of.
    pub fn items(&self, index: usize) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let step = self.kind.step();
        self.request.args(self.kind.first() + index * step).take(step)
    }

    /// The write over these items, if it is one.
    pub fn write(&self, items: List<'a>) -> Option<Command<'a>> {
        match self.kind {
            KeyedKind::Del => Some(Command::Del { keys: items }),
            KeyedKind::MSet => Some(Command::MSet { pairs: items, only_new: false }),
            KeyedKind::MSetNx => Some(Command::MSet { pairs: items, only_new: true }),
            KeyedKind::Rename => Some(Command::Transfer { keys: items, replace: true, remove: true }),
            KeyedKind::RenameNx => Some(Command::Transfer { keys: items, replace: false, remove: true }),
            KeyedKind::Copy { replace } => Some(Command::Transfer { keys: items, replace, remove: false }),
            KeyedKind::BitOp(op) => Some(Command::BitOp { op, keys: items }),
            KeyedKind::Exists | KeyedKind::MGet => None,
        }
    }

    /// The read over these keys, if it is one.
    pub fn read(&self, items: List<'a>) -> Option<Read<'a>> {
        match self.kind {
            KeyedKind::Exists => Some(Read::Exists { keys: items }),
            KeyedKind::MGet => Some(Read::MGet { keys: items }),
            _ => None,
        }
    }
}

/// What is asked about the cluster. Without cluster mode all are refused alike, so arguments are looked at later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterAsk {
    /// CLUSTER SLOTS.
    Slots,
    /// CLUSTER SHARDS.
    Shards,
    /// CLUSTER NODES.
    Nodes,
    /// CLUSTER LINKS: there are none.
    Links,
    /// CLUSTER INFO.
    Info,
    /// CLUSTER MYID.
    MyId,
    /// CLUSTER KEYSLOT.
    KeySlot,
    /// CLUSTER COUNTKEYSINSLOT.
    CountKeysInSlot,
    /// CLUSTER GETKEYSINSLOT.
    GetKeysInSlot,
    /// CLUSTER REPLICAS, SLAVES: there are none.
    Replicas,
    /// CLUSTER COUNT-FAILURE-REPORTS: there are none.
    FailureReports,
    /// CLUSTER HELP.
    Help,
    /// READONLY, READWRITE, ASKING, CLUSTER SAVECONFIG: nothing needs to be done.
    Done,
    /// What would change slots or nodes.
    Refused,
}

/// Answered on the spot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    /// PING.
    Ping,
    /// ECHO.
    Echo,
    /// HELLO.
    Hello,
    /// AUTH.
    Auth,
    /// SELECT.
    Select,
    /// QUIT.
    Quit,
    /// RESET.
    Reset,
    /// COMMAND.
    Command,
    /// COMMAND COUNT.
    CommandCount,
    /// COMMAND INFO.
    CommandInfo,
    /// COMMAND LIST.
    CommandList,
    /// COMMAND DOCS.
    CommandDocs,
    /// COMMAND GETKEYS.
    CommandGetKeys,
    /// COMMAND GETKEYSANDFLAGS.
    CommandGetKeysAndFlags,
    /// COMMAND HELP.
    CommandHelp,
    /// CLIENT ID.
    ClientId,
    /// CLIENT GETNAME.
    ClientGetName,
    /// CLIENT SETNAME.
    ClientSetName,
    /// CLIENT HELP.
    ClientHelp,
    /// CONFIG GET.
    ConfigGet,
    /// CONFIG SET, of names and values in turn.
    ConfigSet,
    /// LASTSAVE.
    LastSave,
    /// SHUTDOWN: the server stops, and the connection is closed without a reply.
    Shutdown,
    /// CONFIG HELP.
    ConfigHelp,
    /// SLOWLOG HELP.
    SlowlogHelp,
    /// OBJECT HELP.
    ObjectHelp,
    /// TIME.
    Time,
}

/// Answered by whoever knows all cores, or all of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// INFO; the sections are the arguments from 1 on. Text for people ([`Encoder::verbatim`](crate::resp::Encoder::verbatim)).
    Info,
    /// CLIENT INFO: one line about this connection, likewise.
    ClientInfo,
    /// PINION STAGES: how long the stages of requests took, by core.
    Stages,
    /// PINION STAGES RESET: forget that.
    StagesReset,
    /// SLOWLOG GET: the newest slow requests.
    SlowlogGet {
        /// How many, at most.
        count: usize,
    },
    /// SLOWLOG LEN: how many there are.
    SlowlogLen,
    /// SLOWLOG RESET: forget them.
    SlowlogReset,
    /// PINION SLOWEST: the requests that took longest, with their stages.
    Slowest {
        /// How many, at most.
        count: usize,
    },
    /// PINION SLOWEST RESET: forget them.
    SlowestReset,
    /// PINION LATENCY: all durations by name, by core; the families of names are the arguments from 2 on.
    Latency,
    /// PINION FLUSH: flush the memtables of every core.
    Flush,
    /// The same under the names that the oracle has for it: SAVE, BGSAVE, BGREWRITEAOF.
    Save {
        /// What is answered.
        says: &'static str,
    },
    /// CONFIG RESETSTAT: INFO counts from zero.
    ResetStatistics,
}
