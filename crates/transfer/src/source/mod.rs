//! The machine that moves: its disks, what lies on them, and its system.
//!
//! The types here are what `p2v inspect --json` prints and what a plan is made
//! of. Nothing on the source is ever written.

mod clean;
mod findings;
mod firmware;
pub(crate) mod fstab;
mod held;
mod host_keys;
mod index;
mod layout;
mod live;
mod mounted;
mod mounts;
mod names;
mod old_names;
mod open;
mod roots;
mod running;
mod scratch;
mod shown;
pub(crate) mod system;
mod view;

use std::path::{Path, PathBuf};

use p2v_fixes::machine::BootMode;
use p2v_sys::loopdev::Extent;
use p2v_sys::partition::table::Table;
use serde::{Deserialize, Serialize};

use crate::format::Format;

pub use crate::format::Identity;
pub use live::lie_still;
pub use mounted::MountedSource;
pub use open::OpenSource;
pub use shown::{Letters, text};

/// The version of [`Source`] as JSON.
pub const VERSION: u32 = 1;

/// A machine, as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// [`VERSION`].
    pub version: u32,
    /// Its disks, the one with the root first.
    pub disks: Vec<Disk>,
    /// The system on them.
    pub system: System,
    /// What keeps it from being moved, each with what to do.
    pub obstacles: Vec<String>,
    /// What is worth knowing.
    pub remarks: Vec<String>,
}

impl Source {
    /// As JSON, for people to read too.
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("a source is plain data");
        text + "\n"
    }
}

/// A disk, or a disk's image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// The device or the image file.
    pub path: PathBuf,
    /// What else the old system may call it: `/dev/sda`, `/dev/disk/by-id/...`.
    pub names: Vec<String>,
    /// Maker and model.
    pub model: Option<String>,
    /// What no other machine's disk has: a hash of the serial numbers of the
    /// disk and the machine. None for an image.
    #[serde(default)]
    pub hardware: Option<String>,
    /// Bytes.
    pub size: u64,
    /// Bytes in a logical sector.
    pub sector_size: u32,
    /// Its partition table; none for a disk that is one filesystem.
    pub table: Option<Table>,
    /// What lies on it, in the disk's order; extended partitions are left out.
    pub areas: Vec<Area>,
}

impl Disk {
    fn filesystems_mut(&mut self) -> impl Iterator<Item = &mut Filesystem> {
        self.areas
            .iter_mut()
            .filter_map(|area| match &mut area.content {
                Content::Filesystem(filesystem) => Some(filesystem),
                _ => None,
            })
    }
}

/// A partition, or the whole of a disk without a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Area {
    /// The partition's number; 0 for a whole disk.
    pub number: u32,
    /// First byte on the disk.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// What fstab or a boot loader may call it: `/dev/sda1`, `UUID=...`,
    /// `LABEL=...`, `PARTUUID=...`, `PARTLABEL=...`, `/dev/disk/by-...`.
    pub names: Vec<String>,
    /// What it holds.
    pub content: Content,
}

impl Area {
    /// Where it lies on its disk.
    pub fn extent(&self) -> Extent {
        Extent {
            offset: self.start,
            length: self.size,
        }
    }

    /// What people call it, on the disk at `disk`: `/dev/sda1`, `partition 1 of
    /// old.img`.
    pub fn place(&self, disk: &Path) -> String {
        let disk = disk.display().to_string();
        let ends_in_digit = disk.ends_with(|last: char| last.is_ascii_digit());
        match self.number {
            0 => disk,
            n if !disk.starts_with("/dev/") => format!("partition {n} of {disk}"),
            n if ends_in_digit => format!("{disk}p{n}"),
            n => format!("{disk}{n}"),
        }
    }
}

/// What an area holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// No known signature: nothing, or what nobody knows.
    Nothing,
    /// GRUB's core image on a GPT.
    BiosBoot,
    /// A swap area.
    Swap(Identity),
    /// A filesystem that we can move.
    Filesystem(Filesystem),
    /// What is recognised and cannot be moved yet, by blkid's name:
    /// `LVM2_member`, `linux_raid_member`, `crypto_LUKS`, `zfs_member`, ...
    Unmovable(String),
}

/// A filesystem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filesystem {
    /// What mkfs must be told to make one like it.
    pub format: Format,
    /// What it is known by.
    pub identity: Identity,
    /// Bytes that files and metadata take.
    pub used: u64,
    /// Files, directories and all else that takes an inode; 0 for a kind that
    /// does not count them: btrfs and vfat.
    pub inodes: u64,
    /// Where the system mounts it, the shortest path first; a btrfs with
    /// several subvolumes has several.
    pub mounts: Vec<MountPoint>,
}

/// A place in the system's tree that a filesystem is mounted on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountPoint {
    /// `/`, `/home`.
    pub path: String,
    /// The subvolume of a btrfs, without slashes around it, if fstab names one
    /// or the root is its default one.
    pub subvolume: Option<String>,
}

impl MountPoint {
    fn of(path: &str, subvolume: Option<String>) -> Self {
        Self {
            path: path.to_owned(),
            subvolume,
        }
    }
}

/// The system on the disks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct System {
    /// Its own name.
    pub hostname: Option<String>,
    /// What a clone of it mostly has not: a hash of its machine-id and its SSH
    /// host keys.
    #[serde(default)]
    pub installation: Option<String>,
    /// os-release's ID: `debian`.
    pub distribution: Option<String>,
    /// os-release's PRETTY_NAME, or what else tells.
    pub name: Option<String>,
    /// `systemd`, `sysvinit`, `upstart`, `openrc`, ...
    pub init: Option<String>,
    /// How it starts.
    pub boot: BootMode,
    /// Its installed kernels, newest last.
    pub kernels: Vec<Kernel>,
    /// Boot loaders that are installed: `grub2`, `grub-legacy`, `extlinux`, `lilo`.
    pub boot_loaders: Vec<String>,
    /// fstab's lines that say something, as they are.
    pub fstab: Vec<String>,
    /// crypttab's.
    pub crypttab: Vec<String>,
    /// Swap files, as paths in the system.
    pub swap_files: Vec<String>,
    /// What configures the network: `ifupdown`, `netplan`, `networkd`,
    /// `networkmanager`, `ifcfg`.
    pub network: Vec<String>,
    /// Its network cards, in the order in which they become the instance's.
    pub nics: Vec<Nic>,
}

/// An installed kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// `6.1.0-18-amd64`.
    pub version: String,
    /// Path of its image in the system.
    pub image: String,
    /// Path of its initramfs in the system.
    pub initramfs: Option<String>,
    /// Whether its modules are there.
    pub modules: bool,
}

/// A network card of the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nic {
    /// Its name in the system's configuration: `eno1`; empty where that knows
    /// its address alone.
    pub name: String,
    /// Its hardware address, if it is known.
    pub mac: Option<String>,
}
