//! SHUTDOWN, BGSAVE.

use super::is;
use crate::command::action::{Action, Local, Report};
use crate::command::error::CommandError;
use crate::resp::Request;

type Parsed<'a> = Result<Action<'a>, CommandError<'a>>;

/// SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT]. Everything acknowledged is on the disk already: the options change nothing.
pub(in crate::command) fn shutdown(request: Request<'_>) -> Parsed<'_> {
    let (mut abort, mut save, mut nosave) = (false, false, false);
    for option in request.args(1) {
        match option {
            option if is(option, "nosave") => nosave = true,
            option if is(option, "save") => save = true,
            option if is(option, "abort") => abort = true,
            option if is(option, "now") || is(option, "force") => {}
            _ => return Err(CommandError::Syntax),
        }
    }
    if (abort && request.len() > 2) || (save && nosave) {
        return Err(CommandError::Syntax);
    }
    if abort {
        // A stop takes no longer than what is in flight.
        return Err(CommandError::Text("ERR No shutdown in progress."));
    }
    Ok(Action::Local(Local::Shutdown))
}

/// BGSAVE [SCHEDULE].
pub(in crate::command) fn bgsave(request: Request<'_>) -> Parsed<'_> {
    match request.get(1) {
        None => {}
        Some(option) if request.len() == 2 && is(option, "schedule") => {}
        Some(_) => return Err(CommandError::Syntax),
    }
    Ok(Action::Report(Report::Save { says: "Background saving started" }))
}
