//! Commands of redis-server 7.0.15 that are not served yet: they are told from those that nobody knows.

/// Their names, in order.
#[rustfmt::skip]
pub const LATER: &[&str] = &[
    "acl", "bitfield", "bitfield_ro", "blmove", "blmpop", "blpop", "brpop", "brpoplpush", "bzmpop",
    "bzpopmax", "bzpopmin", "debug", "discard", "dump", "eval", "eval_ro", "evalsha", "evalsha_ro", "exec",
    "failover", "fcall", "fcall_ro", "function", "geoadd", "geodist", "geohash", "geopos", "georadius",
    "georadius_ro", "georadiusbymember", "georadiusbymember_ro", "geosearch", "geosearchstore", "hdel",
    "hexists", "hget", "hgetall", "hincrby", "hincrbyfloat", "hkeys", "hlen", "hmget", "hmset",
    "hrandfield", "hscan", "hset", "hsetnx", "hstrlen", "hvals", "latency", "lcs", "lindex", "linsert",
    "llen", "lmove", "lmpop", "lolwut", "lpop", "lpos", "lpush", "lpushx", "lrange", "lrem", "lset",
    "ltrim", "memory", "migrate", "module", "monitor", "move", "multi", "pfadd", "pfcount", "pfdebug",
    "pfmerge", "pfselftest", "psubscribe", "psync", "publish", "pubsub", "punsubscribe", "replconf",
    "replicaof", "restore", "restore-asking", "role", "rpop", "rpoplpush", "rpush", "rpushx", "sadd",
    "scard", "script", "sdiff", "sdiffstore", "sinter", "sintercard", "sinterstore", "sismember", "slaveof",
    "smembers", "smismember", "smove", "sort", "sort_ro", "spop", "spublish", "srandmember", "srem",
    "sscan", "ssubscribe", "subscribe", "sunion", "sunionstore", "sunsubscribe", "swapdb", "sync",
    "unsubscribe", "unwatch", "wait", "watch", "xack", "xadd", "xautoclaim", "xclaim", "xdel", "xgroup",
    "xinfo", "xlen", "xpending", "xrange", "xread", "xreadgroup", "xrevrange", "xsetid", "xtrim", "zadd",
    "zcard", "zcount", "zdiff", "zdiffstore", "zincrby", "zinter", "zintercard", "zinterstore", "zlexcount",
    "zmpop", "zmscore", "zpopmax", "zpopmin", "zrandmember", "zrange", "zrangebylex", "zrangebyscore",
    "zrangestore", "zrank", "zrem", "zremrangebylex", "zremrangebyrank", "zremrangebyscore", "zrevrange",
    "zrevrangebylex", "zrevrangebyscore", "zrevrank", "zscan", "zscore", "zunion", "zunionstore",
];

/// The name of such a command, in small letters.
pub fn later(name: &[u8]) -> Option<&'static str> {
    let longest = LATER.iter().map(|name| name.len()).max().unwrap_or(0);
    if name.len() > longest {
        return None;
    }
    let small = name.to_ascii_lowercase();
    LATER.binary_search_by(|known| known.as_bytes().cmp(&small)).ok().map(|at| LATER[at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::lookup;

    #[test]
    fn a_command_is_served_or_comes_later_and_never_both() {
        assert!(LATER.is_sorted());
        for name in LATER {
            assert!(lookup(name.as_bytes()).is_none(), "{name} is served: take it off the list");
            assert_eq!(later(name.to_ascii_uppercase().as_bytes()), Some(*name));
        }
        for name in ["get", "lpushy", "", "a", "zunionstor\u{0}", "nonsense"] {
            assert_eq!(later(name.as_bytes()), None);
        }
    }
}
