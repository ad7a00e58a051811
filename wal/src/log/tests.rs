use super::*;
use crate::crash::{Plan, Workload, fail_nth, flip, run};
use crate::disk::sim::{Fault, Faults, Image, Pattern, Rule, SimDisk};
use crate::disk::{Disk, OpKind, block_on, direct::DirectDisk};
use crate::log::background::{Background, Outcome};
use crate::{GroupId, LogId, LogIndex, Mono, Term};

mod damage;
mod space;

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

/// D2: after an operation that failed, once or from then on, nothing is acknowledged that is not found.
#[test]
fn after_a_failed_operation_nothing_lost_is_acknowledged() {
    for for_ever in [false, true] {
        for workload in [Workload::Append, Workload::Recycle] {
            let steps = if workload == Workload::Append { 60 } else { 250 };
            let every = if workload == Workload::Append { 1 } else { 5 };
            let report = fail_nth(&Plan { every, ..plan(workload, 1, steps) }, for_ever);
            println!("{workload:?}: {report}");
            assert!(report.failures.is_empty(), "{workload:?}, for ever {for_ever}: {report}");
            assert!(report.injections > 0);
        }
    }
}

/// D3, D4: no flipped byte is served, and none makes acknowledged records disappear in silence.
#[test]
fn flipped_bytes_are_detected() {
    let report = flip(&Plan { every: 601, ..plan(Workload::Append, 2, 60) });
    println!("{report}");
    assert!(report.failures.is_empty(), "{report}");
    let report = flip(&Plan { every: 997, ..plan(Workload::Rewrite, 1, 400) });
    println!("{report}");
    assert!(report.failures.is_empty(), "{report}");
    assert!(report.injections > 300, "{report}");
}

/// Two groups, each in a flush of its own, on a log that was idle before it went away.
async fn two_groups(disk: &Disk) {
    let (mut wal, _) = Wal::open(disk, LogId(0), Options::tiny()).await.unwrap();
    for group in [1, 2] {
        wal.append_entries(GroupId(group), LogIndex(0), &[entry(1, b"first"), entry(2, &[7; 5_000])]);
        wal.append_hard_state(GroupId(group), HardState { term: Term(3), vote: 9, commit: LogIndex(1) });
        wal.settle().await.unwrap();
    }
    wal.settle_and_mark().await.unwrap();
}

async fn reopened(disk: &Disk) -> (Wal, Recovered) {
    Wal::open(disk, LogId(0), Options::tiny()).await.unwrap()
}

/// D3, D4: damage to acknowledged records is told with its place, for the group it concerns and no other, at every open
/// until a person accepts it.
#[test]
fn damage_is_told_for_its_group_alone_until_it_is_accepted() {
    let (disk, mut sim) = (Disk::new(), SimDisk::new(1, Faults::default()));
    block_on(&disk, &mut sim, None, two_groups(&disk));
    let mut image = sim.crashed(Pattern::Nothing, 0);
    let before = {
        let (disk, mut sim) = (Disk::new(), SimDisk::from_image(image.clone(), 1, Faults::default()));
        block_on(&disk, &mut sim, None, reopened(&disk)).1
    };
    // The flush of group 1 has two blocks, that of group 2 begins at the third.
    image.flip("log-0000/segment-00000000", 4096 + 700, 3);
    for _ in 0..3 {
        let (disk, mut sim) = (Disk::new(), SimDisk::from_image(image, 1, Faults::default()));
        block_on(&disk, &mut sim, None, async {
            let (mut wal, recovered) = reopened(&disk).await;
            let lost = recovered.groups.get(&GroupId(1)).and_then(|group| group.lost.clone());
            let damage = lost.or_else(|| recovered.damage.first().cloned()).unwrap();
            assert_eq!((damage.file.as_str(), damage.offset), ("log-0000/segment-00000000", 4096 + 512));
            assert_eq!(recovered.groups[&GroupId(2)], before.groups[&GroupId(2)]);
            wal.append_hard_state(GroupId(2), before.groups[&GroupId(2)].hard_state);
            wal.settle_and_mark().await.unwrap();
        });
        image = sim.crashed(Pattern::Nothing, 0);
    }
    let (disk, mut sim) = (Disk::new(), SimDisk::from_image(image, 1, Faults::default()));
    block_on(&disk, &mut sim, None, async {
        let (mut wal, _) = reopened(&disk).await;
        wal.accept_loss(GroupId(1));
        wal.accept_damage();
        wal.append_entries(GroupId(1), LogIndex(0), &[entry(1, b"again")]);
        wal.settle_and_mark().await.unwrap();
        wal.close().await.unwrap();
        let (_, recovered) = reopened(&disk).await;
        assert_eq!(recovered.groups[&GroupId(1)].lost, None);
        assert_eq!(recovered.groups[&GroupId(1)].entries[0].data, "again");
    });
}

