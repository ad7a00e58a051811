//! A request as spans of the bytes it arrived in.

/// Where one argument lies, relative to the start of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) len: u32,
}

impl Span {
    pub(super) fn new(start: usize, len: usize) -> Span {
        let end = start.checked_add(len).expect("lengths are bounded by the request");
        assert!(u32::try_from(end).is_ok(), "a request is bounded far below 4 GiB");
        Span { start: start as u32, len: len as u32 }
    }
}

/// Room for the arguments of one request: one per core, reused for every request, so that parsing allocates nothing.
#[derive(Debug, Default)]
pub struct Arguments {
    pub(super) spans: Vec<Span>,
    /// Arguments of an inline request with quotes or escapes do not stand in the receive buffer as they are meant.
    pub(super) unquoted: Vec<u8>,
}

impl Arguments {
    /// Room for the usual request; it grows when a longer one comes.
    pub fn new() -> Arguments {
        Arguments { spans: Vec::with_capacity(16), unquoted: Vec::new() }
    }
}

/// One request: a name and its arguments, at least the name.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Request<'a> {
    pub(super) fn new(bytes: &'a [u8], spans: &'a [Span]) -> Request<'a> {
        debug_assert!(!spans.is_empty());
        Request { bytes, spans }
    }

    /// Count of arguments, the name included: at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a request is never empty")]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// The command's name as the client wrote it.
    pub fn name(&self) -> &'a [u8] {
        self.arg(0)
    }

    /// Argument `index`; 0 is the name.
    ///
    /// # Panics
    /// If there is no such argument: commands check their arity first.
    #[inline]
    pub fn arg(&self, index: usize) -> &'a [u8] {
        let span = self.spans[index];
        &self.bytes[span.start as usize..span.start as usize + span.len as usize]
    }

    /// Argument `index`, if there are so many.
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        (index < self.spans.len()).then(|| self.arg(index))
    }

    /// All arguments from `first` on.
    pub fn args(&self, first: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone + use<'a> {
        let bytes = self.bytes;
        self.spans[first..]
            .iter()
            .map(move |span| &bytes[span.start as usize..span.start as usize + span.len as usize])
    }
}
