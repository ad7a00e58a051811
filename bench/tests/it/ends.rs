//! How the program ends when a server does not do what it should.

use std::io::{Read, Write};
use std::net::TcpListener;

use super::redis::{Redis, installed};
use super::{bench, figure, figures};

/// What the program says when it fails, as it must.
fn failure(flags: &str) -> String {
    let output = bench(flags);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{flags}: {text}");
    assert!(text.starts_with("pinion-bench: ") && text.lines().count() == 1, "{flags}: {text}");
    text
}

#[test]
fn a_refusal_a_close_and_nonsense_end_with_a_sentence_and_a_code() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    for (said, expected) in [(&b"SSH-2.0-OpenSSH_9.2\r\n"[..], "SSH-2.0"), (b"", "closed the connection")] {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut socket, _) = listener.accept().expect("the load connects");
                let mut request = [0; 64];
                let _ = socket.read(&mut request);
                let _ = socket.write_all(said);
            });
            let text = failure(&format!("load --address {address} --connections 1 --operation ping"));
            assert!(text.contains(expected), "{text}");
        });
    }
    drop(listener);
    for command in ["load", "sweep --p99 1ms"] {
        let text = failure(&format!("{command} --address {address}"));
        assert!(text.contains("--address") && text.contains("refused"), "{text}");
    }
}

#[test]
fn errors_of_a_redis_server_are_told_by_code() {
    if !installed() {
        return;
    }
    let redis = Redis::start(&["--requirepass", "secret"]);
    let flags = format!("load --address 127.0.0.1:{} --requests 100", redis.port);
    let text = figures(&flags);
    assert_eq!((figure(&text, "ops"), figure(&text, "errors_NOAUTH")), (0.0, 100.0));
    assert!(failure(&format!("{flags} --password wrong")).contains("WRONGPASS"));
    let text = figures(&format!("{flags} --password secret --resp 3 --mix get=1,set=1"));
    assert_eq!((figure(&text, "ops"), figure(&text, "errors")), (100.0, 0.0));
}
