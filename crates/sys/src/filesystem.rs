//! Making filesystems, in a form that the boot loader and the kernels of every
//! supported suite can read.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::command::Cmd;

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
