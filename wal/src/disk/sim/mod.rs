//! The simulated disk: everything in memory, seeded order and latency, crashes and faults.
//!
//! Operations complete in an order drawn from the seed. [`SimDisk::crashed`] answers what a crash at this moment would
//! leave, by [`Pattern`]; [`SimDisk::halt_after`] stops the disk after a number of completions, so that a harness can
//! crash at every operation. Two runs with one seed do the same.

mod faults;
mod image;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use faults::{Fault, Faults, PATTERNS, Pattern, Rule};
pub use image::Image;
use image::{Node, Sequence};

use super::{
    Access, AlignedBuf, BLOCK_BYTES, Cause, Disk, DiskError, DiskOp, Done, Driver, FileId, OpId, Submission,
};
use crate::Mono;

/// A simulated disk. See the module page.
#[derive(Debug)]
pub struct SimDisk {
    image: Image,
    faults: Faults,
    rng: fastrand::Rng,
    clock: Mono,
    files: BTreeMap<FileId, (Node, Access)>,
    /// By due time, then by lot.
    in_flight: BTreeMap<(Mono, u64), Flight>,
    matched: Vec<u64>,
    completed: u64,
    halt_after: Option<u64>,
    injected: BTreeMap<&'static str, u64>,
}

#[derive(Debug)]
struct Flight {
    id: OpId,
    op: DiskOp,
    /// What was done before this operation was submitted: all that a sync covers.
    since: Sequence,
    fault: Option<Fault>,
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self::from_image(Image::default(), seed, faults)
    }

    /// A disk with the contents of `image`.
    #[must_use]
    pub fn from_image(image: Image, seed: u64, faults: Faults) -> Self {
        let matched = vec![0; faults.rules.len()];
        Self {
            image,
            faults,
            rng: fastrand::Rng::with_seed(seed),
            clock: Mono::default(),
            files: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            matched,
            completed: 0,
            halt_after: None,
            injected: BTreeMap::new(),
        }
    }

    /// How many operations suffered a fault so far, by the name of the fault.
    #[must_use]
    pub const fn injected(&self) -> &BTreeMap<&'static str, u64> {
        &self.injected
    }

    /// The contents as programs see them now.
    #[must_use]
    pub const fn image(&self) -> &Image {
        &self.image
    }

    /// For tests that damage the contents.
    pub const fn image_mut(&mut self) -> &mut Image {
        &mut self.image
    }

    /// What a crash at this moment leaves. The disk itself goes on.
    #[must_use]
    pub fn crashed(&self, pattern: Pattern, seed: u64) -> Image {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut image = self.image.clone();
        for flight in self.in_flight.values() {
            if pattern == Pattern::Nothing || (pattern != Pattern::Everything && rng.bool()) {
                continue;
            }
            match &flight.op {
                DiskOp::Write { file, offset, buf, len, .. } => {
                    if let Some((node, _)) = self.files.get(file) {
                        image.write_node(*node, *offset, &buf[..*len], false);
                    }
                }
                DiskOp::Open { path, access: Access::CreateNew, .. } => drop(image.create(path)),
                DiskOp::Rename { from, to } => drop(image.rename(from, to, false)),
                DiskOp::Link { from, to } => drop(image.link(from, to)),
                DiskOp::Remove { path } => drop(image.unlink(path)),
                DiskOp::MakeDir { path } => drop(image.make_dir(path)),
                // What these would have added is pending, and the pattern decides about it.
                _ => {}
            }
        }
        image.crash(pattern, &mut rng);
        image
    }

    /// Crashes: nothing in flight completes, open files are gone, and of what was not synced `pattern` is left. The
    /// [`Disk`] handle in use until now must be dropped.
    pub fn crash(&mut self, pattern: Pattern) {
        let seed = self.rng.u64(..);
        self.image = self.crashed(pattern, seed);
        self.files.clear();
        self.in_flight.clear();
    }

    /// Operations completed so far.
    #[must_use]
    pub const fn completed(&self) -> u64 {
        self.completed
    }

    /// After `completions` completions since the beginning nothing completes any more; `None` goes on.
    pub const fn halt_after(&mut self, completions: Option<u64>) {
        self.halt_after = completions;
    }

    /// Whether the disk has halted.
    #[must_use]
    pub fn halted(&self) -> bool {
        self.halt_after.is_some_and(|end| self.completed >= end)
    }

    /// How many files are open.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.files.len()
    }

    /// Changes the bytes that all files together may have.
    pub const fn set_capacity(&mut self, bytes: Option<u64>) {
        self.faults.capacity_bytes = bytes;
    }

    /// Replaces the faults; planned faults count from here.
    pub fn set_faults(&mut self, faults: Faults) {
        self.matched = vec![0; faults.rules.len()];
        self.faults = faults;
    }

    /// When the next operation completes; `None` when nothing is in flight or the disk has halted.
    #[must_use]
    pub fn next_due(&self) -> Option<Mono> {
        if self.halted() { None } else { self.in_flight.keys().next().map(|(due, _)| *due) }
    }

    /// The largest `now` seen.
    #[must_use]
    pub const fn clock(&self) -> Mono {
        self.clock
    }

    /// Takes all submissions and completes what is due at `now`; answers how many completed.
    pub fn drive(&mut self, disk: &Disk, now: Mono) -> usize {
        self.clock = self.clock.max(now);
        self.take(disk);
        let mut completed = 0;
        while self.next_due().is_some_and(|due| due <= self.clock) {
            self.complete_first(disk);
            completed += 1;
        }
        completed
    }

    fn take(&mut self, disk: &Disk) {
        while let Some(Submission { id, op }) = disk.next_submission() {
            let fault = self.fault_of(disk, &op);
            let mut micros = self.rng.u64(self.faults.micros_min..=self.faults.micros_max);
            if let Some(Fault::Slow(more)) = fault {
                micros += more;
            }
            let flight = Flight { id, op, since: self.image.sequence(), fault };
            self.in_flight.insert((self.clock.plus_micros(micros), self.rng.u64(..)), flight);
        }
    }

    fn fault_of(&mut self, disk: &Disk, op: &DiskOp) -> Option<Fault> {
        let path = path_of(disk, op);
        let mut planned = None;
        for (rule, matched) in self.faults.rules.iter().zip(&mut self.matched) {
            if rule.kind.is_none_or(|kind| kind == op.kind()) && path.contains(&rule.path_part) {
                *matched += 1;
                if *matched == rule.nth || (rule.for_ever && *matched > rule.nth) {
                    planned = planned.or(Some(rule.fault));
                }
            }
        }
        if let DiskOp::Read { offset, len, .. } = op {
            let range = *offset..offset + *len as u64;
            if self.faults.unreadable.iter().any(|(of, at)| *of == path && range.contains(at)) {
                return Some(Fault::Error(libc::EIO));
            }
        }
        planned.or_else(|| self.faults.draw(op.kind(), &mut self.rng))
    }

    fn complete_first(&mut self, disk: &Disk) {
        let Some(((due, _), flight)) = self.in_flight.pop_first() else { return };
        self.clock = self.clock.max(due);
        self.completed += 1;
        let Flight { id, op, since, fault } = flight;
        let kind = op.kind();
        let path = path_of(disk, &op);
        let offset = match &op {
            DiskOp::Read { offset, .. } | DiskOp::Write { offset, .. } => Some(*offset),
            _ => None,
        };
        let outcome = self.carry_out(op, since, fault);
        let full = outcome.as_ref().is_err_and(|cause| *cause == Cause::NoSpace);
        if let Some(name) = fault.map(|fault| fault.name(kind)).or(full.then_some("no_space")) {
            *self.injected.entry(name).or_default() += 1;
        }
        disk.complete(id, outcome.map_err(|cause| DiskError { op: kind, path, offset, cause }));
    }

    fn carry_out(&mut self, op: DiskOp, since: Sequence, fault: Option<Fault>) -> Result<Done, Cause> {
        match fault {
            Some(Fault::Error(errno)) => {
                self.fail(op, since);
                return Err(Cause::from_errno(errno));
            }
            Some(Fault::NoSpace) => return Err(Cause::NoSpace),
            _ => {}
        }
        match op {
            DiskOp::Open { file, path, access } => return self.open(file, &path, access),
            DiskOp::Close { file } => drop(self.files.remove(&file)),
            DiskOp::Preallocate { file, bytes } => {
                let node = self.node(file)?;
                self.admit(node, bytes)?;
                self.image.grow(node, bytes);
            }
            DiskOp::Read { file, offset, buf, len } => return self.read(file, offset, buf, len, fault),
            DiskOp::Write { file, offset, buf, len, durable } => {
                return self.write(file, offset, buf, len, durable, fault);
            }
            DiskOp::Sync { file } => {
                let node = self.node(file)?;
                self.image.sync_node(node, since);
            }
            DiskOp::Rename { from, to } => {
                self.image.rename(&from, &to, fault == Some(Fault::LostRename))?;
            }
            DiskOp::Link { from, to } => self.image.link(&from, &to)?,
            DiskOp::Remove { path } => self.image.unlink(&path)?,
            DiskOp::MakeDir { path } => self.image.make_dir(&path)?,
            DiskOp::List { dir } => return Ok(Done::Names(self.image.names(&dir)?)),
            DiskOp::SyncDir { dir } => {
                self.image.sync_dir(&dir, since)?;
                let open: BTreeSet<Node> = self.files.values().map(|(node, _)| *node).collect();
                self.image.collect(&open);
            }
            DiskOp::FreeSpace => {
                let capacity = self.faults.capacity_bytes.unwrap_or(1 << 40);
                return Ok(Done::Free(capacity.saturating_sub(self.image.used_bytes())));
            }
        }
        Ok(Done::Nothing)
    }

    /// What an operation that fails does nevertheless.
    fn fail(&mut self, op: DiskOp, since: Sequence) {
        match op {
            DiskOp::Sync { file } => {
                if let Ok(node) = self.node(file) {
                    self.image.fail_sync(node, since, &mut self.rng);
                }
            }
            DiskOp::Write { file, offset, buf, len, .. } => {
                let Ok(node) = self.node(file) else { return };
                if self.admit(node, offset + len as u64).is_err() {
                    return;
                }
                for (index, block) in buf[..len].chunks_exact(BLOCK_BYTES).enumerate() {
                    let at = offset + (index * BLOCK_BYTES) as u64;
                    if self.rng.bool() {
                        let durable = self.rng.bool();
                        self.image.write_node(node, at, block, durable);
                    }
                }
            }
            DiskOp::Close { file } => drop(self.files.remove(&file)),
            _ => {}
        }
    }

    fn node(&self, file: FileId) -> Result<Node, Cause> {
        self.files.get(&file).map(|(node, _)| *node).ok_or(Cause::Os(libc::EBADF))
    }

    fn open(&mut self, file: FileId, path: &str, access: Access) -> Result<Done, Cause> {
        let node = match access {
            Access::CreateNew => self.image.create(path)?,
            Access::Read | Access::ReadWrite => self.image.open(path)?,
        };
        self.files.insert(file, (node, access));
        Ok(Done::Opened { bytes: self.image.size_of(node) })
    }

    /// Whether the file may have `bytes` bytes.
    fn admit(&self, node: Node, bytes: u64) -> Result<(), Cause> {
        let more = bytes.saturating_sub(self.image.size_of(node));
        match self.faults.capacity_bytes {
            Some(capacity) if more > 0 && self.image.used_bytes() + more > capacity => Err(Cause::NoSpace),
            _ => Ok(()),
        }
    }

    fn read(
        &mut self,
        file: FileId,
        offset: u64,
        mut buf: AlignedBuf,
        len: usize,
        fault: Option<Fault>,
    ) -> Result<Done, Cause> {
        let node = self.node(file)?;
        let got = match self.image.read_node(node, offset, &mut buf[..len]) {
            _ if fault == Some(Fault::Short) => half(len),
            got => got,
        };
        if got < len {
            return Err(Cause::Short { expected: len, got });
        }
        if fault == Some(Fault::FlippedBit) {
            let at = self.rng.usize(..len);
            buf[at] ^= 1 << self.rng.u8(..8);
        }
        Ok(Done::Buffer(buf))
    }

    fn write(
        &mut self,
        file: FileId,
        mut offset: u64,
        buf: AlignedBuf,
        len: usize,
        durable: bool,
        fault: Option<Fault>,
    ) -> Result<Done, Cause> {
        let (node, access) = *self.files.get(&file).ok_or(Cause::Os(libc::EBADF))?;
        if access == Access::Read {
            return Err(Cause::Os(libc::EBADF));
        }
        self.admit(node, offset + len as u64)?;
        match fault {
            Some(Fault::Short) => {
                let got = half(len);
                self.image.write_node(node, offset, &buf[..got], durable);
                return Err(Cause::Short { expected: len, got });
            }
            Some(Fault::Misdirected) => {
                let blocks = self.image.size_of(node).saturating_sub(len as u64) / BLOCK_BYTES as u64;
                offset = self.rng.u64(0..=blocks) * BLOCK_BYTES as u64;
                self.image.write_node(node, offset, &buf[..len], durable);
            }
            Some(Fault::FlippedBit) => {
                let mut bytes = buf[..len].to_vec();
                let at = self.rng.usize(..len);
                bytes[at] ^= 1 << self.rng.u8(..8);
                self.image.write_node(node, offset, &bytes, durable);
            }
            _ => self.image.write_node(node, offset, &buf[..len], durable),
        }
        Ok(Done::Buffer(buf))
    }
}

/// Completes one operation at a time, and lets time pass until it is due.
impl Driver for SimDisk {
    fn drive(&mut self, disk: &Disk) -> usize {
        self.take(disk);
        if self.next_due().is_none() {
            return 0;
        }
        self.complete_first(disk);
        1
    }
}

fn half(len: usize) -> usize {
    len / 2 / BLOCK_BYTES * BLOCK_BYTES
}

fn path_of(disk: &Disk, op: &DiskOp) -> String {
    match op {
        DiskOp::Open { path, .. } | DiskOp::Remove { path } | DiskOp::MakeDir { path } => path.clone(),
        DiskOp::Close { file }
        | DiskOp::Preallocate { file, .. }
        | DiskOp::Read { file, .. }
        | DiskOp::Write { file, .. }
        | DiskOp::Sync { file } => disk.path_of(*file),
        DiskOp::Rename { from, .. } | DiskOp::Link { from, .. } => from.clone(),
        DiskOp::List { dir } | DiskOp::SyncDir { dir } => dir.clone(),
        DiskOp::FreeSpace => String::new(),
    }
}
