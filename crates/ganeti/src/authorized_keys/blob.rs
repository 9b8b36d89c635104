//! A public key's base64: its inner type must be the line's, and its fields
//! must be what that type has, to the last byte.

/// The types of keys that sshd accepts, with the number of fields each has
/// after its type.
const KINDS: [(&str, usize); 7] = [
    ("ssh-ed25519", 1),
    ("ssh-rsa", 2),
    ("ecdsa-sha2-nistp256", 2),
    ("ecdsa-sha2-nistp384", 2),
    ("ecdsa-sha2-nistp521", 2),
    ("sk-ssh-ed25519@openssh.com", 2),
    ("sk-ecdsa-sha2-nistp256@openssh.com", 3),
];

/// The shortest RSA modulus that sshd accepts, in bits.
const SHORTEST_RSA: usize = 1024;

/// Said of base64 that was cut or changed on its way.
const DAMAGED: &str = "the key is damaged or cut short: copy the whole line";

pub(super) fn is_kind(word: &str) -> bool {
    KINDS.iter().any(|(kind, _)| *kind == word)
}

/// Why a type that OpenSSH knows is none that can log in.
pub(super) fn why_not(word: &str) -> Option<String> {
    if word == "ssh-dss" {
        return Some("a DSA key, which OpenSSH no longer accepts: make an ed25519 one".to_owned());
    }
    if word.ends_with("-cert-v01@openssh.com") {
        return Some("a certificate: give the public key itself".to_owned());
    }
    None
}

/// Checks a key's base64 against the type that its line names.
pub(super) fn check(kind: &str, encoded: &str) -> Result<(), String> {
    if encoded.is_empty() {
        return Err("the key itself is missing after its type".to_owned());
    }
    let bytes = decode(encoded).ok_or(DAMAGED)?;
    let fields = fields(&bytes).ok_or(DAMAGED)?;
    let Some((inner, fields)) = fields.split_first() else {
        return Err(DAMAGED.to_owned());
    };
    if *inner != kind.as_bytes() {
        return Err("the key is of another type than its line says".to_owned());
    }
    let wanted = KINDS.iter().find(|(known, _)| *known == kind);
    if wanted.map(|(_, count)| *count) != Some(fields.len()) {
        return Err(DAMAGED.to_owned());
    }
    check_fields(kind, fields)
}

fn check_fields(kind: &str, fields: &[&[u8]]) -> Result<(), String> {
    let whole = match (kind, fields) {
        ("ssh-ed25519", [point]) | ("sk-ssh-ed25519@openssh.com", [point, _]) => point.len() == 32,
        ("ssh-rsa", [exponent, modulus]) => {
            let bits = bits(modulus);
            if bits < SHORTEST_RSA {
                return Err(format!(
                    "an RSA key of {bits} bits; OpenSSH needs {SHORTEST_RSA}"
                ));
            }
            !exponent.is_empty()
        }
        ("ecdsa-sha2-nistp256", [curve, point]) => is_point(curve, point, b"nistp256", 32),
        ("ecdsa-sha2-nistp384", [curve, point]) => is_point(curve, point, b"nistp384", 48),
        ("ecdsa-sha2-nistp521", [curve, point]) => is_point(curve, point, b"nistp521", 66),
        ("sk-ecdsa-sha2-nistp256@openssh.com", [curve, point, _]) => {
            is_point(curve, point, b"nistp256", 32)
        }
        _ => false,
    };
    if whole {
        Ok(())
    } else {
        Err(DAMAGED.to_owned())
    }
}

/// An uncompressed point: a 4 and two coordinates.
fn is_point(curve: &[u8], point: &[u8], wanted: &[u8], coordinate: usize) -> bool {
    curve == wanted && point.len() == 1 + 2 * coordinate && point[0] == 4
}

fn bits(number: &[u8]) -> usize {
    let significant = number.iter().skip_while(|byte| **byte == 0);
    let mut significant = significant.peekable();
    match significant.peek() {
        None => 0,
        Some(first) => 8 - first.leading_zeros() as usize + 8 * (significant.count() - 1),
    }
}

/// The fields of a key: each a length of 4 bytes, big endian, and as many
/// bytes.
pub(super) fn fields(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        fields.push(rest.get(..length)?);
        bytes = &rest[length..];
    }
    Some(fields)
}

/// Base64 with its padding (RFC 4648, section 4).
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let body = text.trim_end_matches('=');
    if text.len() % 4 != 0 || text.len() - body.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let mut pending = 0_u32;
    let mut count = 0;
    for c in body.bytes() {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        pending = pending << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((pending >> count) as u8);
            pending &= (1 << count) - 1;
        }
    }
    // Bits beyond the last byte are zero in what any tool writes.
    (pending == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_strictly() {
        let table: [(&str, Option<&[u8]>); 9] = [
            ("", Some(b"")),
            ("Zg==", Some(b"f")),
            ("Zm8=", Some(b"fo")),
            ("Zm9vYg==", Some(b"foob")),
            ("//+/", Some(b"\xff\xff\xbf")),
            ("Zg", None),
            ("Zh==", None),
            ("Z===", None),
            ("Zm 9v", None),
        ];
        for (text, bytes) in table {
            assert_eq!(decode(text).as_deref(), bytes, "{text}");
        }
    }

    #[test]
    fn lengths_beyond_the_end_are_no_fields() {
        assert_eq!(fields(b""), Some(vec![]));
        assert_eq!(fields(b"\0\0\0\x01a"), Some(vec![&b"a"[..]]));
        for bytes in [
            &b"\0\0\0"[..],
            b"\0\0\0\x02a",
            b"\xff\xff\xff\xffa",
            b"\0\0\0\x01ab",
        ] {
            assert_eq!(fields(bytes), None);
        }
    }

    #[test]
    fn bits_of_a_modulus() {
        assert_eq!(bits(b""), 0);
        assert_eq!(bits(b"\0\x01"), 1);
        assert_eq!(bits(b"\0\x80\0"), 16);
    }
}
