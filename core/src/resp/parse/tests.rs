//! The parser against a model that is as plain as possible, whole and cut anywhere.

use super::*;

type Requests = Vec<Vec<Vec<u8>>>;
/// A line without its end, and what follows it.
type Line<'a> = (&'a [u8], &'a [u8]);
/// Bytes, the requests in them, and what breaks them.
type Case = (Vec<u8>, &'static [&'static [&'static str]], Option<ProtocolError>);

/// Everything a stream says: its requests, and what broke it. Bytes at the end that are no whole request are ignored.
fn model(bytes: &[u8], limits: &Limits) -> (Requests, Option<ProtocolError>) {
    let mut requests = Vec::new();
    let mut rest = bytes;
    loop {
        match model_one(rest, limits) {
            Ok(None) => return (requests, None),
            Err(error) => return (requests, Some(error)),
            Ok(Some((request, after))) => {
                if !request.is_empty() {
                    requests.push(request);
                }
                rest = after;
            }
        }
    }
}

type One<'a> = Result<Option<(Vec<Vec<u8>>, &'a [u8])>, ProtocolError>;

fn model_one<'a>(bytes: &'a [u8], limits: &Limits) -> One<'a> {
    if bytes.first() != Some(&b'*') {
        let Some((line, rest)) = model_line(bytes, b'\n', ProtocolError::InlineTooBig)? else {
            return Ok(None);
        };
        let line = if line.ends_with(b"\r") { &line[..line.len() - 1] } else { line };
        let mut arguments = Arguments::new();
        let (text, spans) = inline::split(line, &mut arguments)?;
        let args =
            spans.iter().map(|s| text[s.start as usize..(s.start + s.len) as usize].to_vec()).collect();
        return Ok(Some((args, rest)));
    }
    let Some((line, rest)) = model_line(bytes, b'\r', ProtocolError::CountLineTooBig)? else {
        return Ok(None);
    };
    let Some(mut rest) = rest.get(1..) else { return Ok(None) };
    let count = model_number(&line[1..])
        .filter(|n| *n <= ARGUMENTS_MAX as i128)
        .ok_or(ProtocolError::InvalidCount)?;
    if count > ARGUMENTS_UNAUTHENTICATED_MAX as i128 && !limits.authenticated {
        return Err(ProtocolError::UnauthenticatedCount);
    }
    let mut args = Vec::new();
    for _ in 0..count {
        let Some((line, after)) = model_line(rest, b'\r', ProtocolError::LengthLineTooBig)? else {
            return Ok(None);
        };
        let Some(after) = after.get(1..) else { return Ok(None) };
        let first = line.first().copied().unwrap_or(b'\r');
        if first != b'$' {
            return Err(ProtocolError::ExpectedBulk(first));
        }
        let len = model_number(&line[1..]).filter(|n| (0..=limits.bulk_bytes_max as i128).contains(n));
        let len = len.ok_or(ProtocolError::InvalidLength)? as usize;
        if len > BULK_UNAUTHENTICATED_BYTES_MAX && !limits.authenticated {
            return Err(ProtocolError::UnauthenticatedLength);
        }
        let used = bytes.len() - after.len();
        if used + len + 2 > REQUEST_BYTES_MAX {
            return Err(ProtocolError::RequestTooBig);
        }
        if after.len() < len + 2 {
            return Ok(None);
        }
        args.push(after[..len].to_vec());
        rest = &after[len + 2..];
    }
    Ok(Some((args, rest)))
}

fn model_line(bytes: &[u8], end: u8, too_big: ProtocolError) -> Result<Option<Line<'_>>, ProtocolError> {
    for (index, byte) in bytes.iter().enumerate() {
        if index > LINE_BYTES_MAX {
            return Err(too_big);
        }
        if *byte == end {
            return Ok(Some((&bytes[..index], &bytes[index + 1..])));
        }
        if *byte == 0 {
            break;
        }
    }
    if bytes.len() > LINE_BYTES_MAX { Err(too_big) } else { Ok(None) }
}

