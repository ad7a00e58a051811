//! The rows of a server that is not running: what its manifests say, what stands in its tables, and whether it is whole.
//!
//! The bytes are decoded by the rows' own crate ([`pinion_lsm::survey`]); here is only what people see of them.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use pinion_lsm::survey::{self, Described, DescribedTable, SurveyedRow};
use pinion_lsm::{Cell, TreeId};
use pinion_shard::decode_row;
use serde_json::{Value, json};

use crate::offline::Held;

/// Of a value as much is shown, unless all of it is asked for.
const VALUE_BYTES_SHOWN: usize = 32;

/// What to do with tables.
#[derive(Clone, Debug, Subcommand)]
pub enum Job {
    /// Prints the rows of tables, in order
    Dump(Dump),
    /// Checks manifests and tables; fails when something is damaged
    Verify(Look),
    /// Prints what manifests say: how far the rows reach in the log, and the tables
    Manifest(Look),
}

/// What to look at, as flags.
#[derive(Clone, Debug, Args)]
pub struct Look {
    /// The data directory of a server that is not running, the directory of a tree in it, or a table
    pub path: PathBuf,
    /// Only this group; every group has a tree
    #[arg(long, value_name = "N")]
    pub group: Option<u32>,
    /// Answer JSON
    #[arg(long)]
    pub json: bool,
}

/// What to print, as flags.
#[derive(Clone, Debug, Args)]
pub struct Dump {
    /// What to look at
    #[command(flatten)]
    pub look: Look,
    /// Only rows whose key begins so
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub prefix: String,
    /// So many rows of each table, at most
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    pub limit: u64,
    /// Print values whole instead of their beginning
    #[arg(long)]
    pub values: bool,
}

/// Does it, into `out`. Answers whether nothing is damaged.
///
/// # Errors
/// A sentence with the file, and what to do.
pub fn run(job: &Job, out: &mut dyn Write) -> Result<bool, String> {
    let look = match job {
        Job::Dump(dump) => &dump.look,
        Job::Verify(look) | Job::Manifest(look) => look,
    };
    let target = Target::of(look)?;
    let held = Held::new(&target.root)?;
    let mut broken: Option<io::Error> = None;
    let mut say = |line: &str| {
        if broken.is_none() {
            broken = writeln!(out, "{line}").err();
        }
        broken.is_none()
    };
    let mut good = true;
    let mut verdict = Verdict::default();
    for tree in target.trees(&held)? {
        let described = match describe(&held, tree) {
            Ok(described) => described,
            Err(error) => {
                verdict.damage.push(error);
                continue;
            }
        };
        match job {
            Job::Manifest(look) => drop(say(&shown(&described, look.json))),
            Job::Verify(_) => verdict.tree(&held, &described, target.table)?,
            Job::Dump(dump) => {
                for table in
                    described.tables.iter().filter(|t| target.table.is_none_or(|only| only == t.number))
                {
                    good &= rows(&held, tree, table, dump, &mut say, &mut verdict)?;
                }
            }
        }
    }
    good &= verdict.damage.is_empty();
    match job {
        Job::Verify(look) => {
            say(verdict.shown(look.json).trim_end());
        }
        _ => {
            for damage in &verdict.damage {
                say(&if look.json {
                    json!({"damage": damage}).to_string()
                } else {
                    format!("BAD     {damage}")
                });
            }
        }
    }
    match broken {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("it cannot be written: {error}"))
        }
        _ => Ok(good),
    }
}

/// Which tables of which directory are meant.
struct Target {
    root: PathBuf,
    tree: Option<TreeId>,
    table: Option<u64>,
}

