//! The public keys that may log in, in OpenSSH's authorized_keys format: those
//! of the configured file and those of the OS parameter.
//!
//! Every key is checked down to its fields, since a line that sshd cannot read
//! is found out only when nobody can log in. Messages name lines by number and
//! never repeat what is in them: it may be a private key.
//!
//! See sshd(8), "AUTHORIZED_KEYS FILE FORMAT", and RFC 4253, section 6.6.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Serialize, Serializer};

use crate::config_file;
use crate::findings::Findings;

mod blob;

/// What tells a private key in each of its usual forms: PEM, PuTTY's, and the
/// base64 of OpenSSH's magic without its frame.
const PRIVATE_MARKS: [&str; 3] = ["PRIVATE KEY", "PuTTY-User-Key", "b3BlbnNzaC1rZXktdjE"];

/// The options that sshd knows, without their values.
const OPTIONS: [&str; 24] = [
    "agent-forwarding",
    "cert-authority",
    "command",
    "environment",
    "expiry-time",
    "from",
    "no-agent-forwarding",
    "no-port-forwarding",
    "no-pty",
    "no-touch-required",
    "no-user-rc",
    "no-x11-forwarding",
    "permitlisten",
    "permitopen",
    "port-forwarding",
    "principals",
    "pty",
    "restrict",
    "tunnel",
    "touch-required",
    "user-rc",
    "verify-required",
    "no-verify-required",
    "x11-forwarding",
];

/// A public key as a line of authorized_keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizedKey {
    line: String,
    /// Options and key: what makes it differ from another.
    identity: String,
}

impl AuthorizedKey {
    /// The line, without its end: options, type, base64 and comment.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Reads one line, which is neither blank nor a comment. The reason does
    /// not repeat it.
    fn parse(line: &str) -> Result<Self, String> {
        const SHAPE: &str = "not a public key: a line is [options] type base64 [comment]";
        if line.chars().any(|c| c.is_control() && c != '\t') {
            return Err("control characters are not allowed".to_owned());
        }
        let (first, rest) = split_field(line)?;
        let (options, kind, rest) = if blob::is_kind(first) {
            ("", first, rest)
        } else {
            let (kind, rest) = split_word(rest);
            (first, kind, rest)
        };
        if !blob::is_kind(kind) {
            return Err(blob::why_not(first).unwrap_or_else(|| SHAPE.to_owned()));
        }
        check_options(options)?;
        let (encoded, _comment) = split_word(rest);
        blob::check(kind, encoded)?;
        Ok(Self {
            line: line.to_owned(),
            identity: format!("{options} {kind} {encoded}"),
        })
    }
}

impl fmt::Display for AuthorizedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl Serialize for AuthorizedKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.line)
    }
}

/// All keys that may log in, once each: those of the file at `path` first, then
/// those `given`. Without keys it is an error that says where to put one, and so
/// is a file that is missing though `named_by` says that it is there.
pub fn collect(
    path: &Path,
    named_by: Option<&dyn fmt::Display>,
    given: &[AuthorizedKey],
) -> Result<Vec<AuthorizedKey>> {
    let mut keys = match (in_file(path)?, named_by) {
        (Some(keys), _) => keys,
        (None, None) => Vec::new(),
        (None, Some(name)) => bail!(
            "reading the authorized keys: {}, which {name} names, does not exist: create it",
            path.display()
        ),
    };
    keys.extend(given.iter().cloned());
    let mut known = std::collections::BTreeSet::new();
    keys.retain(|key| known.insert(key.identity.clone()));
    if keys.is_empty() {
        bail!(
            "collecting the authorized keys: there is no key, and nobody could log in: create {} \
            with a public key in it (a line such as ~/.ssh/id_ed25519.pub has), or give one with \
            the OS parameter authorized_keys",
            path.display()
        );
    }
    Ok(keys)
}

/// The keys of a file; `None` if there is no such file. A line that sshd could
/// not read is an error.
pub fn in_file(path: &Path) -> Result<Option<Vec<AuthorizedKey>>> {
    let bytes = config_file::read(path).context("collecting the authorized keys")?;
    bytes.map(|bytes| from_file(&bytes, path)).transpose()
}

