//! A comparison that starts and ends its servers.

use std::process::Command;

use super::redis::installed;

#[test]
fn servers_are_started_measured_and_ended() {
    if !installed() {
        return;
    }
    let dir = std::env::temp_dir().join(format!("pinion-bench-compare-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("the temporary directory is writable");
    let json = dir.join("json");
    let server = "redis-server --port {port} --bind 127.0.0.1 --dir {dir} --save \"\" --appendonly no";
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinion-bench"));
    let flags =
        "compare --busy --preload --keys 100 --seconds 0.2 --connections 4 --server-cpus 0 --rate-part 0.2";
    command
        .env("TMPDIR", &dir)
        .args(flags.split_whitespace())
        .arg("--json")
        .arg(&json)
        .args([server, server]);
    let output = command.output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("idle before the start") && text.contains("open loop at"), "{text}");
    assert!(text.contains("| server CPU per operation | us |"), "{text}");
    let value: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&json).expect("it was written")).expect("it is JSON");
    std::fs::remove_file(&json).expect("it exists");
    let metrics = value["metrics"].as_array().expect("a list");
    let cpu =
        metrics.iter().find(|metric| metric["name"] == "server CPU per operation").expect("it is there");
    let median = cpu["a"]["median"].as_f64().expect("a number");
    assert!(median > 0.1 && median < 10_000.0, "{median} us");
    // Both were ended, and what they had is gone.
    std::fs::remove_dir(&dir).expect("it is empty");
}
