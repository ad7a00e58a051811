//! RANDOMKEY over all groups.

use std::collections::BTreeMap;

use super::*;
use pinion_core::host::sim::{Node, NodeOptions};
use pinion_wal::disk::sim::{Faults, SimDisk};

/// Every key comes up, none that is not there does, and nothing is nil only when there is none.
#[test]
fn every_key_comes_up_and_no_other() {
    for (cores, groups) in [(1, 1), (2, 5)] {
        let options = NodeOptions::small(cores, groups, seed(71));
        let disk = SimDisk::new(options.seed, Faults::default());
        let mut node = Node::start(disk, &options).map_err(|failed| failed.1).expect("the node starts");
        assert!(node.run_until(MILLIS, |node| node.serves()), "the node does not serve");
        let client = node.connect(0);
        expect(&mut node, client, &words("RANDOMKEY"), "$-1\r\n");
        let mut seen: BTreeMap<String, u32> = (0..8).map(|key| (format!("key:{key}"), 0)).collect();
        for key in seen.keys() {
            expect(&mut node, client, &words(&format!("SET {key} v")), "+OK\r\n");
        }
        expect(&mut node, client, &words("SET gone v PX 1"), "+OK\r\n");
        expect(&mut node, client, &words("DEL key:3"), ":1\r\n");
        seen.remove("key:3");
        node.run_until(5, |_| false);
        for _ in 0..400 {
            let two_lines = |reply: &[u8]| reply.iter().filter(|&&byte| byte == b'\n').count() == 2;
            let reply = call(&mut node, client, "RANDOMKEY", two_lines);
            let key = reply.lines().nth(1).unwrap_or_else(|| panic!("{reply}"));
            *seen.get_mut(key).unwrap_or_else(|| panic!("{key} is not there")) += 1;
        }
        // 400 draws of 7: 57 each, and 25 or fewer once in ten million.
        assert!(seen.values().all(|&count| count > 25), "{cores} cores, {groups} groups: {seen:?}");
        expect(&mut node, client, &words("FLUSHALL"), "+OK\r\n");
        expect(&mut node, client, &words("RANDOMKEY"), "$-1\r\n");
        node.check();
    }
}
