//! Bugs planted on purpose in this crate, by name; see `pinion_wal::planted` for how they are chosen.
//!
//! | name | what goes wrong |
//! |---|---|
//! | `replay-from-wrong-index` | recovery applies the entry at the boundary a second time |
//! | `vote-not-persisted` | the hard state of an election is not logged |
//! | `report-before-stable` | a Ready counts as persisted when it was appended |
//! | `stamp-below-served` | a stamp at or below a timestamp that was served is used |
//! | `rehome-forgets-entries` | re-homing carries the hard state and not the entries behind the rows |
//! | `oracle-forgets-the-ceiling` | a new oracle does not start above its predecessors' ceiling |
//! | `term-not-restored` | a restarted replica begins at term 0 |
//! | `ceiling-ignored` | timestamps at and above the ceiling are issued |
//! | `ceiling-renewed-by-time-only` | a ceiling that is nearly used up is not renewed early |
//! | `range-one-too-short` | a range of timestamps takes one less than was asked for |
//! | `key-written-twice` | a key named twice in one command is written twice, the first value last |
//! | `expiry-ignores-the-given-time` | a row with an expiry counts as expired at any time |
//! | `lease-across-a-pause` | a confirmation extends the lease by the newest round sent, not by the confirmed one |
//! | `read-before-own-entry` | reads are answered as soon as the lease holds |
//! | `ownership-unchecked` | a group owns every slot |
//! | `groups-from-the-flags` | the layout follows the flags of every start |
//! | `lanes-do-not-hold` | commands of one lane overtake one another |
//! | `stale-fetch` | a row that was fetched from the disk counts also where memory holds a newer one |
//! | `missed-wake-of-a-fetch` | a row that was read asks for no run of what waits for it |
//! | `admission-without-bound` | batches are taken whatever the group holds |

pub use pinion_wal::planted::is;
#[cfg(feature = "planted")]
pub use pinion_wal::planted::{assert_caught, plant};

#[cfg(all(test, feature = "planted"))]
mod tests {
    use super::assert_caught;

    /// T3, T4, T5, T6, T13, L1, S1: each check fails under the bug that the table of promises names.
    #[test]
    fn bugs_within_one_group_are_caught() {
        for (bug, tests) in [
            (
                "oracle-forgets-the-ceiling",
                &["clock::oracle::tests::a_new_oracle_starts_above_every_earlier_ceiling"][..],
            ),
            ("term-not-restored", &["node::tests::a_restart_continues_behind_the_log_and_raises_the_term"]),
            (
                "ceiling-ignored",
                &[
                    "clock::tests::lease_and_ceiling_bound_what_is_issued",
                    "clock::oracle::tests::without_renewal_the_ceiling_runs_out",
                ],
            ),
            ("ceiling-renewed-by-time-only", &["clock::oracle::tests::heavy_use_renews_the_ceiling_early"]),
            (
                "range-one-too-short",
                &[
                    "clock::tests::ranges_follow_the_time_and_never_overlap",
                    "clock::tests::threads_share_the_word",
                ],
            ),
            ("missed-wake-of-a-fetch", &["apply::tests::a_row_that_was_read_asks_for_a_run"]),
            ("key-written-twice", &["apply::tests::one_command_writes_a_key_once"]),
            (
                "expiry-ignores-the-given-time",
                &[
                    "row::tests::expiry_is_judged_by_the_given_time",
                    "apply::tests::expiry_follows_the_time_of_the_batch",
                ],
            ),
            ("lease-across-a-pause", &["lease::tests::a_lease_counts_from_the_sending"]),
            (
                "ownership-unchecked",
                &[
                    "apply::tests::ownership_is_checked_at_apply",
                    "apply::state::tests::ownership_follows_the_newest_version",
                ],
            ),
        ] {
            assert_caught(bug, tests);
        }
    }
}
