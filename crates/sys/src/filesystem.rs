//! Making filesystems, in a form that the boot loader and the kernels of every
//! supported suite can read.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::command::Cmd;
use crate::loopdev::Extent;

/// The filesystems a root can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Filesystem {
    /// ext2: no journal.
    Ext2,
    /// ext3: ext2 with a journal.
    Ext3,
    /// ext4: the default.
    Ext4,
    /// XFS.
    Xfs,
    /// Btrfs.
    Btrfs,
}

impl Filesystem {
    /// All of them, in the order in which messages list them.
    pub const ALL: [Self; 5] = [Self::Ext2, Self::Ext3, Self::Ext4, Self::Xfs, Self::Btrfs];

    /// The name the kernel and fstab use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext2 => "ext2",
            Self::Ext3 => "ext3",
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// The filesystem of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fs| fs.name() == name)
    }

    /// The program that makes it.
    pub fn mkfs(self) -> &'static str {
        match self {
            Self::Ext2 => "mkfs.ext2",
            Self::Ext3 => "mkfs.ext3",
            Self::Ext4 => "mkfs.ext4",
            Self::Xfs => "mkfs.xfs",
            Self::Btrfs => "mkfs.btrfs",
        }
    }

    /// The Debian package that holds [`Filesystem::mkfs`].
    pub fn package(self) -> &'static str {
        match self {
            Self::Ext2 | Self::Ext3 | Self::Ext4 => "e2fsprogs",
            Self::Xfs => "xfsprogs",
            Self::Btrfs => "btrfs-progs",
        }
    }

    /// The smallest size its mkfs accepts, in bytes.
    pub fn smallest(self) -> u64 {
        match self {
            Self::Ext2 | Self::Ext3 | Self::Ext4 => 16 << 20,
            Self::Xfs => 300 << 20,
            Self::Btrfs => 128 << 20,
        }
    }

    /// Makes the filesystem on `device` with this UUID.
    ///
    /// # Errors
    /// Its mkfs is missing or failed; its last words are in the message.
    pub fn create(self, device: &Path, uuid: &str) -> Result<()> {
        let description = format!("creating {} on {}", self.name(), device.display());
        let command = Cmd::new(self.mkfs(), description);
        let command = match self {
            // Lazy tables: the rest is zeroed by the first kernel that mounts
            // it for long, if it lives so long. Zeroing here would take most
            // of a create's time on a large disk.
            Self::Ext2 | Self::Ext3 | Self::Ext4 => command
                .args([
                    "-F",
                    "-q",
                    "-E",
                    "lazy_itable_init=1,lazy_journal_init=1,nodiscard",
                ])
                .args(["-O", "^metadata_csum_seed", "-U", uuid]),
            Self::Xfs => command
                .args(["-f", "-q", "-K", "-m"])
                .arg(format!("uuid={uuid}")),
            Self::Btrfs => command.args(["-f", "-q", "--nodiscard", "-U", uuid]),
        };
        command.arg(device).run()
    }
}

/// Gives the unmounted ext filesystem on `device` another UUID or label. It is
/// checked first: with checksums, all that depends on the UUID is rewritten.
pub fn set_ext_identity(device: &Path, uuid: Option<&str>, label: Option<&str>) -> Result<()> {
    let on = device.display();
    if uuid.is_some() {
        const CORRECTED: i32 = 1;
        Cmd::new("e2fsck", format!("checking the filesystem on {on}"))
            .args(["-f", "-p"])
            .arg(device)
            .read_answer(&[CORRECTED])?;
    }
    let mut command = Cmd::new("tune2fs", format!("naming the filesystem on {on}")).arg("-f");
    for (option, value) in [("-U", uuid), ("-L", label)] {
        if let Some(value) = value {
            command = command.args([option, value]);
        }
    }
    command.arg(device).run()
}

