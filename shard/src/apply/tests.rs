mod model;
mod random;
mod replica;

use pinion_wal::disk::OpKind;
use pinion_wal::disk::sim::{Fault, Faults, Rule, SimDisk};

use crate::apply::tests::replica::{Replica, control_entry, entry};
use crate::reply::OwnedReply;
use crate::{
    Command, Control, Expire, Halt, HaltCause, Key, LogIndex, Read, Reply, ReplyError, SetWhen, Timestamp,
};

const OK: OwnedReply = OwnedReply::Plain(Reply::Ok);
const NIL: OwnedReply = OwnedReply::Plain(Reply::Nil);

fn set<'a>(key: &'a [u8], value: &'a [u8]) -> Command<'a> {
    let (when, expire) = (SetWhen::Always, Expire::Clear);
    Command::Set { key: Key::new(key), value, when, expire, get: false }
}

fn get(key: &[u8]) -> Read<'_> {
    Read::Get { key: Key::new(key) }
}

#[test]
fn a_write_is_read_back_at_its_timestamp() {
    let mut replica = Replica::open(1);
    let replies = replica.execute(100, 7, &[set(b"k", b"one"), set(b"k", b"two")]);
    assert_eq!(replies, [OK, OK]);
    assert_eq!(replica.apply.published(), Timestamp(101));
    assert_eq!(replica.read_at(&get(b"k"), 101, 7), OwnedReply::Bulk(b"two".to_vec()));
    assert_eq!(replica.read_at(&get(b"k"), 100, 7), OwnedReply::Bulk(b"one".to_vec()));
    assert_eq!(replica.read_at(&get(b"k"), 99, 7), NIL);
}

/// FLUSHALL hides what was written up to it, and only from readers above it.
#[test]
fn a_flush_is_seen_from_its_timestamp_on() {
    let mut replica = Replica::open(1);
    replica.execute(100, 0, &[set(b"k", b"old"), Command::FlushAll, set(b"new", b"x")]);
    assert_eq!(replica.read_at(&get(b"k"), 100, 0), OwnedReply::Bulk(b"old".to_vec()));
    assert_eq!(replica.read_at(&get(b"k"), 101, 0), NIL);
    assert_eq!(replica.read_at(&get(b"new"), 102, 0), OwnedReply::Bulk(b"x".to_vec()));
    let exists = Command::IncrBy { key: Key::new(b"k"), delta: 1 };
    assert_eq!(replica.execute(200, 0, &[exists]), [OwnedReply::Plain(Reply::Int(1))]);
}

/// T12: what a FLUSHALL hides stays in the tables until they reach beyond the FLUSHALL itself: before that a replay begins
/// below it, and its commands see what they saw. Then it goes.
#[test]
fn a_replay_below_a_flush_sees_what_was_there() {
    let options = pinion_lsm::Options { level0_tables_compact: 2, ..pinion_lsm::Options::default() };
    let mut replica = Replica::open(1);
    let log = [
        entry(3, 200, 0, &[Command::IncrBy { key: Key::new(b"k"), delta: 1 }]),
        entry(4, 300, 0, &[Command::FlushAll]),
        control_entry(5, 400, 0, &[Control::SafePoint { at: 350 }]),
    ];
    replica.execute(100, 0, &[set(b"k", b"5")]);
    replica.apply.request_seal();
    // The flush waits for its turn until the safe point has moved.
    for entry in log.clone() {
        replica.apply.submit(entry).expect("it is the next");
        while replica.run_once().expect("every entry can be executed") {}
    }
    replica.settle();
    let served = replica.apply.digest();
    let (disk, sim) = replica.close();
    let mut replica = Replica::on(disk, sim, 1, options, 1 << 20);
    assert_eq!(replica.next_index(), LogIndex(3), "the tables hold the first write and nothing behind it");
    let replies: Vec<_> = log.into_iter().flat_map(|entry| replica.submit(entry)).collect();
    assert_eq!(replies[0], OwnedReply::Plain(Reply::Int(6)));
    assert_eq!(replica.apply.digest(), served);
    for base in [500, 600, 700] {
        replica.execute(base, 0, &[set(b"l", b"v")]);
        replica.apply.request_seal();
        replica.settle();
        replica.control(base + 10, 0, &[Control::SafePoint { at: base }]);
    }
    let row = Key::new(b"k").row(crate::REDIS_KEYSPACE, crate::RowKind::Metadata);
    let hash = pinion_lsm::Tree::hash(&row);
    let got = replica.apply.tree().get(&row, hash, Timestamp::MAX, |at, _| at);
    assert!(matches!(got, pinion_lsm::Get::Absent), "{got:?}");
}

