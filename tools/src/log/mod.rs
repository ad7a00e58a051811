//! The log of a server that is not running: what stands in it, and whether it is whole.
//!
//! The bytes are decoded by the log itself ([`pinion_wal::log::survey`]) and by the state machine's own batches; here is only
//! what people see of them.

mod entry;

#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use pinion_wal::log::RecordType;
use pinion_wal::log::survey::{Met, Record, Survey, dir_name, segment_number};
use pinion_wal::{Damage, LogId};
use serde_json::{Value, json};

use crate::offline::Held;

/// Damage of one kind is listed so often, and counted beyond.
const LISTED_MAX: usize = 100;

/// What to do with a log.
#[derive(Clone, Debug, Subcommand)]
pub enum Job {
    /// Prints segments, flushes and records, in the order of the log
    Dump(Dump),
    /// Checks everything; fails when something that counts is damaged
    Verify(Verify),
}

/// What to print, as flags.
#[derive(Clone, Debug, Args)]
pub struct Dump {
    /// The data directory of a server that is not running
    pub dir: PathBuf,
    /// Only this log; every core has one
    #[arg(long, value_name = "N")]
    pub log: Option<u32>,
    /// Only records of this group
    #[arg(long, value_name = "N")]
    pub group: Option<u32>,
    /// Only entries from this index on
    #[arg(long, value_name = "INDEX", default_value_t = 0)]
    pub from: u64,
    /// So many records of each log, at most
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    pub limit: u64,
    /// Print values whole instead of their beginning
    #[arg(long)]
    pub values: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// What to check, as flags.
#[derive(Clone, Debug, Args)]
pub struct Verify {
    /// The data directory of a server that is not running
    pub dir: PathBuf,
    /// Answer one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Does it, into `out`. Answers whether nothing that counts is damaged.
///
/// # Errors
/// A sentence with the file, and what to do.
pub fn run(job: &Job, out: &mut dyn Write) -> Result<bool, String> {
    let (dir, only) = match job {
        Job::Dump(dump) => (&dump.dir, dump.log),
        Job::Verify(verify) => (&verify.dir, None),
    };
    let held = Held::new(dir)?;
    let logs = logs(&held, only)?;
    match job {
        Job::Dump(job) => {
            let mut printer = Printer { job, out, printed: 0, broken: None };
            for log in logs {
                printer.log(log, &look(&held, log)?);
            }
            match printer.broken {
                // Whoever reads it has seen enough.
                None => Ok(true),
                Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(true),
                Some(error) => Err(format!("the dump cannot be written: {error}")),
            }
        }
        Job::Verify(verify) => {
            let mut verdict = Verdict::default();
            for log in logs {
                match look(&held, log) {
                    Ok(survey) => verdict.judge(&survey),
                    Err(error) => verdict.refused.push(error),
                }
            }
            let text = if verify.json { verdict.json().to_string() } else { verdict.text() };
            writeln!(out, "{}", text.trim_end())
                .map_err(|e| format!("the verdict cannot be written: {e}"))?;
            Ok(verdict.is_good())
        }
    }
}

fn logs(held: &Held, only: Option<u32>) -> Result<Vec<LogId>, String> {
    let number = |name: &String| name.strip_prefix("log-")?.parse().ok();
    let all: Vec<u32> = held.names("")?.iter().filter_map(number).collect();
    let wanted: Vec<LogId> =
        all.iter().filter(|log| only.is_none_or(|only| only == **log)).map(|&log| LogId(log)).collect();
    match only {
        _ if !wanted.is_empty() => Ok(wanted),
        Some(only) => Err(format!("there is no log {only} in this directory: it has {all:?}")),
        None => {
            Err("there is no log in this directory: name the data directory of a server, not one within it"
                .into())
        }
    }
}

fn look(held: &Held, log: LogId) -> Result<Survey, String> {
    let dir = dir_name(log);
    let head = held.map(&format!("{dir}/HEAD"))?;
    let mut segments = Vec::new();
    for name in held.names(&dir)? {
        if let Some(number) = segment_number(&name)
            && let Some(bytes) = held.map(&format!("{dir}/{name}"))?
        {
            segments.push((number, bytes));
        }
    }
    let segments: Vec<(u32, &[u8])> = segments.iter().map(|(number, bytes)| (*number, &**bytes)).collect();
    Survey::of(log, head.as_deref(), &segments).map_err(|error| error.to_string())
}

const fn name_of(what: RecordType) -> &'static str {
    match what {
        RecordType::Entry => "entry",
        RecordType::HardState => "hard state",
        RecordType::First => "first",
        RecordType::Summary => "summary",
        RecordType::SummaryEnd => "end of summaries",
        RecordType::Seen => "seen",
        RecordType::Marker => "marker",
        RecordType::EntryAgain => "entry again",
        RecordType::Adopt => "adopt",
        RecordType::Adopted => "adopted",
        RecordType::Release => "release",
        RecordType::AcceptLoss => "accept loss",
    }
}

const fn is_entry(record: &Record) -> bool {
    matches!(record.what, RecordType::Entry | RecordType::EntryAgain)
}

/// An entry whose kind is 0 holds batches; the others change the configuration of their group.
fn holds_batches(record: &Record) -> Option<&[u8]> {
    let body = record.body.as_ref().filter(|_| is_entry(record) && record.kind == 0)?;
    Some(body)
}

struct Printer<'a> {
    job: &'a Dump,
    out: &'a mut dyn Write,
    printed: u64,
    broken: Option<io::Error>,
}

