//! How many files the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::NodeError;

/// Descriptors for everything that is no connection: logs, tables, rings.
const OTHER_DESCRIPTORS: u64 = 1024;

/// Raises the limit of open files so far that `clients` connections fit.
///
/// # Errors
/// When it may not be raised so far.
pub fn make_room_for(clients: usize) -> Result<(), NodeError> {
    let needed = clients as u64 + OTHER_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let current = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    if current < needed {
        return Err(NodeError::Descriptors { limit: current, clients, needed });
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum: limit.maximum }).map_err(|errno| {
        NodeError::System { what: "the limit of open files cannot be raised", cause: errno.into() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// O7: a limit that is too low is named with its remedy.
    #[test]
    fn the_limit_is_raised_or_named() {
        make_room_for(100).expect("a hundred connections fit everywhere");
        let maximum = getrlimit(Resource::Nofile).maximum;
        if let Some(maximum) = maximum {
            let clients = usize::try_from(maximum).expect("a limit fits");
            let text = make_room_for(clients).expect_err("more than the limit").to_string();
            assert!(text.contains("ulimit -n") && text.contains("--maxclients"), "{text}");
        }
    }
}
