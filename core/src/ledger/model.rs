//! The pool of chunks under a model checker: every interleaving of cores that lease and give back. The same source file is
//! compiled against the checker's shared memory.
#![expect(clippy::duplicate_mod, reason = "the second copy stands on the model checker's shared memory")]

use loom::thread;

/// The checker's shared memory, in the place of the standard library's.
mod sync {
    pub use loom::sync::Arc;
    pub use loom::sync::atomic::{AtomicU64, Ordering};

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

#[path = "pool.rs"]
mod pool;

use pool::Pool;
use sync::plant;

/// Two cores lease two chunks each of three; one gives one back. What they hold and what is free is what there was.
fn two_cores_lease() {
    loom::model(|| {
        let pool = Pool::new(3);
        let sibling = pool.clone();
        let other = thread::spawn(move || {
            let taken = sibling.take(2);
            if taken == 2 {
                sibling.give(1);
                return 1;
            }
            sibling.want(true);
            sibling.want(false);
            taken
        });
        let own = pool.take(2);
        let other = other.join().expect("the sibling ends");
        assert!(!pool.is_wanted());
        assert_eq!(own + other + pool.free(), 3, "{own} and {other} are leased");
    });
}

/// O1: no chunk is leased twice, and none is lost, in any interleaving.
#[test]
fn chunks_are_leased_once_and_none_is_lost() {
    two_cores_lease();
}

#[test]
fn a_double_lease_is_caught() {
    plant("double-lease");
    let caught = std::panic::catch_unwind(two_cores_lease).is_err();
    plant("");
    assert!(caught);
}
