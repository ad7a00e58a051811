//! Glob patterns as Redis matches them: `*`, `?`, `[abc]`, `[^a-z]`, and `\` before a character that stands for itself.

/// Whether all of `text` matches `pattern`. Backtracks to the last star only, so the time is at most the product of both
/// lengths.
#[must_use]
pub fn glob_matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
            continue;
        }
        let matched = match (pattern.get(p), text.get(t)) {
            (None, None) => return true,
            (Some(_), Some(&byte)) => match_one(&pattern[p..], byte),
            _ => None,
        };
        match (matched, retry) {
            (Some(used), _) => {
                p += used;
                t += 1;
            }
            (None, Some((after_star, from))) if from < text.len() => {
                retry = Some((after_star, from + 1));
                (p, t) = (after_star, from + 1);
            }
            (None, _) => return false,
        }
    }
}

/// How many bytes of the pattern match `byte`; `None` if they do not.
fn match_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', class @ ..] => match_class(class, byte).map(|used| used + 1),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [first, ..] => (*first == byte).then_some(1),
        [] => None,
    }
}

/// A class without its opening bracket. One that is not closed ends with the pattern.
fn match_class(class: &[u8], byte: u8) -> Option<usize> {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match &class[at.min(class.len())..] {
            [] => break,
            [b'\\', escaped, ..] => {
                found |= *escaped == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [start, b'-', end, ..] => {
                let (low, high) = (start.min(end), start.max(end));
                found |= (*low..=*high).contains(&byte);
                at += 3;
            }
            [first, ..] => {
                found |= *first == byte;
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::glob_matches;

    /// As `stringmatchlen` of Redis decides.
    #[test]
    fn golden() {
        let golden: [(&str, &str, bool); 24] = [
            ("*", "", true),
            ("*", "anything", true),
            ("", "", true),
            ("", "a", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("h*llo", "heeello", true),
            ("h*llo", "hell", false),
            ("a*b*c", "axxbyybzzc", true),
            ("a*b*c", "axxbyybzz", false),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("h[a-c]llo", "hdllo", false),
            ("h\\*llo", "h*llo", true),
            ("h\\*llo", "hello", false),
            ("[\\]]", "]", true),
            ("[ab", "b", true),
            ("[ab", "c", false),
            ("key:*:x", "key:1:2:x", true),
            ("**a", "ba", true),
        ];
        for (pattern, text, expected) in golden {
            assert_eq!(glob_matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_stay_cheap() {
        let (pattern, text) = ("a*".repeat(500), "a".repeat(10_000));
        assert!(glob_matches(pattern.as_bytes(), text.as_bytes()));
        assert!(!glob_matches((pattern + "b").as_bytes(), text.as_bytes()));
    }
}