/// T6: what has expired by the header's time is absent, whatever any clock says; a read is judged by the time it is given.
#[test]
fn expiry_follows_the_time_of_the_batch() {
    let mut replica = Replica::open(1);
    let key = Key::new(b"k");
    let expire = Expire::In(10);
    let command = Command::Set { key, value: b"v", when: SetWhen::Always, expire, get: false };
    replica.execute(100, 1000, &[command]);
    assert_eq!(replica.read_at(&get(b"k"), 100, 1010), OwnedReply::Bulk(b"v".to_vec()));
    assert_eq!(replica.read_at(&get(b"k"), 100, 1011), NIL);
    let only_new = Command::Set { key, value: b"w", when: SetWhen::Absent, expire: Expire::Keep, get: false };
    assert_eq!(replica.execute(200, 1010, &[only_new]), [NIL]);
    assert_eq!(replica.execute(300, 1011, &[only_new]), [OK]);
    let ttl = Read::Ttl { key, in_millis: true, absolute: false };
    assert_eq!(replica.read_at(&ttl, 300, 1011), OwnedReply::Plain(Reply::Int(-1)));
}

/// T6: a reaped key is one that is still expired when the entry is applied.
#[test]
fn reaping_spares_what_was_written_again() {
    let mut replica = Replica::open(1);
    let expiring = |key| Command::Set {
        key: Key::new(key),
        value: b"v",
        when: SetWhen::Always,
        expire: Expire::At(50),
        get: false,
    };
    replica.execute(100, 40, &[expiring(b"gone"), expiring(b"again")]);
    replica.execute(200, 60, &[set(b"again", b"w")]);
    let mut expected = replica.apply.digest().expect("nothing is in flight");
    let row = Key::new(b"gone").row(crate::REDIS_KEYSPACE, crate::RowKind::Metadata);
    expected.add(&row, Timestamp(300), pinion_lsm::Cell::Tombstone);
    replica.control(300, 60, &[Control::Reap { keys: crate::List::new(&[b"gone", b"again", b"never"]) }]);
    assert_eq!(replica.apply.digest(), Some(expected), "one row was deleted, no other was touched");
    assert_eq!(replica.read_at(&get(b"again"), 300, 60), OwnedReply::Bulk(b"w".to_vec()));
}

/// S1: a command on a slot that the group does not own changes nothing and says so, on every path.
#[test]
fn ownership_is_checked_at_apply() {
    let mut replica = Replica::open_without_ranges(1);
    let moved =
        |key: &[u8]| OwnedReply::Plain(Reply::Error(ReplyError::Moved { slot: crate::Slot::of(key).0 }));
    let keys: [&[u8]; 2] = [b"bar", b"foo"];
    let replies = replica.execute(
        100,
        0,
        &[
            set(b"bar", b"v"),
            Command::Del { keys: crate::List::new(&keys) },
            Command::MSet { pairs: crate::List::new(&[b"bar", b"1"]), only_new: false },
        ],
    );
    assert_eq!(replies, [moved(b"bar"), moved(b"bar"), moved(b"bar")]);
    assert_eq!(replica.read_at(&get(b"bar"), 102, 0), moved(b"bar"));
    let slot = crate::Slot::of(b"bar").0;
    replica.control(200, 0, &[Control::Own { range: 1, version: 1, first_slot: slot, last_slot: slot }]);
    let replies =
        replica.execute(300, 0, &[set(b"bar", b"v"), Command::Del { keys: crate::List::new(&keys) }]);
    assert_eq!(replies, [OK, moved(b"foo")]);
    assert_eq!(replica.read_at(&get(b"bar"), 301, 0), OwnedReply::Bulk(b"v".to_vec()));
}

