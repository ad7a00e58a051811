use std::fmt::Write as _;

use pinion_wal::disk::sim::{Faults, SimDisk};
use pinion_wal::disk::{Access, AlignedBuf, Disk, block_on};

use super::block::{Block, BlockBuilder, Found};
use super::envelope::{Compression, Kind, Place};
use super::*;
use crate::cell::Cell;
use crate::error::{Flaw, ReadError};
use crate::format::FileNumber;
use crate::hash::hash_of;
use crate::ids::TreeId;
use crate::slab::Slab;

const ORIGIN: Origin = Origin { tree: TreeId(16), number: FileNumber(3) };

fn block(rows: &[(&[u8], u64, Cell<'_>)]) -> (Block, Vec<u8>) {
    let mut builder = BlockBuilder::default();
    let mut bytes = 0;
    for (key, at, cell) in rows {
        bytes = builder.bytes_with(key, *cell);
        builder.add(key, hash_of(key), Timestamp(*at), *cell);
    }
    let mut out = vec![1, 2, 3];
    builder.finish(&mut out);
    assert!(out.len() <= bytes && builder.is_empty());
    let mut piece = Slab::new().piece(out.len());
    piece[..out.len()].copy_from_slice(&out);
    (Block::parse(piece, out.len()).unwrap(), out)
}

#[test]
fn a_block_finds_keys_and_versions_and_their_order() {
    let rows: &[(&[u8], u64, Cell<'_>)] = &[
        (b"key-a", 9, Cell::Inline(b"nine")),
        (b"key-a", 5, Cell::Tombstone),
        (b"key-a", 2, Cell::Inline(b"")),
        (b"key-aa", 3, Cell::Inline(b"x")),
        (b"key-b", 7, Cell::Inline(&[7; 300])),
    ];
    let (block, _) = block(rows);
    assert_eq!(block.prefix(), b"key-");
    let find = |key: &[u8], at| block.find(key, hash_of(key), Timestamp(at));
    assert_eq!(find(b"key-a", u64::MAX), Found::Row(0));
    assert_eq!(find(b"key-a", 8), Found::Row(1));
    assert_eq!(find(b"key-a", 2), Found::Row(2));
    assert_eq!(find(b"key-a", 1), Found::Nothing);
    assert_eq!(find(b"key-b", 6), Found::GoOn, "the next block may hold older versions");
    assert_eq!(find(b"key-c", 6), Found::Nothing);
    assert_eq!(find(b"other", 6), Found::Nothing);
    for (key, bound) in [
        (&b""[..], 0),
        (b"k", 0),
        (b"key-", 0),
        (b"key-a", 0),
        (b"key-a0", 3),
        (b"key-b", 4),
        (b"l", 5),
        (b"a", 0),
    ] {
        assert_eq!(block.lower_bound(key), bound, "{key:?}");
    }
    let mut key = Vec::new();
    for (index, (expected, at, cell)) in rows.iter().enumerate() {
        block.copy_key(index, &mut key);
        assert_eq!((&*key, block.row(index).at.0, block.row(index).cell), (*expected, *at, *cell));
        assert!(block.key_is(index, expected));
    }
}

#[test]
fn a_cut_or_changed_block_never_panics() {
    let (_, bytes) = block(&[(b"aa", 1, Cell::Inline(b"1")), (b"ab", 2, Cell::Inline(&[5; 200]))]);
    let slab = Slab::new();
    let parse = |bytes: &[u8]| {
        let mut piece = slab.piece(bytes.len());
        piece[..bytes.len()].copy_from_slice(bytes);
        Block::parse(piece, bytes.len())
    };
    for end in 0..bytes.len() {
        assert!(parse(&bytes[..end]).is_err());
    }
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..50_000 {
        let mut changed = bytes.clone();
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(..60);
            changed[at] = rng.u8(..);
        }
        if let Ok(block) = parse(&changed) {
            for row in 0..block.count() {
                block.row(row);
            }
            block.find(b"aa", hash_of(b"aa"), Timestamp::MAX);
            block.lower_bound(b"ab");
        }
    }
}

fn build(compression: Compression) -> (Vec<u8>, TableInfo) {
    let mut builder = TableBuilder::new(ORIGIN.tree, ORIGIN.number, 256, compression);
    for number in 0..20u32 {
        let key = format!("key-{number:04}");
        builder.add(key.as_bytes(), Timestamp(9), Cell::Inline(&[b'v'; 40]));
        builder.add(key.as_bytes(), Timestamp(4), Cell::Tombstone);
    }
    let info = builder.finish();
    let mut bytes = vec![0; builder.ready_bytes()];
    builder.take(&mut bytes);
    assert_eq!((bytes.len() as u64, builder.ready_bytes()), (info.bytes, 0));
    (bytes, info)
}

/// The bytes of a table never change: whoever changes them must raise the format version.
#[test]
fn the_bytes_of_a_table_are_golden() {
    let (bytes, info) = build(Compression::None);
    let mut golden = String::new();
    writeln!(golden, "{} bytes, hash {:016x}", info.bytes, info.file_hash).unwrap();
    let last = bytes.len() - 4096;
    let end = bytes[..last].iter().rposition(|&byte| byte != 0).unwrap() + 1;
    for part in [&bytes[..end], &bytes[last..last + 128], &bytes[bytes.len() - 16..]] {
        golden += "\n";
        golden += &crate::testing::hex(part);
    }
    crate::testing::assert_golden("table.hex", &golden);
}

#[test]
fn envelopes_come_back_under_every_compression_and_only_at_their_place() {
    let slab = Slab::new();
    let raw: Vec<u8> = (0..5_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let mut out = Vec::new();
        envelope::seal(&mut out, &raw, Kind::Data, compression, ORIGIN, 4096);
        assert_eq!(out.len() < raw.len(), compression != Compression::None);
        let open = |bytes: &[u8], kind, origin, offset| {
            envelope::open(bytes, kind, Place { file: "f", origin, offset }, &slab)
        };
        let (piece, len, total) = open(&out, Kind::Data, ORIGIN, 4096).unwrap();
        assert_eq!((&piece[..len], total), (&raw[..], out.len()));
        let flaw = |result: Result<_, ReadError>| match result {
            Err(ReadError::Corruption(corruption)) => Some(corruption.what),
            _ => None,
        };
        let other = Origin { number: FileNumber(4), ..ORIGIN };
        assert_eq!(flaw(open(&out, Kind::Index, ORIGIN, 4096)), Some(Flaw::Kind));
        assert_eq!(flaw(open(&out, Kind::Data, ORIGIN, 8192)), Some(Flaw::Checksum));
        assert_eq!(flaw(open(&out, Kind::Data, other, 4096)), Some(Flaw::Checksum));
        assert_eq!(flaw(open(&out[..out.len() - 1], Kind::Data, ORIGIN, 4096)), Some(Flaw::Length));
        for at in 0..out.len().min(3_000) {
            let mut damaged = out.clone();
            damaged[at] ^= 1 << (at % 8);
            assert!(flaw(open(&damaged, Kind::Data, ORIGIN, 4096)).is_some(), "byte {at}");
        }
    }
}

#[test]
fn incompressible_blocks_are_stored_as_they_are() {
    let mut rng = fastrand::Rng::with_seed(1);
    let raw: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(4_000).collect();
    let mut out = Vec::new();
    envelope::seal(&mut out, &raw, Kind::Data, Compression::Lz4, ORIGIN, 0);
    assert_eq!(out[13], Compression::None as u8);
    assert_eq!(out.len(), raw.len() + envelope::ENVELOPE_BYTES);
}

/// D3: rows whose order no writer writes are damage of their table for a merge, whatever the checksums say; and so is an
/// index of other keys than the manifest names.
#[test]
fn a_table_that_makes_no_sense_is_damage_and_never_a_panic() {
    let (sound, info) = build(Compression::None);
    // A version above the one before it, in the first block, whose envelope is sealed anew.
    let payload = u32::from_le_bytes(sound[4..8].try_into().unwrap()) as usize;
    let mut raw = sound[envelope::ENVELOPE_BYTES..][..payload].to_vec();
    let row = raw.windows(9).position(|row| row == [4, 0, 0, 0, 0, 0, 0, 0, 1]).unwrap();
    raw[row] = 99;
    let mut sealed = Vec::new();
    envelope::seal(&mut sealed, &raw, Kind::Data, Compression::None, ORIGIN, 0);
    let mut disordered = sound.clone();
    disordered[..sealed.len()].copy_from_slice(&sealed);
    let other_keys = TableInfo { max: b"key-0042".to_vec(), ..info.clone() };
    let other_times = TableInfo { at_max: Timestamp(10), ..info.clone() };
    for (bytes, info, expected) in [
        (&sound, &info, None),
        (&disordered, &info, Some(Flaw::Order)),
        (&sound, &other_keys, Some(Flaw::Layout)),
        (&sound, &other_times, Some(Flaw::Identity)),
    ] {
        let found = merged(bytes, info.clone());
        match (&found, expected) {
            (Ok(rows), None) => assert_eq!(*rows, 40),
            (Err(ReadError::Corruption(damage)), Some(flaw)) => {
                assert_eq!((damage.file.as_str(), damage.what), ("tree-00000016/000000000003.table", flaw));
            }
            _ => panic!("{found:?}, expected {expected:?}"),
        }
    }
}

/// Merges the only table of `bytes` with nothing, and counts its rows.
fn merged(bytes: &[u8], info: TableInfo) -> Result<u32, ReadError> {
    let (disk, mut sim) = (Disk::new(), SimDisk::new(1, Faults::default()));
    block_on(&disk, &mut sim, None, async {
        let path = crate::format::table_path(ORIGIN.tree, ORIGIN.number);
        disk.make_dir("tree-00000016").await.unwrap();
        let (file, _) = disk.open(&path, Access::CreateNew).await.unwrap();
        let mut buf = AlignedBuf::zeroed(bytes.len());
        buf[..bytes.len()].copy_from_slice(bytes);
        disk.write(file, 0, buf, bytes.len(), true).await.unwrap();
        let table = Table::new(info, file, disk.clone(), crate::cache::Cache::new(1 << 20));
        let mut merge = crate::compact::Merge::new(std::iter::once(vec![table.clone()])).await?;
        let mut rows = 0;
        while merge.row().is_some() {
            rows += 1;
            merge.advance().await.inspect_err(|_| assert!(table.is_damaged()))?;
        }
        Ok(rows)
    })
}
