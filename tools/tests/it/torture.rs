//! The torture against servers whose manners are known: one that loses what it did not save, one that syncs each write.

use std::path::{Path, PathBuf};

use pinion_tools::torture::{Options, run};

use crate::oracle;

/// A program that takes Pinion's flags and starts the oracle with `settings`.
fn disguised_oracle(dir: &Path, settings: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let script = dir.join("oracle.sh");
    let text = format!(
        "#!/bin/sh\nwhile [ $# -gt 1 ]; do case $1 in --data-dir) d=$2;; --port) p=$2;; esac; shift 2; done\n\
         exec redis-server --bind 127.0.0.1 --port \"$p\" --dir \"$d\" --save '' {settings}\n"
    );
    std::fs::write(&script, text).expect("the test's directory is writable");
    let permissions = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&script, permissions).expect("the test's directory is writable");
    script
}

fn torture_oracle(name: &str, settings: &str) -> Option<Result<String, String>> {
    if !oracle::installed() {
        return None;
    }
    let dir = oracle::fresh_dir(name);
    let options = Options {
        kills: 6,
        server: Some(disguised_oracle(&dir, settings)),
        data_dir: dir.join("data"),
        seed: oracle::seed(),
        cores: vec!["0".into()],
        writers: 2,
        life_ms_max: 150,
        server_arguments: Vec::new(),
    };
    let outcome = run(&options).map(|report| report.to_string());
    let _ = std::fs::remove_dir_all(&dir);
    Some(outcome)
}

#[test]
fn a_server_that_saves_nothing_is_found_out() {
    let Some(outcome) = torture_oracle("forgets", "--appendonly no") else { return };
    let error = outcome.expect_err("it keeps nothing over a kill");
    assert!(error.contains("torture:") && error.contains("found"), "{error}");
}

#[test]
fn a_server_that_syncs_each_write_survives() {
    let Some(outcome) = torture_oracle("syncs", "--appendonly yes --appendfsync always") else { return };
    let report = outcome.expect("it keeps what it acknowledged");
    assert!(report.contains("lost=0"), "{report}");
}
