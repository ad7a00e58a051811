//! Multi-step work inside a turn: small local tasks, polled under a budget by class.
//!
//! A task is a future that lives on one core. It is polled only inside [`Tasks::run`], when something it awaits (a disk
//! operation, a [`Signal`], its own [`Spawner::pace`]) has woken it. Ready tasks run in order of class, then in the
//! order in which they were woken: no clock decides who runs, ticks only decide when to stop.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::Ticks;

/// The classes of work within a turn, most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Elections, replication, the log.
    Raft,
    /// Requests of clients: reads that miss the cache.
    Client,
    /// Applying committed entries.
    Apply,
    /// Flush, compaction, scrubbing, snapshots.
    Background,
}

/// All classes, most urgent first.
pub const CLASSES: [Class; 4] = [Class::Raft, Class::Client, Class::Apply, Class::Background];

/// A slice of a background task ends after this many microseconds at its next [`Spawner::pace`].
pub const SLICE_MICROS: u64 = 50;

type Work = Pin<Box<dyn Future<Output = ()>>>;

/// The tasks of a core. See the module page.
pub struct Tasks {
    slots: Vec<Slot>,
    free: Vec<usize>,
    ready: [VecDeque<usize>; CLASSES.len()],
    woken: Arc<Woken>,
    shared: Rc<Shared>,
}

struct Slot {
    class: Class,
    /// `None` while free.
    work: Option<Work>,
    waker: Waker,
}

/// Where wakers leave the numbers of their tasks. A mutex only because a waker must be `Sync`: it is never contended.
#[derive(Default)]
struct Woken(Mutex<VecDeque<usize>>);

struct TaskWaker {
    slot: usize,
    woken: Arc<Woken>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(self.slot);
    }
}

struct Shared {
    ticks: Rc<dyn Ticks>,
    spawned: RefCell<VecDeque<(Class, Work)>>,
    /// When the running slice has used up its time: the next `pace` after it yields.
    slice_end: Cell<u64>,
}

/// A handle that adds tasks, for parts that do not own [`Tasks`]. Clones share one queue.
#[derive(Clone)]
pub struct Spawner {
    shared: Rc<Shared>,
}

impl Tasks {
    /// No tasks; slices are measured by `ticks`.
    #[must_use]
    pub fn new(ticks: Rc<dyn Ticks>) -> Self {
        let shared = Rc::new(Shared { ticks, spawned: RefCell::default(), slice_end: Cell::new(0) });
        Self { slots: Vec::new(), free: Vec::new(), ready: Default::default(), woken: Arc::default(), shared }
    }

    /// A handle that adds tasks.
    #[must_use]
    pub fn spawner(&self) -> Spawner {
        Spawner { shared: self.shared.clone() }
    }

    /// Tasks that have not finished.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len() + self.shared.spawned.borrow().len()
    }

    /// Whether every task has finished.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Polls ready tasks of `class` and of more urgent classes until none is ready or `micros` have passed; at least
    /// one ready task is polled. Answers whether ready tasks of these classes are left.
    pub fn run(&mut self, class: Class, micros: u64) -> bool {
        let ticks = self.shared.ticks.clone();
        let end = ticks.now().saturating_add(micros.saturating_mul(ticks.per_micro()));
        loop {
            self.collect();
            let Some(slot) = self.next_ready(class) else { return false };
            self.poll(slot, &*ticks, end);
            if ticks.now() >= end {
                self.collect();
                return self.ready[..=class as usize].iter().any(|queue| !queue.is_empty());
            }
        }
    }

    /// Polls until no task is ready, without a limit. For tests and for start and stop.
    pub fn run_all(&mut self) {
        while self.run(Class::Background, u64::MAX) {}
    }

    fn collect(&mut self) {
        loop {
            let Some((class, work)) = self.shared.spawned.borrow_mut().pop_front() else { break };
            let slot = self.free.pop().unwrap_or_else(|| {
                let waker =
                    Waker::from(Arc::new(TaskWaker { slot: self.slots.len(), woken: self.woken.clone() }));
                self.slots.push(Slot { class, work: None, waker });
                self.slots.len() - 1
            });
            self.slots[slot].class = class;
            self.slots[slot].work = Some(work);
            self.ready[class as usize].push_back(slot);
        }
        let mut woken = self.woken.0.lock().unwrap_or_else(PoisonError::into_inner);
        for slot in woken.drain(..) {
            // A stale wake of a finished task finds an empty slot, or costs its successor one idle poll.
            if self.slots[slot].work.is_some() {
                self.ready[self.slots[slot].class as usize].push_back(slot);
            }
        }
    }

    fn next_ready(&mut self, class: Class) -> Option<usize> {
        self.ready[..=class as usize].iter_mut().find_map(VecDeque::pop_front)
    }

    fn poll(&mut self, slot: usize, ticks: &dyn Ticks, run_end: u64) {
        let slice_end = ticks.now().saturating_add(SLICE_MICROS * ticks.per_micro());
        self.shared.slice_end.set(slice_end.min(run_end));
        let waker = self.slots[slot].waker.clone();
        let Some(work) = self.slots[slot].work.as_mut() else { return };
        if work.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            self.slots[slot].work = None;
            self.free.push(slot);
        }
    }
}

