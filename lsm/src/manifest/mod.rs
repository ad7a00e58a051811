//! The manifest of a tree: which tables it consists of, and how far they reach in the log.
//!
//! A manifest is a log of [edits](edit) in [stamped sectors](sector). The file `CURRENT` names the one that counts; it
//! is replaced by a rename. Files are created under new numbers, written and synced, and their names made durable,
//! before an edit or `CURRENT` names them. An edit is durable before the tree acts on it.

mod edit;
mod sector;

use std::collections::BTreeMap;

use pinion_wal::disk::{Access, AlignedBuf, BLOCK_BYTES, Cause, Disk, DiskError, DiskOp, FileId};

pub(crate) use edit::Edit;

use crate::boundary::Boundary;
use crate::error::{Flaw, OpenError};
use crate::format::{
    FORMAT_VERSION, FileNumber, Origin, Put, Take, checksum, corruption, manifest_path, tree_dir,
};
use crate::ids::TreeId;
use crate::table::TableInfo;

pub(crate) const CURRENT: &str = "CURRENT";
pub(crate) const CURRENT_NEXT: &str = "CURRENT.tmp";

const CURRENT_MAGIC: u64 = u64::from_le_bytes(*b"PINCURNT");
const CURRENT_CRC_AT: usize = BLOCK_BYTES - 4;
/// Levels of a tree.
pub(crate) const LEVELS: usize = 7;

/// Bytes of the longest manifest that is read: one is rolled over long before, and a damaged length must not make a reader
/// take all memory.
const MANIFEST_BYTES_MAX: u64 = 1 << 30;

/// Why an edit contradicts the state: the flaw, what is expected, what is found.
pub(crate) type Misfit = (Flaw, u64, u64);

/// What all edits of a manifest add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub next_number: u64,
    pub boundary: Boundary,
    /// Tables with their levels.
    pub tables: BTreeMap<FileNumber, (usize, TableInfo)>,
}

impl State {
    /// Applies an edit of `tree`.
    pub fn apply(&mut self, tree: TreeId, edit: &Edit) -> Result<(), Misfit> {
        for number in &edit.removed {
            self.tables.remove(number).ok_or((Flaw::Table, 0, number.0))?;
        }
        for (level, table) in &edit.added {
            let number = table.origin.number;
            if let Some(misfit) = table.misfit(tree) {
                return Err(misfit);
            }
            if *level >= LEVELS {
                return Err((Flaw::Level, LEVELS as u64 - 1, *level as u64));
            }
            if self.tables.insert(number, (*level, table.clone())).is_some() {
                return Err((Flaw::Table, 0, number.0));
            }
            self.next_number = self.next_number.max(number.0 + 1);
        }
        if let Some(boundary) = &edit.boundary {
            let before = &self.boundary;
            if boundary.index < before.index || boundary.term < before.term {
                return Err((Flaw::Boundary, before.index.0, boundary.index.0));
            }
            self.boundary = boundary.clone();
        }
        if let Some(number) = edit.next_number {
            if number > FileNumber::MAX {
                return Err((Flaw::Number, FileNumber::MAX.0, number.0));
            }
            self.next_number = self.next_number.max(number.0);
        }
        Ok(())
    }

    /// Tables of a level below 0 are disjoint.
    fn check_levels(&self) -> Result<(), Misfit> {
        for level in 1..LEVELS {
            let of_level = self.tables.values().filter(|(of, _)| *of == level).map(|(_, table)| table);
            let mut tables: Vec<&TableInfo> = of_level.collect();
            tables.sort_by(|a, b| a.min.cmp(&b.min));
            if let Some(pair) = tables.windows(2).find(|pair| pair[0].max >= pair[1].min) {
                return Err((Flaw::Overlap, pair[0].origin.number.0, pair[1].origin.number.0));
            }
        }
        Ok(())
    }

    /// The edit that makes this state from nothing.
    fn snapshot(&self, tree: TreeId) -> Edit {
        Edit {
            tree: Some(tree),
            next_number: Some(FileNumber(self.next_number)),
            boundary: Some(self.boundary.clone()),
            added: self.tables.values().cloned().collect(),
            removed: Vec::new(),
        }
    }
}

/// The manifest file that is being appended to.
pub(crate) struct Manifest {
    tree: TreeId,
    disk: Disk,
    number: FileNumber,
    /// Closed with the manifest.
    file: FileId,
    /// A record did not fit the disk: what of it is there is unknown, and nothing may follow it.
    broken: bool,
    /// Bytes of the first record, which holds the whole state of its time.
    first_bytes: u64,
    end: u64,
    next_record: u32,
}

