//! A mirror's user and password, as apt reads them from a file: as a part of
//! the address, every user of the node could see them in the arguments of a
//! running program.
//!
//! See apt_auth.conf(5).

use std::io::Write;

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

/// A mirror's address without its password, and a private file with it.
#[derive(Debug)]
pub(crate) struct MirrorLogin {
    /// The address.
    pub(crate) address: String,
    /// A file for auth.conf.d.
    pub(crate) file: NamedTempFile,
}

impl MirrorLogin {
    /// Takes the login out of an address; `None` if it has none that such a
    /// file can hold.
    pub(crate) fn take_from(mirror: &str) -> Result<Option<Self>> {
        const DOING: &str = "writing the mirror's login for apt";
        let Some((address, line)) = split(mirror) else {
            return Ok(None);
        };
        // Made with mode 0600.
        let mut file = NamedTempFile::new().context(DOING)?;
        file.write_all(line.as_bytes()).context(DOING)?;
        Ok(Some(Self { address, file }))
    }
}

/// The address without the login, and the file's line.
fn split(mirror: &str) -> Option<(String, String)> {
    let (scheme, rest) = mirror.split_once("://")?;
    let end = rest.find('/').unwrap_or(rest.len());
    let (login, host) = rest[..end].rsplit_once('@')?;
    let (user, password) = login.split_once(':')?;
    let (user, password) = (decoded(user)?, decoded(password)?);
    let place = format!("{host}{}", &rest[end..]);
    // Without its scheme, apt would keep the password for https.
    let line = format!("machine {scheme}://{place} login {user} password {password}\n");
    Some((format!("{scheme}://{place}"), line))
}

/// A word with its `%40` and the like undone; `None` if it cannot stand in
/// the file, where blanks end a word.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = (first == b'%').then(|| after.get(..2)).flatten();
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok());
        let code = code.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    let word = String::from_utf8(bytes).ok()?;
    let whole = |c: char| c.is_ascii_graphic() && c != '#';
    Some(word).filter(|word| !word.is_empty() && word.chars().all(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leaves_the_address() {
        let table = [
            (
                "https://me:pa@ss%2Fword%40@mirror.example:8080/debian",
                "https://mirror.example:8080/debian",
                "machine https://mirror.example:8080/debian login me password pa@ss/word@\n",
            ),
            (
                "http://me:p@mirror.example",
                "http://mirror.example",
                "machine http://mirror.example login me password p\n",
            ),
        ];
        for (mirror, address, line) in table {
            let (bare, file) = split(mirror).unwrap();
            assert_eq!((bare.as_str(), file.as_str()), (address, line));
        }
        for mirror in [
            "http://mirror.example/debian@x:y",
            "http://token@mirror.example/",
            "http://me:a%20b@mirror.example/",
            "http://me:a%0ab@mirror.example/",
            "file:///srv",
            "mirror",
        ] {
            assert_eq!(split(mirror), None, "{mirror}");
        }
    }
}
