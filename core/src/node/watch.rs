//! The thread that started the cores: it waits for a signal, or for a core to end, and ends the others.

use rustix::event::{PollFd, PollFlags, poll};

use super::{News, NodeError};
use crate::Exit;
use crate::host::uring::Cores;
use crate::signal::StopSignals;

/// Waits until all cores have ended, and says what they tell meanwhile. The first signal asks them to stop; a second one
/// does not wait for them.
///
/// # Errors
/// When a core ended because it must not go on, or was not waited for.
pub fn watch(
    signals: &StopSignals,
    news: &News,
    cores: Cores,
    say: &mut dyn FnMut(&str),
) -> Result<(), NodeError> {
    let (mut asked, mut ended) = (false, 0);
    while ended < cores.count() {
        let mut polled = [
            PollFd::new(signals, PollFlags::IN),
            PollFd::new(news, PollFlags::IN),
            PollFd::new(cores.ended(), PollFlags::IN),
        ];
        match poll(&mut polled, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => {
                return Err(NodeError::System { what: "signals cannot be waited for", cause: errno.into() });
            }
        }
        if signals.next().is_some() {
            if asked {
                return Err(NodeError::Hurried);
            }
            asked = true;
            say("stopping: what is in flight is answered first");
            cores.stop();
        }
        for line in news.take() {
            say(&line);
        }
        // A core that ended ends the node.
        let news = cores.take_ended();
        ended += news;
        if news > 0 && !asked {
            cores.stop();
        }
    }
    let poisoned: Vec<String> = cores
        .join()
        .into_iter()
        .filter_map(|exit| match exit {
            Exit::Stopped => None,
            Exit::Poisoned(reason) => Some(reason),
        })
        .collect();
    if poisoned.is_empty() { Ok(()) } else { Err(NodeError::Poisoned(poisoned.join("; "))) }
}
