//! The handle through which a core uses its disk.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::{
    Access, AlignedBuf, BLOCK_BYTES, DiskError, DiskOp, Done, FileId, OpId, Outcome, Submission, SyncKind,
    SyncTimes,
};

/// A queue of completions for a part that polls (the log), as opposed to one that awaits (a job).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxId(u32);

/// A core's handle to its disk. Clones share one queue; it never leaves its thread.
#[derive(Clone, Default)]
pub struct Disk {
    shared: Rc<RefCell<Shared>>,
    /// What its durable operations are measured by.
    times: Option<Rc<SyncTimes>>,
}

#[derive(Default)]
struct Shared {
    next_op: u64,
    submissions: VecDeque<Submission>,
    in_flight: BTreeMap<OpId, Waiting>,
    mailboxes: Vec<Mailbox>,
    /// Paths of open files; a free index holds `None`.
    files: Vec<Option<String>>,
    /// Files whose close is in flight: nothing may be submitted for them, and their numbers are not free yet.
    closing: BTreeMap<OpId, FileId>,
    /// Durable operations that are measured.
    timed: BTreeMap<OpId, Rc<SyncTimes>>,
}

#[derive(Default)]
struct Mailbox {
    completions: VecDeque<(OpId, Outcome)>,
    waker: Option<Waker>,
}

enum Waiting {
    /// Awaited by a future that has not been polled yet, or with the waker of its last poll.
    Future(Option<Waker>),
    /// Completed, not yet collected by its future.
    Ready(Outcome),
    /// Its future was dropped: the outcome goes nowhere.
    Abandoned,
    Mailbox(MailboxId),
}

impl Disk {
    /// A handle with nothing in flight.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same disk, through a handle whose durable operations are measured, as are those of its clones.
    #[must_use]
    pub fn timed(&self, times: &Rc<SyncTimes>) -> Self {
        Self { shared: self.shared.clone(), times: Some(times.clone()) }
    }

    fn submit_for(&self, op: DiskOp, waiting: Waiting) -> OpId {
        let timed = self.times.as_ref().and_then(|times| Some((times, SyncKind::of(&op)?)));
        let mut shared = self.shared.borrow_mut();
        let id = shared.submit(op, waiting);
        if let Some((times, kind)) = timed {
            times.begin(id, kind);
            shared.timed.insert(id, times.clone());
        }
        id
    }

    /// A new, empty mailbox.
    pub fn mailbox(&self) -> MailboxId {
        let mut shared = self.shared.borrow_mut();
        shared.mailboxes.push(Mailbox::default());
        MailboxId(u32::try_from(shared.mailboxes.len() - 1).expect("a handful of mailboxes"))
    }

    /// Submits `op`; its completion goes to `mailbox`.
    pub fn submit(&self, op: DiskOp, mailbox: MailboxId) -> OpId {
        self.submit_for(op, Waiting::Mailbox(mailbox))
    }

    /// Submits `op` at once and returns a future of its outcome.
    pub fn start(&self, op: DiskOp) -> OpFuture {
        let id = self.submit_for(op, Waiting::Future(None));
        OpFuture { disk: self.clone(), id: Some(id) }
    }

    /// The next completion in `mailbox`, oldest first.
    pub fn next_completion(&self, mailbox: MailboxId) -> Option<(OpId, Outcome)> {
        self.shared.borrow_mut().mailboxes[mailbox.0 as usize].completions.pop_front()
    }

    /// Wakes `waker` at the next completion in `mailbox`, in place of the waker before.
    pub fn wake_on_completion(&self, mailbox: MailboxId, waker: &Waker) {
        self.shared.borrow_mut().mailboxes[mailbox.0 as usize].waker = Some(waker.clone());
    }

