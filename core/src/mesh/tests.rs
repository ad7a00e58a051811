use super::*;

fn pair() -> (Mesh, Mesh) {
    let mut meshes = Mesh::of(2);
    let second = meshes.pop().expect("two meshes");
    let first = meshes.pop().expect("two meshes");
    (first, second)
}

fn received(mesh: &mut Mesh) -> Vec<(CoreId, Vec<u8>)> {
    let mut all = Vec::new();
    mesh.receive(|from, message| all.push((from, message)));
    all
}

#[test]
fn messages_are_seen_after_the_flush_in_order() {
    let (mut first, mut second) = pair();
    first.send(CoreId(1), b"a".to_vec());
    first.send(CoreId(1), b"b".to_vec());
    assert_eq!(received(&mut second), []);
    first.flush(|_| unreachable!("nobody sleeps"));
    assert_eq!(received(&mut second), [(CoreId(0), b"a".to_vec()), (CoreId(0), b"b".to_vec())]);
}

/// O5: a full ring makes the sender wait; it loses and reorders nothing.
#[test]
fn what_a_full_ring_has_no_room_for_follows_in_order() {
    let (mut first, mut second) = pair();
    let count = MESH_RING_SLOTS * 3 + 5;
    for number in 0..count {
        first.send(CoreId(1), number.to_le_bytes().to_vec());
    }
    let mut seen = Vec::new();
    while seen.len() < count {
        first.flush(|_| unreachable!("nobody sleeps"));
        assert_eq!(
            first.park(),
            seen.len() + MESH_RING_SLOTS >= count,
            "who has something waiting stays awake"
        );
        first.unpark();
        seen.extend(received(&mut second));
    }
    assert!(!first.is_waiting());
    for (number, (from, message)) in seen.into_iter().enumerate() {
        assert_eq!((from, message), (CoreId(0), number.to_le_bytes().to_vec()));
    }
}

#[test]
fn a_sleeping_core_is_woken_once_and_one_with_mail_does_not_sleep() {
    let (mut first, mut second) = pair();
    assert!(second.park());
    let mut woken = Vec::new();
    for _ in 0..2 {
        first.send(CoreId(1), b"x".to_vec());
        first.flush(|core| woken.push(core));
    }
    assert_eq!(woken, [CoreId(1)]);
    assert!(!second.park(), "two messages wait");
    assert_eq!(received(&mut second).len(), 2);
    assert!(second.park());
}

#[test]
fn threads_exchange_many_messages_without_loss() {
    const COUNT: u64 = 50_000;
    let (mut first, mut second) = pair();
    #[expect(clippy::disallowed_methods, reason = "this test is about threads")]
    let sender = std::thread::spawn(move || {
        for number in 0..COUNT {
            first.send(CoreId(1), number.to_le_bytes().to_vec());
            first.flush(|_| {});
        }
        while first.is_waiting() {
            first.flush(|_| {});
        }
    });
    let mut expected = 0_u64;
    while expected < COUNT {
        second.receive(|_, message| {
            assert_eq!(message, expected.to_le_bytes());
            expected += 1;
        });
    }
    sender.join().expect("the sender ends");
}
