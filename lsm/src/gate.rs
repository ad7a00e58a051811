//! Waiting inside tasks: one at a time, as many as fit a bound, and until a point in time.

use std::cell::{Cell as StdCell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use pinion_wal::Mono;
use pinion_wal::task::Signal;

/// Lets one task in at a time.
#[derive(Default)]
pub(crate) struct Gate {
    busy: StdCell<bool>,
    left: Signal,
}

/// Leaves the gate when dropped.
pub(crate) struct Inside<'a>(&'a Gate);

impl Gate {
    pub async fn enter(&self) -> Inside<'_> {
        while self.busy.get() {
            self.left.wait().await;
        }
        self.busy.set(true);
        Inside(self)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.busy.set(false);
        self.0.left.notify();
    }
}

/// Lets tasks in, first come, first served, while the bytes they hold together stay within a bound. One alone may hold more.
#[derive(Clone)]
pub(crate) struct Throttle(Rc<Bounded>);

struct Bounded {
    bytes_max: StdCell<usize>,
    used_bytes: StdCell<usize>,
    queue: RefCell<VecDeque<Rc<Ticket>>>,
}

/// The place of a task in the queue of a [`Throttle`].
struct Ticket {
    bytes: usize,
    held: RefCell<Option<HeldBytes>>,
    called: Signal,
}

/// Bytes within the bound of a [`Throttle`]; given back when dropped.
pub(crate) struct HeldBytes {
    throttle: Throttle,
    bytes: usize,
}

impl Throttle {
    pub fn new(bytes_max: usize) -> Self {
        let (bytes_max, used_bytes) = (StdCell::new(bytes_max), StdCell::new(0));
        Self(Rc::new(Bounded { bytes_max, used_bytes, queue: RefCell::default() }))
    }

    pub fn set_bytes_max(&self, bytes_max: usize) {
        self.0.bytes_max.set(bytes_max);
        self.call_next();
    }

    pub async fn enter(&self, bytes: usize) -> HeldBytes {
        if self.0.queue.borrow().is_empty() && self.has_room(bytes) {
            return self.hold(bytes);
        }
        let ticket = Rc::new(Ticket { bytes, held: RefCell::default(), called: Signal::default() });
        self.0.queue.borrow_mut().push_back(ticket.clone());
        loop {
            if let Some(held) = ticket.held.take() {
                return held;
            }
            ticket.called.wait().await;
        }
    }

    fn has_room(&self, bytes: usize) -> bool {
        let used = self.0.used_bytes.get();
        used == 0 || used + bytes <= self.0.bytes_max.get()
    }

    fn hold(&self, bytes: usize) -> HeldBytes {
        self.0.used_bytes.set(self.0.used_bytes.get() + bytes);
        HeldBytes { throttle: self.clone(), bytes }
    }

    fn call_next(&self) {
        loop {
            let mut queue = self.0.queue.borrow_mut();
            let Some(bytes) = queue.front().map(|ticket| ticket.bytes) else { return };
            if !self.has_room(bytes) {
                return;
            }
            let ticket = queue.pop_front().expect("it was seen");
            drop(queue);
            // A task that is gone needs no place.
            if Rc::strong_count(&ticket) > 1 {
                *ticket.held.borrow_mut() = Some(self.hold(bytes));
                ticket.called.notify();
            }
        }
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.throttle.0.used_bytes.set(self.throttle.0.used_bytes.get() - self.bytes);
        self.throttle.call_next();
    }
}

/// The time as the host last told it.
#[derive(Default)]
pub(crate) struct Timer {
    now: StdCell<Mono>,
    /// The earliest moment that someone waits for.
    wanted: StdCell<Option<Mono>>,
    moved: Signal,
}

impl Timer {
    pub fn tick(&self, now: Mono) {
        self.now.set(self.now.get().max(now));
        if self.wanted.get().is_some_and(|wanted| wanted <= now) {
            self.wanted.set(None);
            self.moved.notify();
        }
    }

    pub fn next_deadline(&self) -> Option<Mono> {
        self.wanted.get()
    }

    pub async fn sleep_millis(&self, millis: u64) {
        let end = self.now.get().plus_millis(millis);
        while self.now.get() < end {
            self.wanted.set(Some(self.wanted.get().map_or(end, |wanted| wanted.min(end))));
            self.moved.wait().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use pinion_wal::Ticks;
    use pinion_wal::task::{Class, Tasks, yield_now};

    use super::*;

    struct Still;

    impl Ticks for Still {
        fn now(&self) -> u64 {
            0
        }

        fn per_micro(&self) -> u64 {
            1
        }
    }

    /// O1: tasks are let in in their order, never beyond the bound, and all come through.
    #[test]
    fn a_throttle_lets_tasks_in_in_order_and_within_its_bound() {
        let mut tasks = Tasks::new(Rc::new(Still));
        let (throttle, spawner) = (Throttle::new(100), tasks.spawner());
        let (order, inside) = (Rc::new(RefCell::new(Vec::new())), Rc::new(StdCell::new(0)));
        let sizes = [60, 30, 30, 500, 10, 90, 1, 1];
        for (number, bytes) in sizes.into_iter().enumerate() {
            let (throttle, order, inside) = (throttle.clone(), order.clone(), inside.clone());
            spawner.spawn(Class::Client, async move {
                let held = throttle.enter(bytes).await;
                inside.set(inside.get() + bytes);
                assert!(inside.get() <= 100 || inside.get() == bytes, "{} bytes are held", inside.get());
                order.borrow_mut().push(number);
                yield_now().await;
                inside.set(inside.get() - bytes);
                drop(held);
            });
        }
        tasks.run_all();
        assert_eq!(*order.borrow(), (0..sizes.len()).collect::<Vec<_>>());
        assert_eq!(throttle.0.used_bytes.get(), 0);
    }
}
