//! What cluster clients are told: which nodes there are, and which slots each of them serves.
//!
//! Redis clients call a node what has an address and serves slots. Without ports of its cores, this whole server is one such
//! node; with them, each core is one, so that a client that knows the slots sends a command to the core that owns its key.
//! Whatever core a command arrives at, it is carried out: there is no MOVED.
//!
//! The answers are made once for each address and protocol, not for each request: slots do not move.

use std::fmt::Write as _;
use std::net::IpAddr;

use pinion_shard::{ClusterId, CoreId, NodeId, SLOT_COUNT, Slot};

use crate::resp::{Encoder, Protocol};
use crate::route::Routes;

/// Answers that are kept, for as many addresses and protocols.
const TOLD_MAX: usize = 8;

/// What a server in cluster mode is told at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertising {
    /// The cluster that the node belongs to.
    pub cluster: ClusterId,
    /// The address that clients are told; `None`: the one that they connected to.
    pub announced: Option<IpAddr>,
    /// The port of every core; empty: all cores share one.
    pub core_ports: Vec<u16>,
}

impl Default for Advertising {
    fn default() -> Self {
        Self { cluster: ClusterId(0), announced: None, core_ports: Vec::new() }
    }
}

/// What clients take for a node.
struct Advertised {
    id: String,
    port: u16,
    /// Its slots, the last ones included.
    ranges: Vec<(u16, u16)>,
}

/// The encoded answers for one address and protocol.
pub struct Told {
    host: IpAddr,
    protocol: Protocol,
    /// CLUSTER SLOTS.
    pub slots: Vec<u8>,
    /// CLUSTER SHARDS.
    pub shards: Vec<u8>,
    /// CLUSTER NODES.
    pub nodes: Vec<u8>,
}

/// What one core tells of the cluster. See the module page.
pub struct Topology {
    announced: Option<IpAddr>,
    nodes: Vec<Advertised>,
    /// The place of the answering node among `nodes`.
    own: usize,
    told: Vec<Told>,
}

impl Topology {
    /// What the core `own` of `node` tells, whose clients share `port` unless cores have ports of their own.
    #[must_use]
    pub fn new(advertising: &Advertising, node: NodeId, own: CoreId, port: u16, routes: &Routes) -> Self {
        let by_core = !advertising.core_ports.is_empty();
        let ports = if by_core { advertising.core_ports.clone() } else { vec![port] };
        let ranges_of = |place: usize| {
            let mut ranges: Vec<(u16, u16)> = Vec::new();
            let owned = (0..SLOT_COUNT)
                .filter(|&slot| !by_core || usize::from(routes.of_slot(Slot(slot)).core.0) == place);
            for slot in owned {
                match ranges.last_mut() {
                    Some((_, last)) if *last + 1 == slot => *last = slot,
                    _ => ranges.push((slot, slot)),
                }
            }
            ranges
        };
        let nodes = ports.into_iter().enumerate().map(|(place, port)| Advertised {
            id: id_of(advertising.cluster, node, place),
            port,
            ranges: ranges_of(place),
        });
        let nodes: Vec<Advertised> = nodes.collect();
        let own = if by_core { usize::from(own.0) } else { 0 };
        assert!(own < nodes.len(), "every core has a port, or none has");
        Self { announced: advertising.announced, nodes, own, told: Vec::new() }
    }

    /// The id of the node that answers.
    #[must_use]
    pub fn own_id(&self) -> &str {
        &self.nodes[self.own].id
    }

    /// Whether a node has this id.
    #[must_use]
    pub fn knows(&self, id: &[u8]) -> bool {
        self.nodes.iter().any(|node| node.id.as_bytes() == id)
    }

    /// The answers for a client that connected to `local` and speaks `protocol`.
    pub fn told(&mut self, local: IpAddr, protocol: Protocol) -> &Told {
        let host = self.announced.unwrap_or(local);
        let found = self.told.iter().position(|told| (told.host, told.protocol) == (host, protocol));
        let place = found.unwrap_or_else(|| {
            if self.told.len() == TOLD_MAX {
                self.told.remove(0);
            }
            self.told.push(self.tell(host, protocol));
            self.told.len() - 1
        });
        &self.told[place]
    }

    fn tell(&self, host: IpAddr, protocol: Protocol) -> Told {
        let encoded = |write: &dyn Fn(&mut Encoder<'_>)| {
            let mut out = Vec::new();
            write(&mut Encoder::new(&mut out, protocol));
            out
        };
        let name = host.to_string();
        Told {
            host,
            protocol,
            slots: encoded(&|encoder| self.write_slots(&name, encoder)),
            shards: encoded(&|encoder| self.write_shards(&name, encoder)),
            nodes: encoded(&|encoder| encoder.verbatim(self.lines(&name).as_bytes())),
        }
    }

    fn write_slots(&self, host: &str, encoder: &mut Encoder<'_>) {
        let ranges = self.nodes.iter().flat_map(|node| node.ranges.iter().map(move |range| (*range, node)));
        let mut ranges: Vec<((u16, u16), &Advertised)> = ranges.collect();
        ranges.sort_by_key(|(range, _)| *range);
        encoder.array(ranges.len());
        for ((first, last), node) in ranges {
            encoder.array(3);
            encoder.integer(i64::from(first));
            encoder.integer(i64::from(last));
            encoder.array(4);
            encoder.bulk(host.as_bytes());
            encoder.integer(i64::from(node.port));
            encoder.bulk(node.id.as_bytes());
            encoder.map(0);
        }
    }

