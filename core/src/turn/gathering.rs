//! Replies that are put together from the replies of several groups or cores.

use pinion_shard::{Read, Reply, ReplyError, Slot, TypeFilter};

use super::slowness::Slowness;
use crate::ConnId;
use crate::command::{CommandId, encode};
use crate::conn::Place;
use crate::resp::{Encoder, Protocol};

/// How the parts become one reply.
#[derive(Debug)]
pub enum Shape {
    /// Numbers are added: DEL, EXISTS over several groups.
    Sum,
    /// Every part says OK: FLUSHALL.
    AllOk,
    /// The elements of one array, in the order of the request: MGET over several groups.
    Elements(Elements),
    /// A page of SCAN. When the group's last page came, the cursor goes on with the next range.
    Scan {
        /// The cursor of the next range; 0 when this is the last one.
        next_range: u64,
    },
    /// Pages of DBSIZE, until every group's last one came.
    Count,
    /// Pages of KEYS, until every group's last one came.
    Keys {
        /// What the keys must match.
        pattern: Vec<u8>,
        /// What type they must have.
        kind: TypeFilter,
    },
    /// Pages of one slot: CLUSTER COUNTKEYSINSLOT and GETKEYSINSLOT.
    Slot {
        /// The slot.
        slot: Slot,
        /// How many keys, at most; `None`: they are counted.
        keys: Option<usize>,
    },
    /// Any key: RANDOMKEY.
    Random(Random),
    /// Bytes of every core, rendered by whoever asked.
    Cores(Report),
}

/// What RANDOMKEY has found: of each group the keys behind a place drawn in it, at most [`RANDOM_KEYS`]; one of all of these
/// is the answer. A group that has fewer gives all of its keys.
#[derive(Debug)]
pub struct Random {
    /// Which of the keys it is, counted around.
    pick: u64,
    parts: Vec<Found>,
}

#[derive(Clone, Debug, Default)]
struct Found {
    /// Its group is looked at from its beginning now: there were too few keys behind the place.
    wrapped: bool,
    /// Where its keys stand in the pages.
    spans: Vec<(usize, usize)>,
}

/// Keys of a group among which RANDOMKEY chooses.
const RANDOM_KEYS: u32 = 32;

impl Random {
    /// Among the keys that `parts` groups give, `pick` says which it is.
    #[must_use]
    pub fn new(parts: usize, pick: u64) -> Self {
        Self { pick, parts: vec![Found::default(); parts] }
    }

    /// Takes the head of a page of `count` keys, which came before it; answers where the next one begins, if there must be one.
    fn page(&mut self, part: u32, cursor: u64, count: u32) -> Option<u64> {
        let found = &mut self.parts[part as usize];
        if cursor == 0 && !found.wrapped && count < RANDOM_KEYS {
            *found = Found { wrapped: true, spans: Vec::new() };
            return Some(0);
        }
        // Rows that have expired are no keys.
        (cursor != 0 && found.spans.is_empty()).then_some(cursor)
    }

    /// The key, if there is one.
    fn picked(&self) -> Option<(usize, usize)> {
        let spans = || self.parts.iter().flat_map(|found| &found.spans);
        let count = spans().count() as u64;
        let index = self.pick.checked_rem(count)?;
        spans().nth(index as usize).copied()
    }
}

/// What is made of the answers of all cores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// PINION STAGES.
    Stages,
    /// Something that every core has done: PINION STAGES RESET, PINION FLUSH.
    Done,
    /// INFO, with the sections that were asked for.
    Info(Vec<Vec<u8>>),
    /// SLOWLOG, PINION SLOWEST.
    Slowness(Slowness),
    /// PINION LATENCY, of these families; none: of all.
    Latency(Vec<Vec<u8>>),
    /// Something that every core has done, which is answered with these words.
    Said(&'static str),
    /// Something that was carried out beside the cores.
    Chore,
}

/// The elements of an array as they arrive: encoded, with their places.
#[derive(Debug, Default)]
pub struct Elements {
    bytes: Vec<u8>,
    /// Per element of the reply: where it stands in `bytes`.
    spans: Vec<(u32, u32)>,
    /// Per part: which elements it gives, in its order.
    positions: Vec<Vec<u32>>,
}

