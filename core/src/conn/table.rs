//! All connections of a core.

use super::Connection;
use crate::ConnId;

/// Connections by the slot of their name. A name whose generation has passed finds nothing.
#[derive(Default)]
pub struct Conns {
    slots: Vec<Option<Box<Connection>>>,
    count: usize,
}

impl Conns {
    /// Adds a connection.
    ///
    /// # Panics
    /// When its slot is taken.
    pub fn insert(&mut self, connection: Connection) {
        let slot = connection.id.slot as usize;
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        assert!(self.slots[slot].is_none(), "connection {} was accepted in a slot in use", connection.id);
        self.slots[slot] = Some(Box::new(connection));
        self.count += 1;
    }

    /// Removes a connection.
    pub fn remove(&mut self, id: ConnId) -> Option<Box<Connection>> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        let removed = slot.take_if(|connection| connection.id == id)?;
        self.count -= 1;
        Some(removed)
    }

    /// The connection of that name.
    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        let connection = self.slots.get_mut(id.slot as usize)?.as_deref_mut()?;
        (connection.id == id).then_some(connection)
    }

    /// The connection of that name.
    #[must_use]
    pub fn get(&self, id: ConnId) -> Option<&Connection> {
        let connection = self.slots.get(id.slot as usize)?.as_deref()?;
        (connection.id == id).then_some(connection)
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All of them, in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.slots.iter().filter_map(|slot| slot.as_deref())
    }

    /// All of them, in the order of their slots.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.slots.iter_mut().filter_map(|slot| slot.as_deref_mut())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use crate::command::Client;
    use crate::conn::Session;
    use crate::resp::Protocol;

    #[test]
    fn an_old_name_finds_nothing() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let session = |id| {
            let client = Client { id, name: Vec::new(), protocol: Protocol::Resp2, authenticated: true };
            Session::new(client, address, address, 0)
        };
        let mut conns = Conns::default();
        let (old, new) = (ConnId { slot: 3, generation: 0 }, ConnId { slot: 3, generation: 1 });
        conns.insert(Connection::new(old, session(1)));
        assert!(conns.get(old).is_some() && conns.get(new).is_none());
        assert!(conns.remove(new).is_none() && conns.remove(old).is_some());
        conns.insert(Connection::new(new, session(2)));
        assert!(conns.get_mut(old).is_none() && conns.get_mut(new).is_some());
        assert_eq!(conns.len(), 1);
    }
}
