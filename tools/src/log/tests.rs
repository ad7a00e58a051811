//! A log of a few groups, dumped, damaged and verified.
#![expect(clippy::disallowed_methods, reason = "reads and damages files as nobody should")]

use std::path::PathBuf;

use pinion_shard::{
    BatchBuilder, CoreId, Expire, GroupId, Key, Kind, List, LogIndex, NodeId, Origin, SetWhen, Term,
};
use pinion_wal::disk::direct::DirectDisk;
use pinion_wal::disk::{Disk, block_on};
use pinion_wal::{EntryRef, HardState, Wal};

use super::*;

fn batch(commands: &[pinion_shard::Command<'_>]) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    for command in commands {
        builder.push(command);
    }
    builder.finish(Kind::Commands, Origin { node: NodeId(1), core: CoreId(0), slot: 0 }).into_bytes()
}

fn set(number: u64, value: &[u8]) -> Vec<u8> {
    let key = format!("key {number}");
    batch(&[
        pinion_shard::Command::Set {
            key: Key::new(key.as_bytes()),
            value,
            when: SetWhen::Always,
            expire: Expire::Clear,
            get: false,
        },
        pinion_shard::Command::Del { keys: List::new(&[b"gone"]) },
    ])
}

/// Two groups, three incarnations, several segments; a long value goes over several flushes.
fn make(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("pinion-log-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("a directory for the test");
    let disk = Disk::new();
    let mut driver = DirectDisk::new(&path).expect("it can be used");
    for life in 0..3_u64 {
        block_on(&disk, &mut driver, None, async {
            let opened = Wal::open(&disk, LogId(0), pinion_wal::Options::tiny()).await;
            let (mut wal, _) = opened.expect("nothing is damaged");
            for group in [16, 17] {
                wal.append_hard_state(
                    GroupId(group),
                    HardState { term: Term(life + 1), vote: 1, commit: LogIndex(life * 8) },
                );
                for index in life * 8 + 1..=life * 8 + 8 {
                    let value = vec![b'v'; if index == 3 { 9_000 } else { 40 }];
                    let data = set(index, &value);
                    let entry =
                        EntryRef { index: LogIndex(index), term: Term(life + 1), kind: 0, data: &data };
                    wal.append_entries(GroupId(group), LogIndex(0), &[entry]);
                    wal.settle().await.expect("the disk works");
                }
            }
            wal.settle_and_mark().await.expect("the disk works");
            wal.close().await.expect("the disk works");
        });
    }
    path
}

fn dump(path: &std::path::Path, change: impl FnOnce(&mut Dump)) -> String {
    let mut job = Dump { limit: u64::MAX, ..of(path) };
    change(&mut job);
    let mut out = Vec::new();
    assert_eq!(run(&Job::Dump(job), &mut out), Ok(true));
    String::from_utf8(out).expect("it is text")
}

#[test]
fn a_dump_shows_records_with_their_place_keys_and_cut_values() {
    let path = make("dump");
    let text = dump(&path, |_| {});
    assert!(text.contains("segment log-0000/segment-00000000: epoch"), "{text}");
    assert!(text.contains(": entry, group 17, index 24, term 3, commit"), "{text}");
    let long = format!("Set \"key 3\" = \"{}\"… (9000 bytes)", "v".repeat(32));
    assert!(text.contains(&long) && text.contains("Del \"gone\""), "{text}");
    assert!(text.contains("hard state, group 16") && text.contains("marker, group"), "{text}");

    let text = dump(&path, |job| (job.group, job.from, job.limit) = (Some(17), 23, 1));
    let records: Vec<&str> = text.lines().filter(|line| line.contains(": entry, ")).collect();
    assert_eq!(records.len(), 1, "{text}");
    assert!(records[0].contains("group 17, index 23"), "{text}");
    assert!(dump(&path, |job| job.values = true).contains(&"v".repeat(9_000)));

    // The offset of a record is that of its header in the file.
    for line in dump(&path, |job| job.json = true).lines() {
        let told: Value = serde_json::from_str(line).expect("every line is JSON");
        if told["record"] == "entry" {
            let bytes = std::fs::read(path.join(told["file"].as_str().expect("text"))).expect("it is there");
            let at = usize::try_from(told["offset"].as_u64().expect("a number")).expect("it fits");
            assert_eq!(bytes[at + 4], 1, "the type of an entry stands at byte 4 of {told}");
            // What of the header stands in the same sector: the group, at byte 8.
            if at % 512 + 12 <= 504 {
                let group = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().expect("four bytes"));
                assert_eq!(u64::from(group), told["group"].as_u64().expect("a number"), "{told}");
            }
            assert_eq!(told["batches"][0]["commands"][1]["keys"], json!(["\"gone\""]));
        }
    }
    let mut out = Vec::new();
    let job = Dump { log: Some(7), ..of(&path) };
    let error = run(&Job::Dump(job), &mut out).expect_err("there is no such log");
    assert!(error.contains("no log 7") && error.contains("[0]"), "{error}");
    let _ = std::fs::remove_dir_all(&path);
}

fn of(path: &std::path::Path) -> Dump {
    Dump { dir: path.to_owned(), log: None, group: None, from: 0, limit: 1, values: false, json: false }
}