/// D4: what a marker vouches for is not taken for a torn tail when it vanishes whole.
#[test]
fn a_vanished_acknowledged_flush_is_damage() {
    let (disk, mut sim) = (Disk::new(), SimDisk::new(1, Faults::default()));
    block_on(&disk, &mut sim, None, two_groups(&disk));
    let mut image = sim.crashed(Pattern::Nothing, 0);
    image.damage("log-0000/segment-00000000", 2 * 4096, |bytes| bytes.fill(0), 2 * 4096);
    let (disk, mut sim) = (Disk::new(), SimDisk::from_image(image, 1, Faults::default()));
    let (_, recovered) = block_on(&disk, &mut sim, None, reopened(&disk));
    assert_eq!(recovered.damage.len(), 1);
    assert_eq!(recovered.damage[0].offset, 2 * 4096);
    assert_eq!(recovered.groups[&GroupId(1)].lost, None);
    assert_eq!(recovered.groups[&GroupId(1)].entries.len(), 2);
}

/// D4: a log of which nothing can be recognized tells damage at every open until a person accepts it, also when more was
/// appended meanwhile, and not any more after that.
#[test]
fn a_log_that_lost_every_segment_says_so_until_it_is_accepted() {
    for lives in [1, 2] {
        for append in [false, true] {
            let (disk, mut sim) = (Disk::new(), SimDisk::new(1, Faults::default()));
            block_on(&disk, &mut sim, None, async {
                two_groups(&disk).await;
                if lives == 2 {
                    let (mut wal, _) = reopened(&disk).await;
                    wal.append_entries(GroupId(1), LogIndex(2), &[entry(3, b"third")]);
                    wal.settle_and_mark().await.unwrap();
                }
            });
            let mut image = sim.crashed(Pattern::Nothing, 0);
            zero_segments(&mut image);
            for open in 0..3 {
                let (disk, mut sim) = (Disk::new(), SimDisk::from_image(image, 1, Faults::default()));
                block_on(&disk, &mut sim, None, async {
                    let (mut wal, recovered) = reopened(&disk).await;
                    assert!(!recovered.damage.is_empty(), "{lives} lives, open {open}: told");
                    assert!(recovered.lost(GroupId(1)).is_some(), "a group that is not there may be lost");
                    if append {
                        wal.append_hard_state(GroupId(9 + open), HardState::default());
                        wal.settle_and_mark().await.unwrap();
                    }
                });
                image = sim.crashed(Pattern::Nothing, 0);
            }
            let (disk, mut sim) = (Disk::new(), SimDisk::from_image(image, 1, Faults::default()));
            block_on(&disk, &mut sim, None, async {
                let (mut wal, _) = reopened(&disk).await;
                assert!(wal.accept_damage());
                wal.settle().await.unwrap();
                wal.close().await.unwrap();
                for _ in 0..2 {
                    let (wal, recovered) = reopened(&disk).await;
                    assert_eq!(recovered.damage, [], "{lives} lives, accepted");
                    assert_eq!(recovered.lost(GroupId(1)), None);
                    wal.close().await.unwrap();
                }
            });
        }
    }
}

