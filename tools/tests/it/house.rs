//! The house rules that a compiler does not know. Each rule is a function from a text to complaints, so that a planted
//! breach shows that it can fail.

use crate::tree::{files, text, top_level};

/// A file longer than this holds more than one concept.
const FILE_LINES_MAX: usize = 800;

/// Lines above an `unsafe` block in which its argument must begin.
const SAFETY_LINES_ABOVE_MAX: usize = 8;

/// Everything that may lie at the top level, with its reason.
const ROOMS: [(&str, &str); 17] = [
    (".ci", "what is run on every change"),
    (".gitignore", "what is not kept"),
    ("ARCHITECTURE.md", "where everything is, and why"),
    ("CHANGELOG.md", "what changed for users"),
    ("Cargo.lock", "the exact dependencies"),
    ("Cargo.toml", "the workspace"),
    ("LICENSE", "the licence"),
    ("README.md", "the first page"),
    ("bench", "load and measurement"),
    ("clippy.toml", "the determinism fence"),
    ("core", "a pinned core, the node, the protocols"),
    ("lsm", "rows on disk"),
    ("rustfmt.toml", "the layout of the text"),
    ("shard", "a group and its state machine"),
    ("tools", "operate, inspect, simulate"),
    ("wal", "the disk seam and the log"),
    (".cargo", "settings of the build"),
];

fn too_long(text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > FILE_LINES_MAX).then(|| format!("{lines} lines, at most {FILE_LINES_MAX}"))
}

/// Marks of unfinished work. Spelled in halves, so that this list does not find itself.
fn stub_marks(text: &str) -> Vec<String> {
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("not yet ", "implemented"),
        concat!("#[ig", "nore]"),
    ];
    let line_marks = |(number, line): (usize, &str)| {
        let words = |mark: &str| {
            line.match_indices(mark).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
            })
        };
        marks.iter().find(|mark| words(mark)).map(|mark| format!("line {}: {mark}", number + 1))
    };
    text.lines().enumerate().filter_map(line_marks).collect()
}

/// Names of things outside this tree, which nobody who has only the tree can follow.
fn outside_pointers(text: &str) -> Vec<String> {
    let marks = [
        concat!("/wo", "rk/"),
        concat!("../sh", "ared"),
        concat!("design", ".md"),
        concat!("per", "formance.md"),
    ];
    let found = |(number, line): (usize, &str)| {
        marks.iter().find(|mark| line.contains(**mark)).map(|mark| format!("line {}: {mark}", number + 1))
    };
    text.lines().enumerate().filter_map(found).collect()
}

/// Unsafe code without its argument, or outside a module that announces it.
fn unargued_unsafe(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let code_of = |line: &'_ str| line.split("//").next().unwrap_or_default().to_owned();
    let mut complaints = Vec::new();
    let mut used = false;
    for (number, line) in lines.iter().enumerate() {
        let code = code_of(line);
        let opens =
            ["unsafe {", "unsafe impl", "unsafe fn", "unsafe extern"].iter().any(|o| has_word(&code, o));
        if !opens || code.contains('"') {
            continue;
        }
        used = true;
        let above = &lines[number.saturating_sub(SAFETY_LINES_ABOVE_MAX)..=number];
        if !above.iter().any(|l| l.contains("SAFETY:") || l.contains("# Safety")) {
            complaints.push(format!("line {}: unsafe without a SAFETY argument", number + 1));
        }
    }
    if used && !text.contains("(unsafe_code") {
        complaints.push("unsafe code in a module that does not announce it with its reason".into());
    }
    complaints
}

fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word)
        .any(|(at, _)| !code[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_'))
}

/// Names that say nothing about what lives there.
fn empty_name(path: &str) -> Option<String> {
    let empty = ["util", "utils", "common", "helper", "helpers", "manager", "misc"];
    let part = |part: &&str| empty.contains(&part.strip_suffix(".rs").unwrap_or(part));
    path.split('/').find(part).map(|part| format!("{part:?} says nothing about what lives there"))
}

fn check_all(ext: &str, rule: impl Fn(&str, &str) -> Vec<String>) {
    let mut complaints = Vec::new();
    for (relative, path) in files(ext) {
        if relative.starts_with("bench/peers/target") {
            continue;
        }
        complaints.extend(rule(&relative, &text(&path)).into_iter().map(|c| format!("{relative}: {c}")));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn no_file_is_over_its_limit() {
    assert!(too_long(&"x\n".repeat(FILE_LINES_MAX)).is_none());
    assert!(too_long(&"x\n".repeat(FILE_LINES_MAX + 1)).is_some());
    check_all("rs", |_, text| too_long(text).into_iter().collect());
}

#[test]
fn no_stub_is_left() {
    assert_eq!(stub_marks(concat!("// TO", "DO: later")).len(), 1);
    assert!(stub_marks("AUTOXXX").is_empty());
    check_all("rs", |_, text| stub_marks(text));
    check_all("md", |_, text| stub_marks(text));
}

#[test]
fn every_unsafe_block_is_argued() {
    let announced = "#![expect(unsafe_code, reason = \"x\")]\n";
    assert_eq!(unargued_unsafe(&format!("{announced}let a = unsafe {{ b }};")).len(), 1);
    assert!(unargued_unsafe(&format!("{announced}// SAFETY: x\nlet a = unsafe {{ b }};")).is_empty());
    assert_eq!(unargued_unsafe("// SAFETY: x\nlet a = unsafe { b };").len(), 1);
    check_all("rs", |path, text| {
        // The peers are programs of others' making, or stand-ins for them: only the argument is asked for.
        if path.starts_with("bench/peers") { Vec::new() } else { unargued_unsafe(text) }
    });
}

#[test]
fn names_say_what_lives_there() {
    assert!(empty_name("core/src/utils/x.rs").is_some());
    assert!(empty_name("core/src/utility.rs").is_none());
    check_all("rs", |path, _| empty_name(path).into_iter().collect());
}

#[test]
fn nothing_points_outside_the_tree() {
    assert_eq!(outside_pointers(concat!("see ../sh", "ared/x")).len(), 1);
    check_all("rs", |_, text| outside_pointers(text));
    check_all("md", |_, text| outside_pointers(text));
    check_all("toml", |_, text| outside_pointers(text));
}

#[test]
fn the_top_level_holds_only_its_rooms() {
    let known = |name: &String| ROOMS.iter().any(|(room, _)| room == name);
    let strangers: Vec<String> = top_level().into_iter().filter(|name| !known(name)).collect();
    assert!(strangers.is_empty(), "no room for {strangers:?} at the top level");
}

#[test]
fn a_crate_has_one_integration_binary() {
    for (relative, _) in files("rs") {
        let parts: Vec<&str> = relative.split('/').collect();
        if let [krate, "tests", file] = parts[..] {
            panic!("{krate}/tests/{file}: integration tests of a crate stand in {krate}/tests/it");
        }
    }
}

/// Whether the rooms in `architecture` name `stem` of the sources of `krate`, alone or in a list in braces.
fn has_room(architecture: &str, krate: &str, stem: &str) -> bool {
    let dir = format!("{krate}/src/");
    architecture.match_indices(&dir).any(|(at, _)| {
        let rest = &architecture[at + dir.len()..];
        let names = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or_default(),
            None => rest.split(['/', '.', '`']).next().unwrap_or_default(),
        };
        names.split(',').any(|name| name == stem)
    })
}

#[test]
fn every_source_has_a_room_in_the_architecture() {
    let architecture = text(&crate::tree::root().join("ARCHITECTURE.md"));
    assert!(has_room("`a/src/{b,c}.rs` `a/src/d`", "a", "c") && has_room("`a/src/d`", "a", "d"));
    assert!(!has_room("`a/src/{b,c}.rs` `a/src/d`", "a", "e"));
    let mut homeless = std::collections::BTreeSet::new();
    for (relative, _) in files("rs") {
        let parts: Vec<&str> = relative.split('/').collect();
        let [krate, "src", first, ..] = parts[..] else { continue };
        let stem = first.strip_suffix(".rs").unwrap_or(first);
        let known = ["lib", "main"].contains(&stem) || has_room(&architecture, krate, stem);
        if !known && krate != "bench" {
            homeless.insert(format!("{krate}/src/{stem}"));
        }
    }
    assert!(homeless.is_empty(), "ARCHITECTURE.md names no room for {homeless:?}");
}