/// The UUID of the filesystem on `device`, read anew from the device.
pub fn probe_uuid(device: &Path) -> Result<String> {
    Cmd::new(
        "blkid",
        format!("probing the filesystem on {}", device.display()),
    )
    .args(["--probe", "--output", "value", "--match-tag", "UUID"])
    .arg(device)
    .read()
}

/// What a disk or a part of it holds, by its signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// No signature that blkid knows.
    Nothing,
    /// Signatures of more than one kind: nobody can tell which is stale.
    Ambiguous,
    /// One that is known.
    Known(Signature),
}

/// The signature of a filesystem, a swap area, or the like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signature {
    /// blkid's word for the type: `ext4`, `swap`, `LVM2_member`, …
    pub kind: String,
    /// Its UUID in its own notation, if it has one.
    pub uuid: Option<String>,
    /// Its label, if it has one.
    pub label: Option<String>,
}

/// Looks what `extent` of a disk or a disk's image at `path` holds, without
/// writing to it and without attaching anything.
///
/// # Errors
/// The disk cannot be read, or blkid is missing. What is found there is never
/// an error.
pub fn probe(path: &Path, extent: Extent) -> Result<Content> {
    let description = format!("probing {} at byte {}", path.display(), extent.offset);
    // To blkid a missing file and an empty one are the same.
    File::open(path).with_context(|| description.clone())?;
    let mut command = Cmd::new("blkid", description)
        .args(["--probe", "--output", "export", "--usages"])
        .args(["filesystem,raid,crypto,other", "--offset"])
        .arg(extent.offset.to_string());
    if extent.length != 0 {
        command = command.arg("--size").arg(extent.length.to_string());
    }
    const NOTHING: i32 = 2;
    const AMBIGUOUS: i32 = 8;
    let (status, text) = command.arg(path).read_answer(&[NOTHING, AMBIGUOUS])?;
    Ok(match status {
        NOTHING => Content::Nothing,
        AMBIGUOUS => Content::Ambiguous,
        _ => known(&text),
    })
}

/// Parses blkid's export format, in which special characters are escaped.
fn known(text: &str) -> Content {
    let value = |name: &str| {
        let line = |line: &str| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned());
        text.lines()
            .find_map(line)
            .filter(|value| !value.is_empty())
    };
    match value("TYPE") {
        Some(kind) => Content::Known(Signature {
            kind,
            uuid: value("UUID"),
            label: value("LABEL"),
        }),
        None => Content::Nothing,
    }
}

/// A new random (version 4) UUID.
pub fn new_uuid() -> Result<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/uuid")
        .context("reading /proc/sys/kernel/random/uuid")?;
    let uuid = text.trim();
    if uuid.len() != 36 {
        bail!("reading /proc/sys/kernel/random/uuid: unexpected content");
    }
    Ok(uuid.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_an_image_is_probed_by_itself() {
        let image = tempfile::NamedTempFile::new().unwrap();
        let file = image.as_file();
        file.set_len(64 << 20).unwrap();
        let part = Extent {
            offset: 8 << 20,
            length: 32 << 20,
        };
        assert_eq!(probe(image.path(), part).unwrap(), Content::Nothing);
        let uuid = "6f4a1f6e-3a10-4f5c-8a3a-0c3f5d0b6a11";
        let make = Cmd::new("mkfs.ext4", "making a filesystem")
            .args(["-q", "-F", "-L", "a b", "-U", uuid, "-E", "offset=8388608"])
            .arg(image.path())
            .arg("32M");
        make.run().unwrap();
        let Content::Known(found) = probe(image.path(), part).unwrap() else {
            panic!("nothing found");
        };
        assert_eq!(found.kind, "ext4");
        assert_eq!(found.uuid.as_deref(), Some(uuid));
        assert!(found.label.is_some());
        let whole = probe(image.path(), Extent::default()).unwrap();
        assert_eq!(whole, Content::Nothing);
        let missing = probe(Path::new("/nonexistent"), part).unwrap_err();
        assert!(format!("{missing:#}").contains("/nonexistent"));
    }
}
