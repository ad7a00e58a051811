//! Opening a tree: the manifest decides what belongs to it; everything else is a leftover and goes.
//!
//! Nothing is decided by what files happen to exist: a file that the manifest does not name was never acknowledged, or
//! is not needed any more. A name that is not ours is left alone.

use pinion_wal::LogIndex;
use pinion_wal::disk::{Access, Cause, Disk, DiskError};

use crate::cache::Cache;
use crate::error::{Corruption, Flaw, OpenError};
use crate::format::{
    FileNumber, corruption, manifest_name, number_of_name, table_name, table_path, tree_dir,
};
use crate::ids::TreeId;
use crate::manifest::{CURRENT, CURRENT_NEXT, CreateError, Loaded, Manifest, State};
use crate::table::Table;
use crate::version::Version;

/// A tree as the disk holds it.
pub(super) struct Opened {
    pub manifest: Manifest,
    pub state: State,
    pub version: Version,
}

/// Opens or creates a tree whose log begins at `first`.
pub(super) async fn open(
    disk: &Disk,
    cache: &Cache,
    tree: TreeId,
    first: LogIndex,
) -> Result<Opened, OpenError> {
    let dir = tree_dir(tree);
    let names = match disk.list(&dir).await {
        Ok(names) => names,
        Err(DiskError { cause: Cause::NotFound, .. }) => {
            disk.make_dir(&dir).await?;
            Vec::new()
        }
        Err(error) => return Err(error.into()),
    };
    // What an earlier process named may not be durable, if it ended before it came to this.
    disk.sync_dir("").await?;
    disk.sync_dir(&dir).await?;
    let number_free = names.iter().filter_map(|name| number_of_name(name)).map(|number| number.0 + 1).max();
    let number_free = number_free.unwrap_or(1);
    if !names.iter().any(|name| name == CURRENT) {
        return create(disk, tree, &names, number_free).await;
    }
    let Loaded { mut manifest, mut state } = Manifest::load(disk, tree).await?;
    state.next_number = state.next_number.max(number_free);
    let version = open_tables(disk, cache, tree, &state).await?;
    // A lost end of the manifest looks like one that was never finished. The log was cut behind an edit that was durable:
    // what that edit names is no leftover.
    if state.boundary.index.next() < first {
        return Err(OpenError::Behind { tree, rows: state.boundary.index, first });
    }
    let is_live = |name: &str| {
        let table = number_of_name(name).filter(|&number| table_name(number) == name);
        name == manifest_name(manifest.number())
            || table.is_some_and(|number| state.tables.contains_key(&number))
    };
    remove_leftovers(disk, &dir, names.iter().filter(|name| !is_live(name))).await?;
    if manifest.must_roll_over(u64::MAX) {
        let number = take_number(&mut state);
        let next = Manifest::create(disk, tree, number, &state).await.map_err(CreateError::into_disk)?;
        std::mem::replace(&mut manifest, next).remove().await;
    }
    Ok(Opened { manifest, state, version })
}

fn take_number(state: &mut State) -> FileNumber {
    state.next_number += 1;
    FileNumber(state.next_number - 1)
}

/// A directory without `CURRENT` was never finished: it holds no table.
async fn create(disk: &Disk, tree: TreeId, names: &[String], number: u64) -> Result<Opened, OpenError> {
    let dir = tree_dir(tree);
    if names.iter().any(|name| name.ends_with(".table")) {
        let path = format!("{dir}/{CURRENT}");
        return Err(corruption(&path, 0, Flaw::Missing, 1u64, 0u64).into());
    }
    remove_leftovers(disk, &dir, names.iter()).await?;
    let mut state = State { next_number: number, ..State::default() };
    let number = take_number(&mut state);
    let manifest = Manifest::create(disk, tree, number, &state).await.map_err(CreateError::into_disk)?;
    Ok(Opened { manifest, state, version: Version::new([]) })
}

async fn open_tables(disk: &Disk, cache: &Cache, tree: TreeId, state: &State) -> Result<Version, OpenError> {
    let mut tables = Vec::with_capacity(state.tables.len());
    for (number, (level, info)) in &state.tables {
        let path = table_path(tree, *number);
        let damage = |what, expected, found| -> Corruption { corruption(&path, 0, what, expected, found) };
        let (file, bytes) = match disk.open(&path, Access::Read).await {
            Ok(opened) => opened,
            Err(DiskError { cause: Cause::NotFound, .. }) => return Err(damage(Flaw::Missing, 1, 0).into()),
            Err(error) => return Err(error.into()),
        };
        let table = Table::new(info.clone(), file, disk.clone(), cache.clone());
        if bytes != info.bytes {
            return Err(damage(Flaw::Length, info.bytes, bytes).into());
        }
        tables.push((*level, table));
    }
    Ok(Version::new(tables))
}

async fn remove_leftovers(
    disk: &Disk,
    dir: &str,
    names: impl Iterator<Item = &String>,
) -> Result<(), DiskError> {
    let mut removed = false;
    for name in names.filter(|name| number_of_name(name).is_some() || *name == CURRENT_NEXT) {
        disk.remove(&format!("{dir}/{name}")).await?;
        removed = true;
    }
    // Numbers start behind what was removed; a name that came back would be in the way of a new file.
    if removed { disk.sync_dir(dir).await } else { Ok(()) }
}
