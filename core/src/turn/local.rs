//! Commands that this core answers from the connection and its settings alone.

use super::dispatch::Flow;
use super::owner::Owner;
use super::{Core, Settings};
use crate::ConnId;
use crate::command::{Done, Local, Server, answer};
use crate::config::Live;
use crate::publish::Seen;
use crate::resp::Request;

/// What such answers see of the server.
pub(super) struct Face<'a> {
    pub settings: &'a Settings,
    pub live: &'a Seen<Live>,
    pub wall_ms: u64,
}

impl Server for Face<'_> {
    fn password(&self) -> Option<&[u8]> {
        self.settings.password.as_deref()
    }

    fn time_us(&self) -> u64 {
        self.wall_ms * 1_000
    }

    fn is_cluster(&self) -> bool {
        self.settings.cluster.is_some()
    }

    fn set(&self, changes: &[(&str, &str)]) -> Result<(), String> {
        let changed = |live: &Live| live.with(changes.iter().copied());
        self.live.published().update(changed).map_err(|refused| refused.to_string())
    }

    fn settings(&self, each: &mut dyn FnMut(&str, &str)) {
        for (name, value) in &self.live.shown {
            each(name, value);
        }
    }
}

impl<O: Owner> Core<O> {
    pub(super) fn local(&mut self, conn: ConnId, local: Local, request: Request<'_>) -> Flow {
        if self.must_wait(conn, local) {
            return Flow::Wait;
        }
        let Some(connection) = self.desk.conns.get_mut(conn) else { return Flow::Next };
        let face = Face { settings: &self.settings, live: &self.live, wall_ms: self.now.wall_ms };
        let mut reply = std::mem::take(&mut self.reply);
        reply.clear();
        let done = answer(local, &request, &mut connection.session.client, &face, &mut reply);
        let flight = self.own_flight();
        let start = self.start_ticks(conn);
        self.desk.answer_encoded(conn, start, flight, &reply);
        self.reply = reply;
        match local {
            // What follows in the same turn sees it.
            Local::ConfigSet => self.look_at_live(),
            Local::Shutdown => self.stop_asked = true,
            _ => {}
        }
        if done == Done::Close {
            self.drain(conn);
        }
        Flow::Next
    }

    /// What changes how replies look waits until every earlier reply has left.
    fn must_wait(&self, conn: ConnId, local: Local) -> bool {
        matches!(local, Local::Hello | Local::Reset)
            && self.desk.conns.get(conn).is_some_and(|connection| !connection.ring.is_empty())
    }
}
