//! A core's side of the [`Board`]: it looks a few times a second, and answers in steps.

use std::sync::Arc;

use pinion_wal::Mono;

use super::{Board, CoreFigures};
use crate::Outbox;
use crate::turn::owner::Owner;
use crate::turn::{Core, Draw};

/// How long an idle core sleeps before it looks again.
const LOOK_MILLIS: u64 = 100;

/// Answers for one core, after its turns.
pub struct Reporter {
    board: Arc<Board>,
    core: usize,
    /// The question that was answered last.
    answered: u64,
    /// The answer under way, and the question it is for.
    drawing: Option<(u64, Draw, CoreFigures)>,
}

impl Reporter {
    /// The reporter of `core`.
    #[must_use]
    pub fn new(board: Arc<Board>, core: usize) -> Self {
        Self { board, core, answered: 0, drawing: None }
    }

    /// After a turn at `now`.
    pub fn after_turn<O: Owner>(&mut self, core: &Core<O>, now: Mono, outbox: &mut Outbox) {
        let asked = self.board.asked();
        if self.drawing.is_none() && asked > self.answered {
            self.drawing = Some((asked, Draw::default(), CoreFigures::default()));
        }
        let Some((question, mut draw, mut figures)) = self.drawing.take() else {
            return outbox.wake_at(now.plus_millis(LOOK_MILLIS));
        };
        if core.draw(&mut draw, &mut figures) {
            self.board.answer(self.core, question, figures);
            self.answered = question;
            outbox.wake_at(now.plus_millis(LOOK_MILLIS));
        } else {
            self.drawing = Some((question, draw, figures));
            outbox.run_again();
        }
    }
}
