//! How keys, byte strings and lists of them stand in rkyv archives: as plain bytes, written without scratch space.

use rkyv::rancor::Fallible;
use rkyv::ser::Writer;
use rkyv::vec::{ArchivedVec, VecResolver};
use rkyv::with::{ArchiveWith, SerializeWith};
use rkyv::{Archive, Place, Serialize};

use crate::Key;
use crate::command::Malformed;

/// Archives a borrowed byte string as its bytes.
pub struct Raw;

/// A byte string in an archive, or a key there.
pub type ArchivedBytes = ArchivedVec<u8>;

fn write<S: Fallible + Writer + ?Sized>(bytes: &[u8], serializer: &mut S) -> Result<VecResolver, S::Error> {
    let at = serializer.pos();
    serializer.write(bytes)?;
    Ok(VecResolver::from_pos(at))
}

impl<'a> ArchiveWith<&'a [u8]> for Raw {
    type Archived = ArchivedBytes;
    type Resolver = VecResolver;

    fn resolve_with(field: &&'a [u8], resolver: VecResolver, out: Place<ArchivedBytes>) {
        ArchivedVec::resolve_from_len(field.len(), resolver, out);
    }
}

impl<'a, S: Fallible + Writer + ?Sized> SerializeWith<&'a [u8], S> for Raw {
    fn serialize_with(field: &&'a [u8], serializer: &mut S) -> Result<VecResolver, S::Error> {
        write(field, serializer)
    }
}

/// A key in an archive: its bytes. Slot and hash are computed anew by whoever opens it, so that they cannot be wrong.
#[derive(rkyv::Portable, rkyv::bytecheck::CheckBytes)]
#[bytecheck(crate = rkyv::bytecheck)]
#[repr(transparent)]
pub struct ArchivedKey(ArchivedBytes);

impl ArchivedKey {
    /// The key.
    #[must_use]
    pub fn open(&self) -> Key<'_> {
        Key::new(&self.0)
    }
}

impl Archive for Key<'_> {
    type Archived = ArchivedKey;
    type Resolver = VecResolver;

    fn resolve(&self, resolver: VecResolver, out: Place<ArchivedKey>) {
        rkyv::munge::munge!(let ArchivedKey(bytes) = out);
        ArchivedVec::resolve_from_len(self.bytes().len(), resolver, bytes);
    }
}

impl<S: Fallible + Writer + ?Sized> Serialize<S> for Key<'_> {
    fn serialize(&self, serializer: &mut S) -> Result<VecResolver, S::Error> {
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

/// A list in an archive: packed.
#[derive(rkyv::Portable, rkyv::bytecheck::CheckBytes)]
#[bytecheck(crate = rkyv::bytecheck)]
#[repr(transparent)]
pub struct ArchivedList(ArchivedBytes);

impl ArchivedList {
    /// The list, if its lengths add up.
    pub fn open(&self) -> Result<List<'_>, Malformed> {
        let mut rest = self.0.as_slice();
        while !rest.is_empty() {
            (_, rest) = unpack(rest).ok_or(Malformed)?;
        }
        Ok(List(Repr::Packed(&self.0)))
    }
}

impl Archive for List<'_> {
    type Archived = ArchivedList;
    type Resolver = VecResolver;

    fn resolve(&self, resolver: VecResolver, out: Place<ArchivedList>) {
        rkyv::munge::munge!(let ArchivedList(bytes) = out);
        ArchivedVec::resolve_from_len(self.packed_len(), resolver, bytes);
    }
}

impl<S: Fallible + Writer + ?Sized> Serialize<S> for List<'_> {
    fn serialize(&self, serializer: &mut S) -> Result<VecResolver, S::Error> {
        let at = serializer.pos();
        for item in self.iter() {
            let len = u32::try_from(item.len()).expect("limits bound every argument");
            serializer.write(&len.to_le_bytes())?;
            serializer.write(item)?;
        }
        Ok(VecResolver::from_pos(at))
    }
}
