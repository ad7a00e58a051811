//! A ring between two threads: one pushes, one pops, values keep their order, each arrives once.
//!
//! `0 <= tail - head <= slots`, counted without end (wrapping); slots `head..tail` hold values that were flushed and
//! not popped. The producer also fills slots beyond `tail`, up to its private `filled`; a flush moves `tail` there.
#![expect(unsafe_code, reason = "a ring slot is written by one thread and read by another")]

use super::sync::{Arc, AtomicUsize, Ordering, UnsafeCell};

/// The halves of a ring live on different cache lines, so that the threads do not fight for one.
#[repr(align(128))]
#[derive(Debug)]
struct Apart<T>(T);

struct Shared<T> {
    /// Values popped, moved by the consumer alone.
    head: Apart<AtomicUsize>,
    /// Values flushed, moved by the producer alone.
    tail: Apart<AtomicUsize>,
    slots: Box<[UnsafeCell<Option<T>>]>,
}

/// The pushing end.
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    /// Slots filled; at or ahead of `tail`.
    filled: usize,
    tail: usize,
    /// The last value of `head` that was seen: an old one only makes the ring look fuller than it is.
    head_seen: usize,
}

/// The popping end.
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    head: usize,
    tail_seen: usize,
}

/// A ring of `slots` slots, a power of two.
///
/// # Panics
/// When `slots` is not a power of two.
#[must_use]
pub fn ring<T>(slots: usize) -> (Producer<T>, Consumer<T>) {
    assert!(slots.is_power_of_two(), "{slots} slots: a ring counts in a power of two");
    let shared = Arc::new(Shared {
        head: Apart(AtomicUsize::new(0)),
        tail: Apart(AtomicUsize::new(0)),
        slots: (0..slots).map(|_| UnsafeCell::new(None)).collect(),
    });
    let producer = Producer { shared: shared.clone(), filled: 0, tail: 0, head_seen: 0 };
    (producer, Consumer { shared, head: 0, tail_seen: 0 })
}

impl<T> Producer<T> {
    /// Puts `value` into the next slot, unseen by the consumer until [`Producer::flush`]. Gives it back when the ring
    /// is full.
    pub fn push(&mut self, value: T) -> Result<(), T> {
        let slots = self.shared.slots.len();
        if self.filled.wrapping_sub(self.head_seen) == slots {
            self.head_seen = self.shared.head.0.load(Ordering::Acquire);
            if self.filled.wrapping_sub(self.head_seen) == slots {
                return Err(value);
            }
        }
        let slot = &self.shared.slots[self.filled & (slots - 1)];
        // SAFETY: the slot lies in `tail..head + slots`: the consumer reads no slot at or beyond `tail`, and gave this
        // one up before it moved `head`, which was read with acquire. There is one producer (`&mut self`).
        slot.with_mut(|place| unsafe { *place = Some(value) });
        self.filled = self.filled.wrapping_add(1);
        Ok(())
    }

    /// Shows everything pushed to the consumer. Answers whether there was anything new.
    pub fn flush(&mut self) -> bool {
        if self.filled == self.tail {
            return false;
        }
        self.tail = self.filled;
        self.shared.tail.0.store(self.tail, Ordering::Release);
        true
    }
}

impl<T> Consumer<T> {
    /// The oldest value flushed and not popped.
    pub fn pop(&mut self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        let slot = &self.shared.slots[self.head & (self.shared.slots.len() - 1)];
        // SAFETY: the slot lies in `head..tail`: the producer wrote it before it moved `tail`, which was read with
        // acquire, and writes it again only after `head` has moved. There is one consumer (`&mut self`).
        let value = slot.with_mut(|place| unsafe { (*place).take() });
        self.head = self.head.wrapping_add(1);
        self.shared.head.0.store(self.head, Ordering::Release);
        Some(value.expect("a flushed slot holds a value"))
    }

    /// Whether nothing flushed waits.
    pub fn is_empty(&mut self) -> bool {
        if self.head == self.tail_seen {
            self.tail_seen = self.shared.tail.0.load(Ordering::Acquire);
        }
        self.head == self.tail_seen
    }
}