impl Target {
    fn of(look: &Look) -> Result<Self, String> {
        let path = look.path.canonicalize().map_err(|e| format!("{}: {e}", look.path.display()))?;
        let name = |path: &Path| {
            path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let above = |path: &Path| path.parent().map_or_else(|| path.to_owned(), Path::to_owned);
        let (table, dir) = if path.is_file() {
            let strange =
                || format!("{} is no table: expected a file like 000000000007.table", path.display());
            (Some(survey::table_named(&name(&path)).ok_or_else(strange)?), above(&path))
        } else {
            (None, path)
        };
        let tree = survey::tree_named(&name(&dir));
        if table.is_some() && tree.is_none() {
            return Err(format!(
                "{} is no directory of a tree: a table is bound to its place there",
                dir.display()
            ));
        }
        let root = if tree.is_some() { above(&dir) } else { dir };
        Ok(Self { root, tree: tree.or(look.group.map(TreeId)), table })
    }

    fn trees(&self, held: &Held) -> Result<Vec<TreeId>, String> {
        let all: Vec<TreeId> = held.names("")?.iter().filter_map(|name| survey::tree_named(name)).collect();
        let wanted: Vec<TreeId> =
            all.iter().copied().filter(|tree| self.tree.is_none_or(|only| only == *tree)).collect();
        if wanted.is_empty() {
            let dir = self.root.display();
            return Err(format!(
                "{dir} has no such tree: name a data directory, and with --group one of {all:?}"
            ));
        }
        Ok(wanted)
    }
}

fn describe(held: &Held, tree: TreeId) -> Result<Described, String> {
    let dir = survey::dir_name(tree);
    let file = |name: &str| {
        let path = format!("{dir}/{name}");
        held.map(&path)?.ok_or_else(|| format!("{path} is missing; restore the whole data directory"))
    };
    let name = survey::current(tree, &file("CURRENT")?).map_err(|e| e.to_string())?;
    survey::describe(tree, &name, &file(&name)?).map_err(|e| e.to_string())
}

/// A key as clients name it; what is no such key, byte for byte.
fn key_text(key: &[u8]) -> String {
    let mut raw = Vec::new();
    match decode_row(key, &mut raw) {
        Some(_) => format!("\"{}\"", raw.escape_ascii()),
        None => format!("raw \"{}\"", key.escape_ascii()),
    }
}

fn value_text(cell: Cell<'_>, whole: bool) -> String {
    match cell {
        Cell::Tombstone => "gone".into(),
        Cell::Inline(bytes) if whole || bytes.len() <= VALUE_BYTES_SHOWN => {
            format!("\"{}\"", bytes.escape_ascii())
        }
        Cell::Inline(bytes) => {
            format!("\"{}\"… ({} bytes)", bytes[..VALUE_BYTES_SHOWN].escape_ascii(), bytes.len())
        }
    }
}

/// Answers whether the table is whole, as far as it was walked.
fn rows(
    held: &Held,
    tree: TreeId,
    table: &DescribedTable,
    dump: &Dump,
    say: &mut dyn FnMut(&str) -> bool,
    verdict: &mut Verdict,
) -> Result<bool, String> {
    let Some(bytes) = held.map(&table.file)? else {
        verdict.damage.push(format!("{} is missing; restore the whole data directory", table.file));
        return Ok(false);
    };
    if !dump.look.json {
        say(&format!("table {}: level {}, {} rows", table.file, table.level, table.rows));
    }
    let mut printed = 0;
    let walked = survey::walk_table(tree, table.number, Some(table), &bytes, &mut |row: SurveyedRow<'_>| {
        if printed == dump.limit {
            return false;
        }
        let mut raw = Vec::new();
        let named = if decode_row(row.key, &mut raw).is_some() { &raw[..] } else { row.key };
        if !named.starts_with(dump.prefix.as_bytes()) {
            return true;
        }
        printed += 1;
        let (key, value) = (key_text(row.key), value_text(row.cell, dump.values));
        say(&if dump.look.json {
            json!({
                "group": tree.0, "file": table.file, "level": table.level, "block": row.offset, "key": key,
                "timestamp": row.at.0, "row": value, "gone": row.cell == Cell::Tombstone,
            })
            .to_string()
        } else {
            format!("    {} {key} at {} = {value}", row.offset, row.at.0)
        })
    });
    if let Err(error) = walked {
        verdict.damage.push(error.to_string());
        return Ok(false);
    }
    Ok(true)
}