/// A manifest that was read.
pub(crate) struct Loaded {
    pub manifest: Manifest,
    pub state: State,
}

impl Manifest {
    pub const fn number(&self) -> FileNumber {
        self.number
    }

    /// Reads the manifest that `CURRENT` names.
    pub async fn load(disk: &Disk, tree: TreeId) -> Result<Loaded, OpenError> {
        let current = format!("{}/{CURRENT}", tree_dir(tree));
        let (file, bytes) = disk.open(&current, Access::Read).await?;
        if bytes != BLOCK_BYTES as u64 {
            return Err(corruption(&current, 0, Flaw::Length, BLOCK_BYTES, bytes).into());
        }
        let buf = disk.read(file, 0, AlignedBuf::zeroed(BLOCK_BYTES), BLOCK_BYTES).await;
        disk.close(file).await?;
        let number = decode_current(&buf?, &current, tree)?;
        let path = manifest_path(tree, number);
        let missing = |error: DiskError| match error.cause {
            Cause::NotFound => OpenError::from(corruption(&path, 0, Flaw::Missing, 1u64, 0u64)),
            _ => error.into(),
        };
        let (file, bytes) = disk.open(&path, Access::ReadWrite).await.map_err(missing)?;
        // From here on the file is closed with the manifest.
        let mut manifest = Self {
            tree,
            disk: disk.clone(),
            number,
            file,
            broken: false,
            first_bytes: 0,
            end: 0,
            next_record: 1,
        };
        if bytes > MANIFEST_BYTES_MAX {
            return Err(corruption(&path, 0, Flaw::Length, MANIFEST_BYTES_MAX, bytes).into());
        }
        let len = usize::try_from(bytes).expect("just bounded") / BLOCK_BYTES * BLOCK_BYTES;
        if len == 0 {
            return Err(corruption(&path, 0, Flaw::Length, BLOCK_BYTES, len).into());
        }
        let buf = disk.read(file, 0, AlignedBuf::zeroed(len), len).await?;
        let found = sector::decode(&buf[..len], &path, Origin { tree, number })?;
        let state = replay(&found.records, &path, tree)?;
        (manifest.broken, manifest.end) = (found.torn, found.end);
        manifest.first_bytes =
            found.records.first().map_or(0, |first| sector::record_bytes(first.len()) as u64);
        manifest.next_record = u32::try_from(found.records.len() + 1).expect("manifests are rolled over");
        Ok(Loaded { manifest, state })
    }

    /// Writes a new manifest with the whole `state` and makes it the current one.
    ///
    /// # Errors
    /// A failure before `CURRENT` was touched leaves the old manifest in force, and a file that the caller may remove;
    /// any other one leaves unknown which is in force.
    pub async fn create(
        disk: &Disk,
        tree: TreeId,
        number: FileNumber,
        state: &State,
    ) -> Result<Self, CreateError> {
        let dir = tree_dir(tree);
        let early = CreateError::Before;
        let (file, _) = disk.open(&manifest_path(tree, number), Access::CreateNew).await.map_err(early)?;
        let disk_kept = disk.clone();
        let mut manifest = Self {
            tree,
            disk: disk_kept,
            number,
            file,
            broken: false,
            first_bytes: 0,
            end: 0,
            next_record: 1,
        };
        let written = async {
            manifest.append(&state.snapshot(tree)).await?;
            manifest.first_bytes = manifest.end;
            disk.sync(file).await?;
            let temporary = format!("{dir}/{CURRENT_NEXT}");
            write_current(disk, &temporary, tree, number).await?;
            if !pinion_wal::planted::is("manifest-directory-sync-lost") {
                disk.sync_dir(&dir).await?;
            }
            Ok(())
        };
        written.await.map_err(CreateError::Before)?;
        let installed = async {
            disk.rename(&format!("{dir}/{CURRENT_NEXT}"), &format!("{dir}/{CURRENT}")).await?;
            if !pinion_wal::planted::is("manifest-directory-sync-lost") {
                disk.sync_dir(&dir).await?;
            }
            Ok(())
        };
        installed.await.map_err(CreateError::After)?;
        Ok(manifest)
    }

    /// Appends an edit; it is durable when this returns.
    pub async fn append(&mut self, edit: &Edit) -> Result<(), DiskError> {
        let record = edit.encode();
        let len = sector::record_bytes(record.len());
        let mut buf = AlignedBuf::zeroed(len);
        let origin = Origin { tree: self.tree, number: self.number };
        sector::encode(&record, self.next_record, origin, self.end, &mut buf[..len]);
        if let Err(error) = self.disk.write(self.file, self.end, buf, len, true).await {
            self.broken = true;
            return Err(error);
        }
        self.end += len as u64;
        self.next_record += 1;
        Ok(())
    }

