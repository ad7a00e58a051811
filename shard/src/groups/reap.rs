//! Reclaiming what expired: the leader looks through the rows in the background, a page at a time, and proposes a `Reap` of
//! the keys it found. Each replica judges them again by the time of the entry. Nothing is looked through when nothing can
//! have expired since the last sweep.

use std::cell::RefCell;
use std::rc::Rc;

use pinion_lsm::{KeyRange, Tree};
use pinion_wal::Mono;
use pinion_wal::task::{Class, Spawner};

use super::Groups;
use crate::key::{REDIS_KEYSPACE, RowKind, ScanPosition, decode_row};
use crate::limits::{PAGE_BYTES_MAX, REAP_PAUSE_MS, REAP_ROWS};
use crate::{Control, List, Row, Timestamp};

/// Where the sweep of a group stands.
#[derive(Default)]
pub(super) struct Sweep {
    /// Where the next page begins; 0 is the first.
    cursor: u64,
    looking: bool,
    /// Not before.
    rest: Mono,
    found: Rc<RefCell<Option<Page>>>,
    /// Entries of clients when this sweep began; `None` before the first one.
    began_at: Option<u64>,
    /// The earliest expiry of this sweep, and of the last whole one, in milliseconds.
    earliest: Option<u64>,
    next_expiry: Option<u64>,
}

/// What one page held.
struct Page {
    expired: Vec<Vec<u8>>,
    /// The earliest expiry that has not come yet.
    earliest: Option<u64>,
    next: u64,
}

impl Sweep {
    /// When to look again, if there is a reason to.
    pub fn next_deadline(&self, entries: u64, time_ms: u64) -> Option<Mono> {
        let under_way = self.cursor > 0 || self.looking;
        let expired = self.next_expiry.is_some_and(|expiry| expiry < time_ms);
        (under_way || expired || self.began_at != Some(entries)).then_some(self.rest)
    }
}

impl Groups {
    /// Takes the page that was looked through, and begins the next one when it is time.
    pub(super) fn reap(&mut self, at: usize) {
        self.take_page(at);
        let (now, time_ms, pause_ms) = (self.now.mono, self.time_ms, self.options.reap_ms);
        let member = &mut self.members[at];
        let entries = member.group.client_entries();
        let sweep = &mut member.sweep;
        if sweep.looking || sweep.next_deadline(entries, time_ms).is_none_or(|due| now < due) {
            return;
        }
        // Tombstones take memory, too.
        if !member.group.machine.apply.tree().room() {
            sweep.rest = now.plus_millis(pause_ms);
            return;
        }
        if sweep.cursor == 0 {
            sweep.began_at = Some(entries);
            sweep.earliest = None;
            sweep.rest = now.plus_millis(pause_ms);
        }
        sweep.looking = true;
        let apply = &member.group.machine.apply;
        let (tree, published) = (apply.tree().clone(), apply.published());
        let forgotten = apply.state().forgotten(published);
        let time_ms = member.group.read_time(time_ms);
        let (found, cursor, spawner) = (sweep.found.clone(), sweep.cursor, self.spawner.clone());
        self.spawner.spawn(Class::Background, async move {
            *found.borrow_mut() = Some(look(&tree, &spawner, (published, forgotten), time_ms, cursor).await);
        });
    }

    fn take_page(&mut self, at: usize) {
        let (now, pause_ms) = (self.now.mono, self.options.reap_ms);
        let sweep = &mut self.members[at].sweep;
        let Some(page) = sweep.found.borrow_mut().take() else {
            if sweep.looking {
                sweep.rest = now.plus_millis(REAP_PAUSE_MS);
            }
            return;
        };
        sweep.looking = false;
        sweep.cursor = page.next;
        sweep.earliest = [sweep.earliest, page.earliest].into_iter().flatten().min();
        if page.next == 0 {
            sweep.next_expiry = sweep.earliest;
            sweep.rest = now.plus_millis(pause_ms);
        } else {
            sweep.rest = now.plus_millis(REAP_PAUSE_MS);
        }
        if !page.expired.is_empty() {
            let keys: Vec<&[u8]> = page.expired.iter().map(Vec::as_slice).collect();
            // What is not proposed now is found again by the next sweep.
            if !self.propose_control(at, &Control::Reap { keys: List::new(&keys) }) {
                self.members[at].sweep.began_at = None;
            }
        }
    }
}

/// Looks through a page of rows as they were `at`, without those that a FLUSHALL has `forgotten`. A row that cannot be read
/// ends the sweep: reads of clients report it.
async fn look(
    tree: &Tree,
    spawner: &Spawner,
    (at, forgotten): (Timestamp, Timestamp),
    time_ms: u64,
    cursor: u64,
) -> Page {
    let from = ScanPosition(cursor).first_row(REDIS_KEYSPACE);
    let to = [REDIS_KEYSPACE.kind, REDIS_KEYSPACE.id + 1];
    let mut rows = tree.cursor(KeyRange { from: &from, to: Some(&to) }, at);
    let mut page = Page { expired: Vec::new(), earliest: None, next: 0 };
    let (mut looked, mut bytes, mut last) = (0, 0, None);
    while let Ok(Some(row)) = rows.next().await {
        let mut raw = Vec::new();
        let parts = decode_row(row.key, &mut raw).filter(|parts| parts.kind == RowKind::Metadata as u8);
        let Some(parts) = parts else { continue };
        let full = looked >= REAP_ROWS || bytes >= PAGE_BYTES_MAX;
        if full && last != Some(parts.position) {
            page.next = parts.position.0;
            break;
        }
        looked += 1;
        last = Some(parts.position);
        let expiry_ms = Row::decode(row.value).ok().and_then(|row| row.expiry_ms);
        match expiry_ms.filter(|_| row.at > forgotten) {
            Some(expiry) if time_ms > expiry => {
                bytes += raw.len();
                page.expired.push(raw);
            }
            Some(expiry) => page.earliest = Some(page.earliest.map_or(expiry, |known| known.min(expiry))),
            None => {}
        }
        spawner.pace().await;
    }
    page
}
