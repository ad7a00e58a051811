//! A small file that is replaced whole, in place: two copies of one content, written one after the other.
//!
//! Once it exists, replacing it needs no free space: its blocks are written over. One copy is always whole, so a crash
//! leaves the content before or the one after, and one damaged copy is made good by the other.
//!
//! | bytes of a half | what |
//! |---|---|
//! | 4 | `PTW1`: magic and version |
//! | 4 | CRC-32C of everything behind it in the half |
//! | 4 | bytes of the content |
//! | 4 | zero |
//! | 8 | how often the content was replaced |
//! | … | the content, then zeros |
//!
//! The file is two halves of equal size, each a power of two and at least 4 KiB. The half that is whole and was
//! replaced more often counts; the other one is written first, so what was read once is never read as something older.

use super::{Access, AlignedBuf, BLOCK_BYTES, Cause, Disk, DiskError, FileId};

const MAGIC: u32 = u32::from_le_bytes(*b"PTW1");
const HEADER_BYTES: usize = 24;
/// Larger files are not read: they are not ours.
const HALF_BYTES_MAX: usize = 8 << 20;

/// Why the content cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TwinError {
    /// The disk failed.
    #[error("{0}")]
    Disk(#[from] DiskError),
    /// Both copies are damaged.
    #[error("both copies in {path} are damaged: expected checksum {expected:08x}, found {found:08x}")]
    Damaged {
        /// The file.
        path: String,
        /// The checksum that stands in the first copy.
        expected: u32,
        /// The checksum of it.
        found: u32,
    },
}

/// What stands in a half.
enum Half {
    Whole { replaced: u64, content: Vec<u8> },
    Damaged { expected: u32, found: u32 },
}

impl Half {
    fn encode(replaced: u64, content: &[u8], half_bytes: usize) -> AlignedBuf {
        let mut buf = AlignedBuf::zeroed(half_bytes);
        let length = u32::try_from(content.len()).expect("a small file");
        buf[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        buf[8..12].copy_from_slice(&length.to_le_bytes());
        buf[16..24].copy_from_slice(&replaced.to_le_bytes());
        buf[HEADER_BYTES..HEADER_BYTES + content.len()].copy_from_slice(content);
        let crc = crc32c::crc32c(&buf[8..half_bytes]);
        buf[4..8].copy_from_slice(&crc.to_le_bytes());
        buf
    }

    fn decode(from: &[u8]) -> Self {
        let u32_at = |at: usize| u32::from_le_bytes(from[at..at + 4].try_into().expect("four bytes"));
        let (expected, found) = (u32_at(4), crc32c::crc32c(&from[8..]));
        if u32_at(0) != MAGIC {
            return Self::Damaged { expected: MAGIC, found: u32_at(0) };
        }
        let end = HEADER_BYTES.saturating_add(u32_at(8) as usize);
        if expected != found || end > from.len() {
            return Self::Damaged { expected, found };
        }
        let replaced = u64::from_le_bytes(from[16..24].try_into().expect("eight bytes"));
        Self::Whole { replaced, content: from[HEADER_BYTES..end].to_vec() }
    }

    const fn replaced(&self) -> Option<u64> {
        match self {
            Self::Whole { replaced, .. } => Some(*replaced),
            Self::Damaged { .. } => None,
        }
    }
}

/// A copy in a twin file that is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedHalf {
    /// Where it begins in the file.
    pub offset: u64,
    /// The checksum that stands in it.
    pub expected: u32,
    /// The checksum of it.
    pub found: u32,
}

/// The content that counts of the bytes of a whole twin file, and the copies that are not whole. Nothing is repaired.
///
/// # Errors
/// When neither copy is whole.
pub fn decode(path: &str, bytes: &[u8]) -> Result<(Vec<u8>, Vec<DamagedHalf>), TwinError> {
    let half_bytes = half_of(bytes.len() as u64);
    if half_bytes == 0 {
        return Err(TwinError::Damaged { path: path.to_owned(), expected: MAGIC, found: 0 });
    }
    let mut damaged = Vec::new();
    let mut newest: Option<(u64, Vec<u8>)> = None;
    for (index, half) in bytes.chunks_exact(half_bytes).enumerate() {
        match Half::decode(half) {
            Half::Damaged { expected, found } => {
                damaged.push(DamagedHalf { offset: (index * half_bytes) as u64, expected, found });
            }
            Half::Whole { replaced, content } => {
                if newest.as_ref().is_none_or(|(other, _)| replaced > *other) {
                    newest = Some((replaced, content));
                }
            }
        }
    }
    match (newest, damaged.first()) {
        (Some((_, content)), _) => Ok((content, damaged)),
        (None, first) => {
            let (expected, found) = first.map_or((MAGIC, 0), |half| (half.expected, half.found));
            Err(TwinError::Damaged { path: path.to_owned(), expected, found })
        }
    }
}

