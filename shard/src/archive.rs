//! How keys, byte strings and lists of them stand in rkyv archives: as plain bytes before the root, named by their place.
//!
//! A place is `u32 offset` from the first byte of the archive and `u32 length`. Compared with rkyv's own vectors, a check
//! of one costs two comparisons, whatever its length, and writing one needs no scratch space.

use rkyv::api::low::LowValidator;
use rkyv::api::serialize_using;
use rkyv::bytecheck::CheckBytes;
use rkyv::primitive::ArchivedU32;
use rkyv::rancor::{Failure, Fallible, Strategy};
use rkyv::ser::{Positional, Writer};
use rkyv::with::{ArchiveWith, SerializeWith};
use rkyv::{Archive, Place, Portable, Serialize};

use crate::Key;
use crate::command::Malformed;

/// Writes one archive to the end of a buffer; places count from its first byte.
pub(crate) struct ArchiveWriter<'b> {
    out: &'b mut Vec<u8>,
    start: usize,
}

impl Positional for ArchiveWriter<'_> {
    #[inline]
    fn pos(&self) -> usize {
        self.out.len() - self.start
    }
}

impl<E> Writer<E> for ArchiveWriter<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), E> {
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}

/// Appends the archive of `value` to `out`.
#[inline]
pub(crate) fn append<'b, T>(value: &T, out: &'b mut Vec<u8>)
where
    T: Serialize<Strategy<ArchiveWriter<'b>, Failure>>,
{
    let start = out.len();
    let mut writer = ArchiveWriter { out, start };
    serialize_using::<_, Failure>(value, &mut writer).expect("writing to memory does not fail");
}

/// The root of an archive, checked. What its places name is checked when they are opened.
#[inline]
pub(crate) fn root<T>(archive: &[u8]) -> Result<&T, Malformed>
where
    T: Portable + for<'v> CheckBytes<LowValidator<'v, Failure>>,
{
    rkyv::api::low::access::<T, Failure>(archive).map_err(|_| Malformed)
}

/// Archives a borrowed byte string.
pub struct Raw;

/// The place of a byte string, a key or a list in its archive.
#[derive(Portable, CheckBytes)]
#[bytecheck(crate = rkyv::bytecheck)]
#[repr(C)]
pub struct ArchivedPlace {
    at: ArchivedU32,
    len: ArchivedU32,
}

impl ArchivedPlace {
    /// The bytes, if they lie in the archive.
    #[inline]
    pub(crate) fn bytes<'a>(&self, archive: &'a [u8]) -> Result<&'a [u8], Malformed> {
        let (at, len) = (self.at.to_native() as usize, self.len.to_native() as usize);
        archive.get(at..).and_then(|rest| rest.get(..len)).ok_or(Malformed)
    }

    /// The key. Slot and hash are computed anew by whoever opens it, so that they cannot be wrong.
    #[inline]
    pub(crate) fn key<'a>(&self, archive: &'a [u8]) -> Result<Key<'a>, Malformed> {
        self.bytes(archive).map(Key::new)
    }

    /// The list, if its lengths add up.
    pub(crate) fn list<'a>(&self, archive: &'a [u8]) -> Result<List<'a>, Malformed> {
        let bytes = self.bytes(archive)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            (_, rest) = unpack(rest).ok_or(Malformed)?;
        }
        Ok(List(Repr::Packed(bytes)))
    }

    #[inline]
    fn emplace(at: u32, len: usize, out: Place<Self>) {
        let len = u32::try_from(len).expect("limits bound every argument");
        rkyv::munge::munge!(let Self { at: out_at, len: out_len } = out);
        at.resolve((), out_at);
        len.resolve((), out_len);
    }
}

#[inline]
fn write<S: Fallible + Writer + ?Sized>(bytes: &[u8], serializer: &mut S) -> Result<u32, S::Error> {
    let at = position(serializer);
    serializer.write(bytes)?;
    Ok(at)
}

fn position<S: Positional + ?Sized>(serializer: &S) -> u32 {
    u32::try_from(serializer.pos()).expect("limits bound every command")
}

impl<'a> ArchiveWith<&'a [u8]> for Raw {
    type Archived = ArchivedPlace;
    type Resolver = u32;

