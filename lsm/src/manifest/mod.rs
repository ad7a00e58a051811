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

/// What all edits of a manifest add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub next_number: u64,
    pub boundary: Boundary,
    /// Tables with their levels.
    pub tables: BTreeMap<FileNumber, (usize, TableInfo)>,
}

impl State {
    /// Applies an edit; `None` when it contradicts the state.
    #[must_use]
    pub fn apply(&mut self, edit: &Edit) -> Option<()> {
        for number in &edit.removed {
            self.tables.remove(number)?;
        }
        for (level, table) in &edit.added {
            let number = table.origin.number;
            if *level >= LEVELS || self.tables.insert(number, (*level, table.clone())).is_some() {
                return None;
            }
            self.next_number = self.next_number.max(number.0 + 1);
        }
        if let Some(boundary) = &edit.boundary {
            if boundary.index < self.boundary.index {
                return None;
            }
            self.boundary = boundary.clone();
        }
        if let Some(number) = edit.next_number {
            self.next_number = self.next_number.max(number.0);
        }
        Some(())
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
        let mut manifest =
            Self { tree, disk: disk.clone(), number, file, broken: false, end: 0, next_record: 1 };
        let len = usize::try_from(bytes).expect("manifests are rolled over") / BLOCK_BYTES * BLOCK_BYTES;
        if len == 0 {
            return Err(corruption(&path, 0, Flaw::Length, BLOCK_BYTES, len).into());
        }
        let buf = disk.read(file, 0, AlignedBuf::zeroed(len), len).await?;
        let found = sector::decode(&buf[..len], &path, Origin { tree, number })?;
        let state = replay(&found.records, &path, tree)?;
        (manifest.broken, manifest.end) = (found.torn, found.end);
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
        let mut manifest =
            Self { tree, disk: disk_kept, number, file, broken: false, end: 0, next_record: 1 };
        let written = async {
            manifest.append(&state.snapshot(tree)).await?;
            disk.sync(file).await?;
            let temporary = format!("{dir}/{CURRENT_NEXT}");
            write_current(disk, &temporary, tree, number).await
        };
        written.await.map_err(CreateError::Before)?;
        let installed = async {
            if !pinion_wal::planted::is("manifest-directory-sync-lost") {
                disk.sync_dir(&dir).await?;
            }
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

    /// Whether the next edit needs a new file: this one is too long, or its end is unknown.
    pub const fn must_roll_over(&self, bytes_max: u64) -> bool {
        self.broken || self.end >= bytes_max
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
    for (index, record) in records.iter().enumerate() {
        let edit = Edit::decode(record, path, 0)?;
        let owner = if index == 0 { Some(tree) } else { None };
        if edit.tree != owner {
            let found = edit.tree.map_or(u32::MAX, |tree| tree.0);
            return Err(corruption(path, 0, Flaw::Identity, tree.0, found).into());
        }
        state.apply(&edit).ok_or_else(|| corruption(path, 0, Flaw::Sequence, 0u64, index))?;
    }
    if records.is_empty() {
        // Its first record was durable before `CURRENT` named it.
        return Err(corruption(path, 0, Flaw::Length, 1u64, 0u64).into());
    }
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

    #[test]
    fn edits_that_contradict_the_state_are_refused() {
        let mut state = State::default();
        let removal = Edit { removed: vec![FileNumber(3)], ..Edit::default() };
        assert_eq!(state.apply(&removal), None, "removes what is not there");
        let ahead = Boundary { index: pinion_wal::LogIndex(5), ..Boundary::default() };
        let boundary = |boundary| Edit { boundary: Some(boundary), ..Edit::default() };
        assert_eq!(state.apply(&boundary(ahead)), Some(()));
        assert_eq!(state.apply(&boundary(Boundary::default())), None, "goes back");
    }
}