/// D4: a sector that cannot be read is damage of its place, told for the group it concerns; the others are served. A read
/// that succeeds when it is tried again is no damage.
#[test]
fn an_unreadable_sector_is_damage_of_its_place() {
    let (disk, mut sim) = (Disk::new(), SimDisk::new(1, Faults::default()));
    block_on(&disk, &mut sim, None, two_groups(&disk));
    let image = sim.crashed(Pattern::Nothing, 0);
    let opened = |nth: u64, for_ever: bool| {
        let fault = Fault::Error(libc::EIO);
        let rule = Rule { kind: Some(OpKind::Read), path_part: "segment".into(), nth, for_ever, fault };
        let faults = Faults { rules: vec![rule], ..Faults::default() };
        let (disk, mut sim) = (Disk::new(), SimDisk::from_image(image.clone(), 1, faults));
        block_on(&disk, &mut sim, None, reopened(&disk)).1
    };
    let before = opened(u64::MAX, false);
    assert_eq!(opened(1, false).groups, before.groups, "it was read at the second try");
    assert_eq!(opened(1, false).damage, []);
    assert_eq!(opened(1, true).groups, std::collections::BTreeMap::new());
    assert!(opened(1, true).lost(GroupId(1)).is_some(), "a file that cannot be read at all is damage");
    // One block of the second flush, that of group 2.
    let faults =
        Faults { unreadable: vec![("log-0000/segment-00000000".into(), 2 * 4096)], ..Faults::default() };
    let (disk, mut sim) = (Disk::new(), SimDisk::from_image(image, 1, faults));
    let (_, found) = block_on(&disk, &mut sim, None, reopened(&disk));
    assert_eq!(found.groups[&GroupId(1)], before.groups[&GroupId(1)]);
    let lost = found.lost(GroupId(2)).expect("its records cannot be read");
    assert_eq!((lost.file.as_str(), lost.offset), ("log-0000/segment-00000000", 2 * 4096));
}

/// D4: a vote of which only one copy was written yet is found again, or its group says that it lost records: whichever
/// block of an idle log is damaged, vanishes or cannot be read; at the next open, too.
#[test]
fn no_vote_is_forgotten_in_silence() {
    let vote = HardState { term: Term(3), vote: 9, commit: LogIndex(1) };
    let (disk, mut sim) = (Disk::new(), SimDisk::new(1, Faults::default()));
    block_on(&disk, &mut sim, None, two_groups(&disk));
    let image = sim.crashed(Pattern::Nothing, 0);
    let path = "log-0000/segment-00000000";
    let mut lost = 0;
    for block in 0..6 {
        for sector in 0..8 {
            for harm in 0..4 {
                let (at, mut faults, mut image) = (block * 4096, Faults::default(), image.clone());
                match harm {
                    0 => image.flip(path, at + sector * 512 + 70, 1),
                    1 => image.damage(path, at + sector * 512, |bytes| bytes.fill(0), 512),
                    2 => image.damage(path, at, |bytes| bytes.fill(0), 4096),
                    _ => faults.unreadable.push((path.to_owned(), at)),
                }
                let (disk, mut sim) = (Disk::new(), SimDisk::from_image(image, 1, faults));
                let (_, first) = block_on(&disk, &mut sim, None, reopened(&disk));
                let image = sim.crashed(Pattern::Nothing, 0);
                let (disk, mut sim) = (Disk::new(), SimDisk::from_image(image, 1, Faults::default()));
                let (_, second) = block_on(&disk, &mut sim, None, reopened(&disk));
                for (open, found) in [first, second].iter().enumerate() {
                    for group in [GroupId(1), GroupId(2)] {
                        lost += u32::from(found.lost(group).is_some());
                        let kept = found.groups.get(&group).is_some_and(|found| found.hard_state == vote);
                        assert!(
                            kept || found.lost(group).is_some(),
                            "block {block}, sector {sector}, harm {harm}, open {open}"
                        );
                    }
                }
            }
        }
    }
    assert!(lost > 100, "{lost} losses were told");
}

/// D4: damage to the list of groups with which a segment begins takes no group off the list: older segments hold them whole.
#[test]
fn damage_to_summaries_loses_no_group() {
    let (disk, mut sim) = (Disk::new(), SimDisk::new(1, Faults::default()));
    let groups = 1..=150;
    block_on(&disk, &mut sim, None, async {
        let (mut wal, _) = reopened(&disk).await;
        for group in groups.clone() {
            wal.append_entries(GroupId(group), LogIndex(0), &[entry(1, &[group as u8; 100])]);
            wal.settle().await.unwrap();
        }
        wal.settle_and_mark().await.unwrap();
    });
    let clean = sim.crashed(Pattern::Nothing, 0);
    let (mut damaged, mut doubtful) = (0, 0);
    for (path, bytes) in clean.paths().into_iter().filter(|(path, _)| path.contains("/segment-")) {
        for block in 0..bytes / 4096 {
            let mut image = clean.clone();
            image.flip(&path, block * 4096 + 1000, 1);
            let (disk, mut sim) = (Disk::new(), SimDisk::from_image(image, 1, Faults::default()));
            let (_, found) = block_on(&disk, &mut sim, None, reopened(&disk));
            damaged += u32::from(!found.damage.is_empty());
            for group in groups.clone().map(GroupId) {
                let whole = found.groups.get(&group).is_some_and(|found| {
                    found.entries.len() == 1 && *found.entries[0].data == [group.0 as u8; 100]
                });
                assert!(
                    whole || found.lost(group).is_some(),
                    "{path}, block {block}: {group:?} lost in silence"
                );
                doubtful += u32::from(!whole);
            }
        }
    }
    // A block holds the entry of one group and no more than a list of summaries besides.
    assert!(damaged > 100 && doubtful <= damaged, "{doubtful} groups lost by {damaged} damages");
}

