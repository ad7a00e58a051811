//! Commands: from the arguments of a request to what is to be done, and from typed replies to the client's protocol.
//!
//! ```text
//! Request -> resolve: lookup -> arity -> authentication -> parser of the command -> Action
//!            Action::Write, Read, Keyed, Scan, DbSize, FlushAll   to the owners of the keys; replies through `encode`
//!            Action::Local                                        answered at once by `answer`
//!            Action::Report                                       by whoever knows all cores
//!            Action::Chore                                        beside the cores, where files may be touched
//! ```
//!
//! [`TABLE`] is the only list of commands. Replies and errors are those of redis-server 7.0.15, word for word; where they
//! are not:
//!
//! | what | redis-server | here |
//! |---|---|---|
//! | a command that is not served yet (`later.rs`) | served | `ERR '…' is not served yet: …` |
//! | key above `KEY_BYTES_MAX` | taken | `ERR key exceeds maximum allowed size (32768 bytes)` |
//! | COPY to another database than 0 | taken | as in cluster mode: `ERR DB index is out of range` |
//! | SELECT of another database than 0 | taken | as in cluster mode: `ERR SELECT is not allowed in cluster mode` |
//! | MSET, MSETNX, RENAME, RENAMENX, COPY, BITOP over several slots | taken | `CROSSSLOT …`, unless there is one data group |
//! | GETEX of an absent key with an invalid time | nil | the error |
//! | GETEX with an option, over a key that holds no string, with an invalid time | `WRONGTYPE` | the error of the time |
//! | BITCOUNT, BITPOS of an absent key, or of one that holds no string, with senseless arguments | 0, -1 or `WRONGTYPE` | the error of the argument |
//! | SCAN with MATCH, KEYS, the empty key | found by `*` and an empty pattern | found by `*`, `**`, …; not by an empty pattern |
//! | SCAN, KEYS, COMMAND LIST, CONFIG GET, a pattern above `PATTERN_BYTES_MAX` | taken | `ERR pattern exceeds maximum allowed size (1024 bytes)` |
//! | MGET of more than `READ_BYTES_MAX` from one group | taken | `TOOLONG …` |
//! | SCAN, COUNT above 65536 | taken | counts as 65536 |
//! | COMMAND DOCS | arguments and history | neither |
//! | SLOWLOG GET | arguments up to 128 bytes each | all of a request up to 512 bytes together; the newest first by wall time, not by number; the time is that in the server, the wait for the log included |
//! | SLOWLOG, more than 4096 entries (`slowlog-max-len`) | kept | the newest 4096 of each core |
//! | INFO commandstats, latencystats, LATENCY HISTOGRAM | the time of execution | the time in the server, the wait for the log included; with `latency-tracking no` the calls are counted only: `usec` stays 0, and SLOWLOG is empty |
//! | INFO keyspace | keys of each database | no line: a write does not look whether its key is new, DBSIZE counts |
//! | CLUSTER ADDSLOTS, MEET, RESET and what else changes slots or nodes | done | `ERR This server lays out …` |
//! | CLUSTER NODES, the port of the bus | the port + 10000 | 0: there is none |
//! | a command for a slot of another node, in cluster mode | `MOVED …` | carried out |
//! | SAVE, BGSAVE, BGREWRITEAOF | write a snapshot, or the log anew | flush the rows in memory to tables, so that the log behind them may go: every acknowledged write is on the disk before and after |
//! | LASTSAVE | when a snapshot was written | now: all that was acknowledged is saved |
//! | SHUTDOWN, its options | choose whether a snapshot is written | change nothing |
//! | CONFIG SET of what cannot change, to the value that it has | refused | `OK` |
//! | CONFIG SET of `slowlog-max-len` above 4096 | taken | refused |
//! | CONFIG SET of settings that only redis-server has | taken | `ERR Unknown option …` |
//! | RANDOMKEY | as even as a hash table | even while every group has at most 32 keys; beyond, every group is as likely as another, and keys of a group up to the gaps between their hashes |
//! | OBJECT ENCODING, REFCOUNT | tell how the value is held, which depends on what wrote it | tell what they would if SET had written it |
//! | OBJECT IDLETIME | seconds | 0: nobody counts them |
//! | OBJECT FREQ of an absent key | nil | the error of one that is there |
//! | HELP of containers | all subcommands of Redis | those that are there |
//! | CONFIG GET of a name given twice in another case | once | each as it was given |

mod action;
mod crossing;
mod encode;
mod error;
mod later;
mod local;
mod lookup;
mod parse;
mod table;

pub use action::{Action, ClusterAsk, Keyed, KeyedKind, Local, Report};
pub use crossing::{Crossing, crossing};
pub use encode::encode;
pub use error::CommandError;
pub use later::LATER;
pub use local::{Client, Done, Server, answer, cluster_help};
pub use lookup::{CommandId, lookup};
pub use parse::resolve;
pub use table::{COUNT, Keys, Kind, Spec, TABLE};