fn model_number(digits: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(digits).ok()?;
    let value: i64 = text.parse().ok()?;
    (value.to_string() == text).then_some(value as i128)
}

/// Feeds `bytes` piece by piece, as a connection would: what is not consumed is presented again.
fn feed(bytes: &[u8], cuts: &[usize], limits: &Limits) -> (Requests, Option<ProtocolError>) {
    let (mut parser, mut arguments) = (Parser::new(), Arguments::new());
    let (mut requests, mut start, mut need) = (Vec::new(), 0, 0);
    for end in cuts.iter().copied().chain([bytes.len()]) {
        loop {
            let held = &bytes[start..end];
            match parser.next(held, &mut arguments, limits) {
                Next::Request { request, consumed } => {
                    assert!(held.len() >= need, "a request before the bytes that were said to be needed");
                    assert_eq!(request.args(0).len(), request.len());
                    requests.push(request.args(0).map(<[u8]>::to_vec).collect());
                    (start, need) = (start + consumed, 0);
                }
                Next::Incomplete { consumed, need: now } => {
                    start += consumed;
                    assert!(now > end - start, "what is held is said to be missing");
                    assert!(now >= need.saturating_sub(consumed));
                    need = now;
                    parser.check(end - start);
                    break;
                }
                Next::Broken { error } => return (requests, Some(error)),
            }
        }
    }
    (requests, None)
}

