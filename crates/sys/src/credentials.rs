//! Passwords and keys in URLs, also in QEMU's kind of them, kept out of messages
//! and logs.

/// What stands before a secret in a URI: `rbd:pool/image:id=x:key=...`,
/// `...?password=...`.
const SECRETS: [&str; 2] = ["key=", "password="];

/// The text with `***` for the user and password of each URL in it, and for
/// what a URI names as key or password.
pub fn without_credentials(text: &str) -> String {
    without_keys(&without_users(text))
}

fn without_keys(text: &str) -> String {
    let ends = |c: char| ":&?,'\"".contains(c) || c.is_whitespace();
    let hidden = text.split_inclusive(ends).map(|part| {
        let secret = SECRETS.iter().find(|name| part.starts_with(**name));
        match secret {
            None => part.to_owned(),
            Some(name) => format!("{name}***{}", &part[part.trim_end_matches(ends).len()..]),
        }
    });
    hidden.collect()
}

fn without_users(text: &str) -> String {
    let mut parts = text.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shown.push_str("://");
        let end = part
            .find(|c: char| c == '/' || c.is_whitespace())
            .unwrap_or(part.len());
        // A slash in a password ends nothing: what follows the colon is no port
        // then.
        let port = part[..end].rsplit_once(':').map(|(_, port)| port);
        let cut = port.is_some_and(|port| !port.bytes().all(|b| b.is_ascii_digit() || b == b']'));
        let end = match part[..end].contains('@') || !cut {
            true => end,
            false => part.find(char::is_whitespace).unwrap_or(part.len()),
        };
        match part[..end].rfind('@') {
            Some(at) => shown.extend(["***", &part[at..]]),
            None => shown.push_str(part),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_not_shown() {
        let table = [
            ("http://u:p@host:3128/", "http://***@host:3128/"),
            (
                "A=http://u:p@h B='ftp://x@y/@z'",
                "A=http://***@h B='ftp://***@y/@z'",
            ),
            ("http://u:p@s@host", "http://***@host"),
            ("http://host/a@b", "http://host/a@b"),
            ("http://u:p/q@host/x y@z", "http://***@host/x y@z"),
            ("http://host:80/a@b", "http://host:80/a@b"),
            ("http://[::1]/a@b", "http://[::1]/a@b"),
            (
                "rbd:pool/image:id=x:key=AQ==:conf=/c",
                "rbd:pool/image:id=x:key=***:conf=/c",
            ),
            (
                "opening 'rbd:pool/image:key=AQ==': no",
                "opening 'rbd:pool/image:key=***': no",
            ),
            (
                "nbd://u:p@host/x?password=y&z=1",
                "nbd://***@host/x?password=***&z=1",
            ),
            ("gluster://h/v/d", "gluster://h/v/d"),
            ("no url", "no url"),
        ];
        for (text, shown) in table {
            assert_eq!(without_credentials(text), shown);
        }
    }
}