impl Printer<'_> {
    fn say(&mut self, text: std::fmt::Arguments<'_>, json: impl FnOnce() -> Value) {
        let written =
            if self.job.json { writeln!(self.out, "{}", json()) } else { writeln!(self.out, "{text}") };
        if let Err(error) = written {
            self.broken = Some(error);
        }
    }

    fn log(&mut self, log: LogId, survey: &Survey) {
        self.printed = 0;
        for segment in survey.segments() {
            let state = segment.live.map_or_else(
                || "not needed".to_owned(),
                |(epoch, base)| format!("epoch {epoch}, from block {base}"),
            );
            let (whole, zero, torn, damaged) = (segment.whole, segment.zero, segment.torn, segment.damaged);
            self.say(
                format_args!(
                    "segment {}: {state}; blocks: {whole} whole, {zero} zero, {torn} torn, {damaged} damaged",
                    segment.file
                ),
                || {
                    json!({
                        "log": log.0, "segment": segment.file, "epoch": segment.live.map(|live| live.0),
                        "first_block": segment.live.map(|live| live.1), "whole": whole, "zero": zero,
                        "torn": torn, "damaged": damaged,
                    })
                },
            );
        }
        survey.walk(&mut |met| {
            self.met(log, &met);
            self.broken.is_none() && self.printed < self.job.limit
        });
    }

    fn met(&mut self, log: LogId, met: &Met) {
        match met {
            Met::Flush(flush) if self.job.group.is_none() && self.job.from == 0 => self.say(
                format_args!(
                    "flush {} at byte {}: block {}, {} blocks, {} bytes of records",
                    flush.file, flush.offset, flush.block, flush.blocks, flush.bytes
                ),
                || {
                    json!({
                        "log": log.0, "flush": flush.file, "offset": flush.offset, "block": flush.block,
                        "blocks": flush.blocks, "bytes": flush.bytes,
                    })
                },
            ),
            Met::Flush(_) => {}
            Met::Damage(damage) => {
                self.say(
                    format_args!("DAMAGE {damage}"),
                    || json!({"log": log.0, "damage": of_damage(damage)}),
                );
            }
            Met::Record(record) => {
                let wanted = self.job.group.is_none_or(|group| group == record.group.0)
                    && (self.job.from == 0 || is_entry(record) && record.index.0 >= self.job.from);
                if wanted && self.printed < self.job.limit {
                    self.printed += 1;
                    self.record(log, record);
                }
            }
        }
    }

    fn record(&mut self, log: LogId, record: &Record) {
        let opened = holds_batches(record).map(|data| entry::open(data, self.job.values));
        let bytes = record.body.as_ref().map(|body| body.len());
        let Record { file, offset, group, index, term, commit, sequence, home, kind, .. } = record;
        let name = name_of(record.what);
        let size = bytes.map_or_else(|| "its beginning is gone".to_owned(), |bytes| format!("{bytes} bytes"));
        self.say(
            format_args!(
                "{file} {offset}: {name}, group {group}, index {index}, term {term}, commit {commit}, kind {kind}, record {sequence} of home {home}, {size}"
            ),
            || {
                let batches = opened.as_ref().and_then(|opened| opened.as_ref().ok()).map(|batches| {
                    let each = |(head, commands): &(String, Vec<entry::Shown>)| {
                        json!({"batch": head, "commands": commands.iter().map(entry::Shown::json).collect::<Vec<_>>()})
                    };
                    batches.iter().map(each).collect::<Vec<_>>()
                });
                let error = opened.as_ref().and_then(|opened| opened.as_ref().err());
                json!({
                    "log": log.0, "record": name, "file": file, "offset": offset, "group": group.0,
                    "index": index.0, "term": term.0, "commit": commit.0, "kind": kind,
                    "sequence": sequence, "home": home.0, "bytes": bytes, "batches": batches, "error": error,
                })
            },
        );
        if self.job.json {
            return;
        }
        match opened {
            None => {}
            Some(Err(error)) => self.say(format_args!("    {error}"), || Value::Null),
            Some(Ok(batches)) => {
                for (head, commands) in batches {
                    self.say(format_args!("    {head}"), || Value::Null);
                    for command in commands {
                        self.say(format_args!("        {}", command.text()), || Value::Null);
                    }
                }
            }
        }
    }
}