/// D4: what was accepted is not told again, and damage after that is.
#[test]
fn damage_after_an_acceptance_is_told() {
    let (disk, mut sim) = (Disk::new(), SimDisk::new(1, Faults::default()));
    block_on(&disk, &mut sim, None, two_groups(&disk));
    let mut image = sim.crashed(Pattern::Nothing, 0);
    image.flip("log-0000/segment-00000000", 4096 + 700, 3);
    let (disk, mut sim) = (Disk::new(), SimDisk::from_image(image, 1, Faults::default()));
    block_on(&disk, &mut sim, None, async {
        let (mut wal, recovered) = reopened(&disk).await;
        assert_eq!(recovered.damage.len(), 1);
        assert!(!wal.accept_damage(), "a group has lost records");
        wal.accept_loss(GroupId(1));
        assert!(wal.accept_damage());
        wal.append_hard_state(GroupId(2), HardState { term: Term(4), vote: 1, commit: LogIndex(2) });
        wal.settle_and_mark().await.unwrap();
        wal.close().await.unwrap();
        let (wal, recovered) = reopened(&disk).await;
        assert_eq!(recovered.damage, []);
        wal.close().await.unwrap();
    });
    let mut image = sim.crashed(Pattern::Nothing, 0);
    // Once more in the part that was accepted: what follows proves which group lost something.
    image.flip("log-0000/segment-00000000", 2 * 4096 + 100, 3);
    let found = |image: &Image| {
        let (disk, mut sim) = (Disk::new(), SimDisk::from_image(image.clone(), 1, Faults::default()));
        block_on(&disk, &mut sim, None, reopened(&disk)).1
    };
    assert!(found(&image).lost(GroupId(2)).is_some(), "its entries are gone");
    assert_eq!(found(&image).lost(GroupId(1)), None);
    zero_segments(&mut image);
    assert!(found(&image).lost(GroupId(2)).is_some());
}

fn zero_segments(image: &mut Image) {
    for (path, bytes) in image.paths() {
        if path.contains("/segment-") {
            image.damage(&path, 0, |bytes| bytes.fill(0), bytes as usize);
        }
    }
}

/// D1: the size of segments may differ between two opens: a segment of the former size is read, and never written again.
#[test]
fn segments_of_another_size_are_read_and_then_removed() {
    let (small, double) = (Options::tiny(), 2 * Options::tiny().segment_bytes);
    let large = Options { segment_bytes: double, retained_bytes_max: 8 * double, ..Options::tiny() };
    for sizes in [[&small, &large, &small], [&large, &small, &large]] {
        let (disk, mut sim) = (Disk::new(), SimDisk::new(1, Faults::default()));
        let mut last = 0;
        for (life, options) in sizes.into_iter().enumerate() {
            block_on(&disk, &mut sim, None, async {
                let (mut wal, recovered) = Wal::open(&disk, LogId(0), options.clone()).await.unwrap();
                assert_eq!(recovered.damage, []);
                let kept = recovered.groups.get(&GroupId(1)).map_or(&[][..], |group| &group.entries);
                assert_eq!(kept.len(), if life == 0 { 0 } else { 50 });
                assert!(kept.iter().all(|kept| *kept.data == [kept.index.0 as u8; 3_000]));
                assert_eq!(kept.last().map_or(0, |kept| kept.index.0), last);
                for _ in 0..300 {
                    last += 1;
                    let data = [last as u8; 3_000];
                    wal.append_entries(GroupId(1), LogIndex(last - 1), &[entry(last, &data)]);
                    wal.append_first(GroupId(1), LogIndex(last.saturating_sub(49).max(1)), Term(1));
                    wal.settle().await.unwrap();
                }
                wal.settle_and_mark().await.unwrap();
                assert!(wal.metrics().segments_recycled > 3, "{:?}", wal.metrics());
                wal.close().await.unwrap();
            });
        }
        let image = sim.crashed(Pattern::Nothing, 0);
        let of_segments = |(path, bytes): (String, u64)| path.contains("/segment-").then_some(bytes);
        let found: Vec<u64> = image.paths().into_iter().filter_map(of_segments).collect();
        assert!(found.iter().all(|&bytes| bytes == sizes[2].segment_bytes), "{found:?}");
    }
}