    /// Takes a free file number for `path`, to be used in a [`DiskOp::Open`].
    pub fn reserve_file(&self, path: &str) -> FileId {
        let mut shared = self.shared.borrow_mut();
        let free = shared.files.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            shared.files.push(None);
            shared.files.len() - 1
        });
        shared.files[index] = Some(path.to_owned());
        FileId(u32::try_from(index).expect("file numbers are small"))
    }

    /// The path of an open file; empty when the number is free.
    #[must_use]
    pub fn path_of(&self, file: FileId) -> String {
        self.shared.borrow().files.get(file.0 as usize).cloned().flatten().unwrap_or_default()
    }

    /// For drivers: the next submission, oldest first.
    pub fn next_submission(&self) -> Option<Submission> {
        self.shared.borrow_mut().submissions.pop_front()
    }

    /// For drivers: submissions that wait to be taken.
    #[must_use]
    pub fn submissions_waiting(&self) -> usize {
        self.shared.borrow().submissions.len()
    }

    /// Operations submitted and not completed.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        let shared = self.shared.borrow();
        shared.in_flight.values().filter(|w| !matches!(w, Waiting::Ready(_))).count()
    }

    /// For drivers: delivers the outcome of `id`.
    ///
    /// # Panics
    /// When `id` is not in flight: a driver completed it twice or invented it.
    pub fn complete(&self, id: OpId, outcome: Outcome) {
        let waker = self.shared.borrow_mut().complete(id, outcome);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Opens a file; answers its number and its size in bytes.
    pub async fn open(&self, path: &str, access: Access) -> Result<(FileId, u64), DiskError> {
        let file = self.reserve_file(path);
        match self.start(DiskOp::Open { file, path: path.to_owned(), access }).await {
            Ok(Done::Opened { bytes }) => Ok((file, bytes)),
            Ok(other) => unreachable!("open answered {other:?}"),
            Err(error) => {
                self.shared.borrow_mut().files[file.0 as usize] = None;
                Err(error)
            }
        }
    }

    /// Closes a file.
    pub async fn close(&self, file: FileId) -> Result<(), DiskError> {
        self.start(DiskOp::Close { file }).await.map(drop)
    }

    /// Reads `len` bytes at `offset` into the front of `buf` and gives it back.
    pub async fn read(
        &self,
        file: FileId,
        offset: u64,
        buf: AlignedBuf,
        len: usize,
    ) -> Result<AlignedBuf, DiskError> {
        expect_buffer(self.start(DiskOp::Read { file, offset, buf, len }).await)
    }

    /// Writes the first `len` bytes of `buf` at `offset` and gives the buffer back.
    pub async fn write(
        &self,
        file: FileId,
        offset: u64,
        buf: AlignedBuf,
        len: usize,
        durable: bool,
    ) -> Result<AlignedBuf, DiskError> {
        expect_buffer(self.start(DiskOp::Write { file, offset, buf, len, durable }).await)
    }

    /// Makes completed writes of a file durable.
    pub async fn sync(&self, file: FileId) -> Result<(), DiskError> {
        self.start(DiskOp::Sync { file }).await.map(drop)
    }

    /// Reserves space for a file.
    pub async fn preallocate(&self, file: FileId, bytes: u64) -> Result<(), DiskError> {
        self.start(DiskOp::Preallocate { file, bytes }).await.map(drop)
    }

    /// Renames a file or directory.
    pub async fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        self.start(DiskOp::Rename { from: from.to_owned(), to: to.to_owned() }).await.map(drop)
    }

    /// Gives a file a second name.
    pub async fn link(&self, from: &str, to: &str) -> Result<(), DiskError> {
        self.start(DiskOp::Link { from: from.to_owned(), to: to.to_owned() }).await.map(drop)
    }

    /// Removes a file or an empty directory.
    pub async fn remove(&self, path: &str) -> Result<(), DiskError> {
        self.start(DiskOp::Remove { path: path.to_owned() }).await.map(drop)
    }

    /// Creates a directory.
    pub async fn make_dir(&self, path: &str) -> Result<(), DiskError> {
        self.start(DiskOp::MakeDir { path: path.to_owned() }).await.map(drop)
    }

    /// The names in a directory, sorted.
    pub async fn list(&self, dir: &str) -> Result<Vec<String>, DiskError> {
        match self.start(DiskOp::List { dir: dir.to_owned() }).await? {
            Done::Names(names) => Ok(names),
            other => unreachable!("list answered {other:?}"),
        }
    }

    /// Makes the names in a directory durable.
    pub async fn sync_dir(&self, dir: &str) -> Result<(), DiskError> {
        self.start(DiskOp::SyncDir { dir: dir.to_owned() }).await.map(drop)
    }

    /// Free bytes on the file system.
    pub async fn free_space(&self) -> Result<u64, DiskError> {
        match self.start(DiskOp::FreeSpace).await? {
            Done::Free(bytes) => Ok(bytes),
            other => unreachable!("free space answered {other:?}"),
        }
    }
}

