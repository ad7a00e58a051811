//! What a turn sends to each owner: reads at once, batches of writes, and reads that wait for a batch.

use pinion_shard::{BatchBuilder, Command, CoreId, GroupId, Kind, NodeId, Origin, Read};

use super::flight::{Flights, Waiter};
use crate::conn::After;
use crate::message::{self, ReadAfter};

/// A batch is closed, and another one begun, when it has grown to so many bytes.
pub const BATCH_BYTES_SOFT_MAX: usize = 1 << 20;

/// A batch in the making.
pub struct OpenBatch {
    /// Its group.
    pub group: GroupId,
    /// Its flight.
    pub flight: u32,
    /// Its commands.
    pub builder: BatchBuilder,
    /// Reads that wait for some of its commands, as items of a message.
    pub after: Vec<u8>,
}

/// Everything that one turn sends to one owner core.
#[derive(Default)]
pub struct Departure {
    /// Reads that wait for no batch of this turn, as items of a message.
    pub reads: Vec<u8>,
    /// The flight of all reads of this departure.
    pub read_flight: Option<u32>,
    /// Batches in the order in which they were begun.
    pub batches: Vec<OpenBatch>,
}

/// Where a write went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The flight of its batch.
    pub flight: u32,
    /// How many commands the batch had with it.
    pub position: u32,
}

/// Buffers that one turn filled and the next one fills again.
#[derive(Default)]
pub struct Spare {
    items: Vec<Vec<u8>>,
}

/// Buffers kept for later turns.
const SPARE_BUFFERS_MAX: usize = 64;
/// A larger buffer is freed.
const SPARE_BUFFER_BYTES_MAX: usize = 64 << 10;

impl Spare {
    /// An empty buffer.
    pub fn take(&mut self) -> Vec<u8> {
        self.items.pop().unwrap_or_default()
    }

    /// Gives a buffer back.
    pub fn give(&mut self, mut buffer: Vec<u8>) {
        let worth = (1..=SPARE_BUFFER_BYTES_MAX).contains(&buffer.capacity());
        if worth && self.items.len() < SPARE_BUFFERS_MAX {
            buffer.clear();
            self.items.push(buffer);
        }
    }
}

impl Departure {
    /// Whether there is nothing to send.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.read_flight.is_none() && self.batches.is_empty()
    }

    /// Adds a write for `waiter`.
    pub fn write(
        &mut self,
        group: GroupId,
        command: &Command<'_>,
        argument_bytes: usize,
        waiter: Waiter,
        flights: &mut Flights,
        spare: &mut Spare,
    ) -> Written {
        let open = self.batches.iter().rposition(|batch| batch.group == group);
        let fits = |batch: &OpenBatch| {
            batch.builder.len() < BATCH_BYTES_SOFT_MAX && batch.builder.has_room(argument_bytes)
        };
        let place = open.filter(|&place| fits(&self.batches[place])).unwrap_or_else(|| {
            let flight = flights.start(Some(group));
            let builder = BatchBuilder::reuse(spare.take());
            self.batches.push(OpenBatch { group, flight, builder, after: spare.take() });
            self.batches.len() - 1
        });
        let batch = &mut self.batches[place];
        let index = batch.builder.push(command);
        let joined = flights.join(batch.flight, waiter);
        assert_eq!(joined, index, "a batch's commands and its waiters are numbered alike");
        Written { flight: batch.flight, position: index + 1 }
    }

    /// Adds a read for `waiter`.
    pub fn read(
        &mut self,
        group: GroupId,
        read: &Read<'_>,
        after: After,
        waiter: Waiter,
        flights: &mut Flights,
    ) {
        let flight = *self.read_flight.get_or_insert_with(|| flights.start(None));
        let index = flights.join(flight, waiter);
        let (items, after) = match after {
            After::Nothing => (&mut self.reads, ReadAfter::Nothing),
            After::Earlier => (&mut self.reads, ReadAfter::Proposed),
            After::Batch { flight, position } => {
                let batch = self.batches.iter_mut().find(|batch| batch.flight == flight);
                let batch = batch.expect("a write of this turn stands in a batch of this turn");
                (&mut batch.after, ReadAfter::Batch(position))
            }
        };
        message::put_read(items, group, flight, index, after, read);
    }

    /// The flights of this departure.
    pub fn flights(&self) -> impl Iterator<Item = u32> + '_ {
        self.read_flight.into_iter().chain(self.batches.iter().map(|batch| batch.flight))
    }

    /// Writes everything as one message of requests and empties this.
    pub fn into_message(&mut self, out: &mut Vec<u8>, node: NodeId, core: CoreId, spare: &mut Spare) {
        message::begin_requests(out);
        out.extend_from_slice(&self.reads);
        self.reads.clear();
        self.read_flight = None;
        for batch in self.batches.drain(..) {
            let origin = Origin { node, core, slot: batch.flight };
            let bytes = batch.builder.finish(Kind::Commands, origin);
            message::put_batch(out, batch.group, bytes.as_bytes());
            out.extend_from_slice(&batch.after);
            spare.give(bytes.into_bytes());
            spare.give(batch.after);
        }
    }
}

#[cfg(test)]
mod tests {
    use pinion_shard::{Batch, Expire, Key, SetWhen};

    use super::*;
    use crate::ConnId;
    use crate::command::lookup;
    use crate::conn::Place;
    use crate::message::{Item, Message};

    fn waiter(place: u32) -> Waiter {
        let command = lookup(b"get").expect("it is in the table");
        Waiter::Conn { conn: ConnId { slot: 0, generation: 0 }, place: Place(place), command }
    }

    #[test]
    fn a_read_stands_behind_the_batch_it_waits_for() {
        let (mut departure, mut flights, mut spare) =
            (Departure::default(), Flights::default(), Spare::default());
        let (group, key) = (GroupId(16), Key::new(b"k"));
        let set =
            |value| Command::Set { key, value, when: SetWhen::Always, expire: Expire::Clear, get: false };
        let get = Read::Get { key };
        let first = departure.write(group, &set(b"1"), 2, waiter(0), &mut flights, &mut spare);
        let after = After::Batch { flight: first.flight, position: first.position };
        departure.read(group, &get, after, waiter(1), &mut flights);
        let second = departure.write(group, &set(b"2"), 2, waiter(2), &mut flights, &mut spare);
        assert_eq!((second.flight, second.position), (first.flight, 2));
        departure.read(group, &get, After::Earlier, waiter(3), &mut flights);
        assert_eq!(departure.flights().count(), 2);

        let mut bytes = Vec::new();
        departure.into_message(&mut bytes, NodeId(1), CoreId(0), &mut spare);
        let Message::Requests(items) = Message::open(&bytes) else { panic!("not requests") };
        let order: Vec<_> = items
            .map(|item| match item {
                Item::Read { after, index, .. } => format!("{after:?} {index}"),
                Item::Batch { bytes, .. } => {
                    format!("{}", Batch::split(bytes).expect("it was just encoded").0.header.count)
                }
                other => panic!("{other:?} is no request"),
            })
            .collect();
        assert_eq!(order, ["Proposed 1", "2", "Batch(1) 0"]);
        assert!(departure.is_empty());
    }
}
