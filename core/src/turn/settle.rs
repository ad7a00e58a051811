//! Phase 6: sends, back-pressure and the ends of connections.

use pinion_wal::Mono;

use super::Core;
use super::owner::Owner;
use crate::conn::{Connection, Phase};
use crate::planted;
use crate::{ConnId, Outbox};

/// While replies are refused for want of memory, a client that seems to have taken nothing for so long is looked at, in
/// milliseconds. If it has taken nothing since it was looked at before, it is closed.
const UNTAKEN_MILLIS_MAX: u64 = 10_000;
/// Within such spans of time a planted delay holds replies back, three in a row.
const HELD_BACK_NANOS: u64 = 4_000_000;
/// One such client at a time: the memory of one that was closed is free by then.
pub(super) const LOOK_MILLIS: u64 = 1_000;

impl<O: Owner> Core<O> {
    /// Closes the client that holds the most memory with replies that it does not take, if others have less for it.
    pub(super) fn cut_off(&mut self, outbox: &mut Outbox) {
        let now = self.now.mono;
        if now < self.cut_after {
            return;
        }
        let pressure = &self.settings.budgets.pressure;
        if self.desk.take_pressure() {
            pressure.tell(now);
        } else if !(self.desk.takes_from_siblings() && pressure.is_told(now)) {
            return;
        }
        self.cut_after = now.plus_millis(LOOK_MILLIS);
        let idle = |conn: &&Connection| {
            conn.phase != Phase::Closing
                && conn.unsent_bytes > 0
                && now >= conn.taken_at.plus_millis(UNTAKEN_MILLIS_MAX)
        };
        let worst = self.desk.conns.iter().filter(idle).max_by_key(|conn| conn.unsent_bytes);
        if let Some(conn) = worst.map(|conn| conn.id)
            && let Some(connection) = self.desk.conns.get_mut(conn)
        {
            connection.taken_at = now;
            outbox.break_idle(conn);
        }
    }

    /// Settles every connection to which something happened. Answers whether input waits that could be parsed at once.
    pub(super) fn settle(&mut self, outbox: &mut Outbox) -> bool {
        let listed = self.desk.take_listed();
        for &conn in &listed {
            self.settle_one(conn, outbox);
        }
        self.desk.listed_done(listed);
        let crowded = self.desk.is_crowded();
        self.backlog.iter().any(|&conn| {
            self.desk
                .conns
                .get(conn)
                .is_some_and(|connection| connection.phase == Phase::Open && connection.may_go_on(crowded))
        })
    }

    fn settle_one(&mut self, conn: ConnId, outbox: &mut Outbox) {
        let crowded = self.desk.is_crowded();
        let Some(connection) = self.desk.conns.get_mut(conn) else { return };
        connection.listed = false;
        if connection.phase == Phase::Closing {
            return;
        }
        if !connection.out.is_empty() && planted::is("reply-held-back") {
            // Its stages have ended, and it is sent within every fourth span of time only.
            let span = self.now.mono.0 / HELD_BACK_NANOS;
            if span % 4 < 3 {
                outbox.wake_at(Mono((span + 3 - span % 4) * HELD_BACK_NANOS));
                return self.desk.list(conn);
            }
        }
        if !connection.out.is_empty() {
            let full = std::mem::replace(&mut connection.out, outbox.buffer());
            if connection.unsent_bytes == 0 {
                connection.taken_at = self.now.mono;
            }
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