/// T13: a key named twice in one command is written once; the last value counts.
#[test]
fn one_command_writes_a_key_once() {
    let mut replica = Replica::open(1);
    let mut expected = replica.apply.digest().expect("nothing is in flight");
    for (key, cell) in [(b"{t}a", [1, 1, 0, b'3']), (b"{t}b", [1, 1, 0, b'2'])] {
        let row = Key::new(key).row(crate::REDIS_KEYSPACE, crate::RowKind::Metadata);
        expected.add(&row, Timestamp(100), pinion_lsm::Cell::Inline(&cell));
    }
    let pairs: [&[u8]; 6] = [b"{t}a", b"1", b"{t}b", b"2", b"{t}a", b"3"];
    replica.execute(100, 0, &[Command::MSet { pairs: crate::List::new(&pairs), only_new: false }]);
    assert_eq!(replica.apply.digest(), Some(expected));
    assert_eq!(replica.read_at(&get(b"{t}a"), 100, 0), OwnedReply::Bulk(b"3".to_vec()));
    let keys: [&[u8]; 3] = [b"{t}a", b"{t}a", b"{t}c"];
    let replies = replica.execute(200, 0, &[Command::Del { keys: crate::List::new(&keys) }]);
    assert_eq!(replies, [OwnedReply::Plain(Reply::Int(1))]);
}

/// Commands are not idempotent: an entry is applied once, and none is left out.
#[test]
fn entries_come_one_after_the_other() {
    for offset in [0, 2] {
        let mut replica = Replica::open(1);
        let next = replica.next_index();
        let index = next.0 - 1 + offset;
        let halt =
            replica.apply.submit(entry(index, 500, 0, &[set(b"k", b"v")])).expect_err("it is not the next");
        assert_eq!(halt.cause, HaltCause::Gap { last: LogIndex(next.0 - 1) });
        assert_eq!(replica.run_once().expect_err("it has halted"), halt);
    }
}

/// A replica halts at what it cannot execute, for ever, and never skips it.
#[test]
fn what_cannot_be_executed_halts_the_replica() {
    let good = entry(2, 500, 0, &[set(b"k", b"v")]).data;
    let mut flipped = good.to_vec();
    *flipped.last_mut().expect("it has bytes") ^= 1;
    let mut newer = good.to_vec();
    newer[6] = 2;
    crate::Stamp { base: Timestamp(500), ..crate::Stamp::default() }.write(&mut newer);
    for bad in [flipped, newer, good[..good.len() - 1].to_vec()] {
        let mut replica = Replica::open(1);
        let index = replica.next_index();
        let damaged = crate::Committed { data: bad.into(), ..entry(index.0, 500, 0, &[set(b"k", b"v")]) };
        replica.apply.submit(damaged).expect("it is the next");
        replica.apply.submit(entry(index.0 + 1, 600, 0, &[set(b"k", b"v")])).expect("it is the next");
        for _ in 0..2 {
            let Halt { index: halted, cause } = replica.run_once().expect_err("it cannot be executed");
            assert_eq!(halted, index);
            assert!(matches!(cause, HaltCause::Batch(_)), "{cause}");
        }
        assert_eq!(replica.apply.applied().0, LogIndex(index.0 - 1));
    }
}

/// O5: a halted replica still answers whoever waits, each once, and says that the outcome is not known.
#[test]
fn a_halted_replica_owes_no_answer() {
    let mut replica = Replica::open(1);
    replica.execute(100, 0, &[set(b"k", b"v")]);
    let index = replica.next_index();
    // Time goes back: the second entry cannot be executed, and the third stands behind it.
    for (offset, base) in [(0, 600), (1, 500), (2, 700)] {
        let entry = entry(index.0 + offset, base, 0, &[set(b"a", b"1"), set(b"b", b"2")]);
        replica.apply.submit(entry).expect("it is the next");
    }
    let mut replies = Vec::new();
    let mut out = |_, reply: Reply<'_>| replies.push(OwnedReply::from(reply));
    replica.apply.run(usize::MAX, &mut out).expect_err("it cannot be executed");
    replica.apply.abandon(&mut out);
    replica.apply.abandon(&mut out);
    let unknown = Reply::Error(ReplyError::Unknown);
    let expected = [Reply::Ok, Reply::Ok, unknown, unknown, unknown, unknown];
    assert_eq!(replies, expected.map(OwnedReply::Plain));
}

