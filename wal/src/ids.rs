//! Identities and positions that every crate above shares. Each is its own type: two bare numbers never meet.

/// Declares an identity or position: a number of its own type that is compared and shown as the number.
#[doc(hidden)]
#[macro_export]
macro_rules! newtype {
    ($(#[$doc:meta])* $visibility:vis $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $visibility struct $name(pub $inner);

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

newtype! {
    /// A Raft group. 0 (catalog) and 1 (clock) exist from the first start; 0 to 15 are reserved for the system.
    pub GroupId(u32)
}
newtype! {
    /// A log: the directory `log-NNNN` and the records in it. It belongs to no core for ever.
    pub LogId(u32)
}
newtype! {
    /// The index of an entry in the log of its group. The first entry has index 1; 0 means none.
    pub LogIndex(u64)
}
newtype! {
    /// The term of a leader. 0 means none.
    pub Term(u64)
}

impl LogIndex {
    /// The index after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
