//! The timestamp word: what the cores of the oracle's node share.
//!
//! One writer (the core of the clock group) publishes a [`Grant`]; every core reads it whole and adds to the word. The
//! grant is guarded by a version that is odd while it changes (a sequence lock after H. Boehm, "Can seqlocks get along
//! with programming language memory models?", 2012); the word itself is one atomic read-modify-write.

use pinion_lsm::Timestamp;
use pinion_wal::{Mono, planted};

use super::sync::{AtomicU64, Ordering, fence, spin_loop};

/// How fast the oracle's time runs against the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// As fast.
    Even,
    /// An eighth faster: the wall clock is far ahead.
    Fast,
    /// An eighth slower: the wall clock is behind.
    Slow,
}

/// A point of the oracle's time, and how to go on from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The point on the monotonic clock that all cores of the node share.
    pub mono: Mono,
    /// The oracle's time there, in nanoseconds since 1970.
    pub unix_nanos: u64,
    /// How fast it runs from there.
    pub rate: Rate,
}

impl Anchor {
    /// The oracle's time at `mono`, in nanoseconds since 1970.
    #[must_use]
    pub const fn nanos_at(&self, mono: Mono) -> u64 {
        let passed = mono.nanos_since(self.mono);
        self.unix_nanos
            + match self.rate {
                Rate::Even => passed,
                Rate::Fast => passed + passed / 8,
                Rate::Slow => passed - passed / 8,
            }
    }

    /// The oracle's time at `mono`, in milliseconds since 1970.
    #[must_use]
    pub const fn millis_at(&self, mono: Mono) -> u64 {
        self.nanos_at(mono) / 1_000_000
    }
}

/// What the oracle allows the cores of its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Nothing is issued at or after this point.
    pub lease_end: Mono,
    /// Nothing is issued at or above this timestamp; it is replicated.
    pub ceiling: Timestamp,
    /// The time does not go beyond this, in milliseconds since 1970; it is replicated too.
    pub time_ms_max: u64,
    /// What time it is.
    pub anchor: Anchor,
}

/// Timestamps that were issued: `base`, and as many after it as were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The first one.
    pub base: Timestamp,
    /// The oracle's time, in milliseconds since 1970.
    pub time_ms: u64,
}

/// Why there is no timestamp now. Retryable: the oracle's next grant ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTime {
    /// The oracle's lease has ended, or none was ever held here.
    #[error("this node holds no lease on the clock")]
    Lease,
    /// The replicated ceiling is used up.
    #[error("the ceiling of the clock is used up, and its renewal has not been replicated yet")]
    Ceiling,
}

/// A cache line of its own: adding to the word must not disturb readers of the grant.
#[repr(align(128))]
struct Line<T>(T);

/// The shared word. See the module page.
pub struct Word {
    /// Odd while the fields below change.
    version: AtomicU64,
    lease_end: AtomicU64,
    ceiling: AtomicU64,
    time_ms_max: AtomicU64,
    anchor_mono: AtomicU64,
    anchor_nanos: AtomicU64,
    anchor_rate: AtomicU64,
    /// Not 0: the clock group refuses to serve.
    forsaken: AtomicU64,
    /// The next timestamp to be issued.
    next: Line<AtomicU64>,
}

impl Default for Word {
    fn default() -> Self {
        Self::new()
    }
}