fn expect_buffer(outcome: Outcome) -> Result<AlignedBuf, DiskError> {
    match outcome? {
        Done::Buffer(buf) => Ok(buf),
        other => unreachable!("a read or write answered {other:?}"),
    }
}

impl Shared {
    fn submit(&mut self, op: DiskOp, waiting: Waiting) -> OpId {
        self.assert_sound(&op);
        let id = OpId(self.next_op);
        self.next_op += 1;
        if let DiskOp::Close { file } = op {
            self.closing.insert(id, file);
        }
        self.in_flight.insert(id, waiting);
        self.submissions.push_back(Submission { id, op });
        id
    }

    fn complete(&mut self, id: OpId, outcome: Outcome) -> Option<Waker> {
        if let Some(file) = self.closing.remove(&id) {
            self.files[file.0 as usize] = None;
        }
        if let Some(times) = self.timed.remove(&id) {
            times.end(id);
        }
        let waiting = self.in_flight.remove(&id);
        match waiting.unwrap_or_else(|| panic!("disk operation {id:?} completed but was not in flight")) {
            Waiting::Future(waker) => {
                self.in_flight.insert(id, Waiting::Ready(outcome));
                waker
            }
            Waiting::Mailbox(mailbox) => {
                let mailbox = &mut self.mailboxes[mailbox.0 as usize];
                mailbox.completions.push_back((id, outcome));
                mailbox.waker.take()
            }
            Waiting::Abandoned => None,
            Waiting::Ready(_) => panic!("disk operation {id:?} completed twice"),
        }
    }

    fn assert_sound(&mut self, op: &DiskOp) {
        let aligned = |bytes: u64| bytes.is_multiple_of(BLOCK_BYTES as u64);
        match op {
            DiskOp::Read { file, offset, buf, len } | DiskOp::Write { file, offset, buf, len, .. } => {
                assert!(*len > 0 && *len <= buf.capacity(), "{len} bytes of a buffer of {}", buf.capacity());
                assert!(aligned(*offset) && aligned(*len as u64), "I/O at {offset}+{len} is not aligned");
                assert!(self.is_open(*file), "I/O on the closed file {file:?}");
            }
            DiskOp::Preallocate { file, bytes } => assert!(aligned(*bytes) && self.is_open(*file)),
            DiskOp::Sync { file } => assert!(self.is_open(*file), "sync of the closed file {file:?}"),
            DiskOp::Close { file } => {
                assert!(self.is_open(*file), "close of the closed file {file:?}");
            }
            DiskOp::Open { path, .. } | DiskOp::Remove { path } | DiskOp::MakeDir { path } => {
                assert_path(path)
            }
            DiskOp::Rename { from, to } | DiskOp::Link { from, to } => {
                assert_path(from);
                assert_path(to);
            }
            DiskOp::List { dir } | DiskOp::SyncDir { dir } => assert_path(dir),
            DiskOp::FreeSpace => {}
        }
    }

    fn is_open(&self, file: FileId) -> bool {
        let named = self.files.get(file.0 as usize).is_some_and(Option::is_some);
        named && !self.closing.values().any(|&closing| closing == file)
    }
}

fn assert_path(path: &str) {
    assert!(
        !path.starts_with('/') && !path.split('/').any(|part| part == ".."),
        "path {path:?} leaves the directory"
    );
}

/// The outcome of one operation, to be awaited. Dropping it leaves the operation to finish unseen.
#[must_use = "the operation runs, but its outcome is lost"]
pub struct OpFuture {
    disk: Disk,
    id: Option<OpId>,
}

impl Future for OpFuture {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let id = self.id.expect("a finished operation is not polled again");
        let mut shared = self.disk.shared.borrow_mut();
        match shared.in_flight.remove(&id) {
            Some(Waiting::Ready(outcome)) => {
                drop(shared);
                self.id = None;
                Poll::Ready(outcome)
            }
            Some(Waiting::Future(_)) => {
                shared.in_flight.insert(id, Waiting::Future(Some(cx.waker().clone())));
                Poll::Pending
            }
            _ => unreachable!("an awaited operation is in flight until it is collected"),
        }
    }
}

impl Drop for OpFuture {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let mut shared = self.disk.shared.borrow_mut();
        match shared.in_flight.remove(&id) {
            Some(Waiting::Future(_)) => drop(shared.in_flight.insert(id, Waiting::Abandoned)),
            Some(Waiting::Ready(_)) | None => {}
            Some(other) => drop(shared.in_flight.insert(id, other)),
        }
    }
}
