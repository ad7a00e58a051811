use super::*;
use crate::disk::{OpKind, block_on, direct::DirectDisk, run_until};

fn block(byte: u8) -> AlignedBuf {
    let mut buf = AlignedBuf::zeroed(BLOCK_BYTES);
    buf.fill(byte);
    buf
}

async fn create(disk: &Disk, path: &str, byte: u8) -> FileId {
    let (file, _) = disk.open(path, Access::CreateNew).await.unwrap();
    disk.write(file, 0, block(byte), BLOCK_BYTES, false).await.unwrap();
    file
}

fn first_byte(image: &Image, path: &str) -> Option<u8> {
    image.contents(path).and_then(|bytes| bytes.first().copied())
}

/// D5: a name is durable only after a sync of its directory; data only after a sync of the file.
#[test]
fn names_and_data_survive_a_crash_only_when_synced() {
    let (disk, mut sim) = (Disk::new(), SimDisk::new(1, Faults::default()));
    block_on(&disk, &mut sim, None, async {
        let a = create(&disk, "a", 1).await;
        disk.sync(a).await.unwrap();
        create(&disk, "b", 2).await;
        disk.sync_dir("").await.unwrap();
        let c = create(&disk, "c", 3).await;
        disk.sync(c).await.unwrap();
    });
    let nothing = sim.crashed(Pattern::Nothing, 0);
    assert_eq!(nothing.paths(), [("a".into(), BLOCK_BYTES as u64), ("b".into(), 0)]);
    assert_eq!(first_byte(&nothing, "a"), Some(1));
    let everything = sim.crashed(Pattern::Everything, 0);
    assert_eq!(first_byte(&everything, "b"), Some(2));
    assert_eq!(first_byte(&everything, "c"), Some(3));
    let mut seen = BTreeSet::new();
    for seed in 0..50 {
        let image = sim.crashed(Pattern::RandomHalf, seed);
        seen.insert((first_byte(&image, "b"), first_byte(&image, "c")));
    }
    assert_eq!(seen.len(), 4, "both the block of b and the name of c survive or not: {seen:?}");
}

#[test]
fn an_unsynced_rename_may_be_lost_and_never_half_done() {
    let (disk, mut sim) = (Disk::new(), SimDisk::new(1, Faults::default()));
    block_on(&disk, &mut sim, None, async {
        let old = create(&disk, "current", 1).await;
        let new = create(&disk, "next", 2).await;
        disk.sync(old).await.unwrap();
        disk.sync(new).await.unwrap();
        disk.sync_dir("").await.unwrap();
        disk.rename("next", "current").await.unwrap();
    });
    for seed in 0..20 {
        let image = sim.crashed(Pattern::RandomHalf, seed);
        let names: Vec<_> = image.paths().into_iter().map(|(path, _)| path).collect();
        match first_byte(&image, "current") {
            Some(1) => assert_eq!(names, ["current", "next"]),
            Some(2) => assert_eq!(names, ["current"]),
            other => panic!("current holds {other:?}"),
        }
    }
}

#[test]
fn torn_writes_mix_old_and_new_sectors() {
    let (disk, mut sim) = (Disk::new(), SimDisk::new(1, Faults::default()));
    block_on(&disk, &mut sim, None, async {
        let file = create(&disk, "a", 1).await;
        disk.sync(file).await.unwrap();
        disk.sync_dir("").await.unwrap();
        disk.write(file, 0, block(2), BLOCK_BYTES, false).await.unwrap();
    });
    let mut mixed = 0;
    for seed in 0..20 {
        let bytes = sim.crashed(Pattern::Torn512, seed).contents("a").unwrap();
        for sector in bytes.chunks(512) {
            assert!(sector.iter().all(|&b| b == sector[0]), "a sector is whole");
        }
        mixed += usize::from(bytes.contains(&1) && bytes.contains(&2));
    }
    assert!(mixed > 10, "{mixed} of 20 were torn");
}

