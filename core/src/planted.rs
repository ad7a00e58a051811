//! Bugs planted on purpose in this crate, by name; see `pinion_wal::planted` for how they are chosen.
//!
//! | name | what goes wrong |
//! |---|---|
//! | `read-forgets-own-write` | a read does not wait for the earlier writes of its connection |
//! | `message-delivered-twice` | a message of requests reaches another core twice |
//! | `reply-out-of-turn` | the reply of a later command leaves before that of an earlier one |
//! | `directory-not-locked` | a server uses a data directory without locking it |
//! | `overload-is-final` | overload is answered with an error after which no client tries again |
//! | `replies-never-pause` | a client that takes no replies is read on |
//! | `open-without-password` | any address is listened on, password or not |
//! | `password-shown` | the debug output of a configuration holds the password |
//! | `password-not-asked` | a connection may do everything before it gave the password |
//! | `reply-held-back` | a reply that counts as sent waits for up to twelve milliseconds |
//! | `trail-of-another-flight` | the stages of a request that another core serves begin with those of an earlier one |
//! | `core-kept-busy` | no bug, but what `pinionctl latency` is to find: the last core works 20 ms on every request |
//! | `error-without-remedy` | errors of start-up give the bare reason of the system, or none |

pub use pinion_wal::planted::is;
#[cfg(feature = "planted")]
pub use pinion_wal::planted::{assert_caught, plant};

#[cfg(all(test, feature = "planted"))]
mod tests {
    use super::assert_caught;

    /// D7, O6, O7: each check fails under the bug that the table of promises names.
    #[test]
    fn bugs_of_starting_are_caught() {
        for (bug, tests) in [
            ("directory-not-locked", &["node::directory::tests::a_directory_is_held_once"][..]),
            (
                "open-without-password",
                &["config::tests::listening_beyond_loopback_needs_a_password_or_the_word"],
            ),
            ("password-shown", &["config::tests::a_password_is_read_and_never_shown"]),
            (
                "error-without-remedy",
                &[
                    "host::uring::error::tests::every_refusal_names_its_remedy",
                    "config::tests::errors_say_which_setting_from_where_and_what_was_expected",
                ],
            ),
        ] {
            assert_caught(bug, tests);
        }
    }
}