/// A log as bytes: `HEAD` and the segments.
struct Bytes {
    head: Vec<u8>,
    segments: Vec<(u32, Vec<u8>)>,
}

impl Bytes {
    fn read(path: &std::path::Path) -> Self {
        let dir = path.join("log-0000");
        let mut segments = Vec::new();
        for entry in std::fs::read_dir(&dir).expect("it is there") {
            let entry = entry.expect("it is readable");
            if let Some(number) = segment_number(&entry.file_name().to_string_lossy()) {
                segments.push((number, std::fs::read(entry.path()).expect("it is readable")));
            }
        }
        segments.sort();
        Self { head: std::fs::read(dir.join("HEAD")).expect("it is there"), segments }
    }

    fn verdict(&self) -> Verdict {
        let segments: Vec<(u32, &[u8])> = self.segments.iter().map(|(n, bytes)| (*n, &bytes[..])).collect();
        let mut verdict = Verdict::default();
        match Survey::of(LogId(0), Some(&self.head), &segments) {
            Ok(survey) => verdict.judge(&survey),
            Err(error) => verdict.refused.push(error.to_string()),
        }
        verdict
    }
}

/// D3: each flipped byte is told: as damage when it counts, as unused when nothing that counts stands there.
#[test]
fn every_flipped_byte_is_told() {
    let path = make("flips");
    let mut log = Bytes::read(&path);
    let whole = log.verdict();
    assert!(whole.is_spotless(), "{}", whole.text());
    assert_eq!((whole.entries, whole.groups), (48, 2));
    let seed = 0x10_6d;
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut damaged, mut unused) = (0, 0);
    for round in 0..400 {
        // Most bytes of a segment are zeros that nothing was written to: aim at the beginning.
        let which = random.usize(..=log.segments.len());
        let bytes = if which == log.segments.len() { &mut log.head } else { &mut log.segments[which].1 };
        let reach = if random.bool() { bytes.len() } else { bytes.len() / 2 };
        let (at, bit) = (random.usize(..reach), 1_u8 << random.u8(..8));
        bytes[at] ^= bit;
        let verdict = log.verdict();
        assert!(
            !verdict.is_spotless(),
            "seed {seed}, round {round}: byte {at} of {which} was flipped unseen"
        );
        if verdict.is_good() {
            unused += 1
        } else {
            damaged += 1
        }
        let bytes = if which == log.segments.len() { &mut log.head } else { &mut log.segments[which].1 };
        bytes[at] ^= bit;
    }
    assert!(
        damaged > 50 && unused > 50,
        "{damaged} damaged, {unused} unused: the test looks at one kind only"
    );
    let _ = std::fs::remove_dir_all(&path);
}

/// O7: the verdict names file, offset, what was expected and found, and what to do; and the exit tells.
#[test]
fn damage_is_told_with_file_offset_and_remedy() {
    let path = make("told");
    let file = path.join("log-0000/segment-00000000");
    let mut bytes = std::fs::read(&file).expect("it is there");
    bytes[4096 + 700] ^= 1;
    std::fs::write(&file, bytes).expect("it is written");
    let verify = |json| {
        let mut out = Vec::new();
        let good = run(&Job::Verify(Verify { dir: path.clone(), json }), &mut out).expect("it can be read");
        (good, String::from_utf8(out).expect("it is text"))
    };
    let (good, text) = verify(false);
    assert!(!good);
    for part in ["segment-00000000 is damaged at byte 4608: expected checksum", "found", "remedy: ", "BAD: "]
    {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
    let (good, text) = verify(true);
    let told: Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!((good, &told["good"], &told["damage"][0]["offset"]), (false, &json!(false), &json!(4608)));
    let empty = path.join("log-0000");
    let error =
        run(&Job::Verify(Verify { dir: empty, json: false }), &mut Vec::new()).expect_err("no logs within");
    assert!(error.contains("data directory"), "{error}");
    let _ = std::fs::remove_dir_all(&path);
}

/// An entry whose records are whole and whose batch is not: the log cannot see it, the state machine would halt.
#[test]
fn an_entry_that_cannot_be_executed_is_told() {
    let path = std::env::temp_dir().join(format!("pinion-log-{}-halt", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("a directory for the test");
    let disk = Disk::new();
    let mut driver = DirectDisk::new(&path).expect("it can be used");
    block_on(&disk, &mut driver, None, async {
        let opened = Wal::open(&disk, LogId(0), pinion_wal::Options::tiny()).await;
        let (mut wal, _) = opened.expect("it is new");
        let mut data = set(1, b"value");
        *data.last_mut().expect("it has a body") ^= 1;
        let entry = EntryRef { index: LogIndex(1), term: Term(1), kind: 0, data: &data };
        wal.append_entries(GroupId(16), LogIndex(0), &[entry]);
        wal.settle_and_mark().await.expect("the disk works");
        wal.close().await.expect("the disk works");
    });
    let verdict = Bytes::read(&path).verdict();
    assert!(!verdict.is_good() && verdict.damage.is_empty(), "{}", verdict.text());
    assert!(verdict.text().contains("entry 1 of group 16"), "{}", verdict.text());
    let _ = std::fs::remove_dir_all(&path);
}
