use std::path::PathBuf;
use std::sync::Arc;

use pinion_wal::disk::direct::DirectDisk;
use pinion_wal::disk::{BLOCK_BYTES, Outcome, block_on};

use super::*;
use crate::host::uring::{Setup, Siblings, Uring, UringOptions};
use crate::mesh::Mesh;

/// A directory that is removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let at = std::env::temp_dir().join(format!("pinion-host-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&at);
        std::fs::create_dir_all(&at).expect("a directory can be made");
        Self(at)
    }

    fn open(&self) -> OwnedFd {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        fs::open(&self.0, flags, Mode::empty()).expect("it is there")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn host(root: OwnedFd, disk: Disk) -> Uring {
    let mesh = Mesh::of(1).pop().expect("one core");
    let siblings: Arc<Siblings> = Siblings::new(mesh.parking(), 1).expect("bells can be made");
    let options = UringOptions { receive_buffers: 2, receive_buffer_bytes: 64, worker_cpus: Vec::new() };
    Uring::new(Setup { options, data_dir: Some(root), disk, mesh, siblings })
        .expect("this kernel has io_uring")
}

fn say(outcome: Outcome) -> String {
    match outcome {
        Ok(Done::Buffer(buf)) => format!("{} bytes, crc {:08x}", buf.len(), crc(&buf)),
        Ok(Done::Free(bytes)) => format!("free {}", bytes > 0),
        other => format!("{other:?}"),
    }
}

fn crc(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A few hundred operations drawn from `seed`, valid and not; answers what each brought.
async fn script(disk: Disk, seed: u64) -> Vec<String> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut said, mut open) = (Vec::new(), Vec::new());
    let name = |rng: &mut fastrand::Rng| {
        let dir = ["", "a/", "b/", "missing/"][rng.usize(..4)];
        format!("{dir}f{}", rng.u8(..4))
    };
    for _ in 0..400 {
        let file = (!open.is_empty()).then(|| open[rng.usize(..open.len())]);
        let block = rng.u64(..8);
        let (offset, blocks) = (block * BLOCK_BYTES as u64, rng.usize(1..4));
        let op = match rng.u8(..16) {
            0..=2 => {
                let path = name(&mut rng);
                let access = [Access::Read, Access::ReadWrite, Access::CreateNew][rng.usize(..3)];
                if open.len() < 6
                    && let Ok((file, bytes)) = disk.open(&path, access).await
                {
                    said.push(format!("{path} has {bytes} bytes"));
                    open.push(file);
                }
                continue;
            }
            3 => {
                let Some(file) = open.pop() else { continue };
                DiskOp::Close { file }
            }
            4..=6 => {
                let Some(file) = file else { continue };
                let mut buf = AlignedBuf::zeroed(blocks * BLOCK_BYTES);
                buf.iter_mut().for_each(|byte| *byte = rng.u8(..));
                DiskOp::Write { file, offset, buf, len: blocks * BLOCK_BYTES, durable: rng.bool() }
            }
            7..=9 => {
                let Some(file) = file else { continue };
                let buf = AlignedBuf::zeroed(blocks * BLOCK_BYTES);
                DiskOp::Read { file, offset, buf, len: blocks * BLOCK_BYTES }
            }
            10 => {
                let Some(file) = file else { continue };
                if rng.bool() {
                    DiskOp::Sync { file }
                } else {
                    DiskOp::Preallocate { file, bytes: offset + 4096 }
                }
            }
            11 => DiskOp::Rename { from: name(&mut rng), to: name(&mut rng) },
            12 => DiskOp::Link { from: name(&mut rng), to: name(&mut rng) },
            13 => DiskOp::Remove { path: if rng.bool() { name(&mut rng) } else { "b".to_owned() } },
            14 => DiskOp::MakeDir { path: ["a", "b", "a/f0"][rng.usize(..3)].to_owned() },
            _ => match rng.u8(..3) {
                0 => DiskOp::List { dir: ["", "a", "missing"][rng.usize(..3)].to_owned() },
                1 => DiskOp::SyncDir { dir: ["", "a", "missing"][rng.usize(..3)].to_owned() },
                _ => DiskOp::FreeSpace,
            },
        };
        said.push(say(disk.start(op).await));
    }
    for file in open {
        said.push(say(disk.start(DiskOp::Close { file }).await));
    }
    said
}