    #[inline]
    fn resolve_with(field: &&'a [u8], at: u32, out: Place<ArchivedPlace>) {
        ArchivedPlace::emplace(at, field.len(), out);
    }
}

impl<'a, S: Fallible + Writer + ?Sized> SerializeWith<&'a [u8], S> for Raw {
    #[inline]
    fn serialize_with(field: &&'a [u8], serializer: &mut S) -> Result<u32, S::Error> {
        write(field, serializer)
    }
}

impl Archive for Key<'_> {
    type Archived = ArchivedPlace;
    type Resolver = u32;

    #[inline]
    fn resolve(&self, at: u32, out: Place<ArchivedPlace>) {
        ArchivedPlace::emplace(at, self.bytes().len(), out);
    }
}

impl<S: Fallible + Writer + ?Sized> Serialize<S> for Key<'_> {
    #[inline]
    fn serialize(&self, serializer: &mut S) -> Result<u32, S::Error> {
        write(self.bytes(), serializer)
    }
}

/// Several byte strings, either as a parser found them or packed (`u32 length, bytes` each, little endian).
#[derive(Clone, Copy, Debug)]
pub struct List<'a>(Repr<'a>);

#[derive(Clone, Copy, Debug)]
enum Repr<'a> {
    Slices(&'a [&'a [u8]]),
    /// Checked: the lengths add up.
    Packed(&'a [u8]),
}

impl<'a> List<'a> {
    /// A list of these.
    #[must_use]
    pub const fn new(items: &'a [&'a [u8]]) -> Self {
        Self(Repr::Slices(items))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self.0 {
            Repr::Slices(items) => items.len(),
            Repr::Packed(_) => self.iter().count(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        match self.0 {
            Repr::Slices(items) => items.is_empty(),
            Repr::Packed(bytes) => bytes.is_empty(),
        }
    }

    /// The byte strings in order.
    #[must_use]
    pub const fn iter(&self) -> ListIter<'a> {
        ListIter(self.0)
    }

    /// The keys in order, when all of them are keys.
    pub fn keys(&self) -> impl Iterator<Item = Key<'a>> + use<'a> {
        self.iter().map(Key::new)
    }

    /// Keys and values in order, when they take turns.
    pub fn pairs(&self) -> impl Iterator<Item = (Key<'a>, &'a [u8])> + use<'a> {
        let mut items = self.iter();
        std::iter::from_fn(move || Some((Key::new(items.next()?), items.next()?)))
    }

    fn packed_len(&self) -> usize {
        match self.0 {
            Repr::Slices(items) => items.iter().map(|item| 4 + item.len()).sum(),
            Repr::Packed(bytes) => bytes.len(),
        }
    }
}

impl<'a> IntoIterator for List<'a> {
    type Item = &'a [u8];
    type IntoIter = ListIter<'a>;

    fn into_iter(self) -> ListIter<'a> {
        self.iter()
    }
}

impl PartialEq for List<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for List<'_> {}

/// The byte strings of a [`List`].
#[derive(Clone, Debug)]
pub struct ListIter<'a>(Repr<'a>);

impl<'a> Iterator for ListIter<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match &mut self.0 {
            Repr::Slices(items) => {
                let (first, rest) = items.split_first()?;
                *items = rest;
                Some(first)
            }
            Repr::Packed(bytes) => {
                let (item, rest) = unpack(bytes)?;
                *bytes = rest;
                Some(item)
            }
        }
    }
}

fn unpack(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u32::from_le_bytes(*len) as usize)
}

impl Archive for List<'_> {
    type Archived = ArchivedPlace;
    type Resolver = u32;

    fn resolve(&self, at: u32, out: Place<ArchivedPlace>) {
        ArchivedPlace::emplace(at, self.packed_len(), out);
    }
}

impl<S: Fallible + Writer + ?Sized> Serialize<S> for List<'_> {
    fn serialize(&self, serializer: &mut S) -> Result<u32, S::Error> {
        let at = position(serializer);
        for item in self.iter() {
            let len = u32::try_from(item.len()).expect("limits bound every argument");
            serializer.write(&len.to_le_bytes())?;
            serializer.write(item)?;
        }
        Ok(at)
    }
}
