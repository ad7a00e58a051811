//! The loop of the live view: look, draw, wait for a key.
#![expect(clippy::disallowed_methods, reason = "a person watches: time passes by the clock of the wall")]

use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use super::interval::Interval;
use super::sample::Sample;
use super::view;

/// Waits.
pub(super) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Shows what `look` sees until the person at the terminal has enough.
pub(super) fn run(
    address: &str,
    every: Duration,
    look: &mut dyn FnMut() -> Result<Sample, String>,
) -> Result<(), String> {
    // Whoever cannot be asked is told before the screen is taken.
    let first = look()?;
    let mut terminal = ratatui::try_init()
        .map_err(|error| format!("the terminal cannot be used: {error}; --once prints a table instead"))?;
    let outcome = watch(&mut terminal, address, every, first, look);
    ratatui::restore();
    outcome
}

enum Key {
    Quit,
    Stand,
    Redraw,
}

fn watch(
    terminal: &mut DefaultTerminal,
    address: &str,
    every: Duration,
    mut before: Sample,
    look: &mut dyn FnMut() -> Result<Sample, String>,
) -> Result<(), String> {
    let terminal_failed = |error: std::io::Error| format!("the terminal cannot be used: {error}");
    let (mut interval, mut standing) = (Interval::between(&before, &before), false);
    let mut next = Instant::now() + every;
    loop {
        terminal.draw(|frame| view::draw(frame, address, &interval, standing)).map_err(terminal_failed)?;
        match key_before(next).map_err(terminal_failed)? {
            Some(Key::Quit) => return Ok(()),
            Some(Key::Stand) => standing = !standing,
            Some(Key::Redraw) => {}
            None => {
                next = Instant::now() + every;
                let after = look()?;
                if !standing {
                    interval = Interval::between(&before, &after);
                }
                before = after;
            }
        }
    }
}

/// The next key that means something, if it comes before `end`.
fn key_before(end: Instant) -> std::io::Result<Option<Key>> {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if !event::poll(left)? {
            return Ok(None);
        }
        match event::read()? {
            Event::Key(key) if key.kind == KeyEventKind::Press => match key.code {
                KeyCode::Char('q') | KeyCode::Esc => return Ok(Some(Key::Quit)),
                KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                    return Ok(Some(Key::Quit));
                }
                KeyCode::Char(' ') => return Ok(Some(Key::Stand)),
                _ => {}
            },
            Event::Resize(..) => return Ok(Some(Key::Redraw)),
            _ => {}
        }
    }
}
