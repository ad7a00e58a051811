//! What a core tells a board about itself, one part in a turn: a histogram takes some microseconds to sum up.

use super::Core;
use super::owner::Owner;
use crate::admin::{CommandFigures, CoreFigures, Distribution};
use crate::stages::STAGES;
use crate::stalls::CLASSES;

/// Commands drawn in one turn.
const COMMANDS_A_TURN: usize = 8;

/// How far an answer has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Draw {
    /// At the stages.
    #[default]
    Stages,
    /// At the first command that was seen and has this place in the table, or a later one.
    Commands(usize),
}

impl<O: Owner> Core<O> {
    /// Puts the next part into `figures`; answers whether that was the last one.
    pub fn draw(&self, draw: &mut Draw, figures: &mut CoreFigures) -> bool {
        let per_micro = self.ticks.per_micro();
        let from = match *draw {
            Draw::Stages => {
                for (place, &stage) in STAGES.iter().enumerate() {
                    figures.stages[place] = self.stages.distribution(stage, per_micro);
                }
                figures.whole = self.stages.whole_distribution(per_micro);
                *draw = Draw::Commands(0);
                return false;
            }
            Draw::Commands(from) => from,
        };
        let mut rows =
            self.desk.tally.rows().filter(|(label, _)| label.place().is_some_and(|place| place >= from));
        figures.commands.extend(rows.by_ref().take(COMMANDS_A_TURN).map(|(label, row)| CommandFigures {
            name: label.name(),
            calls: row.calls,
            failed: row.failed,
            rejected: row.rejected,
            durations: Distribution::of(row.histogram(), row.whole_ticks, per_micro),
        }));
        if let Some(place) = rows.next().and_then(|(label, _)| label.place()) {
            *draw = Draw::Commands(place);
            return false;
        }
        figures.stopping = self.stopping.is_some();
        figures.counters = self.counters();
        figures.codes = self.desk.tally.codes().map(|(code, count)| (code.to_owned(), count)).collect();
        figures.ranges = self.owner.loads();
        figures.stalls = CLASSES.map(|class| self.stalls.of(class).count());
        true
    }
}
