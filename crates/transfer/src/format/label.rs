//! Labels as text and as bytes. A label may hold any bytes; in text those that
//! are no printable UTF-8 stand as `\xHH`, and so does a backslash, as in
//! /dev/disk/by-label.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;

/// A label's bytes, up to the first that is zero, as text.
pub fn label_text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte == 0);
    let bytes = &bytes[..end.unwrap_or(bytes.len())];
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || c == '\\' {
                let mut buffer = [0; 4];
                escape(&mut text, c.encode_utf8(&mut buffer).as_bytes());
            } else {
                text.push(c);
            }
        }
        escape(&mut text, chunk.invalid());
    }
    Some(text).filter(|text| !text.is_empty())
}

fn escape(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        *text += &format!("\\x{byte:02x}");
    }
}

/// The bytes that [`label_text`] made the text of. A backslash that starts no
/// `\xHH` is itself.
pub fn label_bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        match escaped(rest) {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes.retain(|byte| *byte != 0);
    bytes
}

fn escaped(text: &[u8]) -> Option<u8> {
    let hex = std::str::from_utf8(text.strip_prefix(b"\\x")?.get(..2)?).ok()?;
    // Else a sign would be taken.
    let digits = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    u8::from_str_radix(hex, 16).ok().filter(|_| digits)
}

/// As mkfs's argument.
pub(super) fn os(text: &str) -> OsString {
    OsString::from_vec(label_bytes(text))
}

/// As it is shown in messages.
pub(super) fn too_long(text: &str, most: usize) -> bool {
    AsRef::<OsStr>::as_ref(&os(text)).len() > most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_come_back() {
        for bytes in [
            &b"root"[..],
            b"a b\"$(x)",
            "gr\u{fc}n".as_bytes(),
            b"\xff\xfe\n\\x41\\",
            b"\\",
        ] {
            let text = label_text(bytes).unwrap();
            assert_eq!(label_bytes(&text), bytes, "{text}");
            assert!(!text.chars().any(char::is_control));
        }
        assert_eq!(label_text(b"a\0b").as_deref(), Some("a"));
        assert_eq!(label_text(b"\0\0"), None);
        assert_eq!(label_bytes("\\x+1\\xg1\\x00"), b"\\x+1\\xg1");
    }
}
