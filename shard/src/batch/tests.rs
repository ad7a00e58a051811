use super::*;
use crate::{Expire, ExpireWhen, Key, List, RangeId, SetWhen, Timestamp};

fn origin() -> Origin {
    Origin { node: NodeId(0x0102_0304_0506_0708), core: CoreId(0x1112), slot: 0x2122_2324 }
}

fn stamp() -> Stamp {
    Stamp { base: Timestamp(0x3132_3334_3536_3738), time_ms: 0x41, range: RangeId(0x51), range_version: 0x61 }
}

fn samples<'a>(items: &'a [&'a [u8]]) -> Vec<Command<'a>> {
    let key = Key::new(b"key");
    vec![
        Command::Set {
            key,
            value: b"value",
            when: SetWhen::Absent,
            expire: Expire::At(1_234_567_890_123),
            get: true,
        },
        Command::Set { key, value: b"", when: SetWhen::Always, expire: Expire::Clear, get: false },
        Command::Append { key, value: b"tail" },
        Command::SetRange { key, offset: 7, value: b"x" },
        Command::IncrBy { key, delta: -2 },
        Command::GetDel { key },
        Command::GetEx { key, expire: Expire::Keep },
        Command::Del { keys: List::new(items) },
        Command::Expire { key, expire: Expire::In(-5), when: ExpireWhen::SomeEarlier },
        Command::Persist { key },
        Command::MSet { pairs: List::new(items), only_new: true },
        Command::FlushAll,
    ]
}

fn sample_batch() -> BatchBuf {
    let mut builder = BatchBuilder::default();
    for command in samples(&[b"a", b"", b"c", b"dd"]) {
        builder.push(&command);
    }
    let mut batch = builder.finish(Kind::Commands, origin());
    batch.stamp(&stamp());
    batch
}

fn hex(bytes: &[u8]) -> String {
    let lines = bytes.chunks(32);
    lines.map(|line| line.iter().map(|b| format!("{b:02x}")).collect::<String>() + "\n").collect()
}

/// The bytes stand in logs: they never change. A change of the archives needs another schema id.
#[test]
fn golden_bytes_of_a_batch() {
    assert_eq!(hex(sample_batch().as_bytes()), include_str!("../../testdata/batch.hex"));
}

/// Commands that came later, so that the bytes above stay as they are.
#[test]
fn golden_bytes_of_bits() {
    let mut builder = BatchBuilder::default();
    let command = Command::SetBit { key: Key::new(b"key"), offset: 0x0102_0304_0506, bit: true };
    builder.push(&command);
    let batch = builder.finish(Kind::Commands, origin());
    let body = &batch.as_bytes()[crate::HEADER_BYTES..];
    assert_eq!(hex(body), "1f0000006b65790b000000000300000006050403020100000100000000000000\n000000\n");
    let (batch, _) = Batch::split(batch.as_bytes()).expect("it was just built");
    let opened: Vec<_> = batch.commands().collect();
    assert_eq!(opened, [Ok(command)]);
}

#[test]
fn golden_bytes_of_floats() {
    let mut builder = BatchBuilder::default();
    let command = Command::IncrByFloat { key: Key::new(b"key"), delta: b"1.5" };
    builder.push(&command);
    let batch = builder.finish(Kind::Commands, origin());
    let body = &batch.as_bytes()[crate::HEADER_BYTES..];
    assert_eq!(hex(body), "220000006b6579312e350c000000000300000003000000030000000000000000\n000000000000\n");
    let (batch, _) = Batch::split(batch.as_bytes()).expect("it was just built");
    let opened: Vec<_> = batch.commands().collect();
    assert_eq!(opened, [Ok(command)]);
}

#[test]
fn golden_bytes_of_transfers() {
    let mut builder = BatchBuilder::default();
    let command = Command::Transfer { keys: List::new(&[b"from", b"to"]), replace: true, remove: false };
    builder.push(&command);
    let batch = builder.finish(Kind::Commands, origin());
    let body = &batch.as_bytes()[crate::HEADER_BYTES..];
    assert_eq!(
        hex(body),
        "2a0000000400000066726f6d02000000746f0d000000000e0000000100000000\n0000000000000000000000000000\n"
    );
    let (batch, _) = Batch::split(batch.as_bytes()).expect("it was just built");
    let opened: Vec<_> = batch.commands().collect();
    assert_eq!(opened, [Ok(command)]);
}

#[test]
fn golden_bytes_of_bit_operations() {
    let mut builder = BatchBuilder::default();
    let command = Command::BitOp { op: crate::BitOp::Xor, keys: List::new(&[b"to", b"a", b"bc"]) };
    builder.push(&command);
    let batch = builder.finish(Kind::Commands, origin());
    let body = &batch.as_bytes()[crate::HEADER_BYTES..];
    assert_eq!(
        hex(body),
        "2d00000002000000746f01000000610200000062630e02000000001100000000\n0000000000000000000000000000000000\n"
    );
    let (batch, _) = Batch::split(batch.as_bytes()).expect("it was just built");
    let opened: Vec<_> = batch.commands().collect();
    assert_eq!(opened, [Ok(command)]);
}

#[test]
fn golden_bytes_of_controls() {
    let mut builder = BatchBuilder::default();
    let key = Key::new(b"layout");
    for control in [
        Control::Own { range: 1, version: 2, first_slot: 3, last_slot: 0x0405 },
        Control::SafePoint { at: 9 },
        Control::Reap { keys: List::new(&[b"k1", b"k22"]) },
        Control::Ceiling { ceiling: 10, time_ms: 11 },
        Control::PutRow { key, value: b"row" },
        Control::Nothing,
    ] {
        builder.push_control(&control);
    }
    let batch = builder.finish(Kind::Control, Origin::default());
    assert_eq!(hex(batch.as_bytes()), include_str!("../../testdata/controls.hex"));
    let (batch, _) = Batch::split(batch.as_bytes()).expect("it was just built");
    let controls: Vec<_> = batch.controls().map(|control| control.expect("well formed")).collect();
    assert_eq!(controls[4], Control::PutRow { key, value: b"row" });
    assert_eq!(controls[2], Control::Reap { keys: List::new(&[b"k1", b"k22"]) });
}

#[test]
fn commands_come_back_as_they_went_in() {
    let buf = sample_batch();
    let (batch, rest) = Batch::split(buf.as_bytes()).expect("it was just built");
    assert!(rest.is_empty());
    batch.check_body().expect("nothing changed it");
    assert_eq!(batch.header.stamp, stamp());
    assert_eq!(batch.header.origin, origin());
    assert_eq!(Header::decode(&batch.header.encode()), Ok(batch.header));
    let commands: Vec<_> = batch.commands().map(|command| command.expect("well formed")).collect();
    assert_eq!(commands, samples(&[b"a", b"", b"c", b"dd"]));
}

#[test]
fn an_entry_is_several_batches() {
    let one = sample_batch();
    let entry = [one.as_bytes(), one.as_bytes(), one.as_bytes()].concat();
    assert_eq!(batches(&entry).filter(Result::is_ok).count(), 3);
    let cut: Vec<_> = batches(&entry[..entry.len() - 1]).collect();
    assert_eq!(cut.len(), 3);
    assert!(matches!(cut[2], Err(BatchError::Truncated { .. })));
}

/// D3: a flipped bit of a batch is never executed.
#[test]
fn every_flipped_bit_is_detected() {
    let good = sample_batch().into_bytes();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let verdict = Batch::split(&bad).and_then(|(batch, _)| batch.check_body());
        assert!(verdict.is_err(), "bit {bit}");
    }
}

#[test]
fn what_a_newer_version_wrote_is_refused_by_name() {
    let good = sample_batch().into_bytes();
    for (at, field) in [(4, "header version"), (5, "kind"), (6, "schema"), (8, "exec level"), (10, "flags")] {
        let mut bad = good.clone();
        bad[at] = 99;
        stamp().write(&mut bad);
        let error = Batch::split(&bad).expect_err("it is unknown");
        assert_eq!(error, BatchError::Unknown { field, found: 99 });
    }
}

/// Bodies with a right crc and wrong content: no panic, a typed refusal or another well-formed command.
#[test]
fn malformed_bodies_are_refused() {
    let good = sample_batch().into_bytes();
    let mut refused = 0;
    for at in HEADER_BYTES..good.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut bad = good.clone();
            bad[at] = value;
            let Ok((batch, _)) = Batch::split(&bad) else { continue };
            refused += usize::from(batch.commands().any(|command| command.is_err()));
        }
    }
    assert!(refused > 100, "{refused}");
}
