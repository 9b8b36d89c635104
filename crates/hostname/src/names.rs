//! Names in the text of configuration files: which words are the machine's
//! name, and what takes their place. Pure: bytes in, bytes out, and every byte
//! that is no name stays as it is, whatever the file's encoding.

use std::ops::Range;

use crate::HostName;

/// What every machine calls itself: never anybody's own name.
const NOBODYS: [&str; 4] = [
    "localhost",
    "localhost.localdomain",
    "(none)",
    "localdomain",
];

/// How a file holds names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// hostname(5): one name in the first line that is no comment.
    Name,
    /// hosts(5): an address and names in each line.
    Hosts,
    /// A shell's assignment to this variable.
    Assignment(&'static str),
}

/// Which names become which, the full one and the short one each by its like.
#[derive(Debug, Clone)]
pub struct Names {
    changes: Vec<(String, String)>,
    new_full: String,
    new_short: String,
}

impl Names {
    /// The change from an instance's old name to its new one.
    pub fn new(old: &HostName, new: &HostName) -> Self {
        let mut names = Self {
            changes: Vec::new(),
            new_full: new.as_str().to_owned(),
            new_short: new.short().to_owned(),
        };
        names.add(old.as_str(), new.as_str());
        // A name without a domain is a full one: there is no other.
        if old.domain().is_some() {
            names.add(old.short(), new.short());
        }
        names
    }

    /// Makes the machine's own name, of whatever form, change as well.
    pub fn take_from(&mut self, own: &str) {
        match own.split_once('.') {
            Some((short, _)) => {
                let (full, new_short) = (self.new_full.clone(), self.new_short.clone());
                self.add(own, &full);
                self.add(short, &new_short);
            }
            None => {
                let short = self.new_short.clone();
                self.add(own, &short);
            }
        }
    }

    fn add(&mut self, old: &str, new: &str) {
        if !is_nobodys(old) {
            self.changes.push((old.to_owned(), new.to_owned()));
        }
    }

    /// The new full name.
    pub fn new_full(&self) -> &str {
        &self.new_full
    }

    /// What takes this word's place, if it is one of the old names. Names of
    /// hosts have no case.
    fn renamed(&self, word: &[u8]) -> Option<&str> {
        self.changes
            .iter()
            .find(|(old, _)| old.as_bytes().eq_ignore_ascii_case(word))
            .map(|(_, new)| new.as_str())
    }

    /// Whether a machine of this name follows the instance: it has its old
    /// name, or its new one already.
    pub fn follows(&self, name: &str) -> bool {
        let is_new = [&self.new_full, &self.new_short]
            .iter()
            .any(|new| new.eq_ignore_ascii_case(name));
        is_new || self.renamed(name.as_bytes()).is_some()
    }

    /// The text with the old names changed; `None` if it has none.
    pub fn change(&self, form: Form, text: &[u8]) -> Option<Vec<u8>> {
        let mut changed = Vec::with_capacity(text.len());
        let mut done = 0;
        for place in places(form, text) {
            if let Some(new) = self.renamed(&text[place.clone()]) {
                changed.extend_from_slice(&text[done..place.start]);
                changed.extend_from_slice(new.as_bytes());
                done = place.end;
            }
        }
        changed.extend_from_slice(&text[done..]);
        Some(changed).filter(|changed| changed != text)
    }
}

/// Whether the name says nothing about which machine it is.
pub fn is_nobodys(name: &str) -> bool {
    name.is_empty()
        || NOBODYS
            .iter()
            .any(|nobodys| nobodys.eq_ignore_ascii_case(name))
}

/// The name that a file gives the machine; not for hosts, which has many.
pub fn given_name(form: Form, text: &[u8]) -> Option<&[u8]> {
    // Of a shell's assignments the last counts.
    let place = places(form, text).pop()?;
    Some(&text[place])
}

/// Where in the text names stand.
fn places(form: Form, text: &[u8]) -> Vec<Range<usize>> {
    match form {
        Form::Name => name_line(text).into_iter().collect(),
        Form::Hosts => lines(text)
            .flat_map(|line| {
                let end = line.clone().find(|at| text[*at] == b'#');
                // The first word is the address.
                words(text, line.start..end.unwrap_or(line.end)).skip(1)
            })
            .collect(),
        Form::Assignment(variable) => lines(text)
            .filter_map(|line| assigned(text, line, variable))
            .collect(),
    }
}

fn name_line(text: &[u8]) -> Option<Range<usize>> {
    lines(text)
        .map(|line| trimmed(text, line))
        .find(|line| !line.is_empty() && text[line.start] != b'#')
}

/// The value's place in `NAME=value` or `NAME="value"`.
fn assigned(text: &[u8], line: Range<usize>, variable: &str) -> Option<Range<usize>> {
    let line = trimmed(text, line);
    let value = text[line.clone()]
        .strip_prefix(variable.as_bytes())?
        .strip_prefix(b"=")?;
    let whole = line.end - value.len()..line.end;
    let word = words(text, whole).next()?;
    match &text[word.clone()] {
        [b'"', .., b'"'] | [b'\'', .., b'\''] if word.len() >= 2 => {
            Some(word.start + 1..word.end - 1)
        }
        _ => Some(word),
    }
}

/// The lines' places, without their ends.
fn lines(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    text.split(|byte| *byte == b'\n').map(move |line| {
        let place = start..start + line.len();
        start = place.end + 1;
        place
    })
}