impl Spawner {
    /// Adds a task; it is first polled in the next run.
    pub fn spawn(&self, class: Class, work: impl Future<Output = ()> + 'static) {
        self.shared.spawned.borrow_mut().push_back((class, Box::pin(work)));
    }

    /// Adds a task and returns a future of its result.
    pub fn spawn_join<T: 'static>(&self, class: Class, work: impl Future<Output = T> + 'static) -> Join<T> {
        let slot = Rc::new(RefCell::new(JoinSlot { value: None, waker: None }));
        let filled = slot.clone();
        self.spawn(class, async move {
            let value = work.await;
            let mut slot = filled.borrow_mut();
            slot.value = Some(value);
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        });
        Join { slot }
    }

    /// Yields to other tasks when this slice has used up its time; call it every few microseconds of work.
    pub async fn pace(&self) {
        let over = self.shared.ticks.now() >= self.shared.slice_end.get();
        if over {
            yield_now().await;
        }
    }
}

/// Lets every other ready task run first.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

struct JoinSlot<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

/// The result of a task, to be awaited or looked at. Dropping it lets the task finish unseen.
pub struct Join<T> {
    slot: Rc<RefCell<JoinSlot<T>>>,
}

impl<T> Join<T> {
    /// The result, if the task has finished and nobody took it yet.
    pub fn take(&self) -> Option<T> {
        self.slot.borrow_mut().value.take()
    }
}

impl<T> Future for Join<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut slot = self.slot.borrow_mut();
        match slot.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                slot.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// An event that tasks wait for: each [`Signal::notify`] wakes everyone who waits at that moment.
#[derive(Clone, Default)]
pub struct Signal {
    state: Rc<RefCell<SignalState>>,
}

#[derive(Default)]
struct SignalState {
    round: u64,
    waiting: Vec<Waker>,
}

impl Signal {
    /// Wakes everyone who waits.
    pub fn notify(&self) {
        let mut state = self.state.borrow_mut();
        state.round += 1;
        for waker in state.waiting.drain(..) {
            waker.wake();
        }
    }

    /// Waits for the next notification.
    pub async fn wait(&self) {
        let round = self.state.borrow().round;
        std::future::poll_fn(|cx| {
            let mut state = self.state.borrow_mut();
            if state.round != round {
                return Poll::Ready(());
            }
            state.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A counter that advances by one at every reading, one tick a microsecond.
    struct Counter(Cell<u64>);

    impl Ticks for Counter {
        fn now(&self) -> u64 {
            self.0.set(self.0.get() + 1);
            self.0.get()
        }

        fn per_micro(&self) -> u64 {
            1
        }
    }

    fn tasks() -> Tasks {
        Tasks::new(Rc::new(Counter(Cell::new(0))))
    }

    #[test]
    fn urgent_classes_run_first_and_order_within_a_class_is_kept() {
        let mut tasks = tasks();
        let seen = Rc::new(RefCell::new(Vec::new()));
        for (class, name) in
            [(Class::Background, 3), (Class::Client, 1), (Class::Raft, 0), (Class::Client, 2)]
        {
            let seen = seen.clone();
            tasks.spawner().spawn(class, async move { seen.borrow_mut().push(name) });
        }
        tasks.run_all();
        assert_eq!(*seen.borrow(), [0, 1, 2, 3]);
        assert!(tasks.is_empty());
    }

    #[test]
    fn a_class_below_the_asked_one_does_not_run() {
        let mut tasks = tasks();
        tasks.spawner().spawn(Class::Background, async {});
        assert!(!tasks.run(Class::Apply, u64::MAX));
        assert_eq!(tasks.len(), 1);
    }

    #[test]
    fn a_long_task_yields_at_its_pace_and_others_get_their_turn() {
        let mut tasks = tasks();
        let spawner = tasks.spawner();
        let seen = Rc::new(RefCell::new(Vec::new()));
        for name in 0..2 {
            let (seen, spawner2) = (seen.clone(), spawner.clone());
            spawner.spawn(Class::Background, async move {
                for _ in 0..200 {
                    spawner2.pace().await;
                    seen.borrow_mut().push(name);
                }
            });
        }
        tasks.run_all();
        let switches = seen.borrow().windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(switches >= 4, "{switches} switches");
    }

    #[test]
    fn join_and_signal_wake_who_waits() {
        let mut tasks = tasks();
        let spawner = tasks.spawner();
        let signal = Signal::default();
        let waiting = signal.clone();
        let join = spawner.spawn_join(Class::Client, async move {
            waiting.wait().await;
            42
        });
        tasks.run_all();
        assert_eq!(join.take(), None);
        signal.notify();
        tasks.run_all();
        assert_eq!(join.take(), Some(42));
    }
}
