//! Damage at the end of a log, at every later open.

use super::*;

/// Opens the log `times` times, one after the other, and appends nothing. Answers what each open found.
fn opens(image: &Image, times: usize) -> Vec<Recovered> {
    let mut image = image.clone();
    let open = |_| {
        let (disk, mut sim) = (Disk::new(), SimDisk::from_image(image.clone(), 1, Faults::default()));
        let (_, recovered) = block_on(&disk, &mut sim, None, reopened(&disk));
        image = sim.crashed(Pattern::Nothing, 0);
        recovered
    };
    (0..times).map(open).collect()
}

/// Asserts that every open tells the loss of group 2, whose entries are damaged.
fn assert_told(image: &Image, what: &str) {
    for (open, found) in opens(image, 3).iter().enumerate() {
        assert!(found.lost(GroupId(2)).is_some(), "{what}, open {open}");
        assert!(!found.damage.is_empty(), "{what}, open {open}");
    }
}

/// A log of two groups without a marker: its last flush holds an entry of group 2 and begins with block 2. Answers its
/// file.
async fn unmarked(disk: &Disk, bytes: usize) -> u32 {
    let (mut wal, _) = reopened(disk).await;
    wal.append_entries(GroupId(1), LogIndex(0), &[entry(1, &[7; 5_000])]);
    wal.append_entries(GroupId(2), LogIndex(0), &[entry(1, b"first")]);
    wal.settle().await.unwrap();
    wal.append_entries(GroupId(2), LogIndex(0), &[entry(2, &vec![7; bytes])]);
    wal.settle().await.unwrap();
    wal.segments.back().and_then(|segment| segment.file).expect("it was written").number
}

fn path_of(number: u32) -> String {
    format!("log-0000/segment-{number:08}")
}

/// D4: damage to the last flush is told at every open, although nothing is appended and no marker stands behind it:
/// whichever of its blocks it is, and when the last segment is gone.
#[test]
fn damage_at_the_end_is_told_at_every_open() {
    for (bytes, block) in [(5_000, 2), (5_000, 3), (100, 2)] {
        let (disk, mut sim) = (Disk::new(), SimDisk::new(1, Faults::default()));
        let number = block_on(&disk, &mut sim, None, unmarked(&disk, bytes));
        let mut image = sim.crashed(Pattern::Nothing, 0);
        assert_eq!(opens(&image, 1)[0].lost(GroupId(2)), None);
        image.flip(&path_of(number), block * 4096 + 700, 3);
        assert_told(&image, &format!("block {block} of a flush of {bytes} bytes"));
    }
    for remove in [false, true] {
        let (disk, mut sim) = (Disk::new(), SimDisk::new(1, Faults::default()));
        let number = block_on(&disk, &mut sim, None, async {
            let (mut wal, _) = reopened(&disk).await;
            let mut index = 0;
            while wal.segments.len() < 2 {
                index += 1;
                wal.append_entries(GroupId(2), LogIndex(0), &[entry(index, &[7; 3_000])]);
                wal.settle().await.unwrap();
            }
            wal.settle_and_mark().await.unwrap();
            wal.segments.back().and_then(|segment| segment.file).expect("it was written").number
        });
        let mut image = sim.crashed(Pattern::Nothing, 0);
        if remove {
            image.remove(&path_of(number));
        } else {
            image.damage(&path_of(number), 0, |bytes| bytes.fill(0), 64 << 10);
        }
        assert_told(&image, "the last segment is gone");
    }
}

/// D4: so is damage to the only flush of an incarnation, of which nothing but a tag is left.
#[test]
fn damage_to_the_first_flush_of_an_incarnation_is_told_at_every_open() {
    for lives in [1, 2] {
        for sector in 0..8 {
            let (disk, mut sim) = (Disk::new(), SimDisk::new(1, Faults::default()));
            let number = block_on(&disk, &mut sim, None, async {
                if lives == 2 {
                    two_groups(&disk).await;
                }
                let (mut wal, _) = reopened(&disk).await;
                wal.append_hard_state(GroupId(2), HardState { term: Term(7), ..HardState::default() });
                wal.settle().await.unwrap();
                wal.segments.back().and_then(|segment| segment.file).expect("it was written").number
            });
            let mut image = sim.crashed(Pattern::Nothing, 0);
            image.flip(&path_of(number), sector * 512 + 70, 3);
            assert_told(&image, &format!("{lives} lives, sector {sector}"));
        }
    }
}

/// D4: and damage behind which a later incarnation has begun, whose first flush was torn.
#[test]
fn damage_before_a_torn_incarnation_is_told_at_every_open() {
    for bytes in [100, 5_000] {
        let (disk, mut sim) = (Disk::new(), SimDisk::new(1, Faults::default()));
        let number = block_on(&disk, &mut sim, None, unmarked(&disk, bytes));
        let mut image = sim.crashed(Pattern::Nothing, 0);
        image.flip(&path_of(number), 2 * 4096 + 700, 3);
        let (disk, mut sim) = (Disk::new(), SimDisk::from_image(image, 1, Faults::default()));
        let (mut wal, _) = block_on(&disk, &mut sim, None, reopened(&disk));
        wal.append_entries(GroupId(1), LogIndex(0), &[entry(2, &[7; 7_000])]);
        wal.flush(sim.clock().plus_millis(1), true);
        assert_eq!(wal.flights.len(), 1);
        let now = sim.clock();
        assert_eq!(sim.drive(&disk, now), 0, "the write is in flight");
        for pattern in [Pattern::Torn512, Pattern::Torn4096, Pattern::RandomHalf, Pattern::Nothing] {
            for seed in 0..16 {
                assert_told(&sim.crashed(pattern, seed), &format!("{bytes} bytes, {pattern:?} {seed}"));
            }
        }
    }
}

/// D4: a list of groups of which the end is damaged does not complete the next one, of which another part is damaged: what
/// stood behind the first is not taken for unchanged.
#[test]
fn two_damaged_lists_are_not_taken_for_a_whole_one() {
    let (disk, mut sim) = (Disk::new(), SimDisk::new(1, Faults::default()));
    let numbers = block_on(&disk, &mut sim, None, async {
        let (mut wal, _) = reopened(&disk).await;
        for group in 1..=200 {
            wal.append_entries(GroupId(group), LogIndex(0), &[entry(1, b"first")]);
        }
        let mut numbers = Vec::new();
        for (filler, segments) in [(80, 2), (1, 3)] {
            let mut index = 1;
            while wal.segments.len() < segments {
                index += 1;
                wal.append_entries(GroupId(filler), LogIndex(0), &[entry(index, &[7; 3_000])]);
                wal.settle().await.unwrap();
            }
            numbers.push(wal.segments.back().and_then(|segment| segment.file).expect("written").number);
        }
        numbers
    });
    let mut image = sim.crashed(Pattern::Nothing, 0);
    // Summaries take three flushes of three blocks. The third one ends the list and holds an entry of group 80, which is
    // named in the second one.
    image.flip(&path_of(numbers[0]), 6 * 4096 + 700, 3);
    let found = &opens(&image, 1)[0];
    assert!(found.lost(GroupId(80)).is_some(), "its sequence tells");
    image.flip(&path_of(numbers[1]), 3 * 4096 + 700, 3);
    for found in opens(&image, 2) {
        assert_eq!(found.damage.len(), 2);
        assert!(found.lost(GroupId(80)).is_some());
        assert_eq!(found.lost(GroupId(1)), None, "it is named in the second list");
    }
}
