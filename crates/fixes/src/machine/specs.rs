//! How fstab, crypttab and kernel command lines name a filesystem's device,
//! and which of the machine's it is now.

use super::{Machine, Volume};

/// A name of a block device, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    kind: Kind,
    value: String,
    /// Written as a tag (`UUID=`), not as a path of `/dev/disk`.
    tag: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Uuid,
    Label,
    PartUuid,
    PartLabel,
    Path,
}

/// The tags, and the directories of `/dev/disk` that say the same.
const TAGS: [(Kind, &str, &str); 4] = [
    (Kind::Uuid, "UUID=", "/dev/disk/by-uuid/"),
    (Kind::Label, "LABEL=", "/dev/disk/by-label/"),
    (Kind::PartUuid, "PARTUUID=", "/dev/disk/by-partuuid/"),
    (Kind::PartLabel, "PARTLABEL=", "/dev/disk/by-partlabel/"),
];

/// What stands below `/dev` and is no disk's.
const NO_DISKS: [&str; 8] = [
    "shm",
    "pts",
    "mqueue",
    "hugepages",
    "null",
    "zero",
    "nfs",
    "ram0",
];

impl Spec {
    /// Takes a word of fstab apart, with its quotes and octal escapes; `None`
    /// if it names no block device.
    pub fn parse(word: &str) -> Option<Self> {
        let word = octal_decoded(word);
        for (kind, tag, directory) in TAGS {
            // mount(8) takes the tag in any case.
            if let Some(value) = strip_prefix_any_case(&word, tag) {
                let value = unquoted(value).to_owned();
                return Some(Self {
                    kind,
                    value,
                    tag: true,
                });
            }
            if let Some(value) = word.strip_prefix(directory) {
                let value = udev_decoded(value);
                return Some(Self {
                    kind,
                    value,
                    tag: false,
                });
            }
        }
        let name = word.strip_prefix("/dev/")?;
        let first = name.split('/').next().unwrap_or(name);
        let kind = Kind::Path;
        (!NO_DISKS.contains(&first)).then_some(Self {
            kind,
            value: word,
            tag: false,
        })
    }

    /// Whether it is a device's path that another machine may give to another
    /// device.
    pub fn is_path(&self) -> bool {
        self.kind == Kind::Path
    }

    /// Whether both name the same, whichever way they are written.
    fn same(&self, other: &Self) -> bool {
        self.kind == other.kind
            && match self.kind {
                Kind::Uuid | Kind::PartUuid => self.value.eq_ignore_ascii_case(&other.value),
                _ => self.value == other.value,
            }
    }

    /// Whether it names this volume as it is now.
    fn names(&self, volume: &Volume) -> bool {
        match volume.identity(self.kind) {
            Some(value) => self.same(&Self {
                kind: self.kind,
                value: value.to_owned(),
                tag: self.tag,
            }),
            None => false,
        }
    }

    /// The same way of naming, for another volume.
    fn renamed(&self, volume: &Volume) -> String {
        let ways = [self.kind, Kind::Uuid, Kind::PartUuid, Kind::Label];
        for kind in ways.into_iter().filter(|kind| *kind != Kind::Path) {
            if let Some(value) = volume.identity(kind) {
                let (_, tag, _) = TAGS
                    .into_iter()
                    .find(|(known, ..)| *known == kind)
                    .expect("each kind but a path has a tag");
                return format!("{tag}{}", octal_encoded(value));
            }
        }
        octal_encoded(&volume.device)
    }
}

impl Volume {
    fn identity(&self, kind: Kind) -> Option<&str> {
        match kind {
            Kind::Uuid => self.uuid.as_deref(),
            Kind::Label => self.label.as_deref(),
            Kind::PartUuid => self.partuuid.as_deref(),
            Kind::PartLabel => self.partlabel.as_deref(),
            Kind::Path => Some(self.device.as_str()),
        }
        .filter(|value| !value.is_empty())
    }

    fn was(&self, spec: &Spec) -> bool {
        let specs = self.was.iter().filter_map(|word| Spec::parse(word));
        specs.into_iter().any(|was| was.same(spec))
    }
}

