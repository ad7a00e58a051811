//! The ring and the parking handshake under a model checker: every interleaving, and every value that a weak memory
//! order may show. The same source files are compiled against the checker's shared memory.
#![expect(clippy::duplicate_mod, reason = "the second copy stands on the model checker's shared memory")]

use loom::thread;

/// The checker's shared memory, in the place of the standard library's.
mod sync {
    pub use loom::cell::UnsafeCell;
    pub use loom::sync::Arc;
    pub use loom::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};

    std::thread_local! {
        static PLANTED: std::cell::Cell<&'static str> = const { std::cell::Cell::new("") };
    }

    /// Plants the bug `name`; none for "".
    pub fn plant(name: &'static str) {
        PLANTED.set(name);
    }

    pub fn planted(name: &str) -> bool {
        PLANTED.get() == name
    }
}

#[path = "parking.rs"]
mod parking;
#[path = "ring.rs"]
mod ring;

use parking::Parking;
use ring::ring;
use sync::{Arc, plant};

/// A sender pushes one message; a receiver looks, announces sleep, looks again and would sleep. Someone must notice.
fn park_against_send() {
    loom::model(|| {
        let (mut producer, mut consumer) = ring::<u32>(2);
        let parking = Arc::new(Parking::new());
        let senders_view = parking.clone();
        let sender = thread::spawn(move || {
            producer.push(7).expect("the ring is empty");
            assert!(producer.flush());
            senders_view.must_wake()
        });
        parking.announce();
        let sleeps = consumer.is_empty();
        if !sleeps {
            parking.unpark();
        }
        let woken = sender.join().expect("the sender ends");
        assert!(!sleeps || woken, "the receiver sleeps on a message and nobody wakes it");
        assert_eq!(consumer.pop(), Some(7));
    });
}

/// Whether the model finds a fault with `name` planted.
fn is_caught(name: &'static str) -> bool {
    plant(name);
    let caught = std::panic::catch_unwind(park_against_send).is_err();
    plant("");
    caught
}

#[test]
fn no_wake_is_lost_in_any_interleaving() {
    park_against_send();
}

#[test]
fn two_senders_leave_no_sleeper_behind() {
    loom::model(|| {
        let parking = Arc::new(Parking::new());
        let mut consumers = Vec::new();
        let mut senders = Vec::new();
        for value in 0..2_u32 {
            let (mut producer, consumer) = ring::<u32>(2);
            consumers.push(consumer);
            let parking = parking.clone();
            senders.push(thread::spawn(move || {
                producer.push(value).expect("the ring is empty");
                assert!(producer.flush());
                parking.must_wake()
            }));
        }
        parking.announce();
        let sleeps = consumers.iter_mut().all(ring::Consumer::is_empty);
        let woken =
            senders.into_iter().map(|sender| sender.join().expect("a sender ends")).filter(|&w| w).count();
        assert!(!sleeps || woken >= 1, "nobody wakes the sleeper");
        assert!(woken <= 1, "one announcement is answered by one wake");
    });
}

#[test]
fn a_missed_wake_is_caught() {
    assert!(is_caught("missed-wake"));
}

#[test]
fn a_missing_fence_is_caught() {
    assert!(is_caught("missing-fence"));
}

#[test]
fn the_ring_keeps_order_and_loses_nothing_while_it_wraps() {
    loom::model(|| {
        let (mut producer, mut consumer) = ring::<u32>(2);
        let sender = thread::spawn(move || {
            let mut value = 0;
            while value < 3 {
                if producer.push(value).is_ok() {
                    value += 1;
                } else {
                    thread::yield_now();
                }
                producer.flush();
            }
        });
        let mut expected = 0;
        while expected < 3 {
            match consumer.pop() {
                Some(value) => {
                    assert_eq!(value, expected);
                    expected += 1;
                }
                None => thread::yield_now(),
            }
        }
        sender.join().expect("the sender ends");
        assert_eq!(consumer.pop(), None);
    });
}
