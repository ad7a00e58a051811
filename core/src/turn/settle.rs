//! Phase 6: sends, back-pressure and the ends of connections.

use super::Core;
use super::owner::Owner;
use crate::conn::Phase;
use crate::{ConnId, Outbox};

impl<O: Owner> Core<O> {
    /// Settles every connection to which something happened. Answers whether input waits that could be parsed at once.
    pub(super) fn settle(&mut self, outbox: &mut Outbox) -> bool {
        let listed = self.desk.take_listed();
        for &conn in &listed {
            self.settle_one(conn, outbox);
        }
        self.desk.listed_done(listed);
        let crowded = self.desk.flights.is_crowded();
        self.backlog.iter().any(|&conn| {
            self.desk
                .conns
                .get(conn)
                .is_some_and(|connection| connection.phase == Phase::Open && connection.may_go_on(crowded))
        })
    }

    fn settle_one(&mut self, conn: ConnId, outbox: &mut Outbox) {
        let crowded = self.desk.flights.is_crowded();
        let Some(connection) = self.desk.conns.get_mut(conn) else { return };
        connection.listed = false;
        if connection.phase == Phase::Closing {
            return;
        }
        if !connection.out.is_empty() {
            let full = std::mem::replace(&mut connection.out, outbox.buffer());
            connection.unsent_bytes += full.len();
            self.desk.counters.output_bytes += full.len() as u64;
            outbox.send(conn, full);
        }
        // All that was received before the end has been parsed, unless it waits in the backlog.
        if connection.phase == Phase::Open && connection.ended && !connection.stalled {
            self.drain(conn);
        }
        let Some(connection) = self.desk.conns.get_mut(conn) else { return };
        connection.listed = false;
        if connection.phase == Phase::Draining && connection.ring.is_empty() {
            connection.phase = Phase::Closing;
            outbox.recycle(std::mem::take(&mut connection.out));
            return outbox.close(conn);
        }
        let full = connection.stalled || !connection.may_parse(crowded);
        if full && !connection.paused {
            connection.paused = true;
            outbox.pause_receive(conn);
        } else if connection.paused && !connection.stalled && connection.may_resume(crowded) {
            connection.paused = false;
            outbox.resume_receive(conn);
        }
    }
}
