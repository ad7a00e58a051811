use super::number::parse_int;

/// As `string2ll` of Redis decides.
#[test]
fn integers_are_read_as_redis_reads_them() {
    let good = ["0", "1", "-1", "10", "9223372036854775807", "-9223372036854775808"];
    for text in good {
        assert_eq!(parse_int(text.as_bytes()), text.parse().ok(), "{text}");
    }
    let bad = [
        "",
        "-",
        "+1",
        "-0",
        "01",
        "-01",
        " 1",
        "1 ",
        "1.0",
        "1e3",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551617",
        "99999999999999999999",
    ];
    for text in bad {
        assert_eq!(parse_int(text.as_bytes()), None, "{text}");
    }
}