impl Elements {
    /// `positions[part]` names the elements that a part gives, in its order.
    #[must_use]
    pub fn new(count: usize, positions: Vec<Vec<u32>>) -> Self {
        Self { bytes: Vec::new(), spans: vec![(0, 0); count], positions }
    }
}

/// One reply in the making.
#[derive(Debug)]
pub struct Gathering {
    /// Whose reply it is.
    pub conn: ConnId,
    /// Its place.
    pub place: Place,
    command: CommandId,
    shape: Shape,
    protocol: Protocol,
    missing: u32,
    sum: i64,
    error: Option<ReplyError>,
    cursor: u64,
    /// Keys of a SCAN page, or the answers of cores.
    pages: Vec<u8>,
    page_items: usize,
    answers: Vec<(u32, Vec<u8>)>,
}

/// What follows from a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Other parts are missing.
    Wait,
    /// The whole is there.
    Whole,
    /// This part goes on with the page at this cursor.
    NextPage(u64),
}

impl Gathering {
    /// A reply that `parts` parts make up.
    #[must_use]
    pub fn new(
        conn: ConnId,
        place: Place,
        command: CommandId,
        protocol: Protocol,
        shape: Shape,
        parts: u32,
    ) -> Self {
        assert!(parts > 0, "a reply is put together from something");
        Self {
            conn,
            place,
            command,
            shape,
            protocol,
            missing: parts,
            sum: 0,
            error: None,
            cursor: 0,
            pages: Vec::new(),
            page_items: 0,
            answers: Vec::new(),
        }
    }

    /// Bytes of the elements that have come.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        match &self.shape {
            Shape::Elements(elements) => elements.bytes.len(),
            _ => self.pages.len(),
        }
    }

    /// Whether its pages come with items behind them.
    #[must_use]
    pub const fn has_items(&self) -> bool {
        matches!(
            self.shape,
            Shape::Scan { .. } | Shape::Keys { .. } | Shape::Random(_) | Shape::Slot { keys: Some(_), .. }
        )
    }

    /// What is read of a group from `cursor` on, `rows` rows at most, if it goes on with pages.
    #[must_use]
    pub fn page(&self, cursor: u64, rows: u32) -> Read<'_> {
        match &self.shape {
            Shape::Keys { pattern, kind } => Read::Scan { cursor, count: rows, pattern, kind: *kind },
            Shape::Random(_) => random_page(cursor),
            Shape::Slot { slot, keys } => {
                let missing = keys.map_or(usize::MAX, |keys| keys.saturating_sub(self.page_items));
                let count = rows.min(u32::try_from(missing).unwrap_or(rows));
                Read::InSlot { slot: slot.0, cursor, count, keys: keys.is_some() }
            }
            _ => Read::DbSize { cursor, count: rows },
        }
    }

    /// The report that this is, with the answers of the cores in the order of the cores.
    #[must_use]
    pub fn report(&mut self) -> Option<(Report, Vec<Vec<u8>>)> {
        let Shape::Cores(report) = &self.shape else { return None };
        self.answers.sort_by_key(|(part, _)| *part);
        let answers = std::mem::take(&mut self.answers);
        Some((report.clone(), answers.into_iter().map(|(_, bytes)| bytes).collect()))
    }

    /// Takes the answer of a core.
    pub fn answer(&mut self, part: u32, bytes: &[u8]) -> Step {
        self.answers.push((part, bytes.to_vec()));
        self.part_is_there()
    }

    /// Takes a part that is one reply, or the head of one.
    pub fn part(&mut self, part: u32, reply: Reply<'_>) -> Step {
        match (reply, &mut self.shape) {
            (Reply::Int(number), _) => self.sum = self.sum.saturating_add(number),
            (Reply::Error(error), _) => drop(self.error.get_or_insert(error)),
            (Reply::Page { cursor, count }, Shape::Count | Shape::Slot { keys: None, .. }) => {
                self.sum = self.sum.saturating_add(i64::from(count));
                if cursor != 0 {
                    return Step::NextPage(cursor);
                }
            }
            // After an error nothing more is asked for.
            (Reply::Page { cursor, .. }, Shape::Keys { .. }) if cursor != 0 && self.error.is_none() => {
                return Step::NextPage(cursor);
            }
            (Reply::Page { cursor, .. }, Shape::Slot { keys: Some(keys), .. })
                if cursor != 0 && self.error.is_none() && self.page_items < *keys =>
            {
                return Step::NextPage(cursor);
            }
            (Reply::Page { cursor, count }, Shape::Random(random)) if self.error.is_none() => {
                if let Some(next) = random.page(part, cursor, count) {
                    return Step::NextPage(next);
                }
            }
            (Reply::Page { cursor, .. }, Shape::Scan { next_range }) => {
                self.cursor = if cursor == 0 { *next_range } else { cursor };
            }
            _ => {}
        }
        self.part_is_there()
    }

    /// Takes element `index` of a part that is an array or a page.
    pub fn element(&mut self, part: u32, index: u32, reply: Reply<'_>) {
        match &mut self.shape {
            Shape::Elements(elements) => {
                let at = elements.bytes.len();
                encode(self.command, reply, &mut Encoder::new(&mut elements.bytes, self.protocol));
                let position = elements.positions[part as usize][index as usize];
                elements.spans[position as usize] = (at as u32, (elements.bytes.len() - at) as u32);
            }
            Shape::Random(random) => {
                let found = &mut random.parts[part as usize];
                let at = self.pages.len();
                encode(self.command, reply, &mut Encoder::new(&mut self.pages, self.protocol));
                found.spans.push((at, self.pages.len()));
            }
            // Keys that share a place come together.
            Shape::Slot { keys: Some(keys), .. } if self.page_items >= *keys => {}
            _ => {
                encode(self.command, reply, &mut Encoder::new(&mut self.pages, self.protocol));
                self.page_items += 1;
            }
        }
    }

    fn part_is_there(&mut self) -> Step {
        self.missing = self.missing.checked_sub(1).expect("no more parts come than were asked for");
        if self.missing == 0 { Step::Whole } else { Step::Wait }
    }

    /// Writes the whole reply.
    pub fn encode(&self, encoder: &mut Encoder<'_>) {
        if let Some(error) = self.error {
            return encode(self.command, Reply::Error(error), encoder);
        }
        match &self.shape {
            Shape::Sum | Shape::Count | Shape::Slot { keys: None, .. } => encoder.integer(self.sum),
            Shape::AllOk | Shape::Cores(_) => encoder.ok(),
            Shape::Random(random) => match random.picked() {
                Some((at, end)) => encoder.raw(&self.pages[at..end]),
                None => encoder.null(),
            },
            Shape::Elements(elements) => {
                encoder.array(elements.spans.len());
                for &(at, len) in &elements.spans {
                    encoder.raw(&elements.bytes[at as usize..][..len as usize]);
                }
            }
            Shape::Keys { .. } | Shape::Slot { .. } => {
                encoder.array(self.page_items);
                encoder.raw(&self.pages);
            }
            Shape::Scan { .. } => {
                encoder.array(2);
                encoder.bulk(self.cursor.to_string().as_bytes());
                encoder.array(self.page_items);
                encoder.raw(&self.pages);
            }
        }
    }
}

