//! What the unit tests of several modules need.

/// Bytes as lines of 32 hexadecimal bytes, as goldens hold them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let line = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n";
    bytes.chunks(32).map(line).collect()
}

/// Compares with `testdata/name`. With `PINION_BLESS` set, writes it instead.
#[expect(clippy::disallowed_methods, reason = "goldens are files of the source tree")]
pub(crate) fn assert_golden(name: &str, found: &str) {
    let path = format!("{}/testdata/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("PINION_BLESS").is_some() {
        std::fs::write(&path, found).expect("the source tree can be written to");
    }
    let golden = std::fs::read(&path).expect("the golden exists; PINION_BLESS=1 makes it");
    assert_eq!(String::from_utf8_lossy(&golden), found, "{name} changed: these bytes are on disks");
}