#[test]
fn a_failed_sync_loses_data_that_a_second_sync_does_not_bring_back() {
    let faults = Faults::default().with(OpKind::Sync, 1, false, Fault::Error(libc::EIO));
    let mut lost = 0;
    for seed in 0..20 {
        let (disk, mut sim) = (Disk::new(), SimDisk::new(seed, faults.clone()));
        block_on(&disk, &mut sim, None, async {
            let file = create(&disk, "a", 1).await;
            disk.sync_dir("").await.unwrap();
            disk.sync(file).await.unwrap_err();
            disk.sync(file).await.unwrap();
        });
        lost += u32::from(first_byte(&sim.crashed(Pattern::Everything, 0), "a") != Some(1));
        assert_eq!(first_byte(sim.image(), "a"), Some(1), "programs still see it");
    }
    assert!((1..20).contains(&lost), "{lost} of 20 lost");
}

#[test]
fn a_durable_write_survives_and_one_in_flight_may() {
    let (disk, mut sim) = (Disk::new(), SimDisk::new(1, Faults::default()));
    let file = block_on(&disk, &mut sim, None, async {
        let file = create(&disk, "a", 1).await;
        disk.sync_dir("").await.unwrap();
        disk.write(file, 0, block(2), BLOCK_BYTES, true).await.unwrap();
        file
    });
    let pending =
        disk.start(DiskOp::Write { file, offset: 0, buf: block(3), len: BLOCK_BYTES, durable: true });
    assert_eq!(sim.drive(&disk, sim.clock()), 0, "taken, not due yet");
    assert_eq!(first_byte(&sim.crashed(Pattern::Nothing, 0), "a"), Some(2));
    assert_eq!(first_byte(&sim.crashed(Pattern::Everything, 0), "a"), Some(3));
    drop(pending);
}

#[test]
fn a_halted_disk_completes_nothing_more() {
    let (disk, mut sim) = (Disk::new(), SimDisk::new(1, Faults::default()));
    sim.halt_after(Some(2));
    let stalled = run_until(&disk, &mut sim, None, async {
        create(&disk, "a", 1).await;
        disk.sync_dir("").await
    });
    assert!(stalled.is_err());
    assert_eq!(sim.completed(), 2);
}

/// D6: a full disk refuses, and takes writes again when it has room.
#[test]
fn capacity_bounds_the_bytes_of_all_files() {
    let faults = Faults { capacity_bytes: Some(8192), ..Faults::default() };
    let (disk, mut sim) = (Disk::new(), SimDisk::new(1, faults));
    block_on(&disk, &mut sim, None, async {
        let a = create(&disk, "a", 1).await;
        create(&disk, "b", 1).await;
        assert_eq!(disk.free_space().await, Ok(0));
        let full = disk.write(a, 4096, block(1), BLOCK_BYTES, false).await.unwrap_err();
        assert_eq!((full.cause, full.offset), (Cause::NoSpace, Some(4096)));
        disk.remove("b").await.unwrap();
        disk.write(a, 4096, block(1), BLOCK_BYTES, false).await.unwrap();
    });
}

#[test]
fn planned_faults_hit_the_nth_operation_and_damage_goes_unreported() {
    let faults = Faults::default()
        .with(OpKind::Write, 2, false, Fault::FlippedBit)
        .with(OpKind::Write, 3, false, Fault::Short)
        .with(OpKind::Read, 1, true, Fault::Error(libc::EIO));
    let (disk, mut sim) = (Disk::new(), SimDisk::new(1, faults));
    block_on(&disk, &mut sim, None, async {
        let a = create(&disk, "a", 0).await;
        disk.write(a, 4096, block(0), BLOCK_BYTES, false).await.unwrap();
        let short = disk.write(a, 8192, block(0), BLOCK_BYTES, false).await.unwrap_err();
        assert_eq!(short.cause, Cause::Short { expected: 4096, got: 0 });
        for _ in 0..2 {
            let error = disk.read(a, 0, block(0), BLOCK_BYTES).await.unwrap_err();
            assert_eq!(error.cause, Cause::Os(libc::EIO));
        }
    });
    let ones: u32 = sim.image().contents("a").unwrap().iter().map(|byte| byte.count_ones()).sum();
    assert_eq!(ones, 1);
}

