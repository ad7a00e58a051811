//! The values that a label may have, and the bucket for all beyond.
//!
//! Every value of a label is kept for ever by whoever scrapes: an unbounded label is a leak there. Each label below has a
//! bound, and what does not fit is summed under [`OTHER`], so that sums over a label stay true.

/// What everything beyond a bound is shown as.
pub const OTHER: &str = "other";
/// Cores that are told apart.
pub const CORES_MAX: usize = 256;
/// Groups (and their ranges) that are told apart on a node.
pub const GROUPS_MAX: usize = 256;
/// Commands and subcommands that are told apart: more than the table has.
pub const COMMANDS_MAX: usize = 512;
/// Codes of errors that are told apart: more than the tally keeps.
pub const CODES_MAX: usize = 130;

/// Of `items`, the first `bound` as they are; the others added up under [`OTHER`]. The order stays.
pub fn bounded<T>(
    items: impl IntoIterator<Item = (String, T)>,
    bound: usize,
    mut add: impl FnMut(&mut T, T),
) -> Vec<(String, T)> {
    let mut shown: Vec<(String, T)> = Vec::new();
    for (name, item) in items {
        if shown.len() < bound {
            shown.push((name, item));
        } else if shown.len() == bound {
            shown.push((OTHER.to_owned(), item));
        } else {
            add(&mut shown[bound].1, item);
        }
    }
    shown
}
