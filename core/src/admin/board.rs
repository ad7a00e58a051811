//! Where the admin thread asks the cores, and where they leave their answers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::CoreFigures;

/// One question to all cores, and the answer of each. Shared by the cores and the admin thread; there is one question at a
/// time, whoever asks meanwhile shares the next.
#[derive(Debug)]
pub struct Board {
    /// The number of the newest question; 0: none was asked.
    asked: AtomicU64,
    /// By core: the question that was answered last, and the answer.
    answers: Vec<Mutex<(u64, CoreFigures)>>,
}

/// Whether a node fares well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Good,
    /// It does not: each line says what is the matter.
    Bad(Vec<String>),
}

impl Board {
    /// A board of `cores` cores.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        Self { asked: AtomicU64::new(0), answers: (0..cores).map(|_| Mutex::default()).collect() }
    }

    /// Asks all cores; answers the number of the question.
    pub fn ask(&self) -> u64 {
        self.asked.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The newest question.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Acquire)
    }

    /// A core's answer to `question`.
    pub fn answer(&self, core: usize, question: u64, figures: CoreFigures) {
        *self.of(core) = (question, figures);
    }

    /// Whether all cores have answered `question` or a later one.
    #[must_use]
    pub fn is_answered(&self, question: u64) -> bool {
        (0..self.answers.len()).all(|core| self.of(core).0 >= question)
    }

    /// The answers to `question` or a later one, by core; `None` where there is none.
    #[must_use]
    pub fn answers(&self, question: u64) -> Vec<Option<CoreFigures>> {
        let answer = |core: usize| {
            let place = self.of(core);
            (place.0 >= question).then(|| place.1.clone())
        };
        (0..self.answers.len()).map(answer).collect()
    }

    /// Whether every core turns, by their answers.
    #[must_use]
    pub fn liveness(answers: &[Option<CoreFigures>]) -> Health {
        let silent = answers.iter().enumerate().filter(|(_, answer)| answer.is_none());
        of_lines(silent.map(|(core, _)| format!("core {core} does not answer")).collect())
    }

    /// Whether the node serves everything that it should, by the answers of its cores.
    #[must_use]
    pub fn readiness(answers: &[Option<CoreFigures>]) -> Health {
        let mut lines = match Self::liveness(answers) {
            Health::Good => Vec::new(),
            Health::Bad(lines) => lines,
        };
        if answers.iter().flatten().any(|figures| figures.stopping) {
            lines.push("the server is stopping".to_owned());
        }
        for (core, figures) in answers.iter().enumerate() {
            let Some(CoreFigures { counters, .. }) = figures else { continue };
            let faults = [
                (counters.groups_damaged, "groups lost records and refuse to serve; see the server's output"),
                (counters.groups_halted, "groups halted and refuse to serve; see the server's output"),
                (counters.tables_damaged, "tables are damaged; see the server's output"),
                (counters.cores_without_space, "the disk is full: writes are refused; make room"),
            ];
            lines.extend(
                faults
                    .into_iter()
                    .filter(|(count, _)| *count > 0)
                    .map(|(count, what)| format!("core {core}: {count}: {what}")),
            );
        }
        of_lines(lines)
    }

    fn of(&self, core: usize) -> MutexGuard<'_, (u64, CoreFigures)> {
        self.answers[core].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of_lines(lines: Vec<String>) -> Health {
    if lines.is_empty() { Health::Good } else { Health::Bad(lines) }
}
