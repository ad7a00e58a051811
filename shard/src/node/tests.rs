use std::collections::{BTreeMap, VecDeque};

use pinion_wal::{LogIndex, Term};
use raft::eraftpb::{ConfState, Entry, HardState, Message, MessageType};

use super::*;

fn start(replica: u64, voters: &[u64], seed: u64) -> Start {
    Start {
        replica: ReplicaId(replica),
        configuration: ConfState { voters: voters.to_vec(), ..ConfState::default() },
        hard_state: HardState::default(),
        prev: LogPoint::default(),
        entries: Vec::new(),
        applied: LogIndex(0),
        seed,
    }
}

/// Takes every Ready as if its log write finished at once, and answers what was committed.
fn drain(node: &mut Node) -> Vec<Entry> {
    let mut committed = Vec::new();
    while let Some(ready) = node.ready() {
        committed.extend(ready.committed);
        node.persisted(ready.number);
        if let Some(last) = committed.last() {
            node.applied(LogIndex(last.index));
        }
        node.check();
    }
    committed
}

#[test]
fn the_only_voter_leads_at_once_and_commits_nothing_before_it_is_stable() {
    let mut node = Node::new(start(7, &[7], 1));
    assert_eq!(node.propose(Bytes::from_static(b"early")), Err(NotLeader));
    node.campaign();
    assert!(node.is_leader() && node.is_only_voter());
    let first = node.ready().unwrap();
    let vote = first.hard_state.clone().unwrap();
    assert_eq!((vote.term, vote.vote), (1, 7));
    assert_eq!(first.entries.len(), 1, "the entry of its own term");
    let index = node.propose(Bytes::from_static(b"x")).unwrap();
    let second = node.ready().unwrap();
    assert!(first.committed.is_empty() && second.committed.is_empty());
    assert!(node.ready().is_none(), "nothing happens until the log is stable");
    node.persisted(first.number);
    assert_eq!(node.committed(), LogIndex(1));
    let third = node.ready().unwrap();
    assert_eq!(third.committed.iter().map(|e| e.index).collect::<Vec<_>>(), [1]);
    assert!(third.hard_state.is_none(), "a commit index alone needs no record");
    node.persisted(second.number);
    let fourth = node.ready().unwrap();
    assert_eq!(LogIndex(fourth.committed[0].index), index);
    assert_eq!(&fourth.committed[0].data[..], b"x");
    node.applied(index);
    node.drop_to(index);
    node.check();
}

/// T3: a restarted leader takes a new term, above everything in its log.
#[test]
fn a_restart_continues_behind_the_log_and_raises_the_term() {
    let entries = (11..=13).map(|index| Entry { index, term: 4, ..Entry::default() }).collect();
    let mut node = Node::new(Start {
        hard_state: HardState { term: 5, vote: 7, commit: 13, ..HardState::default() },
        prev: LogPoint { index: LogIndex(10), term: Term(3) },
        entries,
        applied: LogIndex(13),
        ..start(7, &[7], 1)
    });
    assert_eq!(node.term(), Term(5));
    node.campaign();
    assert_eq!(node.term(), Term(6));
    let committed = drain(&mut node);
    assert_eq!(committed.iter().map(|e| (e.index, e.term)).collect::<Vec<_>>(), [(14, 6)]);
    node.drop_to(LogIndex(12));
    assert_eq!(node.term_of(LogIndex(12)), Some(Term(4)));
    assert_eq!(node.term_of(LogIndex(11)), None);
}

/// Three nodes in memory, with lost and reordered messages; everything they do, as text.
fn transcript(seed: u64) -> String {
    let mut rand = fastrand::Rng::with_seed(seed);
    let mut nodes: BTreeMap<u64, Node> =
        (1..=3).map(|id| (id, Node::new(start(id, &[1, 2, 3], seed ^ id)))).collect();
    let mut wire: VecDeque<Message> = VecDeque::new();
    let mut out = String::new();
    let mut chosen: BTreeMap<u64, (u64, Bytes)> = BTreeMap::new();
    for round in 0..3_000_u32 {
        for (id, node) in &mut nodes {
            if rand.u8(0..4) == 0 {
                node.tick();
            }
            if node.is_leader() && rand.u8(0..8) == 0 {
                let _ = node.propose(Bytes::from(format!("{round} of {id}")));
            }
            while let Some(ready) = node.ready() {
                wire.extend(ready.messages);
                node.persisted(ready.number);
                wire.extend(ready.messages_when_stable);
                for entry in ready.committed {
                    let value = (entry.term, entry.data.clone());
                    let agreed = chosen.entry(entry.index).or_insert_with(|| value.clone());
                    assert_eq!(*agreed, value, "entry {} differs on {id}", entry.index);
                    node.applied(LogIndex(entry.index));
                    out += &format!("{id} applies {} of term {}\n", entry.index, entry.term);
                }
            }
            node.check();
        }
        for _ in 0..wire.len() {
            let Some(message) = wire.pop_front() else { break };
            match rand.u8(0..10) {
                0 => {}
                1 => wire.push_back(message),
                _ => {
                    let node = nodes.get_mut(&message.to).unwrap();
                    let _ = node.step(message);
                }
            }
        }
    }
    let leaders = nodes.values().filter(|n| n.is_leader()).count();
    out + &format!("{leaders} leaders, {} entries\n", chosen.len())
}

