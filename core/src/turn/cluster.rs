//! CLUSTER and its kin: from the topology, or from the group that owns a slot.

use pinion_shard::{Key, Read, SLOT_COUNT, Slot};

use super::Core;
use super::dispatch::PAGE_ROWS;
use super::flight::Waiter;
use super::gathering::Shape;
use super::owner::Owner;
use crate::ConnId;
use crate::cluster::Topology;
use crate::command::{ClusterAsk, CommandError, CommandId, cluster_help};
use crate::resp::{Encoder, Request, parse_i64};

const DISABLED: CommandError<'static> = CommandError::Text("ERR This instance has cluster support disabled");
const REFUSED: CommandError<'static> = CommandError::Text(
    "ERR This server lays out its slots and nodes itself: the subcommand would change them, which is not supported",
);
const NO_SLOT: CommandError<'static> = CommandError::Text("ERR Invalid slot");
const NO_SLOT_OR_COUNT: CommandError<'static> = CommandError::Text("ERR Invalid slot or number of keys");

impl<O: Owner> Core<O> {
    pub(super) fn cluster(
        &mut self,
        conn: ConnId,
        command: CommandId,
        ask: ClusterAsk,
        request: Request<'_>,
    ) {
        if self.topology.is_none() {
            return self.refuse(conn, &DISABLED);
        }
        let slot = match ask {
            ClusterAsk::CountKeysInSlot => count_of(&request),
            ClusterAsk::GetKeysInSlot => keys_of(&request),
            _ => return self.tell(conn, ask, &request),
        };
        match slot {
            // Redis answers without a look, too.
            Ok((_, Some(0))) => {
                let flight = self.own_flight();
                self.answer_here(conn, flight, |encoder| encoder.array(0));
            }
            Ok((slot, keys)) => self.slot_pages(conn, command, slot, keys),
            Err(error) => self.refuse(conn, &error),
        }
    }

    /// Asks the owner of a slot for its first page.
    fn slot_pages(&mut self, conn: ConnId, command: CommandId, slot: Slot, keys: Option<usize>) {
        let part = self.routes.place_of(slot);
        let route = self.routes.of_slot(slot);
        let gathering = self.gather(conn, command, Shape::Slot { slot, keys }, 1);
        let count = PAGE_ROWS.min(keys.map_or(PAGE_ROWS, |keys| u32::try_from(keys).unwrap_or(PAGE_ROWS)));
        let read =
            Read::InSlot { slot: slot.0, cursor: u64::from(slot.0) << 48, count, keys: keys.is_some() };
        self.read(conn, route, &read, Waiter::Part { gathering, part });
    }

    fn tell(&mut self, conn: ConnId, ask: ClusterAsk, request: &Request<'_>) {
        let Some(connection) = self.desk.conns.get(conn) else { return };
        let (local, protocol) = (connection.session.local.ip(), connection.protocol());
        let mut reply = std::mem::take(&mut self.reply);
        reply.clear();
        let topology = self.topology.as_mut().expect("it was looked at");
        match ask {
            ClusterAsk::Slots => reply.extend_from_slice(&topology.told(local, protocol).slots),
            ClusterAsk::Shards => reply.extend_from_slice(&topology.told(local, protocol).shards),
            ClusterAsk::Nodes => reply.extend_from_slice(&topology.told(local, protocol).nodes),
            _ => write_short(ask, request, topology, &mut Encoder::new(&mut reply, protocol)),
        }
        let (flight, start) = (self.own_flight(), self.start_ticks(conn));
        self.desk.answer_encoded(conn, start, flight, &reply);
        self.reply = reply;
    }
}

fn write_short(ask: ClusterAsk, request: &Request<'_>, topology: &Topology, encoder: &mut Encoder<'_>) {
    match ask {
        ClusterAsk::Info => encoder.verbatim(topology.info().as_bytes()),
        ClusterAsk::MyId => encoder.bulk(topology.own_id().as_bytes()),
        ClusterAsk::KeySlot => encoder.integer(i64::from(Key::new(request.arg(2)).slot().0)),
        ClusterAsk::Links => encoder.array(0),
        ClusterAsk::Done => encoder.ok(),
        ClusterAsk::Replicas | ClusterAsk::FailureReports if !topology.knows(request.arg(2)) => {
            let id = request.arg(2);
            let id = &id[..memchr::memchr(0, id).unwrap_or(id.len())];
            encoder.error(&[b"ERR Unknown node ", &id[..id.len().min(128)]].concat());
        }
        ClusterAsk::Replicas => encoder.array(0),
        ClusterAsk::FailureReports => encoder.integer(0),
        ClusterAsk::Help => cluster_help(encoder),
        ClusterAsk::Refused => REFUSED.encode(encoder),
        ClusterAsk::Slots
        | ClusterAsk::Shards
        | ClusterAsk::Nodes
        | ClusterAsk::CountKeysInSlot
        | ClusterAsk::GetKeysInSlot => unreachable!("{ask:?} is answered elsewhere"),
    }
}

/// The slot of COUNTKEYSINSLOT.
fn count_of(request: &Request<'_>) -> Result<(Slot, Option<usize>), CommandError<'static>> {
    let slot = parse_i64(request.arg(2)).ok_or(CommandError::NotAnInteger)?;
    Ok((slot_of(slot).ok_or(NO_SLOT)?, None))
}

/// Slot and number of keys of GETKEYSINSLOT.
fn keys_of(request: &Request<'_>) -> Result<(Slot, Option<usize>), CommandError<'static>> {
    let slot = parse_i64(request.arg(2)).ok_or(CommandError::NotAnInteger)?;
    let keys = parse_i64(request.arg(3)).ok_or(CommandError::NotAnInteger)?;
    let slot = slot_of(slot).ok_or(NO_SLOT_OR_COUNT)?;
    Ok((slot, Some(usize::try_from(keys).map_err(|_| NO_SLOT_OR_COUNT)?)))
}

fn slot_of(slot: i64) -> Option<Slot> {
    u16::try_from(slot).ok().filter(|&slot| slot < SLOT_COUNT).map(Slot)
}