/// O5: a replica that is handed what it cannot take halts there: what is committed before and behind it is answered once, and not
/// executed.
#[test]
fn an_entry_that_cannot_be_taken_leaves_nobody_waiting() {
    let unknown = HaltCause::Batch(crate::BatchError::Unknown { field: "entry kind", found: 2 });
    for gap in [true, false] {
        let mut replica = Replica::open(1);
        let index = replica.next_index();
        let next = |offset: u64| entry(index.0 + offset, 500 + offset, 0, &[set(b"a", b"1")]);
        replica.apply.submit(next(0)).expect("it is the next");
        if !gap {
            replica.apply.halt(Halt { index: LogIndex(index.0 + 1), cause: unknown.clone() });
        }
        replica.apply.submit(next(2)).expect_err("it is not the next");
        replica.apply.submit(next(3)).expect_err("the replica has halted");
        let mut replies = Vec::new();
        let mut out = |_, reply: Reply<'_>| replies.push(OwnedReply::from(reply));
        let halt = replica.apply.run(usize::MAX, &mut out).expect_err("it has halted");
        assert_eq!(matches!(halt.cause, HaltCause::Gap { .. }), gap);
        replica.apply.abandon(&mut out);
        assert_eq!(replies, [Reply::Error(ReplyError::Unknown); 3].map(OwnedReply::Plain));
    }
}

/// D3: a read of a row that fails is tried again before the replica halts; one that keeps failing halts it.
#[test]
fn a_failed_read_of_a_row_is_tried_again() {
    for (failures, for_ever) in [(1..=1, false), (1..=2, false), (1..=1, true)] {
        let mut replica = Replica::open(4);
        replica.execute(100, 0, &[set(b"k", b"v"), set(b"l", b"w")]);
        replica.apply.request_seal();
        while replica.run_once().expect("nothing is executed") || replica.step_disk() {}
        let rule = |nth| Rule {
            kind: Some(OpKind::Read),
            path_part: ".table".into(),
            nth,
            for_ever,
            fault: Fault::Error(5),
        };
        replica.set_faults(Faults { rules: failures.map(rule).collect(), ..Faults::default() });
        let append = |name| Command::Append { key: Key::new(name), value: b"x" };
        let commands = [append(b"k"), append(b"l")];
        let read = entry(replica.next_index().0, 200, 0, &commands);
        if !for_ever {
            let replies = replica.submit(read);
            assert_eq!(replies, [Reply::Int(2); 2].map(OwnedReply::Plain));
            continue;
        }
        replica.apply.submit(read).expect("it is the next");
        let halt = loop {
            match replica.run_once() {
                Err(halt) => break halt,
                Ok(_) => assert!(
                    replica.step_disk() || replica.apply.metrics().fetched < 100,
                    "it goes on for ever"
                ),
            }
        };
        assert!(matches!(halt.cause, HaltCause::Read(_)), "{halt}");
    }
}

/// O5: a command whose row a task has read since the last run asks for another run; nobody else would wake the core for it.
#[test]
fn a_row_that_was_read_asks_for_a_run() {
    let mut replica = Replica::open(4);
    replica.execute(100, 0, &[set(b"k", b"v")]);
    replica.apply.request_seal();
    while replica.run_once().expect("nothing is executed") || replica.step_disk() {}
    let append = Command::Append { key: Key::new(b"k"), value: b"x" };
    let read = entry(replica.next_index().0, 200, 0, &[append]);
    replica.apply.submit(read).expect("it is the next");
    replica.run_once().expect("it is admitted");
    let (mut runs, mut steps) = (0, 0);
    while !replica.apply.is_idle() {
        if replica.apply.is_stirred() {
            runs += 1;
            replica.run_once().expect("it is executed");
        }
        replica.step_disk();
        steps += 1;
        assert!(steps < 1_000, "nothing asks for a run");
    }
    assert_eq!((runs, replica.apply.is_stirred()), (1, false));
}

/// Timestamps rise and time does not go back, whoever led: anything else halts.
#[test]
fn disorder_halts_the_replica() {
    for (base, time_ms) in [(500, 9), (499, 9), (600, 8)] {
        let mut replica = Replica::open(1);
        replica.execute(500, 9, &[set(b"k", b"v")]);
        let index = replica.next_index();
        replica.apply.submit(entry(index.0, base, time_ms, &[set(b"k", b"w")])).expect("it is the next");
        let halt = replica.run_once().expect_err("it is out of order");
        assert!(matches!(halt.cause, HaltCause::Disorder { .. }), "{halt}");
    }
}

