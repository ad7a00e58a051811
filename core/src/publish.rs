//! Read-only snapshots that the cores of a node share: users, settings that change at run time, certificates.
//!
//! A value is replaced as a whole, seldom, by whichever thread has a reason to ([`Published::update`]); each core looks once
//! in a turn whether there is a newer one ([`Seen::look`]) and holds it until then.
//!
//! | invariant | why it holds |
//! |---|---|
//! | a request that was sent after the answer to an update is judged by the new value, on every core | the version is raised before the update returns, and a core looks after its inbox was closed |
//! | what a core holds does not change within a turn | only `look` replaces it |
//! | updates are serial: each sees the one before it | they run under a lock |
//!
//! The lock is taken by updates and by a look that found a newer version, never otherwise: a turn pays one load.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A value that all cores see. Clones are the same value.
#[derive(Debug)]
pub struct Published<T>(Arc<Place<T>>);

#[derive(Debug)]
struct Place<T> {
    /// Raised under the lock, after the value was replaced.
    version: AtomicU64,
    value: Mutex<Arc<T>>,
}

impl<T> Clone for Published<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Published<T> {
    /// Publishes the first value.
    pub fn new(value: T) -> Self {
        Self(Arc::new(Place { version: AtomicU64::new(0), value: Mutex::new(Arc::new(value)) }))
    }

    /// Replaces the value by what `change` makes of it; other updates wait meanwhile, cores do not. On an error the value stays.
    ///
    /// # Errors
    /// What `change` says.
    pub fn update<E>(&self, change: impl FnOnce(&T) -> Result<T, E>) -> Result<(), E> {
        let mut value = self.lock();
        *value = Arc::new(change(&value)?);
        self.0.version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// The newest value.
    #[must_use]
    pub fn newest(&self) -> Arc<T> {
        self.lock().clone()
    }

    /// What a core holds of it, to begin with.
    #[must_use]
    pub fn seen(&self) -> Seen<T> {
        let value = self.lock();
        Seen { version: self.0.version.load(Ordering::Acquire), value: value.clone(), of: self.clone() }
    }

    /// A panic while it was held leaves the value as it was: it is replaced by one store.
    fn lock(&self) -> MutexGuard<'_, Arc<T>> {
        self.0.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The snapshot that a core holds.
#[derive(Debug)]
pub struct Seen<T> {
    of: Published<T>,
    version: u64,
    value: Arc<T>,
}

impl<T> Seen<T> {
    /// Takes the newest value if it is newer than what is held, and says whether it was. Once a turn, when the inbox is closed.
    pub fn look(&mut self) -> bool {
        if self.of.0.version.load(Ordering::Acquire) == self.version {
            return false;
        }
        *self = self.of.seen();
        true
    }

    /// Where it comes from, to update it.
    #[must_use]
    pub const fn published(&self) -> &Published<T> {
        &self.of
    }

    /// The snapshot, to be kept beyond the turn.
    #[must_use]
    pub const fn snapshot(&self) -> &Arc<T> {
        &self.value
    }
}

impl<T> Deref for Seen<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_sees_an_update_when_it_looks_and_not_before() {
        let published = Published::new(1);
        let mut seen = published.seen();
        assert!(!seen.look());
        assert_eq!(published.update(|&old| Ok::<_, ()>(old + 1)), Ok(()));
        assert_eq!(*seen, 1);
        assert!(seen.look());
        assert_eq!(*seen, 2);
        assert!(!seen.look());
        assert_eq!(*published.seen(), 2);
    }

    #[test]
    fn a_refused_update_leaves_the_value_and_the_version() {
        let published = Published::new("old");
        let mut seen = published.seen();
        assert_eq!(published.update(|_| Err("no")), Err("no"));
        assert!(!seen.look());
        assert_eq!(*published.newest(), "old");
    }

    #[test]
    fn updates_of_several_threads_see_one_another() {
        let published = Published::new(0);
        let mut seen = published.seen();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        let added = published.update(|&old| Ok::<_, ()>(old + 1));
                        assert_eq!(added, Ok(()));
                    }
                });
            }
            let mut last = 0;
            while last < 4_000 {
                seen.look();
                assert!(*seen >= last, "a snapshot went back from {last} to {}", *seen);
                last = *seen;
            }
        });
        assert_eq!(*seen, 4_000);
    }
}
