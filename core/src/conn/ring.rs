//! The replies that a connection is owed, in the order of its commands.
//!
//! A command takes a place when it is parsed. The reply of the oldest place is encoded straight into the send buffer;
//! any other is kept encoded until everything before it has left. So replies leave in order, whichever order groups
//! and cores answer in.
//!
//! Invariants, executed by [`ReplyRing::check`]: the oldest place is never filled (it would have left); the bytes kept
//! are those of the filled places plus what already left; `early` is empty when no place is filled.

use std::collections::VecDeque;

use crate::command::CommandId;
use crate::planted;
use crate::resp::Request;
use crate::slow::sketch;
use crate::tally::Label;

/// The name of a command's place: places are numbered from 0 in the order of the commands, wrapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(pub u32);

/// A reply that has left the ring: what is needed to record its stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// When the last byte of its command was read, in ticks.
    pub start_ticks: u64,
    /// The flight that carried it.
    pub flight: u32,
    /// What it is counted for.
    pub label: Label,
    /// Whether it is an error.
    pub failed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start_ticks: u64,
    flight: u32,
    /// Where its reply stands in `early`; `len` is [`WAITING`] until it is there.
    at: u32,
    len: u32,
    label: Label,
    failed: bool,
    /// Bytes of its sketch.
    sketch: u16,
}

impl Entry {
    const fn passed(self) -> Passed {
        let Self { start_ticks, flight, label, failed, .. } = self;
        Passed { start_ticks, flight, label, failed }
    }
}

/// The arguments of a request that left, as [`sketch::write`] wrote them, in two pieces.
pub type Sketch<'a> = (&'a [u8], &'a [u8]);

/// The length of a reply that has not come.
const WAITING: u32 = u32::MAX;
/// `early` is packed when it has grown beyond this many bytes and half of them have left.
const PACK_BYTES_MIN: usize = 64 << 10;
/// Bytes of sketches that an idle connection may keep room for.
const SKETCH_BYTES_KEPT: usize = 1 << 10;

/// See the module page.
#[derive(Default)]
pub struct ReplyRing {
    /// What the next place is counted for.
    label: Label,
    /// The arguments of what is owed a reply, in the order of the places, then those of the next place.
    sketches: VecDeque<u8>,
    /// Bytes of the sketch of the next place.
    next_sketch: u16,
    entries: VecDeque<Entry>,
    /// The number of the oldest place.
    head: u32,
    /// Replies that came before their turn.
    early: Vec<u8>,
    /// Bytes of `early` that have not left.
    early_live: usize,
    /// Nobody waits for what is owed any more.
    abandoned: bool,
}

impl ReplyRing {
    /// Commands that have not been answered, or whose answer waits for an earlier one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is owed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of replies that wait for an earlier one.
    #[must_use]
    pub const fn early_bytes(&self) -> usize {
        self.early_live
    }

    /// Tells what the next place is counted for.
    pub fn begin(&mut self, label: Label) {
        self.label = label;
        self.sketches.truncate(self.sketches.len() - usize::from(std::mem::take(&mut self.next_sketch)));
    }

    /// Keeps the arguments of the next place until its reply leaves.
    pub fn sketch(&mut self, command: CommandId, request: &Request<'_>) {
        debug_assert_eq!(self.next_sketch, 0);
        let sketches = &mut self.sketches;
        self.next_sketch = sketch::write(command, request, |bytes| sketches.extend(bytes)) as u16;
    }

    /// A place for the next command.
    pub fn take_place(&mut self, start_ticks: u64) -> Place {
        let place = Place(self.head.wrapping_add(self.entries.len() as u32));
        self.entries.push_back(Entry {
            start_ticks,
            flight: 0,
            at: 0,
            len: WAITING,
            label: self.label,
            failed: false,
            sketch: std::mem::take(&mut self.next_sketch),
        });
        place
    }

