use super::*;
use crate::crash::{Plan, Workload, run};
use crate::disk::{Disk, block_on, direct::DirectDisk};
use crate::{GroupId, LogId, LogIndex, Term};

fn entry(index: u64, data: &[u8]) -> EntryRef<'_> {
    EntryRef { index: LogIndex(index), term: Term(1), kind: 0, data }
}

/// D1: what is stable is found again, on a real disk.
#[test]
fn a_log_on_a_real_disk_is_found_again() {
    let root = std::env::temp_dir().join(format!("pinion-wal-log-{}", std::process::id()));
    std::fs::create_dir_all(&root).unwrap();
    let disk = Disk::new();
    let mut direct = DirectDisk::new(&root).unwrap();
    block_on(&disk, &mut direct, None, async {
        let (mut wal, recovered) = Wal::open(&disk, LogId(3), Options::tiny()).await.unwrap();
        assert!(recovered.groups.is_empty());
        for index in 1..=100 {
            wal.append_entries(GroupId(7), LogIndex(index - 1), &[entry(index, &[index as u8; 3_000])]);
        }
        wal.settle_and_mark().await.unwrap();
        wal.close().await.unwrap();
        let (wal, recovered) = Wal::open(&disk, LogId(3), Options::tiny()).await.unwrap();
        let group = &recovered.groups[&GroupId(7)];
        assert_eq!(group.entries.len(), 100);
        assert!(group.entries.iter().all(|e| e.data.len() == 3_000 && e.data[0] == e.index.0 as u8));
        assert_eq!(group.commit, LogIndex(99));
        assert_eq!(recovered.incarnation, Incarnation(2));
        wal.close().await.unwrap();
    });
    std::fs::remove_dir_all(&root).unwrap();
}

/// The seed and the size of the random tests, and the command that replays one.
fn plan(workload: Workload, seeds: u64, steps: usize) -> Plan {
    let first = std::env::var("PINION_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let scale: u64 = std::env::var("PINION_SCALE").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    println!("{workload:?}: PINION_SEED={first} PINION_SCALE={scale} cargo test -p pinion-wal");
    Plan::new(workload, first, seeds * scale, steps)
}

/// D1, D4, D5: whatever a crash leaves, the acknowledged records are found and what was cut stays cut.
#[test]
fn crashes_at_every_operation_lose_nothing() {
    for (workload, steps, every) in [
        (Workload::Append, 80, 1),
        (Workload::Recycle, 500, 4),
        (Workload::Rewrite, 700, 8),
        (Workload::Reopen, 400, 4),
        (Workload::Rehome, 80, 1),
    ] {
        let report = run(&Plan { every, ..plan(workload, 1, steps) });
        println!("{workload:?}: {report}");
        assert!(report.failures.is_empty(), "{workload:?}: {report}");
        assert!(report.points > 0);
    }
}