/// What RANDOMKEY reads of a group from a place on.
#[must_use]
pub const fn random_page(cursor: u64) -> Read<'static> {
    Read::Scan { cursor, count: RANDOM_KEYS, pattern: b"", kind: TypeFilter::Any }
}

/// All gatherings of a core.
#[derive(Default)]
pub struct Gatherings {
    slots: Vec<Option<Gathering>>,
    free: Vec<u32>,
}

impl Gatherings {
    /// Adds one.
    pub fn insert(&mut self, gathering: Gathering) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(gathering);
            return slot;
        }
        self.slots.push(Some(gathering));
        (self.slots.len() - 1) as u32
    }

    /// The one in a slot.
    ///
    /// # Panics
    /// When there is none: a part came after the whole.
    pub fn get_mut(&mut self, slot: u32) -> &mut Gathering {
        self.slots[slot as usize].as_mut().expect("parts come before the whole is there")
    }

    /// Ends one.
    pub fn remove(&mut self, slot: u32) -> Gathering {
        self.free.push(slot);
        self.slots[slot as usize].take().expect("a gathering ends once")
    }

    /// Bytes of the elements that all of them hold.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.slots.iter().flatten().map(Gathering::held_bytes).sum()
    }

    /// How many are in the making.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::lookup;

    fn gathering(shape: Shape, parts: u32) -> Gathering {
        let command = lookup(b"get").expect("it is in the table");
        Gathering::new(ConnId { slot: 0, generation: 0 }, Place(0), command, Protocol::Resp2, shape, parts)
    }

    fn text(gathering: &Gathering) -> String {
        let mut out = Vec::new();
        gathering.encode(&mut Encoder::new(&mut out, Protocol::Resp2));
        String::from_utf8(out).expect("the replies of this test are text")
    }

    #[test]
    fn numbers_are_added_and_the_first_error_wins() {
        let mut sum = gathering(Shape::Sum, 3);
        assert_eq!(sum.part(0, Reply::Int(2)), Step::Wait);
        assert_eq!(sum.part(0, Reply::Int(0)), Step::Wait);
        assert_eq!(sum.part(0, Reply::Int(5)), Step::Whole);
        assert_eq!(text(&sum), ":7\r\n");
        let mut failed = gathering(Shape::AllOk, 2);
        failed.part(0, Reply::Error(ReplyError::WrongType));
        assert_eq!(failed.part(0, Reply::Ok), Step::Whole);
        assert!(text(&failed).starts_with("-WRONGTYPE"));
    }

    #[test]
    fn elements_take_the_order_of_the_request() {
        let mut elements = gathering(Shape::Elements(Elements::new(3, vec![vec![2, 0], vec![1]])), 2);
        elements.element(1, 0, Reply::Nil);
        assert_eq!(elements.part(0, Reply::Array(1)), Step::Wait);
        elements.element(0, 0, Reply::Bulk(b"c"));
        elements.element(0, 1, Reply::Bulk(b"a"));
        assert_eq!(elements.part(0, Reply::Array(2)), Step::Whole);
        assert_eq!(text(&elements), "*3\r\n$1\r\na\r\n$-1\r\n$1\r\nc\r\n");
    }

    #[test]
    fn a_scan_goes_on_with_the_next_range_and_a_count_with_the_next_page() {
        let mut scan = gathering(Shape::Scan { next_range: 77 }, 1);
        scan.element(0, 0, Reply::Bulk(b"k"));
        assert_eq!(scan.part(0, Reply::Page { cursor: 0, count: 1 }), Step::Whole);
        assert_eq!(text(&scan), "*2\r\n$2\r\n77\r\n*1\r\n$1\r\nk\r\n");
        let mut count = gathering(Shape::Count, 2);
        assert_eq!(count.part(0, Reply::Page { cursor: 9, count: 5 }), Step::NextPage(9));
        assert_eq!(count.part(0, Reply::Page { cursor: 0, count: 1 }), Step::Wait);
        assert_eq!(count.part(0, Reply::Page { cursor: 0, count: 2 }), Step::Whole);
        assert_eq!(text(&count), ":8\r\n");
    }

    #[test]
    fn keys_come_page_by_page_until_something_fails() {
        let mut keys = gathering(Shape::Keys { pattern: b"*".to_vec(), kind: TypeFilter::Any }, 2);
        keys.element(0, 0, Reply::Bulk(b"a"));
        assert_eq!(keys.part(0, Reply::Page { cursor: 9, count: 1 }), Step::NextPage(9));
        let next = Read::Scan { cursor: 9, count: 5, pattern: b"*", kind: TypeFilter::Any };
        assert_eq!(keys.page(9, 5), next);
        keys.element(0, 0, Reply::Bulk(b"b"));
        assert_eq!(keys.part(0, Reply::Page { cursor: 0, count: 1 }), Step::Wait);
        assert_eq!(keys.part(0, Reply::Page { cursor: 0, count: 0 }), Step::Whole);
        assert_eq!(text(&keys), "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
        let mut failed = gathering(Shape::Keys { pattern: b"*".to_vec(), kind: TypeFilter::Any }, 2);
        assert_eq!(failed.part(0, Reply::Error(ReplyError::Overloaded)), Step::Wait);
        assert_eq!(failed.part(0, Reply::Page { cursor: 9, count: 0 }), Step::Whole);
        assert!(text(&failed).starts_with("-TRYAGAIN"));
    }

    #[test]
    fn answers_of_cores_stand_in_their_order() {
        let mut report = gathering(Shape::Cores(Report::Stages), 2);
        assert_eq!(report.answer(1, b"one"), Step::Wait);
        assert_eq!(report.answer(0, b"zero"), Step::Whole);
        assert_eq!(report.report(), Some((Report::Stages, vec![b"zero".to_vec(), b"one".to_vec()])));
    }
}
