//! What requests mean, and why others are refused.

use pinion_shard::{Command, Expire, ExpireWhen, List, Read, SetWhen, TypeFilter};

use super::*;
use crate::command::{Crossing, Keyed, KeyedKind, Local, Report, TABLE, crossing};
use crate::resp::{Arguments, Encoder, Limits, Next, Parser, Protocol};

/// Resolves one inline request and hands it to `with`.
fn resolved<R>(line: &str, with: impl FnOnce(Result<(CommandId, Action<'_>), CommandError<'_>>) -> R) -> R {
    let (bytes, mut arguments) = (format!("{line}\r\n"), Arguments::new());
    match Parser::new().next(bytes.as_bytes(), &mut arguments, &Limits::default()) {
        Next::Request { request, .. } => with(resolve(request, true)),
        other => panic!("{line}: {other:?}"),
    }
}

fn write(line: &str, expected: Command<'_>) {
    resolved(line, |found| match found {
        Ok((_, Action::Write(command))) => assert_eq!(command, expected, "{line}"),
        other => panic!("{line}: {other:?}"),
    });
}

fn read(line: &str, expected: Read<'_>) {
    resolved(line, |found| match found {
        Ok((_, Action::Read(read))) => assert_eq!(read, expected, "{line}"),
        other => panic!("{line}: {other:?}"),
    });
}

fn refused(line: &str, expected: &str) {
    resolved(line, |found| {
        let mut out = Vec::new();
        found.expect_err(line).encode(&mut Encoder::new(&mut out, Protocol::Resp2));
        assert_eq!(String::from_utf8_lossy(&out), format!("-{expected}\r\n"), "{line}");
    });
}

#[test]
fn strings() {
    let (key, value) = (Key::new(b"k"), b"v".as_slice());
    let set = |when, expire, get| Command::Set { key, value, when, expire, get };
    use SetWhen::{Absent, Always, Present};
    write("SET k v", set(Always, Expire::Clear, false));
    write("set k v nx", set(Absent, Expire::Clear, false));
    write("set k v XX get keepttl", set(Present, Expire::Keep, true));
    write("set k v ex 7", set(Always, Expire::In(7000), false));
    write("set k v px 7 PX 8", set(Always, Expire::In(8), false));
    write("set k v exat 7", set(Always, Expire::At(7000), false));
    write("set k v pxat 7 get", set(Always, Expire::At(7), true));
    write("setnx k v", set(Absent, Expire::Clear, false));
    write("setex k 3 v", set(Always, Expire::In(3000), false));
    write("psetex k 3 v", set(Always, Expire::In(3), false));
    write("getset k v", set(Always, Expire::Clear, true));
    write("append k v", Command::Append { key, value });
    write("setrange k 5 v", Command::SetRange { key, offset: 5, value });
    write("incr k", Command::IncrBy { key, delta: 1 });
    write("decr k", Command::IncrBy { key, delta: -1 });
    write("incrby k -9", Command::IncrBy { key, delta: -9 });
    write("decrby k 9", Command::IncrBy { key, delta: -9 });
    write("incrbyfloat k -1.5e3", Command::IncrByFloat { key, delta: b"-1.5e3" });
    write("getdel k", Command::GetDel { key });
    write("getex k persist", Command::GetEx { key, expire: Expire::Clear });
    write("getex k exat 2", Command::GetEx { key, expire: Expire::At(2000) });
    write("setbit k 9 1", Command::SetBit { key, offset: 9, bit: true });
    read("getbit k 4294967295", Read::GetBit { key, offset: u64::from(u32::MAX) });
    let count = |start, end, in_bits| Read::BitCount { key, start, end, in_bits };
    read("bitcount k", count(0, -1, false));
    read("bitcount k 1 -2", count(1, -2, false));
    read("bitcount k 1 -2 BYTE", count(1, -2, false));
    read("bitcount k 1 -2 bit", count(1, -2, true));
    let position = |bit, start, end, in_bits| Read::BitPos { key, bit, start, end, in_bits };
    read("bitpos k 1", position(true, 0, None, false));
    read("bitpos k 0 2", position(false, 2, None, false));
    read("bitpos k 0 2 -1", position(false, 2, Some(-1), false));
    read("bitpos k 0 2 -1 BIT", position(false, 2, Some(-1), true));
    read("getex k", Read::Get { key });
    read("GET k", Read::Get { key });
    read("strlen k", Read::StrLen { key });
    read("getrange k 0 -1", Read::GetRange { key, start: 0, end: -1 });
    read("substr k 0 -1", Read::GetRange { key, start: 0, end: -1 });
}

#[test]
fn keys_of_any_type() {
    let key = Key::new(b"k");
    let expire = |expire, when| Command::Expire { key, expire, when };
    write("expire k 5", expire(Expire::In(5000), ExpireWhen::Always));
    write("pexpire k -5 nx", expire(Expire::In(-5), ExpireWhen::None));
    write("expireat k 5 xx", expire(Expire::At(5000), ExpireWhen::Some));
    write("pexpireat k 5 gt", expire(Expire::At(5), ExpireWhen::Later));
    write("expire k 5 gt xx", expire(Expire::In(5000), ExpireWhen::Later));
    write("expire k 5 lt", expire(Expire::In(5000), ExpireWhen::Earlier));
    write("expire k 5 xx lt", expire(Expire::In(5000), ExpireWhen::SomeEarlier));
    write("persist k", Command::Persist { key });
    read("type k", Read::Type { key });
    read("ttl k", Read::Ttl { key, in_millis: false, absolute: false });
    read("pexpiretime k", Read::Ttl { key, in_millis: true, absolute: true });
}

#[test]
fn scans() {
    let scan = |line: &str| {
        resolved(line, |found| match found {
            Ok((_, Action::Scan { cursor, count, pattern, kind })) => (cursor, count, pattern.to_vec(), kind),
            other => panic!("{line}: {other:?}"),
        })
    };
    assert_eq!(scan("scan 0"), (0, 10, vec![], TypeFilter::Any));
    assert_eq!(scan("scan 17 match a* count 3"), (17, 3, b"a*".to_vec(), TypeFilter::Any));
    assert_eq!(scan("scan 18446744073709551615 type STRING").0, u64::MAX);
    assert_eq!(scan("scan -1").0, u64::MAX);
    assert_eq!(scan("scan 0 type hash").3, TypeFilter::Other);
    assert_eq!(scan("scan 0 match '' type string").3, TypeFilter::Other);
    assert_eq!(scan("scan 0 count 9223372036854775807").1, 65_536);
    for cursor in ["a", "1a", "18446744073709551616", "-", "' 1'"] {
        refused(&format!("scan {cursor}"), "ERR invalid cursor");
    }
    refused("scan 0 count 0", "ERR syntax error");
    let long = "x".repeat(pinion_shard::limits::PATTERN_BYTES_MAX + 1);
    refused(&format!("scan 0 match {long}"), "ERR pattern exceeds maximum allowed size (1024 bytes)");
    refused("scan 0 match", "ERR syntax error");
    refused("scan 0 count a", "ERR value is not an integer or out of range");
}

#[test]
fn several_keys() {
    let keyed = |line: &str, with: &dyn Fn(Keyed<'_>)| {
        resolved(line, |found| match found {
            Ok((_, Action::Keyed(keyed))) => with(keyed),
            other => panic!("{line}: {other:?}"),
        });
    };
    keyed("mset a 1 b 2", &|keyed| {
        assert_eq!((keyed.kind, keyed.len()), (KeyedKind::MSet, 2));
        assert_eq!(keyed.keys().map(|key| key.bytes().to_vec()).collect::<Vec<_>>(), [b"a", b"b"]);
        let items: Vec<&[u8]> = keyed.items(1).collect();
        assert_eq!(items, [b"b", b"2"]);
        let pairs = List::new(&items);
        assert_eq!(keyed.write(pairs), Some(Command::MSet { pairs, only_new: false }));
        assert_eq!(keyed.read(pairs), None);
        assert!(matches!(crossing(&keyed, 8), Err(CommandError::CrossSlot)));
        assert_eq!(crossing(&keyed, 1).expect("one group"), Crossing::Many);
    });
    keyed("msetnx {a}1 1 {a}2 2", &|keyed| {
        assert_eq!(crossing(&keyed, 8).expect("one slot"), Crossing::One(Key::new(b"a").slot()));
    });
    keyed("mget a b a", &|keyed| {
        assert_eq!(keyed.len(), 3);
        assert_eq!(crossing(&keyed, 8).expect("it is split"), Crossing::Many);
        let keys = List::new(&[b"a"]);
        assert_eq!(keyed.read(keys), Some(Read::MGet { keys }));
    });
    keyed("unlink a", &|keyed| {
        let keys = List::new(&[b"a"]);
        assert_eq!(keyed.write(keys), Some(Command::Del { keys }));
    });
    keyed("rename a b", &|keyed| {
        assert_eq!((keyed.kind, keyed.len()), (KeyedKind::Rename, 2));
        let items: Vec<&[u8]> = vec![b"a", b"b"];
        let items = List::new(&items);
        let write = Command::Transfer { keys: items, replace: true, remove: true };
        assert_eq!(keyed.write(items), Some(write));
        assert!(crossing(&keyed, 2).is_err() && crossing(&keyed, 1).is_ok());
    });
    keyed("copy a b DB 0 Replace", &|keyed| {
        assert_eq!((keyed.kind, keyed.len()), (KeyedKind::Copy { replace: true }, 2));
        assert_eq!(keyed.keys().count(), 2);
    });
    keyed("touch a", &|keyed| assert_eq!(keyed.kind, KeyedKind::Exists));
    refused("mset a 1 b", "ERR wrong number of arguments for 'mset' command");
}

#[test]
fn refusals_in_the_words_of_the_oracle() {
    refused("foo", "ERR unknown command 'foo', with args beginning with: ");
    refused("foo a 'b c'", "ERR unknown command 'foo', with args beginning with: 'a' 'b c' ");
    let later =
        "is not served yet: strings and keys are, other types, transactions, scripts and messages are not";
    refused("MULTI", &format!("ERR 'multi' {later}"));
    refused("zAdd k 1 a", &format!("ERR 'zadd' {later}"));
    let (long, cut) = ("a".repeat(200), "a".repeat(128));
    refused(
        &format!("{long} {long} b"),
        &format!("ERR unknown command '{cut}', with args beginning with: '{cut}' "),
    );
    let args = "x".repeat(100);
    refused(
        &format!("foo {args} {args} b"),
        &format!("ERR unknown command 'foo', with args beginning with: '{args}' '{}' ", "x".repeat(25)),
    );
    refused("get", "ERR wrong number of arguments for 'get' command");
    refused("client setname", "ERR wrong number of arguments for 'client|setname' command");
    refused("client", "ERR wrong number of arguments for 'client' command");
    refused("Config foo", "ERR unknown subcommand 'foo'. Try CONFIG HELP.");
    refused("copy a b db", "ERR syntax error");
    refused("copy a b db 1", "ERR DB index is out of range");
    refused("copy a b db x", "ERR value is not an integer or out of range");
    refused(
        "copy a b db 2147483648",
        "ERR value is out of range, value must between -2147483648 and 2147483647",
    );
    refused("copy a a replace", "ERR source and destination objects are the same");
    refused("set k v ex", "ERR syntax error");
    refused("set k v nx xx", "ERR syntax error");
    refused("set k v keepttl ex 1", "ERR syntax error");
    refused("set k v ex 1 px 1", "ERR syntax error");
    refused("set k v persist", "ERR syntax error");
    refused("getex k keepttl", "ERR syntax error");
    refused("getex k ex 1 persist", "ERR syntax error");
    refused("set k v ex 0", "ERR invalid expire time in 'set' command");
    refused("set k v ex 9223372036854775807", "ERR invalid expire time in 'set' command");
    refused("setex k 0 v", "ERR invalid expire time in 'setex' command");
    refused("expire k 9223372036854775807", "ERR invalid expire time in 'expire' command");
    refused("expire k 1 foo", "ERR Unsupported option foo");
    refused("expire k 1 nx xx", "ERR NX and XX, GT or LT options at the same time are not compatible");
    refused("expire k 1 gt lt", "ERR GT and LT options at the same time are not compatible");
    refused("decrby k -9223372036854775808", "ERR decrement would overflow");
    refused("setrange k -1 v", "ERR offset is out of range");
    refused("flushall now", "ERR syntax error");
    let key = "k".repeat(KEY_BYTES_MAX + 1);
    refused(&format!("get {key}"), "ERR key exceeds maximum allowed size (32768 bytes)");
    refused(&format!("del a {key}"), "ERR key exceeds maximum allowed size (32768 bytes)");
}

#[test]
fn an_http_request_is_not_answered() {
    resolved("POST / HTTP/1.1", |found| {
        let error = found.expect_err("it is none of ours");
        let mut out = Vec::new();
        error.encode(&mut Encoder::new(&mut out, Protocol::Resp2));
        assert!(error.closes() && out.is_empty());
    });
}

/// O6: with a password nothing runs before it was given, except what is needed to give it.
#[test]
fn without_the_password_nothing_runs() {
    for spec in &TABLE {
        let args = vec![spec.name; spec.arity.unsigned_abs() as usize].join(" ");
        let (bytes, mut arguments) = (format!("{args}\r\n"), Arguments::new());
        let Next::Request { request, .. } =
            Parser::new().next(bytes.as_bytes(), &mut arguments, &Limits::default())
        else {
            panic!("{args}")
        };
        let open = ["auth", "hello", "quit", "reset"].contains(&spec.name);
        match resolve(request, false) {
            Ok(_) => assert!(open, "{args}"),
            Err(CommandError::NoAuth) => assert!(!open, "{args}"),
            // A container with a subcommand that is not there.
            Err(error) => assert!(matches!(error, CommandError::UnknownSubcommand(_)), "{args}: {error:?}"),
        }
    }
}

#[test]
fn every_row_of_the_table_has_a_parser_of_its_kind() {
    use crate::command::Kind;
    let rows = TABLE.iter().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands));
    let mut parsed = 0;
    for spec in rows {
        let mut words: Vec<&str> = spec.name.split('|').collect();
        let fill = if spec.name == "scan" { "0" } else { "1" };
        words.resize((spec.arity.unsigned_abs() as usize).max(words.len()), fill);
        match spec.name {
            "bitop" => words[1] = "and",
            _ if spec.second_key.is_some() => words[2] = "2",
            _ => {}
        }
        resolved(&words.join(" "), |found| {
            let (id, action) = match found {
                Ok(found) => found,
                Err(CommandError::UnknownSubcommand(_)) if !spec.subcommands.is_empty() => return,
                // It cannot be answered.
                Err(CommandError::Text(_)) if spec.name == "object|freq" => return,
                Err(error) => panic!("{words:?}: {error:?}"),
            };
            assert_eq!(id.spec().name, words[0]);
            let kind = match action {
                Action::Write(_) | Action::FlushAll => Kind::Write,
                Action::Read(_)
                | Action::Scan { .. }
                | Action::DbSize
                | Action::RandomKey
                | Action::Keys { .. } => Kind::Read,
                Action::Keyed(keyed) if keyed.kind.writes() => Kind::Write,
                Action::Keyed(_) => Kind::Read,
                Action::Local(_) | Action::Report(_) | Action::Chore(_) | Action::Cluster(_) => Kind::Local,
            };
            // GETEX writes only with an option.
            assert!(kind == spec.kind() || spec.name == "getex", "{words:?}: {action:?}");
            assert_eq!(
                spec.keys.is_some(),
                matches!(action, Action::Write(_) | Action::Read(_) | Action::Keyed(_))
            );
            parsed += 1;
        });
    }
    assert!(parsed > 55, "{parsed}");
}

#[test]
fn local_ones() {
    for (line, expected) in
        [("PING", Local::Ping), ("command", Local::Command), ("client id", Local::ClientId)]
    {
        resolved(line, |found| assert!(matches!(found, Ok((_, Action::Local(local))) if local == expected)));
    }
    for (line, expected) in [
        ("info a b", Report::Info),
        ("pinion stages", Report::Stages),
        ("pinion stages reset", Report::StagesReset),
        ("pinion flush", Report::Flush),
    ] {
        resolved(line, |found| {
            assert!(matches!(found, Ok((_, Action::Report(report))) if report == expected))
        });
    }
    refused("pinion stages now", "ERR syntax error");
}