/// The bytes of a half of a file of so many bytes; 0 if it is no pair of halves.
fn half_of(bytes: u64) -> usize {
    let half = usize::try_from(bytes / 2).unwrap_or(usize::MAX);
    let sound = half.is_power_of_two() && (BLOCK_BYTES..=HALF_BYTES_MAX).contains(&half);
    if sound && bytes.is_multiple_of(2) { half } else { 0 }
}

/// The content of the file at `path`; `None` if there is none. When only one half is whole, or a replacement was
/// interrupted, the other half is written anew.
///
/// # Errors
/// When the disk fails, or neither copy is whole.
pub async fn read(disk: &Disk, path: &str) -> Result<Option<Vec<u8>>, TwinError> {
    let Some((file, half_bytes)) = open(disk, path).await? else { return Ok(None) };
    let content = match read_halves(disk, file, half_bytes).await {
        Ok(halves) => newest(disk, path, file, half_bytes, halves).await,
        Err(error) => Err(error.into()),
    };
    disk.close(file).await?;
    content.map(Some)
}

/// The content that counts, after both halves hold it.
async fn newest(
    disk: &Disk,
    path: &str,
    file: FileId,
    half_bytes: usize,
    halves: [Half; 2],
) -> Result<Vec<u8>, TwinError> {
    let counts = [halves[0].replaced(), halves[1].replaced()];
    let second = counts[1] > counts[0];
    let [first_half, second_half] = halves;
    match if second { second_half } else { first_half } {
        Half::Damaged { expected, found } => {
            Err(TwinError::Damaged { path: path.to_owned(), expected, found })
        }
        Half::Whole { replaced, content } => {
            if counts[0] != counts[1] {
                let offset = if second { 0 } else { half_bytes as u64 };
                let half = Half::encode(replaced, &content, half_bytes);
                disk.write(file, offset, half, half_bytes, true).await?;
            }
            Ok(content)
        }
    }
}

/// Replaces the content of the file at `path`, durably, and makes the file when there is none. Space is needed only for
/// that, and when the content has outgrown its half.
///
/// # Errors
/// When the disk fails, or has no room for a new or larger file. The content is the one before or `content`.
pub async fn replace(disk: &Disk, path: &str, content: &[u8]) -> Result<(), DiskError> {
    let needed = (HEADER_BYTES + content.len()).next_power_of_two().max(BLOCK_BYTES);
    let Some((file, half_bytes)) = open(disk, path).await? else {
        return create(disk, path, 1, content, needed).await;
    };
    let written = match read_halves(disk, file, half_bytes).await {
        Ok(halves) => {
            let newest = halves.iter().map(Half::replaced).max().flatten();
            let replaced = newest.map_or(1, |replaced| replaced + 1);
            match newest {
                Some(_) if needed <= half_bytes => {
                    let first = usize::from(halves[0].replaced() == newest && halves[1].replaced() != newest);
                    write_halves(disk, file, first, &Half::encode(replaced, content, half_bytes))
                        .await
                        .map(|()| None)
                }
                _ => Ok(Some(replaced)),
            }
        }
        Err(error) => Err(error),
    };
    disk.close(file).await?;
    match written? {
        None => Ok(()),
        Some(replaced) => create(disk, path, replaced, content, needed.max(half_bytes)).await,
    }
}

/// Writes both halves, one after the other, `first` first.
async fn write_halves(disk: &Disk, file: FileId, first: usize, half: &AlignedBuf) -> Result<(), DiskError> {
    let mut buf = AlignedBuf::zeroed(half.capacity());
    buf.copy_from_slice(half);
    for half in [first, 1 - first] {
        let len = buf.capacity();
        buf = disk.write(file, (half * len) as u64, buf, len, true).await?;
    }
    Ok(())
}

