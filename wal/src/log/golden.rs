//! The bytes that `FORMAT.md` describes, as they are on disks already: a change here breaks every log there is.

use super::*;
use crate::disk::sim::{Faults, Pattern, SimDisk};
use crate::disk::{Disk, block_on};
use crate::{GroupId, LogId, LogIndex, Term};

fn hex(bytes: &[u8]) -> String {
    let line = |line: &[u8]| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    bytes.chunks(32).map(line).collect::<Vec<_>>().join("\n") + "\n"
}

/// Compares with `testdata/NAME`; with `PINION_BLESS` set it is written instead.
fn golden(name: &str, bytes: &[u8]) {
    let path = format!("{}/testdata/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("PINION_BLESS").is_some() {
        #[expect(clippy::disallowed_methods, reason = "goldens are files of the source tree")]
        std::fs::write(&path, hex(bytes)).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert_eq!(hex(bytes), expected, "{path} differs: the format changed");
}

/// A log with one record of each type that a person might look at, in two flushes.
fn contents() -> (Vec<u8>, Vec<u8>) {
    let (disk, mut sim) = (Disk::new(), SimDisk::new(1, Faults::default()));
    block_on(&disk, &mut sim, None, async {
        let (mut wal, _) = Wal::open(&disk, LogId(5), Options::tiny()).await.unwrap();
        let entry = EntryRef { index: LogIndex(1), term: Term(2), kind: 3, data: b"pinion" };
        wal.append_entries(GroupId(16), LogIndex(0), &[entry]);
        wal.append_hard_state(GroupId(16), HardState { term: Term(2), vote: 77, commit: LogIndex(1) });
        wal.settle().await.unwrap();
        wal.append_first(GroupId(16), LogIndex(2), Term(2));
        let hard_state = HardState { term: Term(4), vote: 1, commit: LogIndex(9) };
        wal.adopt(GroupId(17), HomeEpoch(2), hard_state, LogIndex(9), Term(3));
        wal.adopted(GroupId(17));
        wal.release(GroupId(17));
        wal.settle_and_mark().await.unwrap();
    });
    let image = sim.crashed(Pattern::Nothing, 0);
    let head = image.contents("log-0005/HEAD").unwrap();
    (head, image.contents("log-0005/segment-00000000").unwrap())
}

#[test]
fn the_head_is_as_documented() {
    let (head, _) = contents();
    let (first, second) = head.split_at(4096);
    golden("head.hex", &first[..128]);
    assert!(first[128..].iter().all(|&byte| byte == 0));
    assert_eq!(first, second, "both halves are the same");
    assert_eq!((&first[..4], &first[24..28]), (&b"PTW1"[..], &b"PWHD"[..]));
}

#[test]
fn blocks_and_records_are_as_documented() {
    let (_, segment) = contents();
    golden("blocks.hex", &segment[..3 * 4096]);
    assert!(segment[3 * 4096..].iter().all(|&byte| byte == 0));
    // A few places by hand, as the tables give them.
    assert_eq!(&segment[0..4], b"PWL1");
    assert_eq!(segment[4], 5, "log id");
    assert_eq!(segment[8], 1, "incarnation");
    assert_eq!(segment[4096 + 24], 1, "number of the second block");
    assert_eq!(segment[2 * 4096 + 32], 2, "two blocks were stable when the third was written");
    let record = &segment[64 + 48..];
    assert_eq!(segment[64 + 4], 5, "the end of no summaries comes first");
    assert_eq!((record[4], record[5], record[6], record[8]), (1, 1, 3, 16), "then the entry");
    assert_eq!(&record[48..54], b"pinion");
    assert_eq!(crc32c::crc32c(&segment[..508]), u32::from_le_bytes(segment[508..512].try_into().unwrap()));
}
