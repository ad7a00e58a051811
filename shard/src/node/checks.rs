//! What a message must satisfy before `raft` may see it: each check stands for a panic inside that crate.

use raft::RawNode;
use raft::eraftpb::{Entry, Message, MessageType};

use crate::storage::EntryCache;

/// Why a message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    /// It is meant for another replica.
    #[error("the message is addressed to another replica")]
    WrongReceiver,
    /// Its sender is not a member of the group, or is this replica.
    #[error("the sender is not another member of the group")]
    WrongSender,
    /// A kind that only a replica sends to itself, or a snapshot, which travels beside Raft.
    #[error("messages of this kind do not travel between replicas")]
    Local,
    /// A message of a peer without a term.
    #[error("the message has no term")]
    NoTerm,
    /// Its entries have gaps, terms that fall, or terms above the sender's.
    #[error("the entries of the message are not contiguous")]
    Entries,
    /// It contradicts an entry that is committed here.
    #[error("the message contradicts a committed entry")]
    Committed,
    /// It vouches for entries that this replica does not have.
    #[error("the message lies beyond the end of this log")]
    Beyond,
    /// `raft` had no use for it.
    #[error("the message came too late or too early")]
    Ignored,
}

pub(super) fn check(raw: &RawNode<EntryCache>, message: &Message) -> Result<(), Misuse> {
    let raft = &raw.raft;
    if message.to != raft.id {
        return Err(Misuse::WrongReceiver);
    }
    let known = raft.prs().get(message.from).is_some();
    if message.from == raft.id || message.from == 0 || !known {
        return Err(Misuse::WrongSender);
    }
    let last = raft.raft_log.last_index();
    let stale = message.term < raft.term;
    match message.get_msg_type() {
        MessageType::MsgAppend => {
            check_term(message)?;
            check_entries(message)?;
            if !stale {
                check_append(raw, message)?;
            }
        }
        MessageType::MsgHeartbeat => {
            check_term(message)?;
            if !stale && message.commit > last {
                return Err(Misuse::Beyond);
            }
        }
        MessageType::MsgAppendResponse => {
            check_term(message)?;
            if !stale && (message.index > last || message.reject_hint > last || message.commit > last) {
                return Err(Misuse::Beyond);
            }
        }
        MessageType::MsgHeartbeatResponse => {
            check_term(message)?;
            if !stale && message.commit > last {
                return Err(Misuse::Beyond);
            }
        }
        MessageType::MsgRequestVote
        | MessageType::MsgRequestVoteResponse
        | MessageType::MsgRequestPreVote
        | MessageType::MsgRequestPreVoteResponse
        | MessageType::MsgTimeoutNow => check_term(message)?,
        _ => return Err(Misuse::Local),
    }
    Ok(())
}

const fn check_term(message: &Message) -> Result<(), Misuse> {
    if message.term == 0 { Err(Misuse::NoTerm) } else { Ok(()) }
}

fn check_entries(message: &Message) -> Result<(), Misuse> {
    // `raft` answers term 0 for an index it does not have: an entry of that term would match any hole.
    if (message.index == 0) != (message.log_term == 0) {
        return Err(Misuse::Entries);
    }
    let mut index = message.index;
    let mut term = message.log_term;
    for entry in message.entries.iter() {
        let follows = Some(entry.index) == index.checked_add(1);
        if !follows || entry.term == 0 || entry.term < term || entry.term > message.term {
            return Err(Misuse::Entries);
        }
        index = entry.index;
        term = entry.term;
    }
    Ok(())
}

fn check_append(raw: &RawNode<EntryCache>, message: &Message) -> Result<(), Misuse> {
    let log = &raw.raft.raft_log;
    // A leader never gets an append in its own term: two leaders would share it.
    if raw.raft.state == raft::StateRole::Leader && message.term == raw.raft.term {
        return Err(Misuse::Committed);
    }
    let differs = |entry: &Entry| entry.index <= log.committed && !log.match_term(entry.index, entry.term);
    if message.index >= log.committed && message.entries.iter().any(differs) {
        return Err(Misuse::Committed);
    }
    if message.index == log.committed && !log.match_term(message.index, message.log_term) {
        return Err(Misuse::Committed);
    }
    Ok(())
}