fn shown(described: &Described, json: bool) -> String {
    let Described { tree, manifest, edits, torn, boundary, next_number, tables } = described;
    if json {
        let table = |t: &DescribedTable| {
            json!({
                "file": t.file, "level": t.level, "bytes": t.bytes, "rows": t.rows, "tombstones": t.tombstones,
                "timestamps": [t.at.0.0, t.at.1.0], "keys": [key_text(&t.keys.0), key_text(&t.keys.1)],
            })
        };
        let all = json!({
            "group": tree.0, "manifest": manifest, "edits": edits, "torn": torn, "index": boundary.index.0,
            "term": boundary.term.0, "state_bytes": boundary.state.len(), "next_number": next_number,
            "tables": tables.iter().map(table).collect::<Vec<_>>(),
        });
        return all.to_string();
    }
    let mut text = format!(
        "group {tree}: {manifest}, {edits} edits{}; rows up to entry {} of term {}; {} tables",
        if *torn { " and one that was cut short" } else { "" },
        boundary.index,
        boundary.term,
        tables.len()
    );
    for t in tables {
        let _ = write!(
            text,
            "\n    {}: level {}, {} bytes, {} rows, {} of them gone, timestamps {} to {}, keys {} to {}",
            t.file,
            t.level,
            t.bytes,
            t.rows,
            t.tombstones,
            t.at.0.0,
            t.at.1.0,
            key_text(&t.keys.0),
            key_text(&t.keys.1)
        );
    }
    text
}

/// What a verification found.
#[derive(Debug, Default)]
struct Verdict {
    /// One sentence a file, with its first damage.
    damage: Vec<String>,
    /// Files that the manifests do not name: the next start removes them.
    unused: Vec<String>,
    trees: u64,
    tables: u64,
    rows: u64,
}

impl Verdict {
    fn tree(&mut self, held: &Held, described: &Described, only: Option<u64>) -> Result<(), String> {
        self.trees += 1;
        for table in described.tables.iter().filter(|table| only.is_none_or(|only| only == table.number)) {
            self.tables += 1;
            let Some(bytes) = held.map(&table.file)? else {
                self.damage.push(format!("{} is missing; restore the whole data directory", table.file));
                continue;
            };
            match survey::walk_table(described.tree, table.number, Some(table), &bytes, &mut |_| true) {
                Ok(counted) => self.rows += counted.rows,
                Err(error) => self.damage.push(error.to_string()),
            }
        }
        let dir = survey::dir_name(described.tree);
        for name in held.names(&dir)? {
            let named = described.tables.iter().any(|table| survey::table_named(&name) == Some(table.number));
            let counts = named || name == "CURRENT" || described.manifest.ends_with(&format!("/{name}"));
            let asked = only.is_none() || survey::table_named(&name) == only;
            if !counts && asked {
                self.unused.push(format!("{dir}/{name}"));
            }
        }
        Ok(())
    }

    fn shown(&self, json: bool) -> String {
        let Self { damage, unused, trees, tables, rows } = self;
        if json {
            let all = json!({
                "good": damage.is_empty(), "damage": damage, "unused": unused, "trees": trees, "tables": tables,
                "rows": rows,
            });
            return Value::to_string(&all);
        }
        let mut text = String::new();
        for sentence in damage {
            let _ = writeln!(text, "BAD     {sentence}");
        }
        for file in unused {
            let _ = writeln!(text, "unused  {file}: no manifest names it, the next start removes it");
        }
        let verdict = if damage.is_empty() { "ok" } else { "BAD" };
        let _ = writeln!(text, "{verdict}: {trees} trees, {tables} tables, {rows} rows");
        text
    }
}
