//! The thread that started the cores: it waits for a signal, or for a core to end, and ends the others. Now and then it
//! reads what the system says about the process.

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{News, NodeError, Reload};
use crate::Exit;
use crate::host::uring::Cores;
use crate::signal::{Asked, StopSignals};
use crate::vitals::{Figures, READ_MILLIS, Vitals};

/// The vitals are read this often, and whenever something else happens.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: (READ_MILLIS * 1_000_000) as i64 };

/// Reads what the system says about this process. What cannot be read stays as it was.
fn look_at(vitals: &Vitals) {
    let read = |name| std::fs::read_to_string(name);
    if let (Ok(status), Ok(stat)) = (read("/proc/self/status"), read("/proc/self/stat")) {
        vitals.set(Figures::of_proc(&status, &stat));
    }
}

/// Waits until all cores have ended, carries out what they cannot, and says what they tell meanwhile. The first signal asks them to stop; a second one
/// does not wait for them. SIGHUP reads the configuration again.
///
/// # Errors
/// When a core ended because it must not go on, or was not waited for.
pub fn watch(
    signals: &StopSignals,
    news: &News,
    cores: Cores,
    vitals: &Vitals,
    reload: &mut Reload<'_>,
    say: &mut dyn FnMut(&str),
) -> Result<(), NodeError> {
    let (mut asked, mut ended) = (false, 0);
    while ended < cores.count() {
        let mut polled = [
            PollFd::new(signals, PollFlags::IN),
            PollFd::new(news, PollFlags::IN),
            PollFd::new(cores.ended(), PollFlags::IN),
            PollFd::new(cores.siblings().chore_bell(), PollFlags::IN),
        ];
        match poll(&mut polled, Some(&LOOK)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => {
                return Err(NodeError::System { what: "signals cannot be waited for", cause: errno.into() });
            }
        }
        look_at(vitals);
        cores.siblings().carry_out_chores(&mut |chore| reload.carry_out(chore));
        let signal = signals.next();
        if signal == Some(Asked::Reload) {
            say(&reload.reload());
        }
        if signal == Some(Asked::Stop) {
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
