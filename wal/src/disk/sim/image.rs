//! The contents of a simulated disk: what programs see, and what a crash would leave of it.
//!
//! | kept twice | seen (volatile) | durable (stable) | becomes stable by |
//! |---|---|---|---|
//! | blocks and size of a file | at completion of a write | pending, one record per block written | a durable write, a sync submitted after the write completed |
//! | names in a directory | at completion of create, link, rename, remove, mkdir | pending, one record per operation | a sync of the directory submitted after it |
//!
//! A crash keeps a part of what is pending, in the order in which it was done, by [`Pattern`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Pattern;
use crate::disk::{BLOCK_BYTES, Cause};

const SECTOR_BYTES: usize = 512;

/// The order in which things were done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sequence(pub u64);

/// A file or directory, whatever its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Node(u64);

const ROOT: Node = Node(0);

type Block = Arc<[u8; BLOCK_BYTES]>;

#[derive(Clone, Debug, Default)]
struct Content {
    bytes: u64,
    /// `None` is a block of zeros.
    blocks: Vec<Option<Block>>,
}

#[derive(Clone, Debug)]
enum Change {
    Block { number: usize, data: Block },
    Size(u64),
}

#[derive(Clone, Debug, Default)]
struct FileNode {
    seen: Content,
    stable: Content,
    pending: Vec<(Sequence, Change)>,
}

#[derive(Clone, Debug, Default)]
struct DirNode {
    seen: BTreeMap<String, Node>,
    stable: BTreeMap<String, Node>,
}

#[derive(Clone, Debug)]
struct NameChange {
    sequence: Sequence,
    changes: Vec<(Node, String, Option<Node>)>,
    /// Never becomes stable (a lost rename).
    lost: bool,
}

/// What is on a simulated disk. Clones share blocks and are cheap.
#[derive(Clone, Debug)]
pub struct Image {
    next_node: u64,
    sequence: Sequence,
    files: BTreeMap<Node, FileNode>,
    dirs: BTreeMap<Node, DirNode>,
    pending_names: Vec<NameChange>,
}

impl Default for Image {
    fn default() -> Self {
        Self {
            next_node: 1,
            sequence: Sequence::default(),
            files: BTreeMap::new(),
            dirs: BTreeMap::from([(ROOT, DirNode::default())]),
            pending_names: Vec::new(),
        }
    }
}

impl Content {
    fn put(&mut self, number: usize, data: Block) {
        if self.blocks.len() <= number {
            self.blocks.resize(number + 1, None);
        }
        self.blocks[number] = Some(data);
        self.bytes = self.bytes.max((number as u64 + 1) * BLOCK_BYTES as u64);
    }

    fn get(&self, number: usize) -> Option<&Block> {
        self.blocks.get(number).and_then(Option::as_ref)
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> usize {
        let len = usize::try_from(self.bytes.saturating_sub(offset)).unwrap_or(usize::MAX).min(into.len());
        let mut done = 0;
        while done < len {
            let at = usize::try_from(offset).expect("simulated files are small") + done;
            let (number, within) = (at / BLOCK_BYTES, at % BLOCK_BYTES);
            let step = (BLOCK_BYTES - within).min(len - done);
            match self.get(number) {
                Some(block) => into[done..done + step].copy_from_slice(&block[within..within + step]),
                None => into[done..done + step].fill(0),
            }
            done += step;
        }
        len
    }

    fn apply(&mut self, change: &Change, sectors: u8) {
        match change {
            Change::Size(bytes) => self.bytes = self.bytes.max(*bytes),
            Change::Block { number, data } if sectors == u8::MAX => self.put(*number, data.clone()),
            Change::Block { number, data } => {
                let mut mixed = self.get(*number).map_or([0; BLOCK_BYTES], |block| **block);
                for sector in (0..8).filter(|sector| sectors & (1 << sector) != 0) {
                    let range = sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES;
                    mixed[range.clone()].copy_from_slice(&data[range]);
                }
                self.put(*number, Arc::new(mixed));
            }
        }
    }
}

/// What the driver does to the contents.
impl Image {
    pub(super) fn sequence(&self) -> Sequence {
        self.sequence
    }

