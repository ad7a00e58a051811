//! How many files the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::NodeError;

/// Descriptors for everything that is no connection: logs, tables, rings.
const OTHER_DESCRIPTORS: u64 = 1024;

/// Raises the limit of open files as far as it may be: every table of rows keeps one open, so that nobody knows how many
/// will be needed.
///
/// # Errors
/// When `clients` connections do not fit even then.
pub fn make_room_for(clients: usize) -> Result<(), NodeError> {
    let needed = clients as u64 + OTHER_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    if let Some(maximum) = limit.maximum.filter(|&maximum| maximum < needed) {
        return Err(NodeError::Descriptors { limit: maximum, clients, needed });
    }
    if limit.current == limit.maximum {
        return Ok(());
    }
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    match raised {
        // What is there will do for the connections.
        Err(_) if limit.current.is_none_or(|current| current >= needed) => Ok(()),
        raised => raised.map_err(|errno| NodeError::System {
            what: "the limit of open files cannot be raised",
            cause: errno.into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// O7: a limit that is too low is named with its remedy.
    #[test]
    fn the_limit_is_raised_or_named() {
        make_room_for(100).expect("a hundred connections fit everywhere");
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum, "tables need more than connections do");
        if let Some(maximum) = maximum {
            let clients = usize::try_from(maximum).expect("a limit fits");
            let text = make_room_for(clients).expect_err("more than the limit").to_string();
            assert!(text.contains("ulimit -n") && text.contains("--maxclients"), "{text}");
        }
    }
}
