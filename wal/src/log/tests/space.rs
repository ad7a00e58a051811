//! Segments that are used again, and what a full disk leaves possible.

use super::*;

/// D6: a log that needs segments faster than they are built uses those again that nobody needs: it does not wait for a
/// build while they lie idle, and its files do not grow in number.
#[test]
fn segments_are_used_again_while_others_are_built() {
    let fault = Fault::Slow(5_000);
    let rule = Rule { kind: None, path_part: "new-".into(), nth: 1, for_ever: true, fault };
    let faults = Faults { rules: vec![rule], ..Faults::default() };
    let (disk, mut sim) = (Disk::new(), SimDisk::new(1, faults));
    let (mut wal, _) = block_on(&disk, &mut sim, None, reopened(&disk));
    let (mut now, mut index, mut waited, mut untold) = (sim.clock(), 0, 0, 0);
    while wal.metrics().segments_started < 40 {
        if wal.closed.is_empty() {
            index += 1;
            wal.append_entries(GroupId(1), LogIndex(index - 1), &[entry(index, &[1; 3_000])]);
            wal.append_first(GroupId(1), LogIndex(index), Term(1));
        } else {
            waited += 1;
        }
        now = now.plus_micros(600);
        wal.flush(now, true);
        sim.drive(&disk, now);
        wal.poll(now).unwrap();
        untold = untold.max(wal.stable_block.0 - wal.head.stable.0);
    }
    let metrics = wal.metrics();
    assert!(metrics.segments_recycled > metrics.segments_created, "{metrics:?}");
    assert!(waited < 200, "{waited} turns waited for a segment");
    assert!(untold < 160, "{untold} stable blocks were not told to the head");
    let files = sim.crashed(Pattern::Everything, 0).paths().len();
    assert!(files <= 10, "{files} files");
}

/// D6: a loss can be accepted on a full disk: what waits for a segment that cannot be built is refused, and nothing else.
#[test]
fn a_loss_is_accepted_on_a_full_disk() {
    let (disk, mut sim) = (Disk::new(), SimDisk::new(1, Faults::default()));
    block_on(&disk, &mut sim, None, two_groups(&disk));
    let mut image = sim.crashed(Pattern::Nothing, 0);
    image.flip("log-0000/segment-00000000", 4096 + 700, 3);
    let (disk, mut sim) = (Disk::new(), SimDisk::from_image(image, 1, Faults::default()));
    let (mut wal, _) = block_on(&disk, &mut sim, None, reopened(&disk));
    while wal.background.ready.len() < 2 {
        crate::disk::Driver::drive(&mut sim, &disk);
        wal.poll(Mono(0)).unwrap();
    }
    let image = sim.crashed(Pattern::Nothing, 0);
    let used = image.paths().iter().map(|(_, bytes)| bytes).sum();
    let fault = Fault::Slow(50_000);
    let rule = Rule { kind: None, path_part: "HEAD".into(), nth: 1, for_ever: true, fault };
    let faults = Faults { capacity_bytes: Some(used), rules: vec![rule], ..Faults::default() };
    let (disk, mut full) = (Disk::new(), SimDisk::from_image(image, 1, faults));
    let recovered = block_on(&disk, &mut full, None, async {
        let (mut wal, _) = reopened(&disk).await;
        wal.accept_loss(GroupId(1));
        assert!(wal.accept_damage());
        wal.settle_and_mark().await.unwrap();
        assert!(wal.background.retry.is_some(), "no segment could be built");
        for index in 3..200 {
            wal.append_entries(GroupId(2), LogIndex(0), &[entry(index, &[1; 3_000])]);
        }
        assert_eq!(wal.settle().await, Err(Unwritable::NoSpace), "these wait for a segment");
        wal.close().await.unwrap();
        reopened(&disk).await.1
    });
    assert_eq!(recovered.damage, []);
    assert_eq!(recovered.lost(GroupId(1)), None);
}