impl Word {
    /// A word that issues nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            version: AtomicU64::new(0),
            lease_end: AtomicU64::new(0),
            ceiling: AtomicU64::new(0),
            time_ms_max: AtomicU64::new(0),
            anchor_mono: AtomicU64::new(0),
            anchor_nanos: AtomicU64::new(0),
            anchor_rate: AtomicU64::new(0),
            forsaken: AtomicU64::new(0),
            next: Line(AtomicU64::new(0)),
        }
    }

    /// Takes `count` timestamps, at least one, for work of the turn whose time is `now`.
    ///
    /// # Errors
    /// When the grant does not cover them; nothing was taken.
    pub fn take(&self, count: u64, now: Mono) -> Result<Issued, NoTime> {
        assert!(count > 0, "a range has at least one timestamp");
        let grant = self.grant();
        if now >= grant.lease_end {
            return Err(NoTime::Lease);
        }
        let time_ms = grant.anchor.millis_at(now).min(grant.time_ms_max);
        let ceiling = if planted::is("ceiling-ignored") { u64::MAX } else { grant.ceiling.0 };
        let granted = if planted::is("range-one-too-short") { count - 1 } else { count };
        let mut next = self.next.0.load(Ordering::Relaxed);
        loop {
            let base = next.max(Timestamp::from_millis(time_ms).0);
            let Some(end) = base.checked_add(granted).filter(|end| *end <= ceiling) else {
                return Err(NoTime::Ceiling);
            };
            match self.next.0.compare_exchange_weak(next, end, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Ok(Issued { base: Timestamp(base), time_ms }),
                Err(seen) => next = seen,
            }
        }
    }

    /// The oracle's time at `now`, in milliseconds since 1970; `None` without a lease. It stands still at the
    /// bound of the grant.
    pub fn time_ms(&self, now: Mono) -> Option<u64> {
        let grant = self.grant();
        let held = now < grant.lease_end;
        held.then(|| grant.anchor.millis_at(now).min(grant.time_ms_max))
    }

    /// The clock group of this node refuses to serve: no grant comes any more, and nobody need wait for one.
    pub fn forsake(&self) {
        self.forsaken.store(1, Ordering::Release);
    }

    /// Whether no grant comes any more.
    pub fn is_forsaken(&self) -> bool {
        self.forsaken.load(Ordering::Acquire) != 0
    }

    /// The timestamp that is issued next, if nothing else moves the word.
    pub fn next(&self) -> Timestamp {
        Timestamp(self.next.0.load(Ordering::Acquire))
    }

    /// The grant, whole.
    pub fn grant(&self) -> Grant {
        loop {
            let before = self.version.load(Ordering::Acquire);
            let grant = self.fields();
            // Orders the loads above before the one below: without it a torn grant would look whole.
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == before {
                return grant;
            }
            spin_loop();
        }
    }

    /// For the oracle: nothing below `floor` is issued from now on.
    pub fn raise(&self, floor: Timestamp) {
        self.next.0.fetch_max(floor.0, Ordering::AcqRel);
    }

    /// For the oracle, the only writer: replaces the grant.
    pub fn publish(&self, grant: Grant) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version + 1, Ordering::Relaxed);
        // Orders the store above before those below: a reader that sees one of them sees an odd version.
        fence(Ordering::Release);
        self.lease_end.store(grant.lease_end.0, Ordering::Relaxed);
        self.ceiling.store(grant.ceiling.0, Ordering::Relaxed);
        self.time_ms_max.store(grant.time_ms_max, Ordering::Relaxed);
        self.anchor_mono.store(grant.anchor.mono.0, Ordering::Relaxed);
        self.anchor_nanos.store(grant.anchor.unix_nanos, Ordering::Relaxed);
        self.anchor_rate.store(grant.anchor.rate as u64, Ordering::Relaxed);
        self.version.store(version + 2, Ordering::Release);
    }

    /// For the oracle: nothing is issued until the next grant.
    pub fn revoke(&self) {
        self.publish(Grant { lease_end: Mono(0), ..self.grant() });
    }

    fn fields(&self) -> Grant {
        let rate = match self.anchor_rate.load(Ordering::Relaxed) {
            0 => Rate::Even,
            1 => Rate::Fast,
            _ => Rate::Slow,
        };
        Grant {
            lease_end: Mono(self.lease_end.load(Ordering::Relaxed)),
            ceiling: Timestamp(self.ceiling.load(Ordering::Relaxed)),
            time_ms_max: self.time_ms_max.load(Ordering::Relaxed),
            anchor: Anchor {
                mono: Mono(self.anchor_mono.load(Ordering::Relaxed)),
                unix_nanos: self.anchor_nanos.load(Ordering::Relaxed),
                rate,
            },
        }
    }
}
