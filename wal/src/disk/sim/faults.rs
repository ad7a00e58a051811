//! What a simulated disk does wrong.

use crate::disk::OpKind;

/// What survives a crash, of all that was not synced (completed or in flight), names included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Nothing of it.
    Nothing,
    /// All of it.
    Everything,
    /// Each block of 4 KiB and each change of a directory by the toss of a coin.
    RandomHalf,
    /// Each sector of 512 bytes by the toss of a coin.
    Torn512,
    /// Of each write a first or a last part, cut at a multiple of 4 KiB.
    Torn4096,
}

/// All patterns.
pub const PATTERNS: [Pattern; 5] =
    [Pattern::Nothing, Pattern::Everything, Pattern::RandomHalf, Pattern::Torn512, Pattern::Torn4096];

/// What goes wrong with one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails with this `errno`. Of a failed write any part may be on the disk; what a failed sync should have made
    /// durable is half lost, and a later sync does not bring it back.
    Error(i32),
    /// It fails for lack of space.
    NoSpace,
    /// A read or write transfers only its first half (whole blocks).
    Short,
    /// A write lands at another block of its file, and success is reported.
    Misdirected,
    /// One bit of what is read or written is flipped, and success is reported.
    FlippedBit,
    /// A rename succeeds, but a crash undoes it even after a sync of its directory.
    LostRename,
    /// It takes this many microseconds more.
    Slow(u64),
}

impl Fault {
    /// What it is called in counts.
    pub(super) const fn name(self, kind: OpKind) -> &'static str {
        match (self, kind) {
            (Self::Error(_), OpKind::Read) => "read_error",
            (Self::Error(_), OpKind::Write) => "write_error",
            (Self::Error(_), OpKind::Sync | OpKind::SyncDir) => "sync_error",
            (Self::Error(_), _) => "other_error",
            (Self::NoSpace, _) => "no_space",
            (Self::Short, _) => "short",
            (Self::Misdirected, _) => "misdirected",
            (Self::FlippedBit, OpKind::Read) => "flipped_read",
            (Self::FlippedBit, _) => "flipped_write",
            (Self::LostRename, _) => "lost_rename",
            (Self::Slow(_), _) => "slow",
        }
    }
}

/// A planned fault: the `nth` operation (from 1) that matches `kind` and `path_part` suffers `fault`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Which kind of operation; `None` is any.
    pub kind: Option<OpKind>,
    /// A part of the path; empty is any.
    pub path_part: String,
    /// Which of the matching operations, from 1.
    pub nth: u64,
    /// Whether all later matching operations suffer it too.
    pub for_ever: bool,
    /// What happens.
    pub fault: Fault,
}

/// The faults of a simulated disk. The default has none, and operations that take 50 to 500 microseconds.
#[derive(Clone, Debug)]
pub struct Faults {
    /// The shortest time of an operation, in microseconds.
    pub micros_min: u64,
    /// The longest time of an operation, in microseconds.
    pub micros_max: u64,
    /// Bytes that all files together may have.
    pub capacity_bytes: Option<u64>,
    /// Planned faults.
    pub rules: Vec<Rule>,
    /// Places that cannot be read: a path and a byte in the file.
    pub unreadable: Vec<(String, u64)>,
    /// Reads that fail, per million.
    pub read_error_ppm: u32,
    /// Writes that fail, per million.
    pub write_error_ppm: u32,
    /// Syncs (of files and directories) that fail, per million.
    pub sync_error_ppm: u32,
    /// Reads and writes that are short, per million.
    pub short_ppm: u32,
    /// Writes that land elsewhere, per million.
    pub misdirected_ppm: u32,
    /// Reads in which one bit is flipped, per million (the disk itself is undamaged).
    pub flipped_read_ppm: u32,
    /// Writes in which one bit is flipped, per million.
    pub flipped_write_ppm: u32,
    /// Operations that take `slow_micros` longer, per million.
    pub slow_ppm: u32,
    /// How much longer a slow operation takes.
    pub slow_micros: u64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            micros_min: 50,
            micros_max: 500,
            capacity_bytes: None,
            rules: Vec::new(),
            unreadable: Vec::new(),
            read_error_ppm: 0,
            write_error_ppm: 0,
            sync_error_ppm: 0,
            short_ppm: 0,
            misdirected_ppm: 0,
            flipped_read_ppm: 0,
            flipped_write_ppm: 0,
            slow_ppm: 0,
            slow_micros: 100_000,
        }
    }
}

impl Faults {
    /// Adds a rule: the `nth` operation of any kind fails with an I/O error, once or from then on.
    #[must_use]
    pub fn fail_nth(mut self, nth: u64, for_ever: bool) -> Self {
        let fault = Fault::Error(libc::EIO);
        self.rules.push(Rule { kind: None, path_part: String::new(), nth, for_ever, fault });
        self
    }

    /// Adds a rule: the `nth` operation of `kind` suffers `fault`, once or from then on.
    #[must_use]
    pub fn with(mut self, kind: OpKind, nth: u64, for_ever: bool, fault: Fault) -> Self {
        self.rules.push(Rule { kind: Some(kind), path_part: String::new(), nth, for_ever, fault });
        self
    }

    /// The random fault of one operation of `kind`, if it has one.
    pub(super) fn draw(&self, kind: OpKind, rng: &mut fastrand::Rng) -> Option<Fault> {
        let odds: &[(u32, Fault)] = match kind {
            OpKind::Read => &[
                (self.read_error_ppm, Fault::Error(libc::EIO)),
                (self.short_ppm, Fault::Short),
                (self.flipped_read_ppm, Fault::FlippedBit),
            ],
            OpKind::Write => &[
                (self.write_error_ppm, Fault::Error(libc::EIO)),
                (self.short_ppm, Fault::Short),
                (self.misdirected_ppm, Fault::Misdirected),
                (self.flipped_write_ppm, Fault::FlippedBit),
            ],
            OpKind::Sync | OpKind::SyncDir => &[(self.sync_error_ppm, Fault::Error(libc::EIO))],
            _ => &[],
        };
        let slow = (self.slow_ppm, Fault::Slow(self.slow_micros));
        let mut drawn = None;
        for &(ppm, fault) in odds.iter().chain([&slow]) {
            if ppm > 0 && drawn.is_none() && rng.u32(..1_000_000) < ppm {
                drawn = Some(fault);
            }
        }
        drawn
    }
}
