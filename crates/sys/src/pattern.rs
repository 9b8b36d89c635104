//! Patterns of the shell's kind: fnmatch(3) without flags, so `*` also crosses
//! slashes. Modules' aliases are such, and what networks match cards by.
//!
//! Written out here because PID 1 must not depend on the C library's locale,
//! and so that a pattern with many stars cannot take exponential time.

/// Whether all of `text` matches `pattern`: `*`, `?`, `[abc]`, `[a-f]`,
/// `[!abc]`, `[^abc]`, and `\` before a character that stands for itself. A
/// `[` without its `]` stands for itself.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on after a mismatch: behind the last star, which then takes
    // one character more. Earlier stars need no second try.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
            continue;
        }
        if t == text.len() && p == pattern.len() {
            return true;
        }
        let length = text.get(t).and_then(|&c| one(&pattern[p..], c));
        if let Some(length) = length {
            p += length;
            t += 1;
            continue;
        }
        match &mut retry {
            Some((after_star, from)) if *from < text.len() => {
                *from += 1;
                (p, t) = (*after_star, *from);
            }
            _ => return false,
        }
    }
}

/// The length of the pattern's first element if it matches the character.
fn one(pattern: &[u8], c: u8) -> Option<usize> {
    match *pattern.first()? {
        b'?' => Some(1),
        b'[' => match class(pattern, c) {
            Some((true, length)) => Some(length),
            Some((false, _)) => None,
            None => (c == b'[').then_some(1),
        },
        b'\\' if pattern.len() > 1 => (pattern[1] == c).then_some(2),
        literal => (literal == c).then_some(1),
    }
}

/// Whether the class at the pattern's start contains the character, and the
/// class's length; `None` if it never ends.
fn class(pattern: &[u8], c: u8) -> Option<(bool, usize)> {
    let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    let first = if negated { 2 } else { 1 };
    let mut at = first;
    let mut inside = false;
    loop {
        let mut low = *pattern.get(at)?;
        if low == b']' && at > first {
            return Some((inside != negated, at + 1));
        }
        if low == b'\\' {
            at += 1;
            low = *pattern.get(at)?;
        }
        at += 1;
        let mut high = low;
        if pattern.get(at) == Some(&b'-') && *pattern.get(at + 1)? != b']' {
            at += 1;
            if pattern[at] == b'\\' {
                at += 1;
            }
            high = *pattern.get(at)?;
            at += 1;
        }
        inside |= (low..=high).contains(&c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_fnmatch() {
        let table = [
            ("", "", true),
            ("", "a", false),
            ("virtio", "virtio", true),
            ("virtio", "virtio2", false),
            ("virtio2", "virtio", false),
            ("*", "", true),
            ("*", "a/b", true),
            ("a*", "a", true),
            ("*a", "ba", true),
            ("*a", "ab", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b", false),
            ("a*bc*d", "abbcbd", true),
            ("?", "", false),
            ("?", "a", true),
            ("a?c", "abc", true),
            ("[abc]", "b", true),
            ("[abc]", "d", false),
            ("[abc]", "", false),
            ("[a-cx]", "b", true),
            ("[a-cx]", "x", true),
            ("[a-cx]", "w", false),
            ("[!a-c]", "b", false),
            ("[!a-c]", "d", true),
            ("[^a-c]", "d", true),
            ("[]a]", "]", true),
            ("[!]a]", "]", false),
            ("[a-]", "-", true),
            ("[a", "[a", true),
            ("[a", "a", false),
            (r"\*", "*", true),
            (r"\*", "a", false),
            (r"[\]]", "]", true),
            ("d[0-9]*v", "d7xxv", true),
            ("d[0-9]*v", "dAxxv", false),
            ("virtio:d00000002v*", "virtio:d00000002v00001AF4", true),
            ("virtio:d00000002v*", "virtio:d00000001v00001AF4", false),
            (
                "pci:v00001AF4d*sv*sd*bc*sc*i*",
                "pci:v00001AF4d00001001sv00001AF4sd00000002bc01sc00i00",
                true,
            ),
            (
                "pci:v*d*sv*sd*bc01sc06i01*",
                "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01",
                true,
            ),
            ("scsi:t-0x00*", "scsi:t-0x00", true),
            (
                "usb:v0525pA4A5d0[0-2]*dc*",
                "usb:v0525pA4A5d0310dc00",
                false,
            ),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(matches(pattern, text), expected, "{pattern:?} and {text:?}");
        }
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        let pattern = "*a".repeat(50) + "b";
        let text = "a".repeat(5000);
        let start = std::time::Instant::now();
        assert!(!matches(&pattern, &text));
        assert!(start.elapsed().as_secs() < 2);
    }
}
