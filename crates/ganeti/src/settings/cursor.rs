//! Where the reader of a configuration file stands: the text that is left and
//! the line it begins in.

/// What is wrong, and in which line.
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) reason: String,
}

impl Fault {
    pub(super) fn at(line: usize, reason: impl Into<String>) -> Self {
        Self {
            line,
            reason: reason.into(),
        }
    }
}

/// A place in a text.
pub(super) struct Cursor<'a> {
    rest: &'a str,
    /// Counted from 1.
    pub(super) line: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            line: 1,
        }
    }

    /// The next character, which stays.
    pub(super) fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    /// Takes the next character.
    pub(super) fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    /// Takes the next character if it is this one.
    pub(super) fn take(&mut self, wanted: char) -> bool {
        let there = self.peek() == Some(wanted);
        if there {
            self.next();
        }
        there
    }

    /// Takes the next character, which must be this one.
    pub(super) fn expect(&mut self, wanted: char, reason: &str) -> Result<(), Fault> {
        if self.take(wanted) {
            return Ok(());
        }
        Err(self.fault(reason))
    }

    /// Takes a variable's name; empty if there is none here.
    pub(super) fn name(&mut self) -> &'a str {
        let end = self
            .rest
            .find(|c: char| !is_name_start(c) && !c.is_ascii_digit())
            .unwrap_or(self.rest.len());
        if !self.rest.starts_with(is_name_start) {
            return "";
        }
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        name
    }

    /// Takes blanks and continued line ends; whether there were blanks.
    pub(super) fn skip_blanks(&mut self) -> bool {
        let mut parted = false;
        loop {
            if self.line_continues() {
                self.next();
                self.next();
            } else if matches!(self.peek(), Some(' ' | '\t')) {
                parted = true;
                self.next();
            } else {
                return parted;
            }
        }
    }

    /// Takes all up to the line's end.
    pub(super) fn skip_line(&mut self) {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        self.rest = &self.rest[end..];
    }

    /// Whether a backslash and a line's end come next.
    pub(super) fn line_continues(&self) -> bool {
        self.rest.starts_with("\\\n")
    }

    /// Whether an `=` comes next, after blanks.
    pub(super) fn equals_follows(&self) -> bool {
        self.rest.trim_start_matches([' ', '\t']).starts_with('=')
    }

    /// A fault in the line that the cursor is in.
    pub(super) fn fault(&self, reason: impl Into<String>) -> Fault {
        Fault::at(self.line, reason)
    }
}

/// Whether a variable's name can begin so.
pub(super) fn is_name_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}
