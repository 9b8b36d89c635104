//! Programs of this machine that others need, and the Debian packages that
//! have them.

use std::fmt;

use anyhow::{Result, bail};

use crate::command::in_path;

/// A program, and the Debian package that has it.
pub type Tool = (&'static str, &'static str);

/// What is needed and not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The program, or what else it is.
    pub what: String,
    /// The Debian package that has it.
    pub package: &'static str,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, package } = self;
        write!(f, "{what} is not found; install {package}")
    }
}

/// Those of the programs that PATH does not have, in the given order.
pub fn missing(tools: &[Tool]) -> Vec<Missing> {
    let absent = tools.iter().filter(|(tool, _)| !in_path(tool));
    absent
        .map(|(tool, package)| Missing {
            what: (*tool).to_owned(),
            package,
        })
        .collect()
}

/// Fails if anything is missing; the message names all of it.
pub fn check(missing: &[Missing]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let all: Vec<_> = missing.iter().map(Missing::to_string).collect();
    bail!("looking for programs on this machine: {}", all.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_missing_is_named_at_once() {
        let missing = missing(&[("no-such-a", "a"), ("sh", "dash"), ("no-such-b", "b")]);
        assert_eq!(missing.len(), 2);
        let text = check(&missing).unwrap_err().to_string();
        assert!(
            text.contains("no-such-a is not found; install a;"),
            "{text}"
        );
        assert!(
            text.ends_with("no-such-b is not found; install b"),
            "{text}"
        );
        check(&[]).unwrap();
    }
}