    fn step(&mut self) -> Sequence {
        self.sequence.0 += 1;
        self.sequence
    }

    fn parent(&self, path: &str) -> Result<(Node, String), Cause> {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.dir(dir)?, name.to_owned()))
    }

    fn find(&self, path: &str) -> Result<Node, Cause> {
        let mut at = ROOT;
        for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
            let dir = self.dirs.get(&at).ok_or(Cause::Os(libc::ENOTDIR))?;
            at = *dir.seen.get(part).ok_or(Cause::NotFound)?;
        }
        Ok(at)
    }

    fn dir(&self, path: &str) -> Result<Node, Cause> {
        let node = self.find(path)?;
        if self.dirs.contains_key(&node) { Ok(node) } else { Err(Cause::Os(libc::ENOTDIR)) }
    }

    fn change_names(&mut self, changes: Vec<(Node, String, Option<Node>)>, lost: bool) {
        let sequence = self.step();
        for (dir, name, target) in &changes {
            let seen = &mut self.dirs.get_mut(dir).expect("found before").seen;
            match target {
                Some(node) => drop(seen.insert(name.clone(), *node)),
                None => drop(seen.remove(name)),
            }
        }
        self.pending_names.push(NameChange { sequence, changes, lost });
    }

    pub(super) fn open(&self, path: &str) -> Result<Node, Cause> {
        let node = self.find(path)?;
        if self.files.contains_key(&node) { Ok(node) } else { Err(Cause::Os(libc::EISDIR)) }
    }

    pub(super) fn create(&mut self, path: &str) -> Result<Node, Cause> {
        let (dir, name) = self.parent(path)?;
        if self.dirs[&dir].seen.contains_key(&name) {
            return Err(Cause::Exists);
        }
        let node = self.new_node();
        self.files.insert(node, FileNode::default());
        self.change_names(vec![(dir, name, Some(node))], false);
        Ok(node)
    }

    pub(super) fn make_dir(&mut self, path: &str) -> Result<(), Cause> {
        let (dir, name) = self.parent(path)?;
        if self.dirs[&dir].seen.contains_key(&name) {
            return Err(Cause::Exists);
        }
        let node = self.new_node();
        self.dirs.insert(node, DirNode::default());
        self.change_names(vec![(dir, name, Some(node))], false);
        Ok(())
    }

    fn new_node(&mut self) -> Node {
        self.next_node += 1;
        Node(self.next_node - 1)
    }

    pub(super) fn rename(&mut self, from: &str, to: &str, lost: bool) -> Result<(), Cause> {
        let node = self.find(from)?;
        let (from_dir, from_name) = self.parent(from)?;
        let (to_dir, to_name) = self.parent(to)?;
        if (from_dir, &from_name) != (to_dir, &to_name) {
            self.change_names(vec![(from_dir, from_name, None), (to_dir, to_name, Some(node))], lost);
        }
        Ok(())
    }

    pub(super) fn link(&mut self, from: &str, to: &str) -> Result<(), Cause> {
        let node = self.open(from)?;
        let (dir, name) = self.parent(to)?;
        if self.dirs[&dir].seen.contains_key(&name) {
            return Err(Cause::Exists);
        }
        self.change_names(vec![(dir, name, Some(node))], false);
        Ok(())
    }

    pub(super) fn unlink(&mut self, path: &str) -> Result<(), Cause> {
        let node = self.find(path)?;
        if self.dirs.get(&node).is_some_and(|dir| !dir.seen.is_empty()) {
            return Err(Cause::Os(libc::ENOTEMPTY));
        }
        let (dir, name) = self.parent(path)?;
        self.change_names(vec![(dir, name, None)], false);
        Ok(())
    }

    pub(super) fn names(&self, dir: &str) -> Result<Vec<String>, Cause> {
        Ok(self.dirs[&self.dir(dir)?].seen.keys().cloned().collect())
    }

    pub(super) fn size_of(&self, node: Node) -> u64 {
        self.files[&node].seen.bytes
    }

    pub(super) fn grow(&mut self, node: Node, bytes: u64) {
        let sequence = self.step();
        let file = self.files.get_mut(&node).expect("an open file");
        let change = Change::Size(bytes);
        file.seen.apply(&change, u8::MAX);
        file.pending.push((sequence, change));
    }

    pub(super) fn read_node(&self, node: Node, offset: u64, into: &mut [u8]) -> usize {
        self.files[&node].seen.read(offset, into)
    }

    /// Writes whole blocks: seen at once, stable at once if `durable`, else pending.
    pub(super) fn write_node(&mut self, node: Node, offset: u64, data: &[u8], durable: bool) {
        let sequence = self.step();
        let file = self.files.get_mut(&node).expect("an open file");
        let first = usize::try_from(offset).expect("simulated files are small") / BLOCK_BYTES;
        for (index, block) in data.chunks_exact(BLOCK_BYTES).enumerate() {
            let number = first + index;
            let block: Block = Arc::new(block.try_into().expect("a whole block"));
            file.seen.put(number, block.clone());
            if durable {
                file.pending
                    .retain(|(_, c)| !matches!(c, Change::Block { number: other, .. } if *other == number));
                file.stable.put(number, block);
            } else {
                file.pending.push((sequence, Change::Block { number, data: block }));
            }
        }
    }

    /// Makes stable what was written up to `until`.
    pub(super) fn sync_node(&mut self, node: Node, until: Sequence) {
        let FileNode { stable, pending, .. } = self.files.get_mut(&node).expect("an open file");
        pending.retain(|(sequence, change)| {
            if *sequence <= until {
                stable.apply(change, u8::MAX);
            }
            *sequence > until
        });
    }

    /// A failed sync: of what was written up to `until`, each block is stable now or lost at the next crash.
    pub(super) fn fail_sync(&mut self, node: Node, until: Sequence, rng: &mut fastrand::Rng) {
        let FileNode { stable, pending, .. } = self.files.get_mut(&node).expect("an open file");
        pending.retain(|(sequence, change)| {
            if *sequence <= until && rng.bool() {
                stable.apply(change, u8::MAX);
            }
            *sequence > until
        });
    }

    pub(super) fn sync_dir(&mut self, dir: &str, until: Sequence) -> Result<(), Cause> {
        let node = self.dir(dir)?;
        let (now, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending_names).into_iter().partition(|change| {
                let touches = change.changes.iter().any(|(dir, ..)| *dir == node);
                touches && !change.lost && change.sequence <= until
            });
        self.pending_names = later;
        for change in now {
            apply_names(&mut self.dirs, &change);
        }
        Ok(())
    }

    /// Bytes of all files that a name or a pending change refers to.
    pub(super) fn used_bytes(&self) -> u64 {
        let named = self.reachable();
        self.files.iter().filter(|(node, _)| named.contains(node)).map(|(_, file)| file.seen.bytes).sum()
    }

    fn reachable(&self) -> BTreeSet<Node> {
        let mut found = BTreeSet::from([ROOT]);
        let mut open = vec![ROOT];
        while let Some(node) = open.pop() {
            for child in self.dirs.get(&node).into_iter().flat_map(|dir| dir.seen.values()) {
                if found.insert(*child) {
                    open.push(*child);
                }
            }
        }
        found
    }

    /// Forgets files and directories without any name, present or stable or pending, except those in `open`.
    pub(super) fn collect(&mut self, open: &BTreeSet<Node>) {
        let mut keep = open.clone();
        keep.insert(ROOT);
        for dir in self.dirs.values() {
            keep.extend(dir.seen.values().chain(dir.stable.values()));
        }
        keep.extend(self.pending_names.iter().flat_map(|c| c.changes.iter().filter_map(|(_, _, to)| *to)));
        self.files.retain(|node, _| keep.contains(node));
        self.dirs.retain(|node, _| keep.contains(node));
    }

    /// Loses what a crash with `pattern` loses. What is left is stable.
    pub(super) fn crash(&mut self, pattern: Pattern, rng: &mut fastrand::Rng) {
        for change in std::mem::take(&mut self.pending_names) {
            if !change.lost && keep_whole(pattern, rng) {
                apply_names(&mut self.dirs, &change);
            }
        }
        for dir in self.dirs.values_mut() {
            dir.seen = dir.stable.clone();
        }
        for file in self.files.values_mut() {
            file.crash(pattern, rng);
        }
        self.collect(&BTreeSet::new());
    }
}

