//! Configuration files: the part of the shell's syntax that sets variables,
//! read by ourselves. No shell runs, so a file can neither do anything nor
//! depend on anything.
//!
//! Read are, each meaning what it means to a shell:
//!
//! - `NAME=value`, `NAME+=value` (as in bash), several on a line with blanks or
//!   `;` between them;
//! - `export NAME=value`, `export NAME`: hooks get the variable;
//! - `: ${NAME:=value}`, also in double quotes: sets NAME if it is empty;
//! - in values `'…'`, `"…"`, `\`, `$NAME` and `${NAME}`;
//! - `#` comments, and lines continued by a backslash at their end.
//!
//! Everything else is an error that names the line. What a shell would not
//! take literally (`*` in a command, `~`, `{`, `|`, …) must be quoted.

use std::path::Path;

use anyhow::{Result, bail};

use super::cursor::{Cursor, Fault, is_name_start};
use super::scope::Scope;
use super::table::PASSWORD;
use crate::findings::quoted;

/// Said of every line that is something else.
const ALLOWED: &str = "only NAME=value, NAME+=value, export NAME=value, : ${NAME:=value} and # \
    comments are read here, and no shell runs";

/// Reads a file's text and sets its variables in `scope`. The error names the
/// file, the line, its text and what is allowed.
pub(super) fn evaluate(text: &[u8], file: &Path, scope: &mut Scope) -> Result<()> {
    let doing = format!("reading {}", file.display());
    let text = match std::str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => {
            let line = 1 + newlines(&text[..error.valid_up_to()]);
            bail!("{doing}: line {line}: not valid UTF-8");
        }
    };
    let odd = |c: char| c == '\0' || c == '\r';
    if let Some(position) = text.find(odd) {
        let line = 1 + newlines(&text.as_bytes()[..position]);
        bail!("{doing}: line {line}: a carriage return or NUL: lines must end as on Unix");
    }
    let mut parser = Parser {
        cursor: Cursor::new(text),
        file,
        scope,
    };
    match parser.file() {
        Ok(()) => Ok(()),
        Err(Fault { line, reason }) => {
            let shown = text.lines().nth(line - 1).unwrap_or_default().trim();
            // The reason may repeat a part of it: to a shell a hash is full of
            // variables.
            if shown.contains(PASSWORD) {
                bail!(
                    "{doing}: line {line}: {PASSWORD} (its value is not shown): not an \
                     assignment; put the value in single quotes"
                );
            }
            bail!("{doing}: line {line}: {}: {reason}", quoted(shown))
        }
    }
}

fn newlines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// Where a value stands, which decides where it ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// After `NAME=`: up to a blank, a `;` or the line's end.
    Assignment,
    /// In `${NAME:=…}`: up to the brace.
    Braces,
    /// In `"${NAME:=…}"`: up to the brace; what quotes mean there differs
    /// between shells, so there may be none.
    QuotedBraces,
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    file: &'a Path,
    scope: &'a mut Scope,
}

