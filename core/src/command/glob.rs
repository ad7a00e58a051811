//! Patterns as clients write them: `*`, `?`, `[a-z]`, `[^a]`, and a backslash before what is meant literally.
//!
//! The rules are those of redis-server, its answers to malformed patterns included.

/// Whether capital and small letters differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// They do.
    Sensitive,
    /// They do not.
    Insensitive,
}

/// Whether `pattern` matches all of `text`. Takes at most `pattern.len() * text.len()` steps: of several stars only the last
/// one that was met is ever tried again.
pub fn matches(pattern: &[u8], text: &[u8], case: Case) -> bool {
    let (mut p, mut t) = (0, 0);
    // After the last star: where its rest begins, and how much of the text it has swallowed.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p + 1, t));
            p += 1;
            continue;
        }
        if t == text.len() {
            return p == pattern.len();
        }
        match step(&pattern[p..], text[t], case) {
            Some(len) => {
                p += len;
                t += 1;
            }
            None => {
                let Some((rest, swallowed)) = star else { return false };
                star = Some((rest, swallowed + 1));
                (p, t) = (rest, swallowed + 1);
            }
        }
    }
}

/// Whether the first element of `pattern`, no star, matches `byte`: then how long it is.
fn step(pattern: &[u8], byte: u8, case: Case) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', rest @ ..] => {
            let (matched, len) = class(rest, byte, case);
            matched.then_some(len + 1)
        }
        [b'\\', literal, ..] => (fold(*literal, case) == fold(byte, case)).then_some(2),
        [literal, ..] => (fold(*literal, case) == fold(byte, case)).then_some(1),
    }
}

/// Whether a class, without its opening bracket, contains `byte`, and how long it is. The end of the pattern closes it too.
fn class(pattern: &[u8], byte: u8, case: Case) -> (bool, usize) {
    let negated = pattern.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let byte = fold(byte, case);
    let mut found = false;
    while at < pattern.len() {
        match &pattern[at..] {
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', literal, ..] => {
                found |= fold(*literal, case) == byte;
                at += 2;
            }
            [from, b'-', to, ..] => {
                let (low, high) = (*from.min(to), *from.max(to));
                found |= (fold(low, case)..=fold(high, case)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= fold(*literal, case) == byte;
                at += 1;
            }
            [] => break,
        }
    }
    (found != negated, at)
}

fn fold(byte: u8, case: Case) -> u8 {
    match case {
        Case::Sensitive => byte,
        Case::Insensitive => byte.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_they_read() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("*", "abc", true),
            ("a*", "abc", true),
            ("a*c", "abcbc", true),
            ("a*c", "abcb", false),
            ("*b*", "abc", true),
            ("**", "abc", true),
            ("?", "", false),
            ("?", "a", true),
            ("a?c", "abc", true),
            ("[abc]", "b", true),
            ("[a-c]", "b", true),
            ("[c-a]", "b", true),
            ("[^a-c]", "b", false),
            ("[^a-c]", "d", true),
            ("[a", "a", true),
            ("[]", "a", false),
            ("[^]", "a", true),
            ("[\\]]", "]", true),
            ("[a-]", "-", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("\\", "\\", true),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("A", "a", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes(), Case::Sensitive),
                expected,
                "{pattern} {text}"
            );
        }
        assert!(matches(b"MAX*", b"maxmemory", Case::Insensitive));
        assert!(matches(b"[A-Z]?x", b"max", Case::Insensitive));
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = "a*".repeat(50) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(10_000).as_bytes(), Case::Sensitive));
    }
}
