//! Lines and words of configuration files, edited so that every other byte
//! stays as it is: encodings, line ends, spacing.

use std::ops::Range;

/// What becomes of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// It stays.
    Keep,
    /// It goes, with its end.
    Drop,
    /// This takes its place; more than one line where it has line feeds.
    Is(String),
}

impl Line {
    /// The line itself, if it is the same.
    pub fn of(old: &str, new: String) -> Self {
        if old == new {
            Self::Keep
        } else {
            Self::Is(new)
        }
    }
}

/// Calls `edit` with each line of `text`, without its end. Lines that are not
/// UTF-8 are nothing that a fix knows, and stay.
pub fn edit_lines(text: &[u8], mut edit: impl FnMut(&str) -> Line) -> Vec<u8> {
    let mut edited = Vec::with_capacity(text.len());
    for whole in text.split_inclusive(|byte| *byte == b'\n') {
        let body = whole.strip_suffix(b"\n").unwrap_or(whole);
        let body = body.strip_suffix(b"\r").unwrap_or(body);
        let end = &whole[body.len()..];
        let line = std::str::from_utf8(body).map_or(Line::Keep, &mut edit);
        match line {
            Line::Keep => edited.extend_from_slice(whole),
            Line::Drop => {}
            Line::Is(new) => {
                edited.extend_from_slice(new.as_bytes());
                edited.extend_from_slice(end);
            }
        }
    }
    edited
}

/// Adds a line to a text, whose own last line gets an end if it has none.
pub fn append_line(text: &mut Vec<u8>, line: &str) {
    if !text.is_empty() && !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    text.extend_from_slice(line.as_bytes());
    text.push(b'\n');
}

/// The places of a line's words; none in a comment.
pub fn words(line: &str) -> Vec<Range<usize>> {
    if line.trim_start().starts_with('#') {
        return Vec::new();
    }
    words_of(line)
}

/// The places of what white space separates.
pub fn words_of(line: &str) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, letter) in line.char_indices() {
        match (letter.is_ascii_whitespace(), start) {
            (false, None) => start = Some(at),
            (true, Some(first)) => {
                words.push(first..at);
                start = None;
            }
            _ => {}
        }
    }
    words.extend(start.map(|first| first..line.len()));
    words
}

/// The line with these places replaced, which must come in order.
pub fn splice(line: &str, changes: &[(Range<usize>, String)]) -> String {
    let mut spliced = String::with_capacity(line.len());
    let mut done = 0;
    for (place, new) in changes {
        spliced += &line[done..place.start];
        spliced += new;
        done = place.end;
    }
    spliced + &line[done..]
}

/// The place of the value in a shell's `NAME=value`, inside its quotes; `None`
/// in any other line, and where the value is put together of several parts, as
/// `a"b c"`.
pub fn assigned(line: &str, name: &str) -> Option<Range<usize>> {
    let start = line.len() - line.trim_start().len();
    let rest = line[start..]
        .strip_prefix("export ")
        .unwrap_or(&line[start..]);
    let value = rest.strip_prefix(name)?.strip_prefix('=')?;
    let from = line.len() - value.len();
    match value.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let length = closing(&value[1..], quote)?;
            let behind = value[1 + length + 1..].chars().next();
            let is_all = behind.is_none_or(ends_word);
            is_all.then_some(from + 1..from + 1 + length)
        }
        _ => {
            let length = value.find(ends_word).unwrap_or(value.len());
            let is_all = !value[..length].contains(['"', '\'', '\\', '`']);
            is_all.then_some(from..from + length)
        }
    }
}

fn ends_word(letter: char) -> bool {
    letter.is_ascii_whitespace() || letter == ';'
}

/// Where the quote ends; in double quotes a backslash hides one.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut hidden = false;
    for (at, letter) in text.char_indices() {
        match letter {
            _ if hidden => hidden = false,
            '\\' if quote == '"' => hidden = true,
            _ if letter == quote => return Some(at),
            _ => {}
        }
    }
    None
}

/// A shell's variable as the last assignment in the text leaves it.
pub fn shell_value(text: &str, name: &str) -> Option<String> {
    let value = |line: &str| Some(line[assigned(line, name)?].to_owned());
    text.lines().filter_map(value).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_bytes_stay() {
        let text = b"one\r\ntwo\n\xff two\n\nlast two";
        let edited = edit_lines(text, |line| match line {
            "one" => Line::Is("1".to_owned()),
            "two" => Line::Drop,
            _ => Line::of(line, line.replace("two", "2")),
        });
        assert_eq!(edited, b"1\r\n\xff two\n\nlast 2");
        let mut text = b"x".to_vec();
        append_line(&mut text, "y");
        assert_eq!(text, b"x\ny\n");
    }

    #[test]
    fn words_and_splices() {
        let line = " a\tb  c ";
        assert_eq!(words(line), [1..2, 3..4, 6..7]);
        assert!(words("  # a b").is_empty());
        let changes = [(1..2, "A".to_owned()), (6..7, "CC".to_owned())];
        assert_eq!(splice(line, &changes), " A\tb  CC ");
    }

    #[test]
    fn assignments() {
        for (line, value) in [
            ("A=b", Some("b")),
            ("  export A=\"b c\" # d", Some("b c")),
            ("A='b \" c'", Some("b \" c")),
            ("A=\"b \\\" c\"", Some("b \\\" c")),
            ("A=b#c # d", Some("b#c")),
            ("A=b; C=d", Some("b")),
            ("A=b\"c d\"", None),
            ("A=\"b c\"d", None),
            ("A=b\\ c", None),
            ("A=", Some("")),
            ("A=\"b", None),
            ("#A=b", None),
            ("AB=b", None),
            ("A =b", None),
        ] {
            let found = assigned(line, "A").map(|place| &line[place]);
            assert_eq!(found, value, "{line}");
        }
        assert_eq!(shell_value("A=b\nA=c\n", "A").as_deref(), Some("c"));
    }
}