fn of_damage(damage: &Damage) -> Value {
    json!({"file": damage.file, "offset": damage.offset, "expected": damage.expected, "found": damage.found})
}

/// What a verification found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Logs that a start would refuse, in its words.
    refused: Vec<String>,
    /// Groups that lost records, and where.
    lost: Vec<(u32, Damage)>,
    /// Damage that a start would tell.
    damage: Vec<Damage>,
    /// Entries that cannot be executed: file, offset, group, index, why.
    unusable: Vec<(String, u64, u32, u64, String)>,
    /// Damage to what is not needed.
    dead: Vec<Damage>,
    records: u64,
    entries: u64,
    segments: u64,
    groups: u64,
}

impl Verdict {
    /// Looks through a log.
    pub fn judge(&mut self, survey: &Survey) {
        self.damage.extend_from_slice(survey.damage());
        self.dead.extend(survey.dead());
        self.segments += survey.segments().len() as u64;
        self.groups += survey.groups().len() as u64;
        let lost = |(id, group): (&pinion_wal::GroupId, &pinion_wal::RecoveredGroup)| {
            Some((id.0, group.lost.clone()?))
        };
        self.lost.extend(survey.groups().iter().filter_map(lost));
        survey.walk(&mut |met| {
            if let Met::Record(record) = met {
                self.records += 1;
                self.entries += u64::from(is_entry(&record));
                if let Some(Err(why)) = holds_batches(&record).map(|data| entry::open(data, false)) {
                    self.unusable.push((record.file, record.offset, record.group.0, record.index.0, why));
                }
            }
            true
        });
    }

    /// Whether nothing that counts is damaged.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.refused.is_empty() && self.lost.is_empty() && self.damage.is_empty() && self.unusable.is_empty()
    }

    /// Whether no byte is damaged, needed or not.
    #[must_use]
    pub fn is_spotless(&self) -> bool {
        self.is_good() && self.dead.is_empty()
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        for error in &self.refused {
            let _ = writeln!(text, "BAD     {error}");
        }
        for damage in self.damage.iter().take(LISTED_MAX) {
            let _ = writeln!(text, "BAD     {damage}");
        }
        for (group, damage) in &self.lost {
            let _ = writeln!(
                text,
                "BAD     group {group} lost records that may have been acknowledged: {damage}"
            );
        }
        for (file, offset, group, index, why) in self.unusable.iter().take(LISTED_MAX) {
            let _ = writeln!(text, "BAD     {file} at byte {offset}: entry {index} of group {group}: {why}");
        }
        if !self.is_good() {
            let _ = writeln!(
                text,
                "remedy: restore the data directory from a copy, or start with --accept-loss GROUP to give up what a group lost"
            );
        }
        for damage in self.dead.iter().take(LISTED_MAX) {
            let _ = writeln!(text, "unused  {damage}: nothing that counts stands there");
        }
        let Self { segments, groups, records, entries, .. } = self;
        let verdict = if self.is_good() { "ok" } else { "BAD" };
        let _ = writeln!(
            text,
            "{verdict}: {segments} segments, {groups} groups, {records} records, {entries} of them entries"
        );
        text
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let lost = |(group, damage): &(u32, Damage)| json!({"group": group, "damage": of_damage(damage)});
        let unusable = |(file, offset, group, index, why): &(String, u64, u32, u64, String)| json!({"file": file, "offset": offset, "group": group, "index": index, "why": why});
        json!({
            "good": self.is_good(), "refused": self.refused,
            "damage": self.damage.iter().map(of_damage).collect::<Vec<_>>(),
            "lost": self.lost.iter().map(lost).collect::<Vec<_>>(),
            "unusable": self.unusable.iter().map(unusable).collect::<Vec<_>>(),
            "unused": self.dead.iter().map(of_damage).collect::<Vec<_>>(),
            "segments": self.segments, "groups": self.groups, "records": self.records, "entries": self.entries,
        })
    }
}