#[test]
fn a_seed_decides_everything() {
    let run = |seed| {
        let faults = Faults { write_error_ppm: 200_000, slow_ppm: 100_000, ..Faults::default() };
        let (disk, mut sim) = (Disk::new(), SimDisk::new(seed, faults));
        let mailbox = disk.mailbox();
        let file = block_on(&disk, &mut sim, None, async { create_any(&disk).await });
        for number in 0..20u64 {
            let op = DiskOp::Write { file, offset: number * 4096, buf: block(1), len: 4096, durable: true };
            disk.submit(op, mailbox);
        }
        while Driver::drive(&mut sim, &disk) > 0 {}
        let mut seen = Vec::new();
        while let Some((id, outcome)) = disk.next_completion(mailbox) {
            seen.push((id, outcome.is_ok()));
        }
        (seen, sim.clock())
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

async fn create_any(disk: &Disk) -> FileId {
    disk.open("a", Access::CreateNew).await.unwrap().0
}

/// The simulated disk answers as the real one does, operation by operation.
#[test]
fn the_real_disk_answers_the_same() {
    let dir = std::env::temp_dir().join(format!("pinion-wal-direct-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let script = async |disk: &Disk| {
        let mut seen = Vec::new();
        let mut note = |what: String| seen.push(what);
        note(format!("{:?}", disk.open("none", Access::Read).await.unwrap_err().cause));
        disk.make_dir("d").await.unwrap();
        note(format!("{:?}", disk.make_dir("d").await.unwrap_err().cause));
        let (file, bytes) = disk.open("d/a", Access::CreateNew).await.unwrap();
        note(format!("{bytes}"));
        note(format!("{:?}", disk.open("d/a", Access::CreateNew).await.unwrap_err()));
        disk.preallocate(file, 16384).await.unwrap();
        disk.write(file, 4096, block(9), 4096, true).await.unwrap();
        let buf = disk.read(file, 0, AlignedBuf::zeroed(8192), 8192).await.unwrap();
        note(format!("{} {}", buf[0], buf[4096]));
        note(format!("{:?}", disk.read(file, 12288, AlignedBuf::zeroed(8192), 8192).await.unwrap_err()));
        disk.sync(file).await.unwrap();
        disk.link("d/a", "d/b").await.unwrap();
        note(format!("{:?}", disk.link("d/a", "d/b").await.unwrap_err().cause));
        disk.rename("d/a", "d/c").await.unwrap();
        disk.sync_dir("d").await.unwrap();
        note(format!("{:?}", disk.list("d").await.unwrap()));
        note(format!("{:?}", disk.remove("d").await.unwrap_err().cause));
        disk.close(file).await.unwrap();
        disk.remove("d/b").await.unwrap();
        disk.remove("d/c").await.unwrap();
        note(format!("{:?}", disk.remove("d/c").await.unwrap_err().cause));
        disk.remove("d").await.unwrap();
        note(format!("{:?}", disk.list("").await.unwrap()));
        disk.sync_dir("").await.unwrap();
        seen
    };
    let disk = Disk::new();
    let real = block_on(&disk, &mut DirectDisk::new(&dir).unwrap(), None, script(&disk));
    let disk = Disk::new();
    let simulated = block_on(&disk, &mut SimDisk::new(1, Faults::default()), None, script(&disk));
    std::fs::remove_dir(&dir).unwrap();
    assert_eq!(real, simulated);
}
