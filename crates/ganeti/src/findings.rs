//! What is wrong with an input, gathered so that one message shows it all,
//! and the two things every such message needs: a foreign text shown safely,
//! and the name that was probably meant.

use std::ffi::OsStr;

use anyhow::{Result, bail};
use p2v_sys::without_credentials;

/// How many faults one message lists: Ganeti shows an admin only the last 20
/// lines of a log.
const MOST_LISTED: usize = 12;

/// How many characters of a foreign text a message shows.
const MOST_SHOWN: usize = 60;

/// The faults found so far.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<String>);

impl Findings {
    /// Notes a fault.
    pub(crate) fn push(&mut self, finding: impl Into<String>) {
        self.0.push(finding.into());
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Notes the fault of a failed check; `None` then.
    pub(crate) fn keep<T>(&mut self, result: Result<T, String>) -> Option<T> {
        result.map_err(|finding| self.push(finding)).ok()
    }

    /// An error that lists the faults, if there are any.
    pub(crate) fn into_result(self, doing: &str) -> Result<()> {
        match self.0.as_slice() {
            [] => Ok(()),
            [one] => bail!("{doing}: {one}"),
            many => {
                let mut text = format!("{doing}: {} faults:", many.len());
                for finding in many.iter().take(MOST_LISTED) {
                    text += &format!("\n  {finding}");
                }
                if many.len() > MOST_LISTED {
                    text += &format!("\n  and {} more", many.len() - MOST_LISTED);
                }
                bail!(text)
            }
        }
    }
}

/// A foreign text in backquotes, cut short, with nothing in it that could
/// forge a line of the log or reverse it on a terminal, and without the
/// password of a URL.
pub(crate) fn quoted(text: impl AsRef<OsStr>) -> String {
    let text = without_credentials(&text.as_ref().to_string_lossy());
    let mut shown = String::from("`");
    for (count, c) in text.chars().enumerate() {
        if count == MOST_SHOWN {
            shown.push_str("...");
            break;
        }
        let reorders = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
        if c.is_control() || reorders {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown.push('`');
    shown
}

/// `; did you mean NAME?` if one of the known names is near, else nothing.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(name, known) {
        Some(near) => format!("; did you mean {near}?"),
        None => String::new(),
    }
}

/// The known name that differs from `name` in at most two edits, and in at
/// most a third of its letters, whatever their case.
fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_ascii_uppercase();
    if name.len() > MOST_SHOWN {
        return None;
    }
    known
        .into_iter()
        .map(|known| (distance(&name, &known.to_ascii_uppercase()), known))
        .filter(|(edits, known)| *edits <= 2 && edits * 3 <= known.len())
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, known)| known)
}

/// How many letters must be put in, left out, changed or swapped with their
/// neighbour to make one text of the other.
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut rows = vec![(0..=other.len()).collect::<Vec<usize>>()];
    for i in 1..=one.len() {
        let mut row = vec![i];
        for j in 1..=other.len() {
            let change = usize::from(one[i - 1] != other[j - 1]);
            let mut least = (rows[i - 1][j - 1] + change)
                .min(rows[i - 1][j] + 1)
                .min(row[j - 1] + 1);
            let swapped =
                i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1];
            if swapped {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn one_fault_is_a_line_and_many_are_a_bounded_list() {
        assert!(Findings::default().into_result("checking").is_ok());
        let mut one = Findings::default();
        one.push("no disk");
        let text = one.into_result("checking").unwrap_err().to_string();
        assert_eq!(text, "checking: no disk");
        let mut many = Findings::default();
        (0..40).for_each(|n| many.push(format!("fault {n}")));
        let text = many.into_result("checking").unwrap_err().to_string();
        assert!(text.starts_with("checking: 40 faults:\n  fault 0\n"));
        assert!(text.ends_with("\n  and 28 more"), "{text}");
        assert!(text.lines().count() < 20);
    }

    #[test]
    fn foreign_text_cannot_forge_a_line() {
        let table: [(&[u8], &str); 4] = [
            (b"plain", "`plain`"),
            (b"a\nERROR b\x1b[2J", "`a\\nERROR b\\u{1b}[2J`"),
            (b"\xff", "`\u{fffd}`"),
            ("\u{202e}x".as_bytes(), "`\\u{202e}x`"),
        ];
        for (bytes, shown) in table {
            assert_eq!(quoted(OsStr::from_bytes(bytes)), shown);
        }
        assert_eq!(quoted("x".repeat(5000)).chars().count(), MOST_SHOWN + 5);
    }

    #[test]
    fn typing_errors_find_their_name() {
        let known = ["PROXY", "SUITE", "EXTRA_PKGS", "PARTITION_STYLE"];
        let table = [
            ("EXTRA_PKG", Some("EXTRA_PKGS")),
            ("PRXOY", Some("PROXY")),
            ("suite", Some("SUITE")),
            ("PARTITIONSTYLE", Some("PARTITION_STYLE")),
            ("OUR_PREFIX", None),
            ("S", None),
            ("", None),
        ];
        for (name, meant) in table {
            assert_eq!(nearest(name, known), meant, "{name}");
        }
    }
}