/// Makes the file beside its place, whole and durable, and puts it there.
async fn create(
    disk: &Disk,
    path: &str,
    replaced: u64,
    content: &[u8],
    half_bytes: usize,
) -> Result<(), DiskError> {
    let new = format!("{path}.new");
    remove_if_there(disk, &new).await?;
    let (file, _) = disk.open(&new, Access::CreateNew).await?;
    let half = Half::encode(replaced, content, half_bytes);
    let mut buf = AlignedBuf::zeroed(2 * half_bytes);
    buf[..half_bytes].copy_from_slice(&half);
    buf[half_bytes..].copy_from_slice(&half);
    let written = match disk.write(file, 0, buf, 2 * half_bytes, false).await {
        Ok(_) => disk.sync(file).await,
        Err(error) => Err(error),
    };
    disk.close(file).await?;
    if written.as_ref().is_err_and(|error| error.cause == Cause::NoSpace) {
        remove_if_there(disk, &new).await?;
    }
    written?;
    disk.rename(&new, path).await?;
    disk.sync_dir(path.rsplit_once('/').map_or("", |(dir, _)| dir)).await
}

async fn remove_if_there(disk: &Disk, path: &str) -> Result<(), DiskError> {
    match disk.remove(path).await {
        Err(error) if error.cause != Cause::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The open file and the bytes of a half; 0 if the file is no pair of halves.
async fn open(disk: &Disk, path: &str) -> Result<Option<(FileId, usize)>, DiskError> {
    match disk.open(path, Access::ReadWrite).await {
        Err(error) if error.cause == Cause::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok((file, bytes)) => Ok(Some((file, half_of(bytes)))),
    }
}

/// A half that the disk cannot read is a damaged one.
async fn read_halves(disk: &Disk, file: FileId, half_bytes: usize) -> Result<[Half; 2], DiskError> {
    let mut halves = [0, 1].map(|_| Half::Damaged { expected: MAGIC, found: 0 });
    for (index, half) in halves.iter_mut().enumerate().filter(|_| half_bytes > 0) {
        let offset = (index * half_bytes) as u64;
        match disk.read(file, offset, AlignedBuf::zeroed(half_bytes), half_bytes).await {
            Ok(buf) => *half = Half::decode(&buf[..half_bytes]),
            Err(error) if error.cause.is_unreadable() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(halves)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::{Fault, Faults, Image, PATTERNS, Pattern, SimDisk};
    use crate::disk::{OpKind, block_on, run_until};

    const PATH: &str = "a/FILE";

    fn contents(number: u8) -> Vec<u8> {
        vec![number; 100 + 7 * usize::from(number)]
    }

    fn with<T>(image: &Image, with: impl AsyncFnOnce(&Disk) -> T) -> (T, Image) {
        let (disk, mut sim) = (Disk::new(), SimDisk::from_image(image.clone(), 1, Faults::default()));
        let answer = block_on(&disk, &mut sim, None, with(&disk));
        (answer, sim.crashed(Pattern::Nothing, 0))
    }

    fn found(image: &Image) -> Result<Option<Vec<u8>>, TwinError> {
        with(image, async |disk| read(disk, PATH).await).0
    }

    fn replaced(times: u8) -> Image {
        with(&Image::default(), async |disk| {
            disk.make_dir("a").await.unwrap();
            disk.sync_dir("").await.unwrap();
            for time in 0..times {
                replace(disk, PATH, &contents(time)).await.unwrap();
            }
        })
        .1
    }

    /// D5: a crash at any moment leaves the content before or the one after, and a crash in the replacement after that
    /// never brings back an older one than was read.
    #[test]
    fn a_crash_leaves_the_content_before_or_the_one_after() {
        let large = vec![9; 10_000];
        for (before, next) in [(0, &contents(3)), (1, &contents(3)), (2, &contents(3)), (2, &large)] {
            let old = replaced(before);
            let old_content = found(&old).unwrap();
            let mut seen = std::collections::BTreeSet::new();
            for halt in 0..20 {
                for (number, pattern) in PATTERNS.into_iter().enumerate() {
                    let (disk, mut sim) =
                        (Disk::new(), SimDisk::from_image(old.clone(), 1, Faults::default()));
                    sim.halt_after(Some(halt));
                    let ended = run_until(&disk, &mut sim, None, replace(&disk, PATH, next));
                    let crashed = sim.crashed(pattern, halt * 8 + number as u64);
                    let content = found(&crashed).unwrap();
                    assert!(content == old_content || content.as_ref() == Some(next), "{halt} {pattern:?}");
                    assert!(ended.is_err() || content.as_ref() == Some(next), "what was answered is there");
                    seen.insert(content.clone());
                    for halt in 0..10 {
                        let (disk, mut sim) =
                            (Disk::new(), SimDisk::from_image(crashed.clone(), 1, Faults::default()));
                        sim.halt_after(Some(halt));
                        drop(run_until(&disk, &mut sim, None, replace(&disk, PATH, b"last")));
                        let last = found(&sim.crashed(Pattern::Torn512, halt)).unwrap();
                        assert!(last == content || last.as_deref() == Some(b"last"), "went back to {last:?}");
                    }
                }
            }
            assert_eq!(seen.len(), 2, "crashes fell before and after");
        }
    }

    /// D3: no flipped byte changes the content, and two damaged copies are told.
    #[test]
    fn one_damaged_copy_is_made_good_and_two_are_told() {
        let image = replaced(3);
        for offset in (0..2 * BLOCK_BYTES as u64).step_by(61) {
            let mut damaged = image.clone();
            damaged.flip(PATH, offset, (offset % 8) as u8);
            assert_eq!(found(&damaged).unwrap(), Some(contents(2)), "byte {offset}");
            let (_, healed) = with(&damaged, async |disk| replace(disk, PATH, b"new").await.unwrap());
            for half in [0, BLOCK_BYTES as u64] {
                let mut damaged = healed.clone();
                damaged.flip(PATH, half + 30, 0);
                assert_eq!(found(&damaged).unwrap().as_deref(), Some(&b"new"[..]), "both copies are new");
            }
            damaged.flip(PATH, (offset + BLOCK_BYTES as u64) % (2 * BLOCK_BYTES as u64), 1);
            assert!(matches!(found(&damaged), Err(TwinError::Damaged { .. })), "byte {offset}");
        }
    }

    /// D4: what was read once stays, whatever happened to the replacement that wrote it and to one of the copies later.
    #[test]
    fn what_was_read_is_not_read_older_when_a_copy_is_damaged() {
        let old = replaced(1);
        let mut interrupted = 0;
        for halt in 0..10 {
            let (disk, mut sim) = (Disk::new(), SimDisk::from_image(old.clone(), 1, Faults::default()));
            sim.halt_after(Some(halt));
            drop(run_until(&disk, &mut sim, None, replace(&disk, PATH, b"new")));
            let crashed = sim.crashed(Pattern::Everything, 0);
            let (content, image) = with(&crashed, async |disk| read(disk, PATH).await.unwrap());
            interrupted += u32::from(image.contents(PATH) != crashed.contents(PATH));
            for half in [0, BLOCK_BYTES as u64] {
                let mut damaged = image.clone();
                damaged.flip(PATH, half + 30, 0);
                assert_eq!(found(&damaged).unwrap(), content, "after {halt} operations");
            }
        }
        assert!(interrupted > 0, "no crash fell between the two halves");
    }

    /// A half that the disk cannot read counts as damaged.
    #[test]
    fn an_unreadable_copy_is_made_good() {
        let faults = Faults::default().with(OpKind::Read, 1, false, Fault::Error(libc::EIO));
        let (disk, mut sim) = (Disk::new(), SimDisk::from_image(replaced(2), 1, faults));
        assert_eq!(block_on(&disk, &mut sim, None, read(&disk, PATH)).unwrap(), Some(contents(1)));
    }

    /// D6: a file that exists is replaced without a free byte; one that must grow tells that there is no room, and stays.
    #[test]
    fn a_full_disk_takes_a_replacement() {
        let faults = Faults { capacity_bytes: Some(2 * BLOCK_BYTES as u64), ..Faults::default() };
        let (disk, mut sim) = (Disk::new(), SimDisk::from_image(replaced(1), 1, faults));
        block_on(&disk, &mut sim, None, async {
            for number in 0..9 {
                replace(&disk, PATH, &contents(number)).await.unwrap();
            }
            let error = replace(&disk, PATH, &[1; BLOCK_BYTES]).await.unwrap_err();
            assert_eq!(error.cause, Cause::NoSpace);
            assert_eq!(read(&disk, PATH).await.unwrap(), Some(contents(8)));
            assert_eq!(disk.list("a").await.unwrap(), ["FILE"]);
        });
    }
}