/// A deadline that passed before the batch was stamped: nothing is executed, on any replica.
#[test]
fn a_late_batch_is_answered_and_not_executed() {
    let mut replica = Replica::open(1);
    let committed = entry(replica.next_index().0, 500, 1000, &[set(b"k", b"v")]);
    let (batch, _) = crate::Batch::split(&committed.data).expect("it was just built");
    let header = crate::Header { deadline_ms: 999, ..batch.header };
    let data = [&header.encode(), &committed.data[crate::HEADER_BYTES..]].concat();
    let replies = replica.submit(crate::Committed { data: data.into(), ..committed });
    assert_eq!(replies, [OwnedReply::Plain(Reply::Error(ReplyError::DeadlinePassed))]);
    assert_eq!(replica.read_at(&get(b"k"), 500, 1000), NIL);
}

/// O1: rows that are read for commands in flight are bounded in bytes, not in number alone.
#[test]
fn rows_fetched_ahead_are_bounded_in_bytes() {
    let mut replica = Replica::open(8);
    let names: Vec<_> = (0..100).map(|number: u8| [number]).collect();
    let value = vec![7; 1 << 20];
    let commands: Vec<_> = names.iter().map(|name| set(name, &value)).collect();
    for (number, commands) in commands.chunks(25).enumerate() {
        replica.execute(100 * (number as u64 + 1), 0, commands);
    }
    replica.apply.request_seal();
    while replica.run_once().expect("nothing is executed") || replica.step_disk() {}
    let append = |name| Command::Append { key: Key::new(name), value: b"x" };
    let commands: Vec<_> = names.iter().map(|name| append(name)).collect();
    replica.apply.submit(entry(replica.next_index().0, 1_000, 0, &commands)).expect("it is the next");
    let mut most = 0;
    while replica.run_once().expect("it can be executed") || replica.step_disk() || !replica.apply.is_idle() {
        most = most.max(replica.apply.line.fetched_bytes());
    }
    assert_eq!(replica.take_replies().len(), 100);
    assert_eq!(replica.apply.metrics().fetched, 100);
    assert_eq!(replica.apply.line.fetched_bytes(), 0, "all were used");
    assert!((1 << 20..=17 << 20).contains(&most), "{most} bytes were held");
}

/// O1: what a read of several keys answers is bounded in bytes, whether its rows are in memory or on the disk.
#[test]
fn a_read_of_many_keys_is_bounded_in_bytes() {
    let mut replica = Replica::open(1);
    let value = vec![7; 1 << 20];
    replica.execute(100, 0, &[set(b"large", &value)]);
    for _ in 0..2 {
        let fits = [b"large".as_slice(); 64];
        let answer = replica.read_at(&Read::MGet { keys: crate::List::new(&fits) }, 100, 0);
        assert_eq!(answer, OwnedReply::Array(vec![OwnedReply::Bulk(value.clone()); 64]));
        let too_many = [b"large".as_slice(); 1_000];
        let answer = replica.read_at(&Read::MGet { keys: crate::List::new(&too_many) }, 100, 0);
        assert_eq!(answer, OwnedReply::Plain(Reply::Error(ReplyError::AnswerTooLong)));
        replica.apply.request_seal();
        while replica.run_once().expect("nothing is executed") || replica.step_disk() {}
    }
}

/// A read that waits for the disk sees its timestamp to its end, whatever is written, flushed, compacted or removed
/// meanwhile, and however far the safe point goes.
#[test]
fn a_read_that_waits_sees_one_timestamp() {
    let names: Vec<Vec<u8>> = (0..100_u8).map(|number| vec![b'k', number]).collect();
    let keys: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    let keys = crate::List::new(&keys);
    let kind = crate::TypeFilter::Any;
    let reads = [
        Read::MGet { keys },
        Read::Exists { keys },
        Read::Scan { cursor: 0, count: 1_000, pattern: b"", kind },
        Read::DbSize { cursor: 0, count: 1_000 },
        get(&names[7]),
    ];
    for read in reads {
        for overwritten in [true, false] {
            let (disk, sim) = (pinion_wal::disk::Disk::new(), SimDisk::new(7, Faults::default()));
            let options = pinion_lsm::Options { level0_tables_compact: 2, ..pinion_lsm::Options::default() };
            let mut replica = Replica::on(disk, sim, 1, options, 1 << 20);
            replica.control(1, 0, &[Control::Own { range: 1, version: 1, first_slot: 0, last_slot: 16383 }]);
            let writes = |value| names.iter().map(move |name| set(name, value)).collect::<Vec<_>>();
            replica.execute(100, 0, &writes(b"old"));
            replica.flush();
            let waits = replica.begin_read(&read, 199, 0).expect_err("its rows are on the disk");
            let expected = replica.read_at(&read, 199, 0);
            let command = if overwritten { writes(b"new") } else { vec![Command::FlushAll] };
            replica.execute(1_000, 0, &command);
            for base in [2_000, 3_000] {
                replica.control(base, 0, &[Control::SafePoint { at: base - 1 }]);
                replica.flush();
            }
            let work = replica.apply.tree().metrics().work;
            assert!(work.flushes >= 3 && work.compactions > 0, "{work:?}");
            assert_eq!(replica.finish_read(waits), expected, "{read:?}");
        }
    }
}