    /// Whether the next edit needs a new file: this one is too long, or its end is unknown. A file that begins with a
    /// large state may be twice as long as that, so that edits, not states, are what is written most.
    pub fn must_roll_over(&self, bytes_max: u64) -> bool {
        self.broken || self.end >= bytes_max.max((2 * self.first_bytes).min(MANIFEST_BYTES_MAX / 2))
    }

    /// Removes the file of a manifest that another one has replaced. When it fails, the next open removes it.
    pub async fn remove(self) {
        let path = manifest_path(self.tree, self.number);
        let disk = self.disk.clone();
        drop(self);
        drop(disk.remove(&path).await);
    }
}

impl Drop for Manifest {
    fn drop(&mut self) {
        drop(self.disk.start(DiskOp::Close { file: self.file }));
    }
}

/// Removes what a creation that failed early left behind.
pub(crate) async fn remove_unfinished(disk: &Disk, tree: TreeId, number: FileNumber) {
    drop(disk.remove(&manifest_path(tree, number)).await);
    drop(disk.remove(&format!("{}/{CURRENT_NEXT}", tree_dir(tree))).await);
}

/// When the creation of a manifest failed.
#[derive(Debug)]
pub(crate) enum CreateError {
    /// Before it could count.
    Before(DiskError),
    /// Which manifest counts is unknown.
    After(DiskError),
}

impl CreateError {
    pub fn into_disk(self) -> DiskError {
        match self {
            Self::Before(error) | Self::After(error) => error,
        }
    }
}

fn replay(records: &[Vec<u8>], path: &str, tree: TreeId) -> Result<State, OpenError> {
    let mut state = State::default();
    let mut at = 0;
    for (index, record) in records.iter().enumerate() {
        let edit = Edit::decode(record, path, at)?;
        let owner = if index == 0 { Some(tree) } else { None };
        if edit.tree != owner {
            let found = edit.tree.map_or(u32::MAX, |tree| tree.0);
            return Err(corruption(path, at, Flaw::Identity, tree.0, found).into());
        }
        let damage = |(what, expected, found): Misfit| corruption(path, at, what, expected, found);
        state.apply(tree, &edit).map_err(damage)?;
        at += sector::record_bytes(record.len()) as u64;
    }
    if records.is_empty() {
        // Its first record was durable before `CURRENT` named it.
        return Err(corruption(path, 0, Flaw::Length, 1u64, 0u64).into());
    }
    let damage = |(what, expected, found): Misfit| corruption(path, 0, what, expected, found);
    state.check_levels().map_err(damage)?;
    Ok(state)
}

async fn write_current(disk: &Disk, path: &str, tree: TreeId, number: FileNumber) -> Result<(), DiskError> {
    let (file, _) = disk.open(path, Access::CreateNew).await?;
    let mut buf = AlignedBuf::zeroed(BLOCK_BYTES);
    buf.copy_from_slice(&encode_current(tree, number));
    let written = async {
        disk.write(file, 0, buf, BLOCK_BYTES, true).await?;
        disk.sync(file).await
    };
    let written = written.await;
    disk.close(file).await.and(written)
}

/// The manifest that the bytes of a whole `CURRENT` name.
pub(crate) fn named_by(tree: TreeId, path: &str, bytes: &[u8]) -> Result<FileNumber, OpenError> {
    if bytes.len() != BLOCK_BYTES {
        return Err(corruption(path, 0, Flaw::Length, BLOCK_BYTES, bytes.len()).into());
    }
    decode_current(bytes, path, tree)
}

/// What the bytes of a whole manifest add up to, how many edits there are, and whether the last one was cut short.
pub(crate) fn add_up(
    tree: TreeId,
    number: FileNumber,
    bytes: &[u8],
) -> Result<(State, usize, bool), OpenError> {
    let path = manifest_path(tree, number);
    let len = bytes.len() / BLOCK_BYTES * BLOCK_BYTES;
    if len == 0 {
        return Err(corruption(&path, 0, Flaw::Length, BLOCK_BYTES, len).into());
    }
    let found = sector::decode(&bytes[..len], &path, Origin { tree, number })?;
    let state = replay(&found.records, &path, tree)?;
    Ok((state, found.records.len(), found.torn))
}

fn current_origin(tree: TreeId) -> Origin {
    Origin { tree, number: FileNumber(0) }
}