impl FileNode {
    fn crash(&mut self, pattern: Pattern, rng: &mut fastrand::Rng) {
        let pending = std::mem::take(&mut self.pending);
        for write in pending.chunk_by(|a, b| a.0 == b.0) {
            let cut = rng.usize(..=write.len());
            let front = rng.bool();
            for (index, (_, change)) in write.iter().enumerate() {
                let sectors = match pattern {
                    Pattern::Nothing => 0,
                    Pattern::Everything => u8::MAX,
                    Pattern::RandomHalf => {
                        if rng.bool() {
                            u8::MAX
                        } else {
                            0
                        }
                    }
                    Pattern::Torn512 => rng.u8(..),
                    Pattern::Torn4096 => {
                        if (index < cut) == front {
                            u8::MAX
                        } else {
                            0
                        }
                    }
                };
                if sectors != 0 {
                    self.stable.apply(change, sectors);
                }
            }
        }
        self.seen = self.stable.clone();
    }
}

fn keep_whole(pattern: Pattern, rng: &mut fastrand::Rng) -> bool {
    match pattern {
        Pattern::Nothing => false,
        Pattern::Everything => true,
        Pattern::RandomHalf | Pattern::Torn512 | Pattern::Torn4096 => rng.bool(),
    }
}

fn apply_names(dirs: &mut BTreeMap<Node, DirNode>, change: &NameChange) {
    for (dir, name, target) in &change.changes {
        let Some(dir) = dirs.get_mut(dir) else { continue };
        match target {
            Some(node) => drop(dir.stable.insert(name.clone(), *node)),
            None => drop(dir.stable.remove(name)),
        }
    }
}