/// A log that is truncated and grows again takes the files it had; those beyond its size are removed.
#[test]
fn files_are_kept_for_a_log_of_its_largest_size() {
    let options = Options::tiny();
    let (disk, mut sim) = (Disk::new(), SimDisk::new(1, Faults::default()));
    let grown = async |wal: &mut Wal, last: &mut u64, bytes: u64| {
        while wal.retained_bytes() < bytes {
            *last += 1;
            wal.append_entries(GroupId(1), LogIndex(*last - 1), &[entry(*last, &[1; 3_000])]);
            wal.settle().await.unwrap();
        }
        wal.append_first(GroupId(1), LogIndex(*last + 1), Term(1));
        wal.settle_and_mark().await.unwrap();
    };
    let created = block_on(&disk, &mut sim, None, async {
        let (mut wal, _) = reopened(&disk).await;
        let (mut last, mut created) = (0, Vec::new());
        for _ in 0..5 {
            // What it asked for at `retained_bytes_max` makes it shorter only a quarter later.
            grown(&mut wal, &mut last, options.retained_bytes_max * 5 / 4).await;
            created.push(wal.metrics().segments_created);
        }
        grown(&mut wal, &mut last, 3 * options.retained_bytes_max).await;
        // Files are removed one by one.
        for _ in 0..100 {
            wal.append_hard_state(GroupId(1), HardState::default());
            wal.settle().await.unwrap();
        }
        wal.close().await.unwrap();
        created
    });
    assert!(created[1..].iter().all(|&files| files == created[1]), "{created:?}");
    let files = sim.image().paths().into_iter().filter(|(path, _)| path.contains("/segment-")).count();
    let size = (options.retained_bytes_max / options.segment_bytes * 5 / 4) as usize;
    assert!((size..=size + options.pool_segments + 1).contains(&files), "{files} files");
}

/// D6: a full disk makes the log unwritable; what is there stays; it is writable again when there is room.
#[test]
fn a_full_disk_is_told_and_recovered_from() {
    let options = Options::tiny();
    let head = 4096;
    let faults = Faults { capacity_bytes: Some(2 * head + 3 * options.segment_bytes), ..Faults::default() };
    let (disk, mut sim) = (Disk::new(), SimDisk::new(1, faults));
    let (mut wal, _) = block_on(&disk, &mut sim, None, reopened(&disk));
    let mut now = Mono(0);
    let mut index = 0;
    let mut turn = |wal: &mut Wal, sim: &mut SimDisk| {
        now = now.plus_millis(5);
        wal.flush(now, true);
        // The disk is faster than what is appended: a segment is built while another one fills.
        for _ in 0..4 {
            crate::disk::Driver::drive(sim, &disk);
            wal.poll(now).unwrap();
        }
    };
    while wal.writable().is_ok() {
        index += 1;
        assert!(index < 1_000, "the disk never got full");
        wal.append_entries(GroupId(1), LogIndex(index - 1), &[entry(index, &[1; 3_000])]);
        turn(&mut wal, &mut sim);
    }
    assert_eq!(wal.writable(), Err(Unwritable::NoSpace));
    for _ in 0..50 {
        turn(&mut wal, &mut sim);
    }
    assert_eq!(wal.stable(), wal.appended(), "what was admitted became durable");
    assert_eq!(wal.writable(), Err(Unwritable::NoSpace));
    // Truncation alone makes room again.
    wal.append_first(GroupId(1), LogIndex(index + 1), Term(1));
    for _ in 0..500 {
        turn(&mut wal, &mut sim);
    }
    assert_eq!(wal.writable(), Ok(()), "truncation made room");
    while wal.writable().is_ok() {
        index += 1;
        wal.append_entries(GroupId(1), LogIndex(index - 1), &[entry(index, &[1; 3_000])]);
        turn(&mut wal, &mut sim);
    }
    sim.set_capacity(None);
    for _ in 0..500 {
        turn(&mut wal, &mut sim);
    }
    assert_eq!(wal.writable(), Ok(()), "space returned");
    assert!(wal.poisoned().is_none());
}

