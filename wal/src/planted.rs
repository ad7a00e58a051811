//! Bugs planted on purpose: a check that cannot fail is a defect, so each check is shown a bug that it must catch.
//!
//! Without the cargo feature `planted` (release builds), [`is`] is the constant `false` and the bugs are not compiled
//! in. With it, one bug by name is active on a thread: set by [`plant`], at first taken from `PINION_PLANTED`.
//!
//! | name | what goes wrong |
//! |---|---|
//! | `acknowledge-before-sync` | a position counts as stable when its flush was submitted |
//! | `ignored-sync-error` | a failed flush counts as completed |
//! | `retry-failed-sync` | a failed flush is synced again instead of poisoning the log |
//! | `lost-directory-sync` | segments enter the pool before their names are durable |
//! | `checksum-without-position` | recovery accepts a valid block at a place where it was not written |
//! | `cut-record-comes-back` | an open does not record where it cut, and goes on in the same incarnation |
//! | `torn-acknowledged-cut` | damage to acknowledged records is cut off as if it were a torn tail |

/// Whether the bug `name` is planted on this thread.
#[cfg(not(feature = "planted"))]
#[inline(always)]
#[must_use]
pub const fn is(_name: &str) -> bool {
    false
}

#[cfg(feature = "planted")]
thread_local! {
    static PLANTED: std::cell::RefCell<String> =
        std::cell::RefCell::new(std::env::var("PINION_PLANTED").unwrap_or_default());
}

/// Whether the bug `name` is planted on this thread.
#[cfg(feature = "planted")]
#[must_use]
pub fn is(name: &str) -> bool {
    PLANTED.with_borrow(|planted| planted == name)
}

/// Plants the bug `name` on this thread, in place of the one before; `""` plants none.
#[cfg(feature = "planted")]
pub fn plant(name: &str) {
    PLANTED.set(name.to_owned());
}