    /// Fills a place: `encode` writes the reply into the buffer it is given. Replies that may leave are appended to
    /// `out`, and `passed` is told of each.
    ///
    /// # Panics
    /// When the place is not owed a reply: it was answered twice, or never taken.
    pub fn fill(
        &mut self,
        place: Place,
        flight: u32,
        out: &mut Vec<u8>,
        encode: impl FnOnce(&mut Vec<u8>),
        mut passed: impl FnMut(Passed, Sketch<'_>),
    ) {
        let index = place.0.wrapping_sub(self.head) as usize;
        assert!(index < self.entries.len(), "place {place:?} is not owed a reply");
        if index > 0 && !planted::is("reply-out-of-turn") {
            let entry = &mut self.entries[index];
            assert_eq!(entry.len, WAITING, "place {place:?} was answered twice");
            let at = self.early.len();
            encode(&mut self.early);
            let len = self.early.len() - at;
            self.early_live += len;
            entry.flight = flight;
            entry.failed = self.early.get(at) == Some(&b'-');
            entry.at = u32::try_from(at).expect("the early replies of a connection are bounded");
            entry.len = u32::try_from(len).expect("a reply is bounded");
            return self.pack_if_worth();
        }
        let at = out.len();
        encode(out);
        let entry = self.pop();
        let entry = Entry { flight, failed: out.get(at) == Some(&b'-'), ..entry };
        self.hand_over(entry, &mut passed);
        self.release(out, passed);
    }

    /// Moves filled places from the front into `out`.
    fn release(&mut self, out: &mut Vec<u8>, mut passed: impl FnMut(Passed, Sketch<'_>)) {
        while let Some(front) = self.entries.front()
            && front.len != WAITING
        {
            let entry = self.pop();
            out.extend_from_slice(&self.early[entry.at as usize..][..entry.len as usize]);
            self.early_live -= entry.len as usize;
            self.hand_over(entry, &mut passed);
        }
        if self.early_live == 0 {
            self.early.clear();
            self.early.shrink_to(PACK_BYTES_MIN);
        }
    }

    /// Tells of the oldest entry, which was taken out.
    fn hand_over(&mut self, entry: Entry, passed: &mut impl FnMut(Passed, Sketch<'_>)) {
        let len = usize::from(entry.sketch);
        let (front, back) = self.sketches.as_slices();
        let split = len.min(front.len());
        passed(entry.passed(), (&front[..split], &back[..len - split]));
        self.sketches.drain(..len);
        if self.sketches.is_empty() {
            self.sketches.shrink_to(SKETCH_BYTES_KEPT);
        }
    }

    fn pop(&mut self) -> Entry {
        self.head = self.head.wrapping_add(1);
        self.entries.pop_front().expect("the caller saw an entry")
    }

    fn pack_if_worth(&mut self) {
        if self.early.len() < PACK_BYTES_MIN || self.early_live * 2 > self.early.len() {
            return;
        }
        let mut packed = Vec::with_capacity(self.early_live);
        for entry in self.entries.iter_mut().filter(|entry| entry.len != WAITING) {
            let at = packed.len() as u32;
            packed.extend_from_slice(&self.early[entry.at as usize..][..entry.len as usize]);
            entry.at = at;
        }
        self.early = packed;
    }

    /// Whether the ring was ended: replies that still come are nobody's.
    #[must_use]
    pub const fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// Ends the ring: what is kept is dropped, and `passed` is told of every place that was filled.
    pub fn abandon(&mut self, mut passed: impl FnMut(Passed)) {
        self.abandoned = true;
        for entry in self.entries.drain(..).filter(|entry| entry.len != WAITING) {
            passed(entry.passed());
        }
        self.early = Vec::new();
        self.early_live = 0;
        self.sketches = VecDeque::new();
        self.next_sketch = 0;
    }

    /// What must hold. See the module page.
    ///
    /// # Panics
    /// When it does not.
    pub fn check(&self) {
        assert!(
            self.entries.front().is_none_or(|front| front.len == WAITING),
            "a reply stayed though it may leave"
        );
        let live: usize =
            self.entries.iter().filter(|entry| entry.len != WAITING).map(|entry| entry.len as usize).sum();
        assert_eq!(live, self.early_live);
        assert!(live <= self.early.len());
        let sketches: usize = self.entries.iter().map(|entry| usize::from(entry.sketch)).sum();
        assert_eq!(sketches + usize::from(self.next_sketch), self.sketches.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Replies in any order of arrival leave in the order of the commands, each once.
    #[test]
    fn replies_leave_in_order() {
        for seed in 0..50 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut ring = ReplyRing { head: u32::MAX - 20, ..ReplyRing::default() };
            let (mut out, mut expected, mut open) = (Vec::new(), Vec::new(), Vec::new());
            let (mut left, mut taken) = (Vec::new(), 0u64);
            for _ in 0..400 {
                if rng.bool() || open.is_empty() {
                    open.push((ring.take_place(taken), taken));
                    expected.extend_from_slice(reply(taken).as_bytes());
                    taken += 1;
                } else {
                    let (place, number) = open.swap_remove(rng.usize(..open.len()));
                    let text = reply(number);
                    let encode = |to: &mut Vec<u8>| to.extend_from_slice(text.as_bytes());
                    ring.fill(place, number as u32, &mut out, encode, |passed, _| left.push(passed));
                }
                ring.check();
                assert!(expected.starts_with(&out), "seed {seed}");
            }
            for (place, number) in open {
                let text = reply(number);
                let encode = |to: &mut Vec<u8>| to.extend_from_slice(text.as_bytes());
                ring.fill(place, number as u32, &mut out, encode, |passed, _| left.push(passed));
                ring.check();
            }
            assert_eq!(out, expected, "seed {seed}");
            assert!(ring.is_empty() && ring.early.is_empty());
            let order: Vec<u64> = left.iter().map(|passed| passed.start_ticks).collect();
            assert_eq!(order, (0..taken).collect::<Vec<_>>());
            assert!(left.iter().all(|passed| u64::from(passed.flight) == passed.start_ticks));
        }
    }

    fn reply(number: u64) -> String {
        format!("+{number}{}\r\n", "x".repeat((number as usize * 7919) % 3000))
    }

    #[test]
    #[should_panic(expected = "answered twice")]
    fn a_second_reply_is_refused() {
        let mut ring = ReplyRing::default();
        ring.take_place(0);
        let second = ring.take_place(0);
        for _ in 0..2 {
            ring.fill(second, 0, &mut Vec::new(), |to| to.push(b'+'), |_, _| {});
        }
    }

    #[test]
    fn a_sketch_leaves_with_its_reply() {
        let limits = crate::resp::Limits { authenticated: true, bulk_bytes_max: 1 << 20 };
        let command = crate::command::lookup(b"get").expect("it is in the table");
        let mut arguments = crate::resp::Arguments::new();
        let (mut ring, mut left) = (ReplyRing::default(), Vec::new());
        let mut sketched = Vec::new();
        for round in 0..200u32 {
            let line = format!("GET {}\r\n", "k".repeat(1 + round as usize % 90));
            let next = crate::resp::Parser::default().next(line.as_bytes(), &mut arguments, &limits);
            let crate::resp::Next::Request { request, .. } = next else { panic!("{line} is a request") };
            // What takes no place leaves no sketch.
            for _ in 0..2 {
                ring.begin(Label::of_command(command));
                ring.sketch(command, &request);
                ring.check();
            }
            let mut expected = Vec::new();
            sketch::write(command, &request, |bytes| expected.extend_from_slice(bytes));
            sketched.push(expected);
            let place = ring.take_place(0);
            // Every third reply comes late, so that sketches of several wait.
            let mut filled = if round % 3 == 0 { vec![] } else { vec![place] };
            if round % 3 == 2 {
                filled.push(Place(round - 2));
            }
            for place in filled {
                ring.fill(
                    place,
                    0,
                    &mut Vec::new(),
                    |to| to.push(b'+'),
                    |_, (a, b)| left.push([a, b].concat()),
                );
                ring.check();
            }
        }
        assert_eq!(left, sketched[..left.len()]);
        assert_eq!(left.len(), 198);
    }

    #[test]
    fn an_abandoned_ring_names_what_was_answered_and_keeps_nothing() {
        let mut ring = ReplyRing::default();
        ring.take_place(0);
        let second = ring.take_place(1);
        ring.fill(second, 7, &mut Vec::new(), |to| to.push(b'-'), |_, _| {});
        let mut named = Vec::new();
        ring.abandon(|passed| named.push(passed));
        assert_eq!(named, [Passed { start_ticks: 1, flight: 7, label: Label::NONE, failed: true }]);
        assert!(ring.is_empty() && ring.early_bytes() == 0);
    }
}