pub(crate) fn from_file(bytes: &[u8], path: &Path) -> Result<Vec<AuthorizedKey>> {
    let doing = format!("reading the authorized keys in {}", path.display());
    let text = String::from_utf8_lossy(bytes);
    if holds_private_key(&text) {
        bail!(
            "{doing}: it holds a private key: put the public one (the file that ends in .pub) in \
            its place"
        );
    }
    let mut findings = Findings::default();
    let mut keys = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = AuthorizedKey::parse(line);
        keys.extend(findings.keep(key.map_err(|reason| format!("line {}: {reason}", index + 1))));
    }
    findings.into_result(&doing)?;
    Ok(keys)
}

/// The keys of the OS parameter, separated by `;` or line ends. In quotes of a
/// key's options a `;` is a part of them.
pub(crate) fn from_parameter(text: &str) -> Result<Vec<AuthorizedKey>, String> {
    if holds_private_key(text) {
        return Err(
            "it is a private key: give the public one (the file that ends in .pub), and make a \
            new pair, since Ganeti has stored this one"
                .to_owned(),
        );
    }
    let mut keys = Vec::new();
    let mut rest = text;
    while let (Some(part), after) = next_part(rest) {
        let part = part.trim();
        if !part.is_empty() && !part.starts_with('#') {
            let key = AuthorizedKey::parse(part);
            keys.push(key.map_err(|reason| format!("key {}: {reason}", keys.len() + 1))?);
        }
        rest = after;
    }
    if keys.is_empty() {
        return Err("there is no key in it".to_owned());
    }
    Ok(keys)
}

/// The text up to the next `;` or line end, and what follows it. Quotes count
/// in the first field only: a comment may hold an odd one.
fn next_part(text: &str) -> (Option<&str>, &str) {
    if text.is_empty() {
        return (None, text);
    }
    let lead = text.len() - text.trim_start().len();
    let mut in_options = true;
    let mut in_quotes = false;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip_while(|(at, _)| *at < lead) {
        match c {
            '\n' => return (Some(&text[..at]), &text[at + 1..]),
            ';' if !in_quotes => return (Some(&text[..at]), &text[at + 1..]),
            '"' if in_options && !escaped => in_quotes = !in_quotes,
            c if c.is_whitespace() && !in_quotes => in_options = false,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    (Some(text), "")
}

fn holds_private_key(text: &str) -> bool {
    PRIVATE_MARKS.iter().any(|mark| text.contains(mark))
}

/// The first field, in which quoted blanks do not count as an end, and the
/// rest.
fn split_field(line: &str) -> Result<(&str, &str), String> {
    let mut in_quotes = false;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' if !escaped => in_quotes = !in_quotes,
            ' ' | '\t' if !in_quotes => return Ok((&line[..at], line[at..].trim_start())),
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    if in_quotes {
        return Err("a quote in the options is not closed".to_owned());
    }
    Ok((line, ""))
}

fn split_word(text: &str) -> (&str, &str) {
    let end = text.find([' ', '\t']).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// sshd ignores a line with an option that it does not know.
fn check_options(options: &str) -> Result<(), String> {
    if options.is_empty() {
        return Ok(());
    }
    let mut rest = options;
    loop {
        let name_end = rest.find(['=', ',']).unwrap_or(rest.len());
        let name = rest[..name_end].to_ascii_lowercase();
        if !OPTIONS.contains(&name.as_str()) {
            return Err("sshd does not know one of the options before the key's type".to_owned());
        }
        rest = &rest[name_end..];
        if let Some(value) = rest.strip_prefix('=') {
            rest = after_quoted(value)
                .ok_or_else(|| format!("the value of the option {name} must be in \"...\""))?;
        }
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None if rest.is_empty() => return Ok(()),
            None => return Err(format!("after the option {name} a comma is missing")),
        }
    }
}

/// What follows the quoted text at the start.
fn after_quoted(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('"')?;
    let mut escaped = false;
    for (at, c) in inner.char_indices() {
        if c == '"' && !escaped {
            return Some(&inner[at + 1..]);
        }
        escaped = c == '\\' && !escaped;
    }
    None
}

#[cfg(test)]
mod tests;
