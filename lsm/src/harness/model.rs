//! What the rows of a tree must be: a map of versions, and the log that made it.

use std::collections::BTreeMap;

use bytes::Bytes;
use pinion_wal::{LogIndex, Term};

use crate::boundary::Boundary;
use crate::ids::Timestamp;

/// One put: a key, its timestamp, and its value or its end.
pub(super) type Put = (Vec<u8>, Timestamp, Option<Vec<u8>>);

/// The versions of a key by timestamp.
pub(super) type Versions = BTreeMap<Timestamp, Option<Vec<u8>>>;

/// The log of a group that never loses anything, and what its rows must be.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    /// Entry i + 1 put these.
    pub entries: Vec<Vec<Put>>,
    pub rows: BTreeMap<Vec<u8>, Versions>,
    pub safe_point: Timestamp,
}

impl Model {
    pub fn last_index(&self) -> LogIndex {
        LogIndex(self.entries.len() as u64)
    }

    /// The timestamp of the last version.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.entries.len() as u64 * 10)
    }

    pub fn push(&mut self, puts: Vec<Put>) {
        for (key, at, value) in &puts {
            self.rows.entry(key.clone()).or_default().insert(*at, value.clone());
        }
        self.entries.push(puts);
    }

    /// The boundary after entry `index`: its term and state tell it from every other one.
    pub fn boundary(index: LogIndex) -> Boundary {
        let state = Bytes::from(format!("state after {index}").into_bytes());
        Boundary { index, term: Term(index.0 / 7 + 1), state }
    }

    /// The model when only the entries up to `index` were written.
    pub fn up_to(&self, index: LogIndex) -> Self {
        let mut model = Self { safe_point: self.safe_point, ..Self::default() };
        let count = usize::try_from(index.0).expect("a short log");
        self.entries[..count].iter().for_each(|puts| model.push(puts.clone()));
        model
    }

    /// The newest version at or before `at`.
    pub fn get(&self, key: &[u8], at: Timestamp) -> Option<(Timestamp, Option<&[u8]>)> {
        let (at, value) = self.rows.get(key)?.range(..=at).next_back()?;
        Some((*at, value.as_deref()))
    }

    /// The rows of a range that are visible at `at`, in order.
    pub fn visible(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        at: Timestamp,
    ) -> Vec<(Vec<u8>, Timestamp, Vec<u8>)> {
        let rows = self.rows.range(from.to_vec()..).take_while(|(key, _)| to.is_none_or(|to| &***key < to));
        let visible = rows.filter_map(|(key, versions)| {
            let (at, value) = versions.range(..=at).next_back()?;
            Some((key.clone(), *at, value.clone()?))
        });
        visible.collect()
    }
}
