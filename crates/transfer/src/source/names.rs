//! The names by which fstab, crypttab and boot loaders know a disk's areas.

use p2v_fixes::machine::octal_encoded;
use p2v_sys::partition::table::{Entry, Table};

use super::Identity;

/// What udev leaves as it is in a name of `/dev/disk`, beside letters, digits
/// and what is not ASCII. See libudev's `udev_util_encode_string`.
const PLAIN: &str = "#+-.:=@_";

/// By UUID and label, as a tag and as a path.
pub fn of_identity(identity: &Identity) -> Vec<String> {
    let mut names = Vec::new();
    add(&mut names, "UUID", "uuid", identity.uuid.as_deref());
    add(&mut names, "LABEL", "label", identity.label.as_deref());
    names
}

/// By the partition's own UUID and name.
pub fn of_partition(table: &Table, entry: &Entry) -> Vec<String> {
    let uuid = match &entry.uuid {
        Some(uuid) => Some(uuid.to_ascii_lowercase()),
        None => of_an_mbr(table, entry.number),
    };
    let mut names = Vec::new();
    add(&mut names, "PARTUUID", "partuuid", uuid.as_deref());
    add(&mut names, "PARTLABEL", "partlabel", entry.name.as_deref());
    names
}

/// An MBR's partitions have the disk's identifier and their own number, both
/// in hex.
fn of_an_mbr(table: &Table, number: u32) -> Option<String> {
    let id = table.id.as_deref()?.strip_prefix("0x")?;
    let is_number = id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    (table.label == "dos" && is_number && id != "00000000")
        .then(|| format!("{}-{number:02x}", id.to_ascii_lowercase()))
}

fn add(names: &mut Vec<String>, tag: &str, directory: &str, value: Option<&str>) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        names.push(format!("{tag}={}", octal_encoded(value)));
        names.push(format!("/dev/disk/by-{directory}/{}", udev_encoded(value)));
    }
}

fn udev_encoded(value: &str) -> String {
    let mut encoded = String::new();
    for letter in value.chars() {
        if letter.is_ascii_alphanumeric() || PLAIN.contains(letter) || !letter.is_ascii() {
            encoded.push(letter);
        } else {
            encoded += &format!("\\x{:02x}", letter as u32);
        }
    }
    encoded
}

/// What blkid's export format means: a backslash before what is special to a
/// shell, and `\x` with two hex digits for what is not printable in its locale.
pub fn blkid_decoded(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = match (byte, after) {
            (b'\\', [b'x', high, low, ..]) => hex(*high, *low),
            _ => None,
        };
        match (byte, code, after.first()) {
            (_, Some(code), _) => {
                bytes.push(code);
                rest = &after[3..];
            }
            (b'\\', None, Some(&special)) => {
                bytes.push(special);
                rest = &after[1..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_other_characters_are_in() {
        let identity = Identity {
            uuid: Some("A-1".into()),
            label: Some("my root/x\\ü".into()),
        };
        let expected = [
            "UUID=A-1",
            "/dev/disk/by-uuid/A-1",
            "LABEL=my\\040root/x\\134ü",
            "/dev/disk/by-label/my\\x20root\\x2fx\\x5cü",
        ];
        assert_eq!(of_identity(&identity), expected);
        for (written, meant) in [
            ("a\\ b", "a b"),
            ("\\$x\\\\", "$x\\"),
            ("\\xc3\\xbc", "ü"),
            ("\\xff", "\u{fffd}"),
            ("\\", "\\"),
            ("\\xg1", "xg1"),
        ] {
            assert_eq!(blkid_decoded(written), meant, "{written}");
        }
    }

    #[test]
    fn partitions_of_both_kinds_of_table() {
        let entry = |uuid: Option<&str>, name: Option<&str>| Entry {
            number: 10,
            start: 0,
            size: 0,
            kind: "83".into(),
            uuid: uuid.map(str::to_owned),
            name: name.map(str::to_owned),
            attributes: None,
            bootable: false,
        };
        let table = |label: &str, id: &str| Table {
            label: label.into(),
            id: Some(id.into()),
            sector_size: 512,
            first_lba: None,
            partitions: Vec::new(),
        };
        let names = of_partition(&table("dos", "0x1234ABCD"), &entry(None, None));
        assert_eq!(names[0], "PARTUUID=1234abcd-0a");
        let names = of_partition(&table("gpt", "X"), &entry(Some("AB-C"), Some("EFI system")));
        assert_eq!(names[0], "PARTUUID=ab-c");
        assert_eq!(names[2], "PARTLABEL=EFI\\040system");
        assert!(of_partition(&table("dos", "0x00000000"), &entry(None, None)).is_empty());
    }
}
