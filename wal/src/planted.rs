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
//! | `acceptance-for-ever` | what was damaged after an acceptance counts as accepted too |
//! | `unreadable-refuses-the-log` | a sector that cannot be read keeps the whole log from opening |
//! | `full-disk-poisons` | a log that finds no space for a segment fails for good |

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

/// Runs each of `tests` of this test program in a process of its own: it passes as it is, and fails with the bug planted.
///
/// # Panics
/// When one of them does otherwise, or does not exist.
#[cfg(feature = "planted")]
pub fn assert_caught(bug: &str, tests: &[&str]) {
    let outcome = |test: &str, planted: &str| {
        let mut command =
            std::process::Command::new(std::env::current_exe().expect("a program knows its path"));
        command.args([test, "--exact"]).env("PINION_PLANTED", planted);
        let output = command.output().expect("this program can be started");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("running 1 test\n"), "there is no test {test}");
        (output.status.success(), said)
    };
    for test in tests {
        let (passes, said) = outcome(test, "");
        assert!(passes, "{test} fails without a planted bug:\n{said}");
        assert!(!outcome(test, bug).0, "{bug} was not caught by {test}");
    }
}