/// D6: a log on a disk without a free byte is opened, its records are found, and truncation makes it writable again.
#[test]
fn a_full_disk_is_opened_and_truncated() {
    let (disk, mut sim) = (Disk::new(), SimDisk::new(1, Faults::default()));
    block_on(&disk, &mut sim, None, async {
        two_groups(&disk).await;
        let (mut wal, _) = reopened(&disk).await;
        wal.settle_and_mark().await.unwrap();
        // The pool has been filled.
        wal.close().await.unwrap();
    });
    // Full before the log has asked for another segment, and after.
    for fill in [false, true] {
        let image = sim.crashed(Pattern::Nothing, 0);
        let used = image.paths().iter().map(|(_, bytes)| bytes).sum();
        let faults = Faults { capacity_bytes: Some(used), ..Faults::default() };
        let (disk, mut full) = (Disk::new(), SimDisk::from_image(image, 1, faults.clone()));
        let (mut wal, recovered) = block_on(&disk, &mut full, None, reopened(&disk));
        assert_eq!(recovered.groups[&GroupId(1)].entries.len(), 2);
        let mut now = Mono(0);
        let mut turn = |wal: &mut Wal, full: &mut SimDisk| {
            now = now.plus_millis(5);
            wal.flush(now, true);
            // The disk is faster than what is appended: a segment is built while another one fills.
            for _ in 0..4 {
                crate::disk::Driver::drive(full, &disk);
                wal.poll(now).unwrap();
            }
        };
        let mut index = 2;
        for _ in 0..if fill { 1_000 } else { 1 } {
            if wal.writable().is_ok() {
                index += 1;
                wal.append_entries(GroupId(1), LogIndex(0), &[entry(index, &[3; 3_000])]);
            }
            turn(&mut wal, &mut full);
        }
        for _ in 0..50 {
            turn(&mut wal, &mut full);
        }
        assert_eq!(wal.stable(), wal.appended());
        assert_eq!(wal.writable().is_err(), fill, "the disk is full");
        // The next start: the segment that was kept back takes what a start must write.
        let image = full.crashed(Pattern::Nothing, 0);
        let (disk, mut full) = (Disk::new(), SimDisk::from_image(image, 1, faults));
        let (mut wal, recovered) = block_on(&disk, &mut full, None, reopened(&disk));
        assert_eq!(recovered.groups[&GroupId(1)].entries.len() as u64, index);
        let hard_state = HardState { term: Term(9), vote: 1, commit: LogIndex(0) };
        wal.append_hard_state(GroupId(1), hard_state);
        wal.append_first(GroupId(1), LogIndex(index + 1), Term(1));
        wal.append_first(GroupId(2), LogIndex(3), Term(1));
        let mut now = Mono(0);
        for _ in 0..300 {
            now = now.plus_millis(5);
            wal.flush(now, true);
            crate::disk::Driver::drive(&mut full, &disk);
            wal.poll(now).unwrap();
        }
        assert_eq!(wal.stable(), wal.appended(), "a hard state and truncation are durable");
        assert_eq!(wal.writable(), Ok(()), "truncation made room");
    }
}

/// A log that has nothing to do asks for no turn, whatever went before: full disks, recycled segments, idle times. And
/// what was appended after the last flush is not forgotten.
#[test]
fn no_deadline_stays_in_the_past() {
    let options = Options::tiny();
    let faults = Faults { capacity_bytes: Some(5 * options.segment_bytes), ..Faults::default() };
    let (disk, mut sim) = (Disk::new(), SimDisk::new(1, faults));
    let (mut wal, _) = block_on(&disk, &mut sim, None, reopened(&disk));
    let seed = std::env::var("PINION_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("PINION_SEED={seed} cargo test -p pinion-wal no_deadline_stays_in_the_past");
    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut now, mut index, mut full, mut recycled) = (Mono(0), 0, 0, 0);
    for step in 0..20_000 {
        now = now.plus_micros(*rng.choice(&[1, 15, 30, 3_000, 300_000]).unwrap());
        if rng.u32(..1_000) == 0 {
            wal.append_first(GroupId(1), LogIndex(index + 1), Term(1));
        } else if wal.writable().is_ok() && rng.u32(..3) > 0 {
            index += 1;
            wal.append_entries(GroupId(1), LogIndex(index - 1), &[entry(index, &[1; 2_000])]);
            let waits = wal.flights.len() + wal.closed.len() >= options.flights_max;
            assert!(waits || wal.next_deadline().is_some(), "step {step}: nobody flushes it");
        }
        full += u32::from(wal.writable().is_err());
        for _ in 0..rng.usize(..8) {
            crate::disk::Driver::drive(&mut sim, &disk);
        }
        // A turn that is asked for at a deadline does what it was asked for.
        for _ in 0..3 {
            wal.poll(now).unwrap();
            wal.flush(now, rng.bool());
        }
        let deadline = wal.next_deadline();
        assert!(deadline.is_none_or(|at| at > now), "step {step}: {deadline:?} at {now:?}");
        recycled = wal.metrics().segments_recycled;
    }
    assert!(full > 100 && recycled > 10, "full {full} times, {recycled} segments recycled");
    let fault = Fault::Error(libc::EIO);
    let rule = Rule { kind: None, path_part: "segment".into(), nth: 1, for_ever: true, fault };
    sim.set_faults(Faults { rules: vec![rule], ..Faults::default() });
    wal.append_hard_state(GroupId(1), HardState::default());
    wal.flush(now, true);
    while wal.poll(now).is_ok() {
        crate::disk::Driver::drive(&mut sim, &disk);
        wal.flush(now, true);
    }
    assert_eq!(wal.next_deadline(), None, "a log that has stopped asks for nothing");
}