/// Which of the machine's volumes a word names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved<'a> {
    /// No block device: a network filesystem, `proc`, a file.
    NoDevice,
    /// This one, and the word is right as it is.
    Right(&'a Volume),
    /// This one, which is to be named so.
    Renamed(&'a Volume, String),
    /// One that did not come along.
    Gone,
    /// Nobody knows.
    Unknown,
}

impl Machine {
    /// Looks which volume `word` names. Old names count first: a device's path
    /// may belong to another one here.
    pub fn resolve(&self, word: &str) -> Resolved<'_> {
        let Some(spec) = Spec::parse(word) else {
            return Resolved::NoDevice;
        };
        let old = self.volumes.iter().find(|volume| volume.was(&spec));
        if let Some(volume) = old {
            return self.named(&spec, volume);
        }
        let gone = self.gone.iter().filter_map(|word| Spec::parse(word));
        if gone.into_iter().any(|gone| gone.same(&spec)) {
            return Resolved::Gone;
        }
        match self.volumes.iter().find(|volume| spec.names(volume)) {
            Some(volume) => Resolved::Right(volume),
            None => Resolved::Unknown,
        }
    }

    /// How `word` is to name this volume.
    pub fn rename(&self, word: &str, volume: &Volume) -> String {
        match Spec::parse(word) {
            Some(spec) => spec.renamed(volume),
            None => word.to_owned(),
        }
    }

    fn named<'a>(&self, spec: &Spec, volume: &'a Volume) -> Resolved<'a> {
        if spec.names(volume) {
            Resolved::Right(volume)
        } else {
            Resolved::Renamed(volume, spec.renamed(volume))
        }
    }
}

fn strip_prefix_any_case<'a>(word: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = word.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        let inside = value.strip_prefix(quote);
        if let Some(inside) = inside.and_then(|value| value.strip_suffix(quote)) {
            return inside;
        }
    }
    value
}

/// fstab's `\040` for a blank, and the like.
pub fn octal_decoded(word: &str) -> String {
    decoded(word, "\\", 8)
}

/// udev's `\x20` for a blank in the names of `/dev/disk`.
fn udev_decoded(word: &str) -> String {
    decoded(word, "\\x", 16)
}

fn decoded(word: &str, mark: &str, radix: u32) -> String {
    let digits = if radix == 8 { 3 } else { 2 };
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while !rest.is_empty() {
        let code = rest.strip_prefix(mark).and_then(|code| code.get(..digits));
        match code.and_then(|code| u8::from_str_radix(code, radix).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[mark.len() + digits..];
            }
            None => {
                let length = rest.chars().next().map_or(1, char::len_utf8);
                bytes.extend_from_slice(&rest.as_bytes()[..length]);
                rest = &rest[length..];
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| word.to_owned())
}

/// A word that fstab can hold: the reverse of [`octal_decoded`].
pub fn octal_encoded(value: &str) -> String {
    let mut encoded = String::new();
    for letter in value.chars() {
        match letter {
            ' ' | '\t' | '\n' | '\\' | '#' => encoded += &format!("\\{:03o}", letter as u32),
            _ => encoded.push(letter),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        let text = r#"{"volumes": [
            {"device": "/dev/vda1", "kind": "ext4", "uuid": "aaaa-1", "label": "my root",
             "partuuid": "0001-01", "mount_point": "/",
             "was": ["/dev/sda1", "UUID=AAAA-1", "LABEL=old", "/dev/mapper/vg-root", "PARTUUID=ffff-01",
                     "/dev/disk/by-id/ata-X-part1"]},
            {"device": "/dev/vda2", "kind": "swap", "was": ["/dev/sda2", "/dev/vda1"]}],
            "gone": ["/dev/sdb1", "UUID=dead"]}"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn words_lead_to_volumes() {
        let machine = machine();
        for (word, expected) in [
            ("proc", "no device"),
            ("nas:/export", "no device"),
            ("/srv/data", "no device"),
            ("/dev/shm", "no device"),
            ("UUID=aaaa-1", "right /dev/vda1"),
            ("uuid=AAAA-1", "right /dev/vda1"),
            ("UUID=\"aaaa-1\"", "right /dev/vda1"),
            ("/dev/disk/by-uuid/aaaa-1", "right /dev/vda1"),
            ("LABEL=my\\040root", "right /dev/vda1"),
            ("/dev/disk/by-label/my\\x20root", "right /dev/vda1"),
            ("LABEL=old", "LABEL=my\\040root"),
            ("/dev/sda1", "UUID=aaaa-1"),
            ("/dev/mapper/vg-root", "UUID=aaaa-1"),
            ("/dev/disk/by-id/ata-X-part1", "UUID=aaaa-1"),
            ("PARTUUID=ffff-01", "PARTUUID=0001-01"),
            ("/dev/vda1", "/dev/vda2"),
            ("/dev/vda2", "right /dev/vda2"),
            ("/dev/sdb1", "gone"),
            ("/dev/disk/by-uuid/dead", "gone"),
            ("/dev/sdc1", "unknown"),
            ("LABEL=other", "unknown"),
        ] {
            let found = match machine.resolve(word) {
                Resolved::NoDevice => "no device".to_owned(),
                Resolved::Right(volume) => format!("right {}", volume.device),
                Resolved::Renamed(_, new) => new,
                Resolved::Gone => "gone".to_owned(),
                Resolved::Unknown => "unknown".to_owned(),
            };
            assert_eq!(found, expected, "{word}");
        }
    }
}