/// O1: a page of SCAN ends when its keys have many bytes, whatever was asked for; all pages together have all keys.
#[test]
fn a_page_of_large_keys_is_short() {
    let mut replica = Replica::open(1);
    let names: Vec<Vec<u8>> = (0..100_u8).map(|number| vec![number; 32 << 10]).collect();
    let commands: Vec<_> = names.iter().map(|name| set(name, b"v")).collect();
    replica.execute(100, 0, &commands);
    let (mut cursor, mut found, mut pages) = (0, Vec::new(), 0);
    loop {
        let scan = Read::Scan { cursor, count: 65_536, pattern: b"", kind: crate::TypeFilter::Any };
        let OwnedReply::Page(next, keys) = replica.read_at(&scan, 199, 0) else { panic!("no page") };
        assert!(keys.iter().map(Vec::len).sum::<usize>() <= crate::limits::PAGE_BYTES_MAX + (32 << 10));
        (cursor, pages) = (next, pages + 1);
        found.extend(keys);
        if cursor == 0 {
            break;
        }
    }
    found.sort();
    assert_eq!((found, pages), (names, 4));
}

/// O1: answers that wait for a row of a command before them are bounded in bytes, too.
#[test]
fn answers_that_wait_are_bounded_in_bytes() {
    let mut replica = Replica::open(8);
    let small: Vec<_> = (0..60_u8).map(|number| [number, 0]).collect();
    // It has a block for itself, which no other read brings into the cache.
    let large = vec![7; 64 << 10];
    let mut commands = vec![set(b"cold", &large)];
    commands.extend(small.iter().map(|name| set(name, b"v")));
    replica.execute(100, 0, &commands);
    replica.apply.request_seal();
    while replica.run_once().expect("nothing is executed") || replica.step_disk() {}
    // Rows that are being read are taken for small from now on.
    for name in &small {
        let base = replica.next_index().0 + 170;
        let append = Command::Append { key: Key::new(name), value: b"x" };
        replica.apply.submit(entry(replica.next_index().0, base, 0, &[append])).expect("it is the next");
        while replica.run_once().expect("it runs") || replica.step_disk() || !replica.apply.is_idle() {}
    }
    replica.take_replies();
    let value = vec![7; 1 << 20];
    for number in 0..100_u8 {
        replica.execute(500 + u64::from(number), 0, &[set(&[number], &value)]);
    }
    let take = |name| Command::GetDel { key: Key::new(name) };
    let names: Vec<_> = (0..100_u8).map(|number| [number]).collect();
    let mut commands = vec![Command::Append { key: Key::new(b"cold"), value: b"x" }];
    commands.extend(names.iter().map(|name| take(name)));
    replica.apply.submit(entry(replica.next_index().0, 1_000, 0, &commands)).expect("it is the next");
    let mut most = 0;
    while replica.run_once().expect("it can be executed") || replica.step_disk() || !replica.apply.is_idle() {
        most = most.max(replica.apply.line.answered_bytes());
    }
    let replies = replica.take_replies();
    assert_eq!(replies.len(), 101);
    assert!(replies[1..].iter().all(|(_, reply)| *reply == OwnedReply::Bulk(value.clone())));
    assert!((1 << 20..=17 << 20).contains(&most), "{most} bytes were held");
    assert_eq!(replica.apply.line.answered_bytes(), 0);
}

/// A value larger than a chunk of the memtable, and what is written after it.
#[test]
fn a_large_value_disturbs_no_other() {
    let mut replica = Replica::open(1);
    let large = vec![7; 3 << 20];
    replica.execute(100, 0, &[set(b"large", &large), set(b"small", b"after")]);
    assert_eq!(replica.read_at(&get(b"small"), 101, 0), OwnedReply::Bulk(b"after".to_vec()));
    assert_eq!(replica.read_at(&get(b"large"), 101, 0), OwnedReply::Bulk(large));
}