/// O1: the buffers of a log keep to the budget they were given when the owner asks for room, and give back what a burst
/// beyond it took.
#[test]
fn buffers_stay_within_their_budget() {
    for budget in [1, 300 << 10, 1 << 20, 3 << 20, 64 << 20] {
        let options = Options::default().with_buffer_bytes(budget);
        options.check();
        assert_eq!(options.buffer_bytes, budget.max(Options::BUFFER_BYTES_MIN));
        let options = Options { segment_bytes: 4 << 20, ..options };
        let budget = options.buffer_bytes;
        let (disk, mut sim) = (Disk::new(), SimDisk::new(1, Faults::default()));
        let (mut wal, _) = block_on(&disk, &mut sim, None, Wal::open(&disk, LogId(0), options)).unwrap();
        let (mut index, mut now, mut refused) = (0, Mono(0), 0);
        let mut rng = fastrand::Rng::with_seed(budget as u64);
        for turn in 0..200 {
            for _ in 0..rng.usize(..40) {
                let data = vec![1; rng.usize(1..30_000)];
                if !wal.has_room(data.len() + 100) {
                    refused += 1;
                    continue;
                }
                index += 1;
                wal.append_entries(GroupId(1), LogIndex(0), &[entry(index, &data)]);
                assert!(wal.held_bytes() <= budget, "turn {turn}: {} of {budget}", wal.held_bytes());
            }
            wal.append_first(GroupId(1), LogIndex(index + 1), Term(1));
            now = now.plus_micros(100);
            wal.flush(now, true);
            sim.drive(&disk, now);
            wal.poll(now).unwrap();
        }
        assert!(refused > 0 || budget > 8 << 20, "{budget} bytes were never full");
        wal.append_entries(GroupId(1), LogIndex(0), &[entry(index + 1, &vec![1; 3 * budget.min(2 << 20)])]);
        block_on(&disk, &mut sim, None, wal.settle()).unwrap();
        assert!(wal.held_bytes() <= budget, "a burst is given back");
        assert!(wal.has_room(usize::MAX / 4), "an empty log takes whatever comes");
    }
}

/// D2: a failed write is final: the log says why, and no later position becomes stable.
#[test]
fn a_failed_write_poisons_the_log() {
    let (disk, mut sim) = (Disk::new(), SimDisk::new(1, Faults::default()));
    let (mut wal, _) = block_on(&disk, &mut sim, None, reopened(&disk));
    let fault = Fault::Error(libc::EIO);
    let rule = Rule { kind: None, path_part: "segment".into(), nth: 1, for_ever: false, fault };
    sim.set_faults(Faults { rules: vec![rule], ..Faults::default() });
    for index in 1..4 {
        wal.append_entries(GroupId(1), LogIndex(0), &[entry(index, b"x")]);
        block_on(&disk, &mut sim, None, wal.settle()).unwrap_err();
    }
    assert_eq!(wal.stable(), Position(0));
    assert_eq!(wal.writable(), Err(Unwritable::Poisoned));
    let poison = wal.poll(Mono(0)).unwrap_err();
    assert!(poison.to_string().contains("write of log-0000/segment-"), "{poison}");
}