fn encode_current(tree: TreeId, number: FileNumber) -> Vec<u8> {
    let mut out = Vec::with_capacity(BLOCK_BYTES);
    out.put_u64(CURRENT_MAGIC);
    out.put_u32(FORMAT_VERSION);
    out.put_u32(tree.0);
    out.put_u64(number.0);
    out.resize(CURRENT_CRC_AT, 0);
    let crc = checksum(current_origin(tree), 0, &[&out]);
    out.put_u32(crc);
    out
}

fn decode_current(bytes: &[u8], path: &str, tree: TreeId) -> Result<FileNumber, OpenError> {
    let expected = u32::from_le_bytes(bytes[CURRENT_CRC_AT..BLOCK_BYTES].try_into().expect("four bytes"));
    let found = checksum(current_origin(tree), 0, &[&bytes[..CURRENT_CRC_AT]]);
    if found != expected {
        return Err(corruption(path, 0, Flaw::Checksum, expected, found).into());
    }
    let mut take = Take::new(bytes);
    let fields = (|| Some((take.u64()?, take.u32()?, take.u32()?, take.u64()?)))();
    let (magic, version, owner, number) = fields.expect("within the block");
    if magic != CURRENT_MAGIC {
        return Err(corruption(path, 0, Flaw::Magic, CURRENT_MAGIC, magic).into());
    }
    if version != FORMAT_VERSION {
        let (file, number) = (path.to_owned(), version.into());
        return Err(OpenError::Unsupported { file, what: "format version", number });
    }
    if owner != tree.0 {
        return Err(corruption(path, 0, Flaw::Identity, tree.0, owner).into());
    }
    if number > FileNumber::MAX.0 {
        return Err(corruption(path, 0, Flaw::Number, FileNumber::MAX.0, number).into());
    }
    Ok(FileNumber(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_golden, hex};

    #[test]
    fn the_bytes_of_current_and_of_a_record_are_golden() {
        let current = encode_current(TreeId(16), FileNumber(7));
        assert_eq!(decode_current(&current, "f", TreeId(16)), Ok(FileNumber(7)));
        assert!(decode_current(&current, "f", TreeId(17)).is_err());
        let record = State { next_number: 8, ..State::default() }.snapshot(TreeId(16)).encode();
        let mut sectors = vec![0; sector::record_bytes(record.len())];
        sector::encode(&record, 1, Origin { tree: TreeId(16), number: FileNumber(7) }, 0, &mut sectors);
        let tail = &current[CURRENT_CRC_AT - 28..];
        let golden = [hex(&current[..64]), hex(tail), hex(&sectors[..1024])].join("\n");
        assert_golden("manifest.hex", &golden);
    }

    fn table(number: u64, min: &str, max: &str) -> TableInfo {
        TableInfo {
            origin: Origin { tree: TreeId(16), number: FileNumber(number) },
            bytes: 8192,
            file_hash: 0,
            rows: 2,
            tombstones: 1,
            at_min: crate::ids::Timestamp(5),
            at_max: crate::ids::Timestamp(6),
            min: min.into(),
            max: max.into(),
        }
    }

    fn boundary(index: u64, term: u64) -> Option<Boundary> {
        let (index, term) = (pinion_wal::LogIndex(index), pinion_wal::Term(term));
        Some(Boundary { index, term, ..Boundary::default() })
    }

    /// A manifest with right checksums that holds these edits, and what is read from it.
    fn read(edits: &[Edit]) -> Result<State, OpenError> {
        let origin = Origin { tree: TreeId(16), number: FileNumber(3) };
        let mut file = Vec::new();
        for (index, edit) in edits.iter().enumerate() {
            let (record, start) = (edit.encode(), file.len());
            file.resize(start + sector::record_bytes(record.len()), 0);
            sector::encode(&record, index as u32 + 1, origin, start as u64, &mut file[start..]);
        }
        let found = sector::decode(&file, "MANIFEST-3", origin)?;
        replay(&found.records, "MANIFEST-3", TreeId(16))
    }

    fn whole() -> Edit {
        let tables = [(0, table(1, "a", "z")), (1, table(2, "a", "c")), (1, table(4, "d", "f"))];
        let next_number = Some(FileNumber(5));
        Edit {
            tree: Some(TreeId(16)),
            next_number,
            boundary: boundary(9, 2),
            added: tables.into(),
            ..Edit::default()
        }
    }

    /// D3: what no writer writes is damage that names the file, the place and what is wrong, whatever its checksum.
    #[test]
    fn edits_that_make_no_sense_are_damage_and_never_a_panic() {
        let added = |level, table| Edit { added: vec![(level, table)], ..Edit::default() };
        let with = |change: fn(&mut TableInfo)| {
            let mut table = table(7, "g", "h");
            change(&mut table);
            added(1, table)
        };
        assert!(read(&[whole(), added(1, table(7, "g", "h"))]).is_ok());
        for (edit, what, expected, found) in [
            (added(7, table(7, "g", "h")), Flaw::Level, 6, 7),
            (added(1, table(7, "f", "g")), Flaw::Overlap, 4, 7),
            (added(1, table(7, "a", "z")), Flaw::Overlap, 2, 7),
            (added(0, table(2, "g", "h")), Flaw::Table, 0, 2),
            (Edit { removed: vec![FileNumber(3)], ..Edit::default() }, Flaw::Table, 0, 3),
            (Edit { boundary: boundary(8, 2), ..Edit::default() }, Flaw::Boundary, 9, 8),
            (Edit { boundary: boundary(10, 1), ..Edit::default() }, Flaw::Boundary, 9, 10),
            (
                Edit { next_number: Some(FileNumber(u64::MAX)), ..Edit::default() },
                Flaw::Number,
                1 << 48,
                u64::MAX,
            ),
            (added(0, table(u64::MAX, "g", "h")), Flaw::Number, 1 << 48, u64::MAX),
            (with(|table| table.origin.tree = TreeId(17)), Flaw::Identity, 16, 17),
            (with(|table| table.bytes = 0), Flaw::Length, 8192, 0),
            (with(|table| table.bytes = 9000), Flaw::Length, 8192, 9000),
            (with(|table| table.bytes = u64::MAX), Flaw::Length, u64::MAX - 4095, u64::MAX),
            (with(|table| table.rows = 0), Flaw::Rows, 1, 0),
            (with(|table| table.tombstones = 3), Flaw::Rows, 3, 2),
            (with(|table| table.min = b"i".to_vec()), Flaw::Span, 5, 6),
            (with(|table| table.at_max = crate::ids::Timestamp(4)), Flaw::Span, 5, 4),
        ] {
            let offset = if what == Flaw::Overlap { 0 } else { 4096 };
            let damage = corruption("MANIFEST-3", offset, what, expected, found);
            assert_eq!(read(&[whole(), edit.clone()]), Err(damage.into()), "{edit:?}");
        }
    }

    /// D3: mutated edits behind right checksums never end in a panic, and what is accepted holds the invariants.
    #[test]
    fn fuzzed_edits_never_panic() {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let seed = number("PINION_SEED").unwrap_or(1);
        let rounds = number("PINION_FUZZ_ROUNDS").unwrap_or(20_000);
        println!("PINION_SEED={seed} cargo test -p pinion-lsm fuzzed_edits");
        let mut random = fastrand::Rng::with_seed(seed);
        let later = Edit { removed: vec![FileNumber(2)], boundary: boundary(11, 2), ..Edit::default() };
        let corpus = [whole().encode(), later.encode()];
        let special = [0, 1, 6, 7, 16, 4096, u64::from(u32::MAX), 1 << 48, u64::MAX - 1, u64::MAX];
        let (mut accepted, mut refused) = (0, 0);
        for round in 0..rounds {
            let mut records = corpus.to_vec();
            for _ in 0..random.usize(1..4) {
                let which = random.usize(..records.len());
                let record = &mut records[which];
                if record.is_empty() {
                    continue;
                }
                let at = random.usize(..record.len());
                match random.u8(..5) {
                    0 => record[at] ^= 1 << random.u8(..8),
                    1 => record[at] = random.u8(..),
                    2 => record.truncate(at),
                    3 => {
                        let bytes = special[random.usize(..special.len())].to_le_bytes();
                        let len = bytes.len().min(record.len() - at);
                        record[at..at + len].copy_from_slice(&bytes[..len]);
                    }
                    _ => records.push(corpus[random.usize(..2)].clone()),
                }
            }
            match replay(&records, "MANIFEST-3", TreeId(16)) {
                Ok(state) => {
                    accepted += 1;
                    assert_eq!(state.check_levels(), Ok(()), "round {round}");
                    assert!(state.tables.values().all(|(_, table)| table.misfit(TreeId(16)).is_none()));
                    assert!(state.tables.keys().all(|number| number.0 < state.next_number));
                }
                Err(OpenError::Corruption(damage)) => {
                    refused += 1;
                    assert_eq!(damage.file, "MANIFEST-3");
                }
                Err(_) => refused += 1,
            }
        }
        assert!(accepted > 0 && refused > rounds / 4, "{accepted} accepted, {refused} refused");
    }
}
