//! A source's own /etc/fstab, read as mount(8) reads it: as few as two fields,
//! comments, octal escapes. Lines that are not UTF-8 come with replacement
//! characters.
//!
//! See <https://man7.org/linux/man-pages/man5/fstab.5.html>.

use p2v_fixes::lines::words;
use p2v_fixes::machine::{Spec, octal_decoded};

/// What mount(8) and the boot go on without.
const NO_WAIT: [&str; 4] = ["noauto", "nofail", "nobootwait", "x-systemd.automount"];

/// A line that says something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The device as it is written, for [`Spec::parse`] and the like.
    pub spec: String,
    /// Where it is mounted: absolute, without `.`, `..` or a slash at its end.
    /// None for swap, and for what is no path.
    pub path: Option<String>,
    /// The type; `auto` where none is given.
    pub kind: String,
    /// The options.
    pub options: Vec<String>,
}

/// The entries, in the file's order.
pub fn parse(text: &str) -> Vec<Entry> {
    text.lines().filter_map(entry).collect()
}

fn entry(line: &str) -> Option<Entry> {
    let places = words(line);
    let field = |index: usize| Some(&line[places.get(index)?.clone()]);
    let (spec, path) = (field(0)?, field(1)?);
    let kind = field(2).unwrap_or("auto").to_owned();
    let options = field(3).unwrap_or("defaults").split(',');
    Some(Entry {
        spec: spec.to_owned(),
        path: (kind != "swap")
            .then(|| normal(&octal_decoded(path)))
            .flatten(),
        kind,
        options: options.map(str::to_owned).collect(),
    })
}

/// The lines that say something, without the space around them.
pub fn lines(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// An absolute path in its shortest form; none that leads up.
fn normal(path: &str) -> Option<String> {
    if !path.starts_with('/') || path.contains('\0') {
        return None;
    }
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    (!parts.contains(&"..")).then(|| format!("/{}", parts.join("/")))
}

impl Entry {
    /// Whether it is for a swap area or file.
    pub fn is_swap(&self) -> bool {
        self.kind == "swap"
    }

    /// The file that is swapped to, as a path in the system.
    pub fn swap_file(&self) -> Option<String> {
        let is_file = self.is_swap() && self.spec.starts_with('/');
        let file = normal(&octal_decoded(&self.spec)).filter(|_| is_file)?;
        // A device that Spec does not know, such as /dev/zram0, is no file.
        (Spec::parse(&self.spec).is_none() && !file.starts_with("/dev/")).then_some(file)
    }

    /// Whether the system starts without it.
    pub fn is_optional(&self) -> bool {
        let mut options = self.options.iter();
        options.any(|option| NO_WAIT.contains(&option.as_str()))
    }

    /// The subvolume of a btrfs that it names, without slashes around it.
    pub fn subvolume(&self) -> Option<String> {
        let name = octal_decoded(self.option("subvol=")?);
        let name = normal(&format!("/{name}"))?;
        Some(name[1..].to_owned()).filter(|name| !name.is_empty())
    }

    /// The number of that subvolume, if it is given instead.
    pub fn subvolume_id(&self) -> Option<u64> {
        let number = self.option("subvolid=")?;
        match number.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => number.parse().ok(),
        }
    }

    /// Of an option that is given twice, mount takes the last.
    fn option(&self, name: &str) -> Option<&str> {
        let mut options = self.options.iter().rev();
        options.find_map(|option| option.strip_prefix(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line and its fields.
    type Line = (
        &'static str,
        &'static str,
        Option<&'static str>,
        &'static str,
        &'static str,
    );

    const LINES: [Line; 11] = [
        (
            "UUID=a / ext4 ro,x 0 1",
            "UUID=a",
            Some("/"),
            "ext4",
            "ro,x",
        ),
        ("UUID=a /", "UUID=a", Some("/"), "auto", "defaults"),
        (
            "UUID=a\t/home\txfs",
            "UUID=a",
            Some("/home"),
            "xfs",
            "defaults",
        ),
        (
            "  UUID=a /a\\040b/ auto  ",
            "UUID=a",
            Some("/a b"),
            "auto",
            "defaults",
        ),
        (
            "/dev/sda2 none swap sw 0 0",
            "/dev/sda2",
            None,
            "swap",
            "sw",
        ),
        ("/dev/sda2 swap swap", "/dev/sda2", None, "swap", "defaults"),
        (
            "LABEL=x //boot/./efi/ vfat",
            "LABEL=x",
            Some("/boot/efi"),
            "vfat",
            "defaults",
        ),
        (
            "LABEL=x /../../etc ext4",
            "LABEL=x",
            None,
            "ext4",
            "defaults",
        ),
        ("proc proc proc", "proc", None, "proc", "defaults"),
        ("UUID=a / ext4 ro # x", "UUID=a", Some("/"), "ext4", "ro"),
        (
            "UUID=a /\u{fffd} ext4\r",
            "UUID=a",
            Some("/\u{fffd}"),
            "ext4",
            "defaults",
        ),
    ];

    #[test]
    fn lines_of_any_number_of_fields() {
        for (line, spec, path, kind, options) in LINES {
            let found = parse(line);
            assert_eq!(found.len(), 1, "{line}");
            let options: Vec<String> = options.split(',').map(str::to_owned).collect();
            let expected = Entry {
                spec: spec.to_owned(),
                path: path.map(str::to_owned),
                kind: kind.to_owned(),
                options,
            };
            assert_eq!(found[0], expected, "{line}");
        }
        for nothing in ["", "  ", "# UUID=a / ext4", "\t#x", "alone", "\0"] {
            assert_eq!(parse(nothing), [], "{nothing:?}");
        }
        assert_eq!(lines("# a\n\n  b c \r\nd\n"), ["b c", "d"]);
    }

    #[test]
    fn swap_files_are_told_from_devices() {
        for (line, file) in [
            ("/swapfile none swap sw 0 0", Some("/swapfile")),
            ("/var/swap\\040file swap swap", Some("/var/swap file")),
            ("/dev/sda2 none swap", None),
            ("/dev/zram0 none swap", None),
            ("/dev/ram0 none swap", None),
            ("UUID=x none swap", None),
            ("/swapfile /mnt ext4", None),
            ("/a/../b none swap", None),
        ] {
            assert_eq!(parse(line)[0].swap_file().as_deref(), file, "{line}");
        }
    }

    #[test]
    fn subvolumes_and_what_is_not_waited_for() {
        let of = |options: &str| parse(&format!("UUID=a / btrfs {options}")).remove(0);
        for (options, name, id) in [
            ("defaults", None, None),
            ("subvol=@", Some("@"), None),
            ("noatime,subvol=/@/root/,x", Some("@/root"), None),
            ("subvol=a,subvol=b", Some("b"), None),
            ("subvol=/", None, None),
            ("subvol=../x", None, None),
            ("subvol=a\\054b", Some("a,b"), None),
            ("subvolid=257", None, Some(257)),
            ("subvolid=0x101", None, Some(257)),
            ("subvolid=x", None, None),
        ] {
            assert_eq!(of(options).subvolume().as_deref(), name, "{options}");
            assert_eq!(of(options).subvolume_id(), id, "{options}");
        }
        assert!(of("ro,nofail").is_optional());
        assert!(of("noauto").is_optional());
        assert!(!of("auto").is_optional());
    }
}