/// A flush goes at once when nothing is in flight; more wait for company, up to the configured number of flights.
#[test]
fn flushes_batch_and_overlap() {
    let (disk, mut sim) = (Disk::new(), SimDisk::new(1, Faults::default()));
    let (mut wal, _) = block_on(&disk, &mut sim, None, reopened(&disk));
    let append = |wal: &mut Wal, index, micros, idle| {
        wal.append_entries(GroupId(1), LogIndex(0), &[entry(index, b"x")]);
        wal.flush(Mono(0).plus_micros(micros), idle);
        wal.metrics().flushes
    };
    assert_eq!(append(&mut wal, 1, 10_000, true), 1, "idle: at once");
    assert_eq!(append(&mut wal, 2, 10_001, true), 1, "one in flight: wait for company");
    assert_eq!(wal.next_deadline(), Some(Mono(0).plus_micros(10_021)));
    assert_eq!(append(&mut wal, 3, 10_021, true), 2, "the wait is over: overlap");
    for index in 4..40 {
        append(&mut wal, index, 10_000 + index * 30, true);
    }
    assert_eq!(wal.metrics().flushes, 4, "no more than the flights allowed");
    assert_eq!(wal.metrics().flushes_overlapped, 3);
    wal.check();
}

/// Each planted bug is caught by the checks above, at seeds at which they find nothing without it.
#[cfg(feature = "planted")]
#[test]
fn every_planted_bug_is_caught() {
    let crashes = |workload, steps, every| move || run(&Plan { every, ..plan(workload, 3, steps) });
    let failures = || fail_nth(&Plan { every: 1, ..plan(Workload::Append, 4, 60) }, false);
    let flips = || flip(&Plan { every: 601, ..plan(Workload::Append, 2, 60) });
    let checks: [(&str, &dyn Fn() -> crate::crash::Report); 7] = [
        ("acknowledge-before-sync", &crashes(Workload::Append, 80, 1)),
        ("ignored-sync-error", &failures),
        ("retry-failed-sync", &failures),
        ("lost-directory-sync", &crashes(Workload::Recycle, 300, 4)),
        ("checksum-without-position", &crashes(Workload::Recycle, 500, 4)),
        ("cut-record-comes-back", &crashes(Workload::Append, 80, 1)),
        ("torn-acknowledged-cut", &flips),
    ];
    for (bug, check) in checks {
        crate::planted::plant(bug);
        let planted = check();
        crate::planted::plant("");
        let clean = check();
        println!("{bug}: {} failures, the first: {:?}", planted.failures.len(), planted.failures.first());
        assert!(!planted.failures.is_empty(), "{bug} was not caught");
        assert!(clean.failures.is_empty(), "without {bug}: {clean}");
    }
}

/// D6: the check of a full disk fails under the bug that the table of promises names.
#[cfg(feature = "planted")]
#[test]
fn a_full_disk_that_poisons_is_caught() {
    crate::planted::assert_caught(
        "full-disk-poisons",
        &[
            "log::tests::a_full_disk_is_told_and_recovered_from",
            "log::tests::a_full_disk_is_opened_and_truncated",
        ],
    );
}

/// D4: the checks of damage fail under bugs of their own.
#[cfg(feature = "planted")]
#[test]
fn damage_that_is_not_told_is_caught() {
    crate::planted::assert_caught("torn-acknowledged-cut", &["log::tests::no_vote_is_forgotten_in_silence"]);
    crate::planted::assert_caught("acceptance-for-ever", &["log::tests::damage_after_an_acceptance_is_told"]);
    crate::planted::assert_caught(
        "unreadable-refuses-the-log",
        &["log::tests::an_unreadable_sector_is_damage_of_its_place"],
    );
}

/// O7: a close is woken by the job that it waits for, also when something else ended in the same moment.
#[test]
fn a_close_is_woken_by_what_it_waits_for() {
    let disk = Disk::new();
    let mut sim = SimDisk::new(1, Faults::default());
    let open = Wal::open(&disk, LogId(0), Options::tiny());
    let (mut wal, _) = block_on(&disk, &mut sim, None, open).unwrap();
    let (waits, woken) = std::sync::mpsc::channel();
    let job = std::future::poll_fn(move |cx| {
        waits.send(cx.waker().clone()).expect("the test listens");
        std::task::Poll::Pending
    });
    wal.background = Background::default();
    wal.background.start(job);
    wal.background.tell(std::future::ready(Ok(Outcome::Removed)));
    let mut close = std::pin::pin!(wal.close());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(close.as_mut().poll(&mut cx).is_pending());
    assert!(woken.try_recv().is_ok(), "the job was not asked: nobody will wake the close");
}