/// Every operation of the seam does on the ring what the blocking driver does, errors included.
#[test]
fn the_ring_and_the_blocking_driver_agree() {
    let given = std::env::var("PINION_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = given.map_or(1..6, |seed: u64| seed..seed + 1);
    for seed in seeds {
        println!(
            "seed {seed}: PINION_SEED={seed} cargo test -p pinion-core the_ring_and_the_blocking_driver_agree"
        );
        let (blocking, ringed) = (Directory::new("blocking"), Directory::new("ring"));
        let disk = Disk::new();
        let mut driver = DirectDisk::new(&blocking.0).expect("the directory is there");
        let expected = block_on(&disk, &mut driver, None, script(disk.clone(), seed));
        let disk = Disk::new();
        let mut host = host(ringed.open(), disk.clone());
        let got = host.complete(None, script(disk, seed)).expect("every operation completes");
        assert_eq!(expected.len(), got.len());
        for (step, (expected, got)) in expected.iter().zip(&got).enumerate() {
            assert_eq!(expected, got, "step {step} of seed {seed}");
        }
        assert!(
            got.iter().any(|said| said.contains("NotFound")) && got.iter().any(|said| said.contains("crc"))
        );
    }
}

#[test]
fn a_buffer_that_is_used_again_is_registered_and_writes_what_it_holds_each_time() {
    let directory = Directory::new("registered");
    let disk = Disk::new();
    let mut host = host(directory.open(), disk.clone());
    let written = host.complete(None, async move {
        let (file, _) = disk.open("f", Access::CreateNew).await.expect("a new file");
        let mut buf = AlignedBuf::zeroed(2 * BLOCK_BYTES);
        let mut written = Vec::new();
        for round in 1..=3_u8 {
            buf.fill(round);
            buf = disk.write(file, 0, buf, 2 * BLOCK_BYTES, true).await.expect("there is room");
            let place = AlignedBuf::zeroed(2 * BLOCK_BYTES);
            let back = disk.read(file, 0, place, 2 * BLOCK_BYTES).await.expect("it was written");
            written.push((back[0], back[2 * BLOCK_BYTES - 1]));
        }
        disk.close(file).await.expect("it is open");
        written
    });
    assert_eq!(written.expect("every operation completes"), [(1, 1), (2, 2), (3, 3)]);
}

#[test]
fn many_operations_are_in_flight_together() {
    let directory = Directory::new("many");
    let disk = Disk::new();
    let mut host = host(directory.open(), disk.clone());
    let handle = disk.clone();
    let bytes = host.complete(None, async move {
        let (file, _) = handle.open("f", Access::CreateNew).await.expect("a new file");
        let writes: Vec<_> = (0..64_u64)
            .map(|block| {
                let mut buf = AlignedBuf::zeroed(BLOCK_BYTES);
                buf.fill(block as u8);
                let offset = block * BLOCK_BYTES as u64;
                handle.start(DiskOp::Write { file, offset, buf, len: BLOCK_BYTES, durable: true })
            })
            .collect();
        for write in writes {
            write.await.expect("there is room");
        }
        let buf = AlignedBuf::zeroed(64 * BLOCK_BYTES);
        let buf = handle.read(file, 0, buf, 64 * BLOCK_BYTES).await.expect("it was written");
        handle.close(file).await.expect("it is open");
        buf.iter().step_by(BLOCK_BYTES).copied().collect::<Vec<u8>>()
    });
    assert_eq!(bytes.expect("every operation completes"), (0..64).collect::<Vec<u8>>());
    assert_eq!(disk.in_flight(), 0);
}