fn request(args: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// What redis-server 7.0.15 answers to these bytes was recorded by hand; here stands what it understood.
#[test]
fn corpus() {
    use ProtocolError as E;
    let long = vec![b'a'; LINE_BYTES_MAX + 1];
    let tagged = |tag: &[u8]| [tag, &long].concat();
    let cases: Vec<Case> = vec![
        (b"".to_vec(), &[], None),
        (b"*1\r\n$4\r\nPING\r\n".to_vec(), &[&["PING"]], None),
        (b"*2\r\n$3\r\nGET\r\n$12\r\nabcdefghijkl\r\n".to_vec(), &[&["GET", "abcdefghijkl"]], None),
        (b"*0\r\n*-5\r\n\r\n  \r\nPING\n".to_vec(), &[&["PING"]], None),
        (b"*1\rx$4\rxPINGxxPING\r\n".to_vec(), &[&["PING"], &["PING"]], None),
        (b"*1\r\n$0\r\n\r\n".to_vec(), &[&[""]], None),
        (b"*1\r\n$00\r\n\r\n".to_vec(), &[], Some(E::InvalidLength)),
        (b"*1\r\n$04\r\nPING\r\n".to_vec(), &[], Some(E::InvalidLength)),
        (b"*1\r\n$004\r\nPING\r\n".to_vec(), &[], Some(E::InvalidLength)),
        (b"*01\r\n".to_vec(), &[], Some(E::InvalidCount)),
        (b"*\r\n".to_vec(), &[], Some(E::InvalidCount)),
        (b"*1x$4\r\n".to_vec(), &[], Some(E::InvalidCount)),
        (b"*1048577\r\n".to_vec(), &[], Some(E::InvalidCount)),
        (b"*1048576\r\n".to_vec(), &[], None),
        (b"*9223372036854775808\r\n".to_vec(), &[], Some(E::InvalidCount)),
        (b"*1\r\n$\r\n".to_vec(), &[], Some(E::InvalidLength)),
        (b"*1\r\n$-1\r\n".to_vec(), &[], Some(E::InvalidLength)),
        (b"*1\r\n$16777217\r\n".to_vec(), &[], Some(E::InvalidLength)),
        (b"*1\r\n$16777216\r\n".to_vec(), &[], None),
        (b"PING\r\n*1\r\nx\r\n".to_vec(), &[&["PING"]], Some(E::ExpectedBulk(b'x'))),
        (b"*1\r\nx".to_vec(), &[], None),
        (b"*1\r\n\r\r\n".to_vec(), &[], Some(E::ExpectedBulk(b'\r'))),
        (b"*1\r\n\0\r\n".to_vec(), &[], None),
        (b"ec\0ho a\r\n".to_vec(), &[], None),
        (b"SET k \"a b\"\r\n".to_vec(), &[&["SET", "k", "a b"]], None),
        (b"PING \"a\"b\r\n".to_vec(), &[], Some(E::UnbalancedQuotes)),
        (b"PING \"a\r\n".to_vec(), &[], Some(E::UnbalancedQuotes)),
        (b"PING 'a\r\n".to_vec(), &[], Some(E::UnbalancedQuotes)),
        (b"PING 'a\\'b' c\r\n".to_vec(), &[&["PING", "a'b", "c"]], None),
        (b"PING \"\\x41\\x4g\\q\\n\\\"\"\r\n".to_vec(), &[&["PING", "Ax4gq\n\""]], None),
        (b"PING a\"b c\"\r\n".to_vec(), &[&["PING", "ab c"]], None),
        (b"\x0bPING\x0ba\r\n".to_vec(), &[&["PING\x0ba"]], None),
        (b"\"\" ''\n".to_vec(), &[&["", ""]], None),
        (long.clone(), &[], Some(E::InlineTooBig)),
        (long[..LINE_BYTES_MAX].to_vec(), &[], None),
        (tagged(b"*"), &[], Some(E::CountLineTooBig)),
        (tagged(b"*1\r\n$"), &[], Some(E::LengthLineTooBig)),
    ];
    for (bytes, expected, error) in cases {
        let limits = Limits::default();
        let shown = bytes[..bytes.len().min(60)].escape_ascii().to_string();
        let expected: Requests =
            expected.iter().map(|r| r.iter().map(|arg| arg.as_bytes().to_vec()).collect()).collect();
        assert_eq!(model(&bytes, &limits), (expected.clone(), error), "model: {shown}");
        assert_eq!(feed(&bytes, &[], &limits), (expected.clone(), error), "whole: {shown}");
        if bytes.len() > 1000 {
            continue;
        }
        let every: Vec<usize> = (0..bytes.len()).collect();
        assert_eq!(feed(&bytes, &every, &limits), (expected.clone(), error), "byte by byte: {shown}");
        for cut in every {
            assert_eq!(feed(&bytes, &[cut], &limits), (expected.clone(), error), "cut at {cut}: {shown}");
        }
    }
}

#[test]
fn before_authentication_only_short_requests_are_read() {
    let limits = Limits { authenticated: false, ..Limits::default() };
    let many = request(&[b"a".as_slice(); 11]);
    assert_eq!(feed(&many, &[], &limits).1, Some(ProtocolError::UnauthenticatedCount));
    assert_eq!(feed(&many, &[], &Limits::default()).1, None);
    let ten = request(&[b"a".as_slice(); 10]);
    assert_eq!(feed(&ten, &[], &limits).1, None);
    let long = request(&[b"SET", &[b'v'; 16385]]);
    assert_eq!(feed(&long, &[], &limits).1, Some(ProtocolError::UnauthenticatedLength));
    assert_eq!(feed(&request(&[b"SET", &[b'v'; 16384]]), &[], &limits).0.len(), 1);
}

#[test]
fn a_long_bulk_names_the_bytes_it_needs() {
    let whole = request(&[b"SET", b"k", &[b'v'; 100_000]]);
    let (mut parser, mut arguments) = (Parser::new(), Arguments::new());
    match parser.next(&whole[..50], &mut arguments, &Limits::default()) {
        Next::Incomplete { consumed: 0, need } => assert_eq!(need, whole.len()),
        other => panic!("{other:?}"),
    }
    assert!(parser.in_progress());
    match parser.next(&whole, &mut arguments, &Limits::default()) {
        Next::Request { request, consumed } => {
            assert_eq!((request.arg(2).len(), consumed), (100_000, whole.len()));
            assert_eq!((request.get(3), request.get(1)), (None, Some(b"k".as_slice())));
        }
        other => panic!("{other:?}"),
    }
    assert!(!parser.in_progress());
}

/// O1: a request of many parts is refused before it can hold more memory than one request may.
#[test]
fn a_request_is_bounded_as_a_whole() {
    let bulk = vec![b'x'; 16 << 20];
    let whole = request(&[bulk.as_slice(); 2]);
    assert!(whole.len() > REQUEST_BYTES_MAX);
    let (requests, error) = feed(&whole[..whole.len() - bulk.len()], &[], &Limits::default());
    assert_eq!((requests.len(), error), (0, Some(ProtocolError::RequestTooBig)));
}

#[test]
fn protocol_errors_read_as_the_oracle_writes_them() {
    let text = |error: ProtocolError| {
        let mut out = Vec::new();
        error.write(&mut out);
        out
    };
    assert_eq!(text(ProtocolError::ExpectedBulk(b'x')), b"Protocol error: expected '$', got 'x'");
    assert_eq!(text(ProtocolError::ExpectedBulk(b'\r')), b"Protocol error: expected '$', got ' '");
    assert_eq!(text(ProtocolError::ExpectedBulk(0x80)), b"Protocol error: expected '$', got '\x80'");
    assert_eq!(text(ProtocolError::InvalidLength), b"Protocol error: invalid bulk length");
}

fn random_stream(rng: &mut fastrand::Rng) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..rng.usize(1..6) {
        match rng.u8(0..10) {
            0 => out.extend_from_slice(b"PING a 'b c' \"\\x41\" \r\n"),
            1 => out.extend_from_slice(b"\r\n*0\r\n"),
            _ => {
                let args: Vec<Vec<u8>> = (0..rng.usize(1..5))
                    .map(|_| {
                        let len = match rng.u8(0..10) {
                            0 => rng.usize(0..300),
                            1 => rng.usize(90..110),
                            _ => rng.usize(0..14),
                        };
                        (0..len).map(|_| *rng.choice(b"ab\r\n$*\0 \"'").expect("not empty")).collect()
                    })
                    .collect();
                out.extend(request(&args.iter().map(Vec::as_slice).collect::<Vec<_>>()));
            }
        }
    }
    for _ in 0..rng.usize(0..3) {
        if rng.bool() && !out.is_empty() {
            let at = rng.usize(0..out.len());
            match rng.u8(0..3) {
                0 => out[at] = rng.u8(..),
                1 => out.insert(at, *rng.choice(b"\r\n$*\0 \"'19-").expect("not empty")),
                _ => drop(out.remove(at)),
            }
        }
    }
    out
}

#[test]
fn random_streams_cut_anywhere_say_the_same() {
    let seed = std::env::var("PINION_SEED").map_or(1, |seed| seed.parse().expect("PINION_SEED is a number"));
    println!("PINION_SEED={seed} cargo test -p pinion-core random_streams_cut_anywhere");
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut broken = 0;
    for round in 0..20_000 {
        let bytes = random_stream(&mut rng);
        let limits = Limits { authenticated: rng.u8(0..8) > 0, ..Limits::default() };
        let expected = model(&bytes, &limits);
        broken += u32::from(expected.1.is_some());
        let mut cuts: Vec<usize> = (0..rng.usize(0..6)).map(|_| rng.usize(0..=bytes.len())).collect();
        cuts.sort_unstable();
        assert_eq!(
            feed(&bytes, &[], &limits),
            expected,
            "seed {seed} round {round}: {}",
            bytes.escape_ascii()
        );
        assert_eq!(
            feed(&bytes, &cuts, &limits),
            expected,
            "seed {seed} round {round}: {}",
            bytes.escape_ascii()
        );
    }
    assert!(broken > 1000, "streams that break must be among the random ones: {broken}");
}
