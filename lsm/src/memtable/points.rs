//! The hash index of a memtable: from the hash of a key to its newest version, in one cache miss.
//!
//! Extendible hashing: a directory that stays in the nearest cache names segments of open-addressed 8-byte slots. A
//! slot holds 32 bits of hash (the tag) and the place of the entry. The upper bits of the tag choose the segment, the
//! lower ones the slot, so a segment is split or grown from its slots alone: no entry is touched, and no growth moves
//! more than one segment (a few microseconds), however large the index is.

use super::arena::Ref;
use crate::slab::{Piece, Slab};

/// Slots of a segment that is not split yet grow from this count …
const SLOTS_MIN: usize = 512;
/// … to this one; then it splits.
const SLOTS_MAX: usize = 8192;
/// The directory has at most `1 << DEPTH_MAX` names; beyond (only under chosen collisions) segments grow again.
const DEPTH_MAX: u32 = 18;

pub(super) struct Points {
    slab: Slab,
    /// Segment numbers by the upper `depth` bits of a tag.
    directory: Vec<u32>,
    depth: u32,
    segments: Vec<Segment>,
    bytes: usize,
}

struct Segment {
    slots: Piece,
    used: usize,
    depth: u32,
}

/// Where a key was found.
#[derive(Clone, Copy)]
pub(super) struct Place {
    segment: usize,
    slot: usize,
}

const fn tag_of(hash: u64) -> u32 {
    (hash >> 32) as u32
}

impl Points {
    pub const fn new(slab: Slab) -> Self {
        Self { slab, directory: Vec::new(), depth: 0, segments: Vec::new(), bytes: 0 }
    }

    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The newest version of the key with this hash for which `same` holds.
    #[inline]
    pub fn find(&self, hash: u64, same: impl Fn(Ref) -> bool) -> Option<(Place, Ref)> {
        let tag = tag_of(hash);
        let segment = self.segment_of(tag)?;
        let slots = self.segments[segment].slots.words();
        let mask = slots.len() - 1;
        let mut slot = tag as usize & mask;
        loop {
            let word = slots[slot];
            if word == 0 {
                return None;
            }
            let at = Ref(word as u32);
            if (word >> 32) as u32 == tag && same(at) {
                return Some((Place { segment, slot }, at));
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Points a found key to a newer version.
    pub fn replace(&mut self, place: Place, at: Ref) {
        let word = &mut self.segments[place.segment].slots.words_mut()[place.slot];
        *word = *word & !0xffff_ffff | u64::from(at.0);
    }

    /// Adds a key that [`Points::find`] did not find.
    pub fn insert(&mut self, hash: u64, at: Ref) {
        let tag = tag_of(hash);
        if self.segments.is_empty() {
            let first = self.segment(SLOTS_MIN, 0);
            self.segments.push(first);
            self.directory.push(0);
        }
        loop {
            let segment = self.segment_of(tag).expect("there is a segment");
            let Segment { slots, used, depth } = &self.segments[segment];
            let count = slots.words().len();
            if (*used + 1) * 10 <= count * 7 {
                self.segments[segment].add(tag, at);
                return;
            }
            if count < SLOTS_MAX || *depth == DEPTH_MAX {
                self.grow(segment);
            } else {
                self.split(segment);
            }
        }
    }

    /// Asks for the cache line in which the search for `hash` starts.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        let tag = tag_of(hash);
        if let Some(segment) = self.segment_of(tag) {
            let slots = &self.segments[segment].slots;
            slots.prefetch((tag as usize & (slots.words().len() - 1)) * 8);
        }
    }

    #[inline]
    fn segment_of(&self, tag: u32) -> Option<usize> {
        let index = if self.depth == 0 { 0 } else { tag >> (32 - self.depth) };
        self.directory.get(index as usize).map(|&segment| segment as usize)
    }

    fn segment(&mut self, slots: usize, depth: u32) -> Segment {
        let slots = self.slab.zeroed(slots * 8);
        self.bytes += slots.len();
        Segment { slots, used: 0, depth }
    }

    fn grow(&mut self, index: usize) {
        let old = &self.segments[index];
        let (count, depth) = (old.slots.words().len(), old.depth);
        let mut wider = self.segment(count * 2, depth);
        self.segments[index].filled().for_each(|(tag, at)| wider.add(tag, at));
        self.bytes -= self.segments[index].slots.len();
        self.segments[index] = wider;
    }

    fn split(&mut self, index: usize) {
        let old = &self.segments[index];
        let (count, depth) = (old.slots.words().len(), old.depth + 1);
        if depth > self.depth {
            self.directory = self.directory.iter().flat_map(|&segment| [segment, segment]).collect();
            self.depth += 1;
        }
        let (mut low, mut high) = (self.segment(count, depth), self.segment(count, depth));
        for (tag, at) in self.segments[index].filled() {
            if tag >> (32 - depth) & 1 == 0 { low.add(tag, at) } else { high.add(tag, at) }
        }
        self.bytes -= self.segments[index].slots.len();
        self.segments[index] = low;
        let new = u32::try_from(self.segments.len()).expect("at most one segment a directory name");
        self.segments.push(high);
        let names = self.directory.iter_mut().enumerate().filter(|(_, segment)| **segment as usize == index);
        for (name, segment) in names {
            if name >> (self.depth - depth) & 1 == 1 {
                *segment = new;
            }
        }
    }
}

impl Segment {
    fn add(&mut self, tag: u32, at: Ref) {
        let slots = self.slots.words_mut();
        let mask = slots.len() - 1;
        let mut slot = tag as usize & mask;
        while slots[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        slots[slot] = u64::from(tag) << 32 | u64::from(at.0);
        self.used += 1;
    }

    /// The filled slots.
    fn filled(&self) -> impl Iterator<Item = (u32, Ref)> {
        let filled = self.slots.words().iter().filter(|&&word| word != 0);
        filled.map(|&word| ((word >> 32) as u32, Ref(word as u32)))
    }
}