/// The words' places within `range`.
fn words(text: &[u8], range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let mut start = range.start;
    text[range]
        .split(u8::is_ascii_whitespace)
        .map(move |word| {
            let place = start..start + word.len();
            start = place.end + 1;
            place
        })
        .filter(|place| !place.is_empty())
}

fn trimmed(text: &[u8], range: Range<usize>) -> Range<usize> {
    let line = &text[range.clone()];
    let start = range.start + (line.len() - line.trim_ascii_start().len());
    start..start + line.trim_ascii().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(old: &str, new: &str) -> Names {
        Names::new(&old.parse().unwrap(), &new.parse().unwrap())
    }

    fn changed(names: &Names, form: Form, text: &str) -> String {
        let bytes = names.change(form, text.as_bytes());
        bytes.map_or("-".to_owned(), |bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn each_form_takes_the_like_of_the_new_name() {
        let table = [
            ("old.example.com\n", "new.example.org\n"),
            ("old\n", "new\n"),
            ("old", "new"),
            ("  OLD.Example.COM \r\n", "  new.example.org \r\n"),
            ("# a comment\n\nold\nold\n", "# a comment\n\nnew\nold\n"),
            ("older\n", "-"),
            ("old.example.com.\n", "-"),
            ("old.other.net\n", "-"),
            ("old old\n", "-"),
            ("new.example.org\n", "-"),
            ("", "-"),
            ("#old\n", "-"),
        ];
        let names = names("old.example.com", "new.example.org");
        for (text, expected) in table {
            assert_eq!(changed(&names, Form::Name, text), expected, "{text:?}");
        }
    }

    #[test]
    fn hosts_keeps_addresses_comments_and_spacing() {
        let table = [
            (
                "127.0.1.1\told.example.com   old # old.example.com\r\n",
                "127.0.1.1\tnew.example.org   new # old.example.com\r\n",
            ),
            ("::1 localhost old\n\n#old\n", "::1 localhost new\n\n#old\n"),
            (
                "192.0.2.1 www.old.example.com old-db gold old",
                "192.0.2.1 www.old.example.com old-db gold new",
            ),
            ("old 192.0.2.1\n", "-"),
            ("old\n", "-"),
            ("127.0.0.1 localhost\n", "-"),
            (" \t192.0.2.1 Old#old\n", " \t192.0.2.1 new#old\n"),
        ];
        let names = names("old.example.com", "new.example.org");
        for (text, expected) in table {
            assert_eq!(changed(&names, Form::Hosts, text), expected, "{text:?}");
        }
        let bytes = b"192.0.2.1 \xff\xfe old \xff\n";
        let after = names.change(Form::Hosts, bytes).unwrap();
        assert_eq!(after, b"192.0.2.1 \xff\xfe new \xff\n");
    }

    #[test]
    fn assignments_with_and_without_quotes() {
        let table = [
            (
                "NETWORKING=yes\nHOSTNAME=old.example.com\n",
                "NETWORKING=yes\nHOSTNAME=new.example.org\n",
            ),
            ("HOSTNAME=\"old\" # old\n", "HOSTNAME=\"new\" # old\n"),
            (
                "HOSTNAME='old'\nHOSTNAME=old",
                "HOSTNAME='new'\nHOSTNAME=new",
            ),
            (
                "#HOSTNAME=old\nOLDHOSTNAME=old\nHOSTNAME=\nHOSTNAME=\"\n",
                "-",
            ),
            ("HOSTNAME=$(old)\n", "-"),
        ];
        let names = names("old.example.com", "new.example.org");
        for (text, expected) in table {
            let form = Form::Assignment("HOSTNAME");
            assert_eq!(changed(&names, form, text), expected, "{text:?}");
        }
        let form = Form::Assignment("HOSTNAME");
        assert_eq!(
            given_name(form, b"HOSTNAME=a\nHOSTNAME=b\n"),
            Some(&b"b"[..])
        );
        assert_eq!(given_name(form, b"HOSTNAME=\"\"\n"), Some(&b""[..]));
        assert_eq!(given_name(form, b"HOSTNAME=\n"), None);
    }

    #[test]
    fn names_with_and_without_a_domain() {
        let table = [
            ("old", "new.example.org", "1 old\n", "1 new.example.org\n"),
            (
                "old.example.com",
                "new",
                "1 old.example.com old\n",
                "1 new new\n",
            ),
            (
                "a.example.com",
                "a.example.org",
                "1 a.example.com a\n",
                "1 a.example.org a\n",
            ),
            (
                "localhost.example.com",
                "new.example.org",
                "1 localhost\n",
                "-",
            ),
        ];
        for (old, new, text, expected) in table {
            assert_eq!(
                changed(&names(old, new), Form::Hosts, text),
                expected,
                "{old} {new}"
            );
        }
    }

    #[test]
    fn who_follows() {
        let mut names = names("old.example.com", "new.example.org");
        for (name, follows) in [
            ("old", true),
            ("OLD.example.com", true),
            ("new", true),
            ("new.example.org", true),
            ("old.example.org", false),
            ("db7", false),
        ] {
            assert_eq!(names.follows(name), follows, "{name}");
        }
        names.take_from("db7.lab");
        let text = "1 db7.lab db7 old\n";
        assert_eq!(
            changed(&names, Form::Hosts, text),
            "1 new.example.org new new\n"
        );
        assert!(is_nobodys("Localhost") && is_nobodys("") && !is_nobodys("a"));
    }
}