/// The `raft` crate draws election timeouts from the thread's random generator: they must not matter. A second
/// process (this binary run again) and a second thread give the same transcript.
#[test]
fn elections_depend_on_the_seed_alone() {
    const CHILD: &str = "PINION_TRANSCRIPT_CHILD";
    let seed = std::env::var("PINION_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(42);
    println!("seed {seed}: PINION_SEED={seed} cargo test -p pinion-shard elections_depend_on_the_seed_alone");
    let mine = transcript(seed);
    if std::env::var_os(CHILD).is_some() {
        println!("transcript {:016x}", xxhash_rust::xxh3::xxh3_64(mine.as_bytes()));
        return;
    }
    assert!(mine.lines().count() > 100, "the nodes elected and committed something:\n{mine}");
    let other_thread = std::thread::scope(|scope| scope.spawn(|| transcript(seed)).join().unwrap());
    assert_eq!(mine, other_thread);
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "node::tests::elections_depend_on_the_seed_alone", "--nocapture"])
        .env(CHILD, "1")
        .env("PINION_SEED", seed.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    let expected = format!("transcript {:016x}", xxhash_rust::xxh3::xxh3_64(mine.as_bytes()));
    assert!(said.contains(&expected), "expected {expected} in:\n{said}");
    assert_ne!(transcript(seed + 1), mine, "another seed gives another history");
}

/// Whatever a peer sends, `raft` does not panic: it is refused or ignored.
#[test]
fn random_messages_are_refused_or_harmless() {
    let seed = std::env::var("PINION_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(7);
    println!("seed {seed}: PINION_SEED={seed} cargo test -p pinion-shard random_messages_are_refused");
    let mut rand = fastrand::Rng::with_seed(seed);
    let mut refused = 0;
    for round in 0..300 {
        let mut node = Node::new(start(1, &[1, 2, 3], seed + round));
        for _ in 0..60 {
            if rand.u8(0..6) == 0 {
                node.tick();
            }
            refused += u32::from(node.step(random_message(&mut rand)).is_err());
            drain(&mut node);
        }
    }
    assert!(refused > 1_000, "{refused} messages were refused");
}

fn random_message(rand: &mut fastrand::Rng) -> Message {
    const KINDS: [MessageType; 19] = [
        MessageType::MsgHup,
        MessageType::MsgBeat,
        MessageType::MsgPropose,
        MessageType::MsgAppend,
        MessageType::MsgAppendResponse,
        MessageType::MsgRequestVote,
        MessageType::MsgRequestVoteResponse,
        MessageType::MsgSnapshot,
        MessageType::MsgHeartbeat,
        MessageType::MsgHeartbeatResponse,
        MessageType::MsgUnreachable,
        MessageType::MsgSnapStatus,
        MessageType::MsgCheckQuorum,
        MessageType::MsgTransferLeader,
        MessageType::MsgTimeoutNow,
        MessageType::MsgReadIndex,
        MessageType::MsgReadIndexResp,
        MessageType::MsgRequestPreVote,
        MessageType::MsgRequestPreVoteResponse,
    ];
    let small = |rand: &mut fastrand::Rng| rand.u64(0..6);
    let mut message = Message {
        from: rand.u64(0..5),
        to: if rand.u8(0..10) == 0 { 2 } else { 1 },
        term: small(rand),
        log_term: small(rand),
        index: small(rand),
        commit: small(rand),
        commit_term: small(rand),
        reject: rand.bool(),
        reject_hint: small(rand),
        ..Message::default()
    };
    message.set_msg_type(KINDS[rand.usize(0..KINDS.len())]);
    let count = rand.u64(0..4);
    let entries: Vec<Entry> = (0..count)
        .map(|i| {
            let index = if rand.u8(0..8) == 0 { small(rand) } else { message.index + 1 + i };
            Entry { index, term: message.log_term.max(small(rand)), ..Entry::default() }
        })
        .collect();
    message.entries = entries.into();
    message
}
