//! A tree of a few tables, dumped, damaged and verified.
#![expect(clippy::disallowed_methods, reason = "reads and damages files as nobody should")]

use std::path::PathBuf;
use std::rc::Rc;
use std::task::Poll;

use pinion_core::host::Tsc;
use pinion_lsm::{Boundary, Cache, Engine, Options, Timestamp, hash_of};
use pinion_shard::{Key, REDIS_KEYSPACE, RowKind};
use pinion_wal::disk::direct::DirectDisk;
use pinion_wal::disk::{Disk, block_on};
use pinion_wal::task::Tasks;
use pinion_wal::{LogIndex, Term};

use super::*;

/// Three flushes of group 16: several tables, versions, and keys that are gone.
fn make(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("pinion-table-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("a directory for the test");
    let disk = Disk::new();
    let mut driver = DirectDisk::new(&path).expect("it can be used");
    let mut tasks = Tasks::new(Rc::new(Tsc::new()));
    let options = Options { level0_tables_compact: 100, level0_tables_max: 200, ..Options::default() };
    let engine = Engine::new(disk.clone(), tasks.spawner(), Cache::new(1 << 20), options);
    block_on(&disk, &mut driver, Some(&mut tasks), async {
        let (tree, _) = engine.open_tree(TreeId(16)).await.expect("it is new");
        for flush in 1..=3_u64 {
            for number in 0..200_u64 {
                let name = format!("key {number}");
                let row = Key::new(name.as_bytes()).row(REDIS_KEYSPACE, RowKind::Metadata);
                let value = [b'v'; 60];
                let cell = if number == 7 * flush { Cell::Tombstone } else { Cell::Inline(&value) };
                tree.put(&row, hash_of(&row), Timestamp(flush * 1_000 + number), cell);
            }
            tree.seal(Boundary { index: LogIndex(flush * 10), term: Term(1), ..Boundary::default() });
            std::future::poll_fn(|context| {
                if tree.is_idle() {
                    return Poll::Ready(());
                }
                context.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
            assert_eq!(tree.flushed().index, LogIndex(flush * 10));
        }
    });
    path
}

fn look(path: &Path, json: bool) -> Look {
    Look { path: path.to_owned(), group: None, json }
}

fn output(job: &Job) -> (bool, String) {
    let mut out = Vec::new();
    let good = run(job, &mut out).expect("it can be read");
    (good, String::from_utf8(out).expect("it is text"))
}

#[test]
fn a_dump_shows_rows_and_a_manifest_its_tables() {
    let path = make("dump");
    let (good, text) = output(&Job::Manifest(look(&path, false)));
    assert!(good && text.contains("rows up to entry 30 of term 1; 3 tables"), "{text}");
    let (_, json) = output(&Job::Manifest(look(&path, true)));
    let told: Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!((&told["index"], &told["tables"][0]["rows"]), (&json!(30), &json!(200)));

    let dump = |prefix: &str, limit, json| {
        let look = look(&path, json);
        output(&Job::Dump(Dump { look, prefix: prefix.into(), limit, values: false })).1
    };
    let text = dump("key 7", 1, false);
    assert_eq!(text.lines().filter(|line| line.contains("\"key 7")).count(), 3, "one of each table: {text}");
    let text = dump("key 14", u64::MAX, false);
    assert!(text.contains("\"key 14\" at 2014 = gone"), "{text}");
    assert!(text.contains(&format!("\"key 14\" at 3014 = \"{}\"… (60 bytes)", "v".repeat(32))), "{text}");
    let lines = dump("", u64::MAX, true);
    assert_eq!(lines.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count(), 600);

    let table = std::fs::read_dir(path.join("tree-00000016")).expect("it is there").find_map(|entry| {
        let entry = entry.expect("it is readable");
        survey::table_named(&entry.file_name().to_string_lossy()).map(|_| entry.path())
    });
    let (good, text) = output(&Job::Verify(look(&table.expect("there are tables"), false)));
    assert!(good && text.contains("ok: 1 trees, 1 tables, 200 rows"), "{text}");
    let wrong = run(&Job::Verify(Look { group: Some(99), ..look(&path, false) }), &mut Vec::new());
    assert!(wrong.expect_err("there is no such group").contains("--group"));
    let _ = std::fs::remove_dir_all(&path);
}

/// D3: no byte of any file can be flipped unseen; the sentence names file and byte, and what to do.
#[test]
fn every_flipped_byte_of_a_tree_is_found() {
    let path = make("flips");
    let (good, text) = output(&Job::Verify(look(&path, false)));
    assert!(good && text.contains("ok: 1 trees, 3 tables, 600 rows"), "{text}");
    let files: Vec<PathBuf> = std::fs::read_dir(path.join("tree-00000016"))
        .expect("it is there")
        .map(|entry| entry.expect("it is readable").path())
        .collect();
    assert_eq!(files.len(), 5, "three tables, a manifest, CURRENT: {files:?}");
    let seed = 0x7ab1e;
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..400 {
        let file = &files[random.usize(..files.len())];
        let whole = std::fs::read(file).expect("it is readable");
        let (at, bit) = (random.usize(..whole.len()), 1_u8 << random.u8(..8));
        let mut bytes = whole.clone();
        bytes[at] ^= bit;
        std::fs::write(file, &bytes).expect("it is writable");
        let (good, text) = output(&Job::Verify(look(&path, false)));
        let name = file.file_name().expect("a file").to_string_lossy();
        assert!(
            !good && text.contains("BAD     tree-00000016/"),
            "seed {seed}, round {round}: {name} byte {at}: {text}"
        );
        assert!(
            text.contains(&*name) && text.contains("restore"),
            "seed {seed}, round {round}: {name}: {text}"
        );
        std::fs::write(file, &whole).expect("it is writable");
    }
    std::fs::remove_file(files.iter().find(|file| file.extension().is_some()).expect("a table"))
        .expect("it was there");
    std::fs::write(path.join("tree-00000016/000000000099.table"), b"left over").expect("it is writable");
    let (good, text) = output(&Job::Verify(look(&path, false)));
    assert!(
        !good && text.contains("is missing") && text.contains("unused  tree-00000016/000000000099.table"),
        "{text}"
    );
    let _ = std::fs::remove_dir_all(&path);
}
