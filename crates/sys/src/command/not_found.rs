//! What to do about a program that is not there, when somebody starts it.

/// Debian's packages of the programs that are called by their names, where
/// these differ.
const PACKAGES: &[(&str, &str)] = &[
    ("blkid", "util-linux"),
    ("btrfs", "btrfs-progs"),
    ("chroot", "coreutils"),
    ("e2fsck", "e2fsprogs"),
    ("gnt-cluster", "ganeti"),
    ("gnt-node", "ganeti"),
    ("grub-mkimage", "grub-common"),
    ("losetup", "mount"),
    ("mke2fs", "e2fsprogs"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("mkfs.vfat", "dosfstools"),
    ("mkfs.xfs", "xfsprogs"),
    ("mkswap", "util-linux"),
    ("qemu-nbd", "qemu-utils"),
    ("qemu-storage-daemon", "qemu-system-common"),
    ("resize2fs", "e2fsprogs"),
    ("restore", "dump"),
    ("setpriv", "util-linux"),
    ("sfdisk", "fdisk"),
    ("ssh", "openssh-client"),
    ("ssh-add", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("ssh-keyscan", "openssh-client"),
    ("tune2fs", "e2fsprogs"),
    ("unshare", "util-linux"),
    ("xfs_growfs", "xfsprogs"),
    ("xfs_repair", "xfsprogs"),
];

/// The Debian package that has a program, where its name is another.
pub fn package(program: &str) -> Option<&'static str> {
    let found = PACKAGES.iter().find(|(known, _)| *known == program);
    found.map(|(_, package)| *package)
}

/// Says that the program is not there, and what to install.
pub fn not_found(program: &str) -> String {
    let package = package(program).unwrap_or("it");
    format!("{program} is not found; install {package}")
}