impl Parser<'_> {
    fn file(&mut self) -> Result<(), Fault> {
        loop {
            self.cursor.skip_blanks();
            match self.cursor.peek() {
                None => return Ok(()),
                Some('\n') => drop(self.cursor.next()),
                Some('#') => self.cursor.skip_line(),
                Some(_) => self.command()?,
            }
        }
    }

    /// One command, with the `;` that ends it.
    fn command(&mut self) -> Result<(), Fault> {
        let line = self.cursor.line;
        let name = self.cursor.name();
        match (name, self.cursor.peek()) {
            ("", Some(':')) => {
                self.cursor.next();
                self.arguments(line, Self::default_value)?;
            }
            ("export", Some(' ' | '\t' | '\\')) => {
                let count = self.arguments(line, |parser| {
                    let name = parser.cursor.name();
                    parser.assignment(name, true)
                })?;
                if count == 0 {
                    return Err(Fault::at(line, "export needs a name"));
                }
            }
            ("export", _) => return Err(Fault::at(line, "export needs a name")),
            (name, _) => {
                self.assignment(name, false)?;
                self.arguments(line, |parser| {
                    let name = parser.cursor.name();
                    parser.assignment(name, false)
                })?;
            }
        }
        self.cursor.take(';');
        Ok(())
    }

    /// The words after a command's first, each read by `read`, and how many
    /// there are.
    fn arguments(
        &mut self,
        line: usize,
        read: impl Fn(&mut Self) -> Result<(), Fault>,
    ) -> Result<usize, Fault> {
        let mut count = 0;
        loop {
            let parted = self.cursor.skip_blanks();
            match self.cursor.peek() {
                None | Some('\n' | ';') => return Ok(count),
                Some('#') if parted => return Ok(count),
                Some(_) if parted => read(self)?,
                Some(_) => return Err(Fault::at(line, ALLOWED)),
            }
            count += 1;
        }
    }

    /// `=value` or `+=value` after a name; nothing after an exported one.
    fn assignment(&mut self, name: &str, export: bool) -> Result<(), Fault> {
        let line = self.cursor.line;
        if name.is_empty() {
            return Err(self.cursor.fault(ALLOWED));
        }
        let append = self.cursor.take('+');
        match self.cursor.peek() {
            Some('=') => drop(self.cursor.next()),
            Some(' ' | '\t' | '\n' | ';') | None if export && !append => {
                let exported = self.scope.export(name);
                return exported.map_err(|reason| Fault::at(line, reason));
            }
            Some('[') => return Err(self.cursor.fault("arrays are not supported")),
            Some(' ' | '\t') if self.cursor.equals_follows() => {
                return Err(self.cursor.fault("there must be no blanks around ="));
            }
            _ => return Err(self.cursor.fault(ALLOWED)),
        }
        let value = self.value(Place::Assignment)?;
        let place = (self.file, line);
        let mut assigned = self.scope.assign(name, &value, append, place);
        if export {
            assigned = assigned.and_then(|()| self.scope.export(name));
        }
        assigned.map_err(|reason| Fault::at(line, reason))
    }

    /// `${NAME:=value}`, the argument of `:`.
    fn default_value(&mut self) -> Result<(), Fault> {
        const SHAPE: &str = "after `:` only ${NAME:=value} is allowed";
        let line = self.cursor.line;
        let in_quotes = self.cursor.take('"');
        for wanted in ['$', '{'] {
            self.cursor.expect(wanted, SHAPE)?;
        }
        let name = self.cursor.name();
        if name.is_empty() {
            return Err(self.cursor.fault(SHAPE));
        }
        for wanted in [':', '='] {
            self.cursor.expect(wanted, SHAPE)?;
        }
        let place = if in_quotes {
            Place::QuotedBraces
        } else {
            Place::Braces
        };
        let value = self.value(place)?;
        self.cursor
            .expect('}', "the brace is not closed in this line")?;
        if in_quotes {
            self.cursor.expect('"', SHAPE)?;
        }
        if !self.scope.is_empty(name) {
            return Ok(());
        }
        let assigned = self.scope.assign(name, &value, false, (self.file, line));
        assigned.map_err(|reason| Fault::at(line, reason))
    }

    fn value(&mut self, place: Place) -> Result<String, Fault> {
        let mut value = String::new();
        while let Some(c) = self.cursor.peek() {
            match (c, place) {
                (' ' | '\t' | ';', Place::Assignment) | ('\n', _) => break,
                ('}', Place::Braces | Place::QuotedBraces) => break,
                (' ' | '\t', _) => value.extend(self.cursor.next()),
                ('\'' | '"' | '\\', Place::QuotedBraces) => {
                    let reason = "inside \"${NAME:=...}\" quotes and backslashes are not supported: \
                        write : ${NAME:=\"value\"}";
                    return Err(self.cursor.fault(reason));
                }
                ('\'', _) => self.single_quoted(&mut value)?,
                ('"', _) => self.double_quoted(&mut value)?,
                ('\\', _) => self.escaped(&mut value)?,
                ('$', _) => {
                    self.cursor.next();
                    if matches!(self.cursor.peek(), Some('\'' | '"')) {
                        return Err(self.cursor.fault("$'...' and $\"...\" are not supported"));
                    }
                    self.expansion(&mut value)?;
                }
                ('`' | '(', _) => return Err(self.cursor.fault(NO_COMMANDS)),
                ('|' | '&' | '<' | '>' | ')' | '~' | '{' | '}' | ';', _) => {
                    let reason =
                        format!("{c} outside quotes is not supported here: quote the value");
                    return Err(self.cursor.fault(reason));
                }
                _ => value.extend(self.cursor.next()),
            }
        }
        Ok(value)
    }

    fn single_quoted(&mut self, value: &mut String) -> Result<(), Fault> {
        let line = self.cursor.line;
        self.cursor.next();
        loop {
            match self.cursor.next() {
                Some('\'') => return Ok(()),
                Some(c) => value.push(c),
                None => return Err(Fault::at(line, "the quote ' is not closed")),
            }
        }
    }

    fn double_quoted(&mut self, value: &mut String) -> Result<(), Fault> {
        let line = self.cursor.line;
        self.cursor.next();
        loop {
            match self.cursor.next() {
                Some('"') => return Ok(()),
                Some('`') => return Err(self.cursor.fault(NO_COMMANDS)),
                Some('$') => self.expansion(value)?,
                Some('\\') => match self.cursor.next() {
                    Some('\n') => {}
                    Some(c @ ('$' | '`' | '"' | '\\')) => value.push(c),
                    Some(c) => value.extend(['\\', c]),
                    None => return Err(Fault::at(line, "the quote \" is not closed")),
                },
                Some(c) => value.push(c),
                None => return Err(Fault::at(line, "the quote \" is not closed")),
            }
        }
    }

    fn escaped(&mut self, value: &mut String) -> Result<(), Fault> {
        self.cursor.next();
        match self.cursor.next() {
            Some('\n') => Ok(()),
            Some(c) => {
                value.push(c);
                Ok(())
            }
            None => Err(self.cursor.fault("a backslash at the file's end")),
        }
    }

    /// What follows a `$`.
    fn expansion(&mut self, value: &mut String) -> Result<(), Fault> {
        let line = self.cursor.line;
        let name = match self.cursor.peek() {
            Some('{') => {
                self.cursor.next();
                let name = self.cursor.name();
                if name.is_empty() || self.cursor.next() != Some('}') {
                    return Err(Fault::at(
                        line,
                        "of ${...} only ${NAME} is supported in a value",
                    ));
                }
                name
            }
            Some('(' | '[') => return Err(self.cursor.fault(NO_COMMANDS)),
            Some('0'..='9' | '@' | '*' | '#' | '?' | '-' | '$' | '!') => {
                return Err(self.cursor.fault("only $NAME and ${NAME} are supported"));
            }
            Some(c) if is_name_start(c) => {
                let name = self.cursor.name();
                // A shell joins the lines before it looks for the name's end.
                if self.cursor.line_continues() {
                    return Err(Fault::at(line, BROKEN_NAME));
                }
                name
            }
            _ if self.cursor.line_continues() => return Err(Fault::at(line, BROKEN_NAME)),
            _ => {
                value.push('$');
                return Ok(());
            }
        };
        let text = self.scope.expand(name);
        value.push_str(&text.map_err(|reason| Fault::at(line, reason))?);
        Ok(())
    }
}

const NO_COMMANDS: &str = "commands, arithmetic and arrays are not supported: no shell runs";

const BROKEN_NAME: &str = "a line must not be continued inside or right after $NAME";

#[cfg(test)]
mod tests;
