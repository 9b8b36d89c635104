//! What the entry points need of a node's programs, and which Debian package
//! has it.

use p2v_sys::filesystem::Filesystem;
use p2v_sys::tools::{self, Missing, Tool};

use crate::boot_loader;
use crate::settings::{PartitionStyle, Settings};

/// What create runs, besides mkfs and GRUB.
const CREATE: [Tool; 3] = [
    ("sfdisk", "fdisk"),
    ("blkid", "util-linux"),
    ("ssh-keygen", "openssh-client"),
];

/// What the import of a dump runs, besides mkfs and GRUB.
const DUMP: [Tool; 6] = [
    ("restore", "dump"),
    ("unshare", "util-linux"),
    ("blkid", "util-linux"),
    ("sfdisk", "fdisk"),
    ("e2fsck", "e2fsprogs"),
    ("tune2fs", "e2fsprogs"),
];

/// What this node lacks for a create with these settings. The bootstrap tool
/// is not among it: a cached root needs none.
pub fn for_create(settings: &Settings) -> Vec<Missing> {
    lacking(&CREATE, settings.partition_style, settings.filesystem)
}

/// What this node lacks for the import of a backup that instance-debootstrap
/// made.
pub fn for_dump(style: PartitionStyle, filesystem: Filesystem) -> Vec<Missing> {
    lacking(&DUMP, style, filesystem)
}

fn lacking(tools: &[Tool], style: PartitionStyle, filesystem: Filesystem) -> Vec<Missing> {
    let mkfs = (filesystem.mkfs(), filesystem.package());
    let mut missing = tools::missing(tools);
    missing.extend(tools::missing(&[mkfs]));
    missing.extend(boot_loader::missing(style));
    missing
}