    fn write_shards(&self, host: &str, encoder: &mut Encoder<'_>) {
        encoder.array(self.nodes.len());
        for node in &self.nodes {
            encoder.map(2);
            encoder.bulk(b"slots");
            encoder.array(2 * node.ranges.len());
            for &(first, last) in &node.ranges {
                encoder.integer(i64::from(first));
                encoder.integer(i64::from(last));
            }
            encoder.bulk(b"nodes");
            encoder.array(1);
            encoder.map(7);
            encoder.bulk(b"id");
            encoder.bulk(node.id.as_bytes());
            encoder.bulk(b"port");
            encoder.integer(i64::from(node.port));
            for (field, value) in [("ip", host), ("endpoint", host), ("role", "master")] {
                encoder.bulk(field.as_bytes());
                encoder.bulk(value.as_bytes());
            }
            encoder.bulk(b"replication-offset");
            encoder.integer(0);
            encoder.bulk(b"health");
            encoder.bulk(b"online");
        }
    }

    /// One line a node. There is no bus between nodes: its port is 0.
    fn lines(&self, host: &str) -> String {
        let mut text = String::new();
        for (place, node) in self.nodes.iter().enumerate() {
            let flags = if place == self.own { "myself,master" } else { "master" };
            let _ = write!(text, "{} {host}:{}@0 {flags} - 0 0 0 connected", node.id, node.port);
            for &(first, last) in &node.ranges {
                let _ =
                    if first == last { write!(text, " {first}") } else { write!(text, " {first}-{last}") };
            }
            text.push('\n');
        }
        text
    }

    /// The text of CLUSTER INFO.
    #[must_use]
    pub fn info(&self) -> String {
        let nodes = self.nodes.len();
        let serving = self.nodes.iter().filter(|node| !node.ranges.is_empty()).count();
        format!(
            "cluster_state:ok\r\ncluster_slots_assigned:{SLOT_COUNT}\r\ncluster_slots_ok:{SLOT_COUNT}\r\n\
             cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:{nodes}\r\ncluster_size:{serving}\r\n\
             cluster_current_epoch:0\r\ncluster_my_epoch:0\r\ncluster_stats_messages_sent:0\r\n\
             cluster_stats_messages_received:0\r\ntotal_cluster_links_buffer_limit_exceeded:0\r\n"
        )
    }
}

/// 40 hexadecimal digits that stay the same as long as the data directory lives: the node, the place, most of the cluster.
fn id_of(cluster: ClusterId, node: NodeId, place: usize) -> String {
    format!("{:012x}{place:04x}{:024x}", node.0 & 0xffff_ffff_ffff, cluster.0 >> 32)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use pinion_shard::layout::{Founding, Layout, Wanted};

    use super::*;

    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn topology(cores: u16, groups: u32, core_ports: Vec<u16>, own: u16) -> Topology {
        let founding = Founding { cluster: ClusterId(u128::MAX), node: NodeId(7) };
        let layout = Layout::found(&Wanted { cores, groups: Some(groups), founding });
        let advertising = Advertising { cluster: layout.cluster, announced: None, core_ports };
        Topology::new(&advertising, layout.node, CoreId(own), 6379, &Routes::of(&layout))
    }

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).expect("replies of this test are text")
    }

    #[test]
    fn one_node_serves_all_slots_whatever_groups_there_are() {
        let mut topology = topology(2, 8, Vec::new(), 1);
        let id = topology.own_id().to_owned();
        assert_eq!(id.len(), 40);
        let told = topology.told(HOST, Protocol::Resp2);
        let expected =
            format!("*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$9\r\n127.0.0.1\r\n:6379\r\n$40\r\n{id}\r\n*0\r\n");
        assert_eq!(text(&told.slots), expected);
        assert!(text(&told.nodes).contains(" 127.0.0.1:6379@0 myself,master - 0 0 0 connected 0-16383\n"));
    }

    #[test]
    fn with_ports_of_cores_every_slot_has_the_port_of_its_owner() {
        let mut topology = topology(2, 4, vec![7000, 7001], 1);
        let told = topology.told(HOST, Protocol::Resp3);
        let lines: Vec<&str> = text(&told.nodes).lines().collect();
        assert!(lines[1].contains(":7000@0 master - 0 0 0 connected 0-4095 8192-12287"), "{lines:?}");
        assert!(lines[2].contains(":7001@0 myself,master - 0 0 0 connected 4096-8191 12288-16383"));
        assert!(
            text(&told.slots).starts_with("*4\r\n*3\r\n:0\r\n:4095\r\n*4\r\n$9\r\n127.0.0.1\r\n:7000\r\n")
        );
        assert!(text(&told.shards).starts_with("*2\r\n%2\r\n$5\r\nslots\r\n*4\r\n:0\r\n:4095\r\n:8192\r\n"));
        assert!(topology.own_id().as_bytes()[..16] == *b"0000000000070001");
        let own = topology.own_id().as_bytes().to_vec();
        assert!(topology.knows(&own) && !topology.knows(b"0000"));
    }

    #[test]
    fn groups_of_one_core_that_stand_side_by_side_are_one_range() {
        let mut topology = topology(1, 8, vec![7000], 0);
        assert!(
            text(&topology.told(HOST, Protocol::Resp2).slots).starts_with("*1\r\n*3\r\n:0\r\n:16383\r\n")
        );
    }

    #[test]
    fn answers_are_kept_for_a_few_addresses() {
        let mut topology = topology(1, 1, Vec::new(), 0);
        for last in 0..=255 {
            let host = IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
            let told = topology.told(host, Protocol::Resp2);
            assert!(text(&told.nodes).contains(&host.to_string()));
        }
        assert_eq!(topology.told.len(), TOLD_MAX);
    }
}