/// What tests do to a disk that nobody uses: look, and damage it behind the back of every checksum.
impl Image {
    /// The paths of all files, sorted, with their sizes in bytes.
    #[must_use]
    pub fn paths(&self) -> Vec<(String, u64)> {
        let mut found = Vec::new();
        let mut open = vec![(String::new(), ROOT)];
        while let Some((path, node)) = open.pop() {
            if let Some(file) = self.files.get(&node) {
                found.push((path, file.seen.bytes));
            } else if let Some(dir) = self.dirs.get(&node) {
                let join = |name: &str| {
                    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
                };
                open.extend(dir.seen.iter().map(|(name, node)| (join(name), *node)));
            }
        }
        found.sort();
        found
    }

    /// The bytes of a file; `None` if there is none of that name.
    #[must_use]
    pub fn contents(&self, path: &str) -> Option<Vec<u8>> {
        let content = &self.files.get(&self.find(path).ok()?)?.seen;
        let mut bytes = vec![0; usize::try_from(content.bytes).expect("simulated files are small")];
        content.read(0, &mut bytes);
        Some(bytes)
    }

    /// Changes the bytes of a file in place, durably.
    ///
    /// # Panics
    /// When there is no such file or it is too short.
    pub fn damage(&mut self, path: &str, offset: u64, with: impl FnOnce(&mut [u8]), len: usize) {
        let node = self.open(path).expect("the file to be damaged exists");
        let block = BLOCK_BYTES as u64;
        let (start, end) = (offset / block * block, (offset + len as u64).next_multiple_of(block));
        assert!(offset + len as u64 <= self.size_of(node), "damage beyond the end of {path}");
        let mut bytes = vec![0; usize::try_from(end - start).expect("simulated files are small")];
        self.read_node(node, start, &mut bytes);
        let within = usize::try_from(offset - start).expect("within a block");
        with(&mut bytes[within..within + len]);
        self.write_node(node, start, &bytes, true);
    }

    /// Flips bit `bit` (0 to 7) of the byte at `offset`, durably.
    pub fn flip(&mut self, path: &str, offset: u64, bit: u8) {
        self.damage(path, offset, |bytes| bytes[0] ^= 1 << (bit & 7), 1);
    }

    /// Removes a file, durably.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn remove(&mut self, path: &str) {
        let (dir, name) = self.parent(path).expect("the file to be removed exists");
        let dir = self.dirs.get_mut(&dir).expect("found before");
        dir.seen.remove(&name).expect("the file to be removed exists");
        dir.stable.remove(&name);
    }
}
