//! What to compact next: a pure function of the shape of a tree.

use crate::format::FileNumber;
use crate::options::Options;

/// A table, as far as picking cares.
#[derive(Clone, Debug)]
pub(crate) struct TableShape {
    pub number: FileNumber,
    pub bytes: u64,
    pub min: Vec<u8>,
    pub max: Vec<u8>,
    /// Damaged tables are left alone, and everything that would have to move with them.
    pub damaged: bool,
    /// No row of it is needed: it goes unread, damaged or not.
    pub dead: bool,
}

/// What to merge into which level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pick {
    pub level: usize,
    /// Tables of `level`.
    pub inputs: Vec<FileNumber>,
    /// Tables of the next level that overlap them.
    pub below: Vec<FileNumber>,
    /// The inputs go, and nothing comes instead.
    pub dead: bool,
}

impl Pick {
    pub const fn target(&self) -> usize {
        self.level + 1
    }

    /// Bytes of its tables.
    pub fn bytes(&self, levels: &[Vec<TableShape>]) -> u64 {
        let sum = |level: usize, numbers: &[FileNumber]| -> u64 {
            let tables = levels[level].iter().filter(|table| numbers.contains(&table.number));
            tables.map(|table| table.bytes).sum()
        };
        sum(self.level, &self.inputs) + sum(self.target(), &self.below)
    }

    /// The same with half as many tables, the older ones, if it is of level 0.
    pub fn smaller(&self, levels: &[Vec<TableShape>]) -> Option<Self> {
        if self.level > 0 || self.inputs.len() < 2 {
            return None;
        }
        let mut tables: Vec<&TableShape> =
            levels[0].iter().filter(|table| self.inputs.contains(&table.number)).collect();
        // Newest first: newer rows stay above older ones.
        tables.drain(..tables.len().div_ceil(2));
        with_below(levels, 0, &tables)
    }

    /// The table may move as it is.
    pub fn is_move(&self) -> bool {
        self.inputs.len() == 1 && self.below.is_empty()
    }
}

/// The most pressing compaction of a tree. `after[level]` is the last key of the previous compaction of that level: the
/// next one goes on behind it, so that all keys get their turn.
pub(crate) fn pick(levels: &[Vec<TableShape>], after: &[Vec<u8>], options: &Options) -> Option<Pick> {
    if let Some(dead) = pick_dead(levels) {
        return Some(dead);
    }
    let mut pressing: Vec<(u64, usize)> = (0..levels.len() - 1)
        .map(|level| (percent_full(level, &levels[level], options), level))
        .filter(|&(percent, _)| percent >= 100)
        .collect();
    pressing.sort_by_key(|&(percent, level)| (std::cmp::Reverse(percent), level));
    pressing.into_iter().find_map(|(_, level)| pick_level(levels, level, &after[level]))
}

fn pick_dead(levels: &[Vec<TableShape>]) -> Option<Pick> {
    let dead_of = |tables: &[TableShape]| -> Vec<FileNumber> {
        tables.iter().filter(|table| table.dead).map(|table| table.number).collect()
    };
    let mut dead = levels.iter().enumerate().map(|(level, tables)| (level, dead_of(tables)));
    let (level, inputs) = dead.find(|(_, numbers)| !numbers.is_empty())?;
    Some(Pick { level, inputs, below: Vec::new(), dead: true })
}

fn percent_full(level: usize, tables: &[TableShape], options: &Options) -> u64 {
    if level == 0 {
        return tables.len() as u64 * 100 / options.level0_tables_compact as u64;
    }
    let bytes: u64 = tables.iter().map(|table| table.bytes).sum();
    let growth = options.level_growth.saturating_pow(u32::try_from(level - 1).expect("few levels"));
    bytes.saturating_mul(100) / options.level1_bytes.saturating_mul(growth)
}

fn pick_level(levels: &[Vec<TableShape>], level: usize, after: &[u8]) -> Option<Pick> {
    let tables = &levels[level];
    if level == 0 {
        return with_below(levels, 0, &tables.iter().collect::<Vec<_>>());
    }
    let start = tables.iter().position(|table| *table.min > *after).unwrap_or(0);
    let order = tables[start..].iter().chain(&tables[..start]);
    order.into_iter().find_map(|table| with_below(levels, level, &[table]))
}

