//! The tree of the project as the house rules read it.

use std::path::{Path, PathBuf};

/// The root of the project.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("the package lies in the project's folder").to_path_buf()
}

/// What is never part of the project although it may lie in its folder.
const IGNORED: [&str; 3] = [".git", "target", "pinion-data"];

/// Every file below `dir` whose name ends in `.ext`, with its path relative to the root, sorted.
pub fn files(ext: &str) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    collect(&root(), ext, &mut found);
    found.sort();
    assert!(!found.is_empty(), "no .{ext} file found: the rule would check nothing");
    found
}

fn collect(dir: &Path, ext: &str, found: &mut Vec<(String, PathBuf)>) {
    for entry in std::fs::read_dir(dir).expect("the project's folders are readable") {
        let entry = entry.expect("the project's folders are readable");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        if entry.file_type().expect("a type").is_dir() {
            if !IGNORED.contains(&name.as_str()) {
                collect(&path, ext, found);
            }
        } else if path.extension().is_some_and(|e| e == ext) {
            let relative = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
            found.push((relative, path));
        }
    }
}

/// The text of a file.
pub fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Names at the top level that belong to the project.
pub fn top_level() -> Vec<String> {
    let entries = std::fs::read_dir(root()).expect("the root is readable");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("the root is readable").file_name().to_string_lossy().into_owned())
        .filter(|name| !IGNORED.contains(&name.as_str()))
        .collect();
    names.sort();
    names
}
