//! Where tests find Debian's redis-server, their seed and a directory of their own.

use std::path::PathBuf;

/// Whether the oracle is installed. Without it a test says NOT RUN; in CI that is a failure.
pub fn installed() -> bool {
    let version = std::process::Command::new("redis-server").arg("--version").output();
    if version.is_ok_and(|output| output.status.success()) {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "redis-server is not installed");
    eprintln!("NOT RUN: redis-server is not installed (Debian: apt-get install redis-server)");
    false
}

/// The seed of this run, printed with the command that replays it.
pub fn seed() -> u64 {
    let seed = std::env::var("PINION_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    eprintln!("replay: PINION_SEED={seed} cargo test -p pinion-tools --test it");
    seed
}

/// An empty directory that no other test of this process or another uses.
pub fn fresh_dir(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("pinion-tools-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("the temporary directory is writable");
    dir
}
