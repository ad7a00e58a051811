//! How long durable operations take: from their submission to the turn of the host that sees their completion.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::{DiskOp, OpId};
use crate::Ticks;

/// Completions that are kept until somebody takes them; beyond that they are not told.
const DONE_MAX: usize = 4_096;

/// What is made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncKind {
    /// A durable write: of the log, and of manifests.
    Write,
    /// A sync of a file.
    File,
    /// A sync of a directory.
    Directory,
}

/// All kinds.
pub const SYNC_KINDS: [SyncKind; 3] = [SyncKind::Write, SyncKind::File, SyncKind::Directory];

impl SyncKind {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::File => "file",
            Self::Directory => "directory",
        }
    }

    /// That of an operation, if it makes something durable.
    #[must_use]
    pub const fn of(op: &DiskOp) -> Option<Self> {
        match op {
            DiskOp::Write { durable: true, .. } => Some(Self::Write),
            DiskOp::Sync { .. } => Some(Self::File),
            DiskOp::SyncDir { .. } => Some(Self::Directory),
            _ => None,
        }
    }
}

/// The durable operations of whoever submits through a [`Disk::timed`](super::Disk::timed) handle.
pub struct SyncTimes {
    ticks: Rc<dyn Ticks>,
    open: RefCell<BTreeMap<OpId, (SyncKind, u64)>>,
    done: RefCell<Vec<(SyncKind, u64)>>,
}

impl std::fmt::Debug for SyncTimes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyncTimes")
            .field("open", &self.open)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

impl SyncTimes {
    /// Nothing measured yet.
    #[must_use]
    pub fn new(ticks: Rc<dyn Ticks>) -> Self {
        Self { ticks, open: RefCell::default(), done: RefCell::default() }
    }

    pub(super) fn begin(&self, id: OpId, kind: SyncKind) {
        self.open.borrow_mut().insert(id, (kind, self.ticks.now()));
    }

    pub(super) fn end(&self, id: OpId) {
        let Some((kind, begun)) = self.open.borrow_mut().remove(&id) else { return };
        let mut done = self.done.borrow_mut();
        if done.len() < DONE_MAX {
            done.push((kind, self.ticks.now().saturating_sub(begun)));
        }
    }

    /// Hands what completed since the last call to `each`, with the ticks that it took.
    pub fn take(&self, mut each: impl FnMut(SyncKind, u64)) {
        self.done.borrow_mut().drain(..).for_each(|(kind, ticks)| each(kind, ticks));
    }

    /// For how many ticks the oldest operation in flight has been so; 0 when there is none.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        let begun = self.open.borrow().values().map(|(_, begun)| *begun).min();
        begun.map_or(0, |begun| self.ticks.now().saturating_sub(begun))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::disk::{Access, AlignedBuf, BLOCK_BYTES, Disk, Done};

    #[derive(Default)]
    struct Counter(Cell<u64>);

    impl Ticks for Counter {
        fn now(&self) -> u64 {
            self.0.get()
        }

        fn per_micro(&self) -> u64 {
            1
        }
    }

    /// Only what is durable is measured, and only of the handle that measures.
    #[test]
    fn durable_operations_of_a_handle_are_measured() {
        let counter = Rc::new(Counter::default());
        let times = Rc::new(SyncTimes::new(counter.clone()));
        let plain = Disk::new();
        let timed = plain.timed(&times);
        let mailbox = plain.mailbox();
        let file = plain.reserve_file("f");
        let write = |disk: &Disk, durable| {
            let buf = AlignedBuf::zeroed(BLOCK_BYTES);
            disk.submit(DiskOp::Write { file, offset: 0, buf, len: BLOCK_BYTES, durable }, mailbox)
        };
        timed.submit(DiskOp::Open { file, path: "f".into(), access: Access::ReadWrite }, mailbox);
        let ids = [write(&timed, true), write(&timed, false), write(&plain, true)];
        counter.0.set(10);
        let sync = timed.submit(DiskOp::Sync { file }, mailbox);
        counter.0.set(40);
        assert_eq!(times.oldest(), 40);
        for id in ids {
            plain.complete(id, Ok(Done::Nothing));
        }
        assert_eq!(times.oldest(), 30);
        counter.0.set(60);
        plain.complete(sync, Ok(Done::Nothing));
        let mut seen = Vec::new();
        times.take(|kind, ticks| seen.push((kind, ticks)));
        assert_eq!(seen, [(SyncKind::Write, 40), (SyncKind::File, 50)]);
        assert_eq!(times.oldest(), 0);
        times.take(|_, _| panic!("it was taken"));
    }
}
