//! The state machine of a group, and the reads of it that await the disk.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use pinion_wal::task::{Class, Spawner};

use crate::apply::Apply;
use crate::read::Prepared;
use crate::reply::OwnedReply;
use crate::storage::LogPoint;
use crate::{Replies, Reply, ReplyError, ReplyTo, Timestamp};

/// Answers of reads that awaited the disk, to be given out in the next turn.
#[derive(Clone, Default)]
pub(crate) struct Late(Rc<RefCell<VecDeque<Answer>>>);

type Answer = (ReplyTo, Result<OwnedReply, ReplyError>);

impl Late {
    /// Gives out what has come.
    pub fn deliver(&self, out: &mut impl Replies) {
        loop {
            let Some((to, answer)) = self.0.borrow_mut().pop_front() else { return };
            match answer {
                Ok(reply) => reply.deliver(to, out),
                Err(error) => out.reply(to, Reply::Error(error)),
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}

/// See the module page.
pub(crate) struct Machine {
    pub apply: Apply,
    spawner: Spawner,
    late: Late,
    forgotten: Rc<Cell<bool>>,
}

impl Machine {
    pub fn new(apply: Apply, spawner: Spawner, late: Late) -> Self {
        Self { apply, spawner, late, forgotten: Rc::default() }
    }

    /// Forgets the rows in memory of a group that has halted. Reads that look for them from now on are refused.
    pub fn forget_rows(&self) {
        self.forgotten.set(true);
        self.apply.tree().forget_active();
    }

    /// The last entry applied.
    pub fn applied(&self) -> LogPoint {
        let (index, term) = self.apply.applied();
        LogPoint { index, term }
    }

    /// Answers a read, now or in a later turn.
    pub fn read(
        &self,
        prepared: &Prepared<'_>,
        at: Timestamp,
        time_ms: u64,
        to: ReplyTo,
        out: &mut impl Replies,
    ) {
        let Some(pending) = self.apply.read(prepared, at, time_ms, to, out) else { return };
        let (late, forgotten) = (self.late.clone(), self.forgotten.clone());
        self.spawner.spawn(Class::Client, async move {
            let answer = match pending.await {
                // It may have looked at what was left.
                _ if forgotten.get() => Err(ReplyError::ReadOnly),
                answer => answer.map_err(|_| ReplyError::Corrupt),
            };
            late.0.borrow_mut().push_back((to, answer));
        });
    }
}
