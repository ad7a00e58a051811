//! Reading and replacing the file `NODE`: written beside it, synced, renamed over it, and the directory synced.

use pinion_wal::disk::{Access, AlignedBuf, BLOCK_BYTES, Cause, Disk, DiskError};

use super::format::{BYTES_MAX, FormatError, decode, encode};
use super::{Layout, Wanted};
use crate::limits::{CORES_MAX, DATA_GROUPS_MAX};
use crate::planted;

/// The name of the file in the data directory.
pub const FILE: &str = "NODE";
const FILE_NEW: &str = "NODE.new";

/// Why the layout of a directory cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The disk failed.
    #[error("{0}")]
    Disk(#[from] DiskError),
    /// The file is not what it must be.
    #[error("the file NODE cannot be used: {0}")]
    Format(#[from] FormatError),
    /// There is data, but no file that says whose.
    #[error(
        "the directory holds {found} but no file NODE: it is not a whole data directory; restore NODE or choose another directory"
    )]
    Lost {
        /// A name that only a data directory has.
        found: String,
    },
    /// The flags ask for another number of groups than the directory was founded with.
    #[error(
        "this directory was founded with {stored} data groups and cannot be opened with {wanted}: leave the number of groups out, or choose another directory"
    )]
    Groups {
        /// As stored.
        stored: u32,
        /// As asked for.
        wanted: u32,
    },
    /// A number outside its limits.
    #[error("{wanted} {what} were asked for; possible are 1 to {max}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many.
        wanted: u32,
        /// The largest number.
        max: u32,
    },
}

/// Reads the layout; founds it when the directory is new. The stored number of cores may differ from the wanted
/// one: then the groups have to be re-homed before they are opened.
///
/// # Errors
/// When the directory cannot be used as it is wanted; nothing has changed.
pub async fn open(disk: &Disk, wanted: &Wanted) -> Result<Layout, LayoutError> {
    let limit = |what, wanted, max| {
        if (1..=max).contains(&wanted) { Ok(()) } else { Err(LayoutError::Limit { what, wanted, max }) }
    };
    limit("cores", u32::from(wanted.cores), u32::from(CORES_MAX))?;
    limit("data groups", wanted.groups.unwrap_or(1), DATA_GROUPS_MAX)?;
    let Some(layout) = load(disk).await? else {
        let names = disk.list("").await?;
        if let Some(found) = names.into_iter().find(|n| n.starts_with("log-") || n.starts_with("tree-")) {
            return Err(LayoutError::Lost { found });
        }
        // Until its logs are there: see [`crate::rehome`].
        let layout = Layout { moving_to: Some(wanted.cores), ..Layout::found(wanted) };
        store(disk, &layout).await?;
        return Ok(layout);
    };
    let layout = if planted::is("groups-from-the-flags") { Layout::found(wanted) } else { layout };
    let stored = u32::try_from(layout.groups.len()).expect("within its limit");
    match wanted.groups {
        Some(groups) if groups != stored => Err(LayoutError::Groups { stored, wanted: groups }),
        _ => Ok(layout),
    }
}

/// Reads the layout, if there is one.
///
/// # Errors
/// When the file cannot be read or is damaged.
pub async fn load(disk: &Disk) -> Result<Option<Layout>, LayoutError> {
    let (file, bytes) = match disk.open(FILE, Access::Read).await {
        Ok(opened) => opened,
        Err(DiskError { cause: Cause::NotFound, .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let length = usize::try_from(bytes).unwrap_or(usize::MAX);
    if length == 0 || length > BYTES_MAX || !length.is_multiple_of(BLOCK_BYTES) {
        disk.close(file).await?;
        return Err(FormatError::Length(u32::try_from(bytes).unwrap_or(u32::MAX)).into());
    }
    let read = disk.read(file, 0, AlignedBuf::zeroed(length), length).await;
    disk.close(file).await?;
    Ok(Some(decode(&read?[..length])?))
}

/// Replaces the layout: after a crash the directory has the old or the new one, whole.
///
/// # Errors
/// When the disk failed: which of the two is there is then unknown.
pub async fn store(disk: &Disk, layout: &Layout) -> Result<(), LayoutError> {
    layout.check();
    match disk.remove(FILE_NEW).await {
        Ok(()) | Err(DiskError { cause: Cause::NotFound, .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let bytes = encode(layout);
    let mut buf = AlignedBuf::zeroed(bytes.len());
    buf[..bytes.len()].copy_from_slice(&bytes);
    let (file, _) = disk.open(FILE_NEW, Access::CreateNew).await?;
    let written = disk.write(file, 0, buf, bytes.len(), false).await.map(drop);
    let synced = if written.is_ok() { disk.sync(file).await } else { Ok(()) };
    disk.close(file).await?;
    written?;
    synced?;
    disk.rename(FILE_NEW, FILE).await?;
    disk.sync_dir("").await?;
    Ok(())
}
