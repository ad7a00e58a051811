//! The table of promises in ARCHITECTURE.md against the tests that stand in the tree.
//!
//! A row reads `| id | promise | tests | planted change |`. Tests are names of functions in backticks whose doc comment
//! names the id. The last column names a planted bug (in backticks, then it must stand in the code) or tells in words
//! which change makes the tests fail. A promise nobody kept yet says `later:` and why in the third column.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{files, root, text};

/// How many promises each family has.
const FAMILIES: [(char, u32); 6] = [('T', 13), ('M', 9), ('L', 4), ('S', 9), ('D', 7), ('O', 7)];

struct Row {
    id: String,
    tests: Vec<String>,
    later: Option<String>,
    planted: String,
}

/// What the tree says: test functions with the ids their doc comments name, and planted bugs that the code asks for.
#[derive(Default)]
struct Evidence {
    tests: BTreeMap<String, BTreeSet<String>>,
    planted: BTreeSet<String>,
}

fn ids() -> Vec<String> {
    FAMILIES.iter().flat_map(|&(family, count)| (1..=count).map(move |n| format!("{family}{n}"))).collect()
}

fn in_backticks(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn rows(architecture: &str) -> Vec<Row> {
    let known: BTreeSet<String> = ids().into_iter().collect();
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let [id, _, tests, planted] = cells[..] else { return None };
        let looks_like_an_id = id.len() <= 3
            && id.starts_with(|c: char| c.is_ascii_uppercase())
            && id[1..].parse::<u32>().is_ok();
        if !looks_like_an_id {
            return None;
        }
        assert!(known.contains(id), "{id} is not a promise");
        let later = tests.strip_prefix("later:").map(|reason| reason.trim().to_owned());
        Some(Row { id: id.into(), tests: in_backticks(tests), later, planted: planted.into() })
    };
    architecture.lines().filter(|line| line.starts_with('|')).filter_map(row).collect()
}

fn ids_in(doc: &str) -> BTreeSet<String> {
    let words = doc.split(|c: char| !c.is_ascii_alphanumeric());
    let known: BTreeSet<String> = ids().into_iter().collect();
    words.filter(|word| known.contains(*word)).map(str::to_owned).collect()
}

fn read_evidence(source: &str, evidence: &mut Evidence) {
    let mut doc = BTreeSet::new();
    let mut is_test = false;
    for line in source.lines() {
        let line = line.trim_start();
        if let Some(comment) = line.strip_prefix("///") {
            doc.extend(ids_in(comment));
        } else if line.starts_with("#[test]") {
            is_test = true;
        } else if !is_test {
            if !line.starts_with("#[") {
                doc.clear();
            }
        } else if let Some(rest) = line.split("fn ").nth(1).filter(|_| !line.starts_with("//")) {
            let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            evidence.tests.entry(name.to_owned()).or_default().extend(std::mem::take(&mut doc));
            is_test = false;
        }
    }
    for call in source.split("planted::is(\"").skip(1) {
        evidence.planted.extend(call.split('"').next().map(str::to_owned));
    }
}

/// Everything in `rows` that `evidence` does not bear out.
fn complaints(rows: &[Row], evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    for id in ids() {
        match rows.iter().filter(|row| row.id == id).count() {
            1 => {}
            0 => found.push(format!("{id}: no row")),
            n => found.push(format!("{id}: {n} rows")),
        }
    }
    for row in rows {
        let id = &row.id;
        let claimed = evidence.tests.iter().find(|(_, ids)| ids.contains(id));
        match (&row.later, claimed) {
            (Some(reason), _) if reason.len() < 10 => found.push(format!("{id}: `later` without a reason")),
            (Some(_), Some((test, _))) => {
                found.push(format!("{id}: marked `later`, but the test {test} covers it"));
            }
            (None, _) if row.tests.is_empty() => found.push(format!("{id}: no test and no `later`")),
            _ => {}
        }
        for test in &row.tests {
            match evidence.tests.get(test) {
                None => found.push(format!("{id}: there is no test {test}")),
                Some(ids) if !ids.contains(id) => {
                    found.push(format!("{id}: the doc comment of {test} does not name it"));
                }
                Some(_) => {}
            }
        }
        if row.later.is_none() && row.planted.len() < 3 {
            found.push(format!("{id}: no planted change"));
        }
        for bug in in_backticks(&row.planted) {
            if !evidence.planted.contains(&bug) {
                found.push(format!("{id}: no code asks for the planted bug {bug}"));
            }
        }
    }
    found
}

#[test]
fn every_promise_has_its_tests_or_a_reason() {
    let mut evidence = Evidence::default();
    for (_, path) in files("rs") {
        read_evidence(&text(&path), &mut evidence);
    }
    let rows = rows(&text(&root().join("ARCHITECTURE.md")));
    let found = complaints(&rows, &evidence);
    assert!(found.is_empty(), "the table of promises is out of date:\n{}", found.join("\n"));
}

/// A table with one sound row for D1 and `later` elsewhere, for breaking on purpose.
fn table(d1: &str) -> Vec<Row> {
    let line = |id: &String| match id.as_str() {
        "D1" => d1.to_owned(),
        _ => format!("| {id} | x | later: has its own reason | |"),
    };
    rows(&ids().iter().map(line).collect::<Vec<_>>().join("\n"))
}

#[test]
fn a_false_table_is_found_out() {
    let mut evidence = Evidence::default();
    let source = "/// D1: kept.\n#[test]\nfn kept() {}\n#[test]\nfn idle() {}\nif planted::is(\"lost\") {}\n";
    read_evidence(source, &mut evidence);
    let of = |d1: &str| complaints(&table(d1), &evidence);
    assert!(of("| D1 | x | `kept` | `lost` |").is_empty());
    assert!(of("| D1 | x | `kept` | drop the sync |").is_empty());
    for breach in [
        "| D1 | x | `gone` | `lost` |",
        "| D1 | x | `idle` | `lost` |",
        "| D1 | x | `kept` | `never` |",
        "| D1 | x | `kept` | |",
        "| D1 | x | | `lost` |",
        "| D1 | x | later: no | |",
        "| D1 | x | later: it has not been reached | |",
        "",
    ] {
        assert_eq!(of(breach).len(), 1, "{breach}: {:?}", of(breach));
    }
}