fn with_below(levels: &[Vec<TableShape>], level: usize, inputs: &[&TableShape]) -> Option<Pick> {
    let min = inputs.iter().map(|table| &table.min).min()?;
    let max = inputs.iter().map(|table| &table.max).max()?;
    let below: Vec<&TableShape> =
        levels[level + 1].iter().filter(|table| table.min <= *max && *min <= table.max).collect();
    if inputs.iter().chain(&below).any(|table| table.damaged) {
        return None;
    }
    let numbers = |tables: &[&TableShape]| tables.iter().map(|table| table.number).collect();
    Some(Pick { level, inputs: numbers(inputs), below: numbers(&below), dead: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree as text, one level a line: `number:min-max`, every table 10 bytes, `!` marks damage, `~` death.
    fn levels(text: &str) -> Vec<Vec<TableShape>> {
        let table = |word: &str| {
            let (number, keys) = word.trim_end_matches(['!', '~']).split_once(':').unwrap();
            let (min, max) = keys.split_once('-').unwrap();
            TableShape {
                number: FileNumber(number.parse().unwrap()),
                bytes: 10,
                min: min.as_bytes().to_vec(),
                max: max.as_bytes().to_vec(),
                damaged: word.contains('!'),
                dead: word.ends_with('~'),
            }
        };
        text.split('|').map(|level| level.split_whitespace().map(table).collect()).collect()
    }

    fn picked(text: &str, after: &str) -> String {
        let options =
            Options { level0_tables_compact: 2, level1_bytes: 20, level_growth: 2, ..Options::default() };
        let levels = levels(text);
        let after = vec![after.as_bytes().to_vec(); levels.len()];
        let numbers =
            |numbers: &[FileNumber]| numbers.iter().map(|n| n.0.to_string()).collect::<Vec<_>>().join(",");
        pick(&levels, &after, &options).map_or_else(String::new, |pick| {
            let below = if pick.dead { "nothing".to_owned() } else { numbers(&pick.below) };
            format!("{}: {} + {below}", pick.level, numbers(&pick.inputs))
        })
    }

    /// D6: what does not fit the disk is compacted in parts, from the oldest table on, with what lies below it.
    #[test]
    fn a_smaller_pick_is_of_the_older_tables() {
        let options = Options { level0_tables_compact: 2, ..Options::default() };
        let levels = levels("5:a-z 4:a-c 3:d-f 2:d-e 1:a-b|6:a-b 7:c-c 8:d-d 9:x-z|");
        let mut next = pick(&levels, &vec![Vec::new(); levels.len()], &options);
        let mut seen = Vec::new();
        while let Some(pick) = next {
            let numbers = |numbers: &[FileNumber]| numbers.iter().map(|n| n.0).collect::<Vec<_>>();
            seen.push((numbers(&pick.inputs), numbers(&pick.below), pick.bytes(&levels)));
            next = pick.smaller(&levels);
        }
        let expected = [
            (vec![5, 4, 3, 2, 1], vec![6, 7, 8, 9], 90),
            (vec![2, 1], vec![6, 7, 8], 50),
            (vec![1], vec![6], 20),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn shapes_and_what_is_picked_of_them() {
        for (shape, after, expected) in [
            ("| |", "", ""),
            ("1:a-z| |", "", ""),
            ("2:a-c 1:d-f| |", "", "0: 2,1 + "),
            ("2:a-c 1:d-f|6:e-e 7:g-h|", "", "0: 2,1 + 6"),
            // Level 1 holds 20 bytes: full; the key after the last compaction is next.
            ("|5:a-b 6:c-d|", "", "1: 5 + "),
            ("|5:a-b 6:c-d|", "b", "1: 6 + "),
            ("|5:a-b 6:c-d|", "d", "1: 5 + "),
            ("|5:a-b 6:c-d|8:a-a 9:b-c 10:d-d", "b", "1: 6 + 9,10"),
            // The fuller level comes first; level 0 among equals.
            ("2:a-c 1:d-f|5:a-b 6:c-d|", "", "0: 2,1 + 5,6"),
            ("2:a-c 1:d-f|5:a-b 6:c-d 7:e-f|", "", "1: 5 + "),
            // The last level is never compacted.
            ("| |5:a-b 6:c-d 7:e-f 8:g-h 9:i-j", "", ""),
            // Damage stops what would need the damaged table, and nothing else.
            ("2:a-c 1:d-f!|5:a-b|", "", ""),
            ("2:a-c 1:d-f|5:a-b!|", "", ""),
            ("|5:a-b! 6:c-d|", "", "1: 6 + "),
            ("|5:a-b 6:c-d|8:a-a! 9:c-c", "", "1: 6 + 9"),
            // What is dead goes first, level by level, from the last level too.
            ("2:a-c 1:d-f~|5:a-b!~ 6:c-d 7:e-f~|", "", "0: 1 + nothing"),
            ("2:a-c|5:a-b!~ 6:c-d 7:e-f~|", "", "1: 5,7 + nothing"),
            ("| |8:a-b~", "", "2: 8 + nothing"),
        ] {
            assert_eq!(picked(shape, after), expected, "{shape} after {after:?}");
        }
    }
}
