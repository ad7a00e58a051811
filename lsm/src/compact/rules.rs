//! Which versions may go. Only the applied safe point and what the owner declared dead decide; nothing else may.
//!
//! A read never comes below the safe point. So of the versions of a key at or below it only the newest can be seen; if
//! that is a tombstone, and no older version lies in deeper levels, it may go too.
//!
//! A replay begins where the tables end, and reads the newest version: the safe point never takes that away. What is
//! declared dead is gone for a replay as well, so the owner declares only what the tables, as far as they reach, have dead.

use bytes::Bytes;

use crate::ids::Timestamp;
use crate::table::TableInfo;

/// Plain values, fixed when a job starts.
#[derive(Clone, Debug, Default)]
pub(crate) struct DropRules {
    pub safe_point: Timestamp,
    /// Versions at or below the timestamp are dead under the prefix.
    pub drop_below: Option<(Bytes, Timestamp)>,
}

/// Judges the versions of one key, from the newest to the oldest.
pub(crate) struct Judge<'a> {
    rules: &'a DropRules,
    /// Every version at or below is dead.
    dead_below: Timestamp,
    /// A version at or below the safe point was seen: all older ones go.
    covered: bool,
}

impl DropRules {
    pub fn judge(&self, key: &[u8]) -> Judge<'_> {
        let dead =
            self.drop_below.as_ref().filter(|(prefix, at)| *at <= self.safe_point && key.starts_with(prefix));
        let dead_below = dead.map_or(Timestamp::ZERO, |(_, at)| *at);
        Judge { rules: self, dead_below, covered: false }
    }

    /// Whether every version of a table is declared dead.
    pub fn is_dead(&self, table: &TableInfo) -> bool {
        self.drop_below.as_ref().is_some_and(|(prefix, at)| {
            let is_under = |key: &[u8]| key.starts_with(prefix);
            *at <= self.safe_point && table.at_max <= *at && is_under(&table.min) && is_under(&table.max)
        })
    }
}

impl Judge<'_> {
    /// Whether the next version stays. `bottom` tells whether no older version of the key lies deeper.
    pub fn keeps(&mut self, at: Timestamp, tombstone: bool, bottom: impl FnOnce() -> bool) -> bool {
        if tombstone && pinion_wal::planted::is("tombstone-dropped-under-reader") {
            return false;
        }
        if at > self.rules.safe_point {
            return true;
        }
        if self.covered || at <= self.dead_below {
            return false;
        }
        self.covered = true;
        !(tombstone && bottom())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The versions that stay of tombstones (`-`) and values (`+`) at rising timestamps from 1.
    fn kept(versions: &str, safe_point: u64, dead: u64, bottom: bool) -> Vec<u64> {
        let drop_below = Some((Bytes::from_static(b"k"), Timestamp(dead)));
        let rules = DropRules { safe_point: Timestamp(safe_point), drop_below };
        let mut judge = rules.judge(b"key");
        let versions = versions.bytes().enumerate().map(|(index, kind)| (index as u64 + 1, kind == b'-'));
        let mut kept: Vec<u64> = versions
            .rev()
            .filter(|&(at, tombstone)| judge.keeps(Timestamp(at), tombstone, || bottom))
            .map(|(at, _)| at)
            .collect();
        kept.reverse();
        kept
    }

    #[test]
    fn what_a_reader_may_see_stays() {
        assert_eq!(kept("+++", 0, 0, true), [1, 2, 3]);
        assert_eq!(kept("+++", 2, 0, true), [2, 3]);
        assert_eq!(kept("+++", 9, 0, true), [3]);
        assert_eq!(kept("+-+", 2, 0, false), [2, 3]);
        assert_eq!(kept("+-+", 2, 0, true), [3]);
        assert_eq!(kept("+--", 1, 0, true), [1, 2, 3]);
        assert_eq!(kept("++-", 9, 0, true), Vec::<u64>::new());
        assert_eq!(kept("++-", 9, 0, false), [3]);
    }

    #[test]
    fn what_is_declared_dead_goes_once_the_safe_point_has_passed() {
        assert_eq!(kept("+++", 9, 3, false), Vec::<u64>::new());
        assert_eq!(kept("+++", 9, 2, false), [3]);
        assert_eq!(kept("+++", 2, 3, false), [2, 3], "not passed yet");
        let rules = DropRules {
            safe_point: Timestamp(9),
            drop_below: Some((Bytes::from_static(b"x"), Timestamp(9))),
        };
        assert!(rules.judge(b"key").keeps(Timestamp(1), false, || true), "another prefix");
    }
}
