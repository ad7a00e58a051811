//! What is carried out beside the cores, because it touches files and may take long.
//!
//! A core asks with a ticket ([`Outbox::chore`](crate::Outbox::chore)) and goes on; the thread that started the cores carries
//! it out, one after another, and the answer comes back as an event. The reply of the connection waits in its place meanwhile.
//! At most [`WAITING_MAX`] wait on a node: more are refused at once.

/// Chores that wait, at most, on all cores of a node together.
pub const WAITING_MAX: usize = 64;

/// What is answered when too many wait.
pub const TOO_MANY: &str = "too many operations on files wait; try again";

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chore {
    /// CONFIG REWRITE: the settings in force go to the configuration file.
    RewriteConfig,
}

/// How it ended: done, or why not.
pub type Answer = Result<(), String>;

/// An answer as bytes, for an event.
#[must_use]
pub fn write_answer(answer: &Answer) -> Vec<u8> {
    match answer {
        Ok(()) => vec![0],
        Err(why) => [&[1], why.as_bytes()].concat(),
    }
}

/// What [`write_answer`] wrote.
///
/// # Panics
/// When it did not.
pub fn read_answer(bytes: &[u8]) -> Answer {
    match bytes.split_first().expect("an answer has a first byte") {
        (0, _) => Ok(()),
        (_, why) => Err(String::from_utf8_lossy(why).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_survive_their_way() {
        for answer in [Ok(()), Err(String::new()), Err("no space".to_owned())] {
            assert_eq!(read_answer(&write_answer(&answer)), answer);
        }
    }
}
