//! Passwords in URLs, kept out of messages and logs.

/// The text with `***` for the user and password of each URL in it.
pub fn without_credentials(text: &str) -> String {
    let mut parts = text.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shown.push_str("://");
        let end = part
            .find(|c: char| c == '/' || c.is_whitespace())
            .unwrap_or(part.len());
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
            ("no url", "no url"),
        ];
        for (text, shown) in table {
            assert_eq!(without_credentials(text), shown);
        }
    }
}
