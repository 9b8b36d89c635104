//! What each source is made of.

use crate::GIB;
use crate::qemu::{Boot, Hardware, MachineSpec};

/// How a source starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// A BIOS.
    Bios,
    /// UEFI.
    Efi,
}

impl Firmware {
    /// As QEMU has it.
    pub fn boot(self) -> Boot {
        match self {
            Self::Bios => Boot::Bios,
            Self::Efi => Boot::Efi,
        }
    }
}

/// A partition with what is made in it.
#[derive(Debug)]
pub struct Volume {
    /// The partition's number.
    pub number: u32,
    /// The program that formats it, with its options.
    pub format: &'static [&'static str],
    /// The filesystem's type; none for swap.
    pub kind: Option<&'static str>,
    /// Where it is mounted; ESPs only in the machine itself.
    pub mount: Option<&'static str>,
    /// The subvolume of a btrfs that is mounted there.
    pub subvolume: Option<&'static str>,
}

/// A source machine.
#[derive(Debug)]
pub struct Recipe {
    /// Its name in messages and in the cache.
    pub name: &'static str,
    /// What it is, for people.
    pub about: &'static str,
    /// Its host name, as `hostname` says it.
    pub hostname: &'static str,
    /// Debian's release.
    pub suite: &'static str,
    /// What is installed besides [`PACKAGES`].
    pub packages: &'static [&'static str],
    /// Lines for initramfs-tools that are there before the kernel comes.
    pub initramfs: &'static str,
    /// Modules for its initramfs.
    pub modules: &'static str,
    /// Bytes of its disk.
    pub disk: u64,
    /// sfdisk's script.
    pub table: &'static str,
    /// What is in the partitions, the root first, then by depth.
    pub volumes: &'static [Volume],
    /// How it starts.
    pub firmware: Firmware,
    /// What the kernel needs to mount its root.
    pub root: &'static str,
    /// A script run in its root.
    pub setup: &'static str,
    /// Shell lines run by itself, once, to become bootable.
    pub finish: &'static str,
    /// Whether systemd is its init.
    pub systemd: bool,
    /// Paths that the fixes may change; `*` at the end stands for anything.
    pub changes: &'static [&'static str],
}

impl Recipe {
    /// The machine it is, with `disk`, of which nothing is changed.
    pub fn machine(&self, disk: &std::path::Path) -> MachineSpec {
        MachineSpec::new(self.firmware.boot(), disk)
            .hardware(Hardware::Physical)
            .memory(1024)
            .volatile()
    }
}

/// What every source has installed.
pub const PACKAGES: &[&str] = &[
    "linux-image-amd64",
    "initramfs-tools",
    "udev",
    "kmod",
    "iproute2",
    "openssh-server",
    "procps",
    "acl",
    "attr",
    "libcap2-bin",
    "e2fsprogs",
];

/// What no source needs of its packages: less to copy and to compare.
pub const LEFT_OUT: &[&str] = &[
    "/usr/share/doc/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/lib/modules/*/kernel/sound/*",
    "/lib/modules/*/kernel/drivers/gpu/*",
    "/lib/modules/*/kernel/drivers/media/*",
    "/lib/modules/*/kernel/drivers/net/wireless/*",
    "/lib/modules/*/kernel/drivers/infiniband/*",
    "/lib/modules/*/kernel/drivers/staging/*",
    "/lib/modules/*/kernel/drivers/iio/*",
];

/// Number 1: bookworm, ifupdown, ext4, /home apart, swap, GRUB on an MBR.
pub const EXT4: Recipe = Recipe {
    name: "ext4",
    about: "bookworm, ifupdown, ext4, /home, swap, GRUB, msdos",
    hostname: "old1",
    suite: "bookworm",
    packages: &[
        "systemd-sysv",
        "dbus",
        "ifupdown",
        "grub-pc",
        "smartmontools",
    ],
    initramfs: "COMPRESS=gzip\n",
    modules: "",
    disk: 6 * GIB,
    table: "label: dos\nlabel-id: 0x11110001\n\
            size=3GiB, type=83, bootable\n\
            size=512MiB, type=82\n\
            type=5\n\
            type=83\n",
    volumes: &[
        Volume {
            number: 1,
            format: &[
                "mkfs.ext4",
                "-q",
                "-U",
                "11111111-aaaa-4aaa-8aaa-000000000001",
            ],
            kind: Some("ext4"),
            mount: Some("/"),
            subvolume: None,
        },
        Volume {
            number: 5,
            format: &[
                "mkfs.ext4",
                "-q",
                "-L",
                "home",
                "-U",
                "11111111-aaaa-4aaa-8aaa-000000000005",
            ],
            kind: Some("ext4"),
            mount: Some("/home"),
            subvolume: None,
        },
        Volume {
            number: 2,
            format: &["mkswap", "-U", "11111111-aaaa-4aaa-8aaa-000000000002"],
            kind: None,
            mount: None,
            subvolume: None,
        },
    ],
    firmware: Firmware::Bios,
    root: "root=UUID=11111111-aaaa-4aaa-8aaa-000000000001",
    setup: include_str!("scripts/ext4-setup"),
    finish: include_str!("scripts/grub-bios-finish"),
    systemd: true,
    changes: &[
        "/boot/grub/*",
        "/etc/default/grub",
        "/etc/fstab",
        "/etc/network/interfaces",
        "/etc/systemd/network/10-p2v-ens3.link",
        "/var/cache/debconf/config.dat",
        // smartd has nothing to watch on a virtual disk.
        "/etc/rc2.d/*",
        "/etc/rc3.d/*",
        "/etc/rc4.d/*",
        "/etc/rc5.d/*",
        "/etc/systemd/system/smartmontools.service",
    ],
};

/// Number 2: bookworm, xfs, /boot apart, systemd-networkd, GRUB on a GPT. Its
/// initramfs has no virtio.
pub const XFS: Recipe = Recipe {
    name: "xfs",
    about: "bookworm, systemd-networkd, xfs, ext4 /boot, swap file, GRUB, gpt",
    hostname: "old2.example.net",
    suite: "bookworm",
    packages: &["systemd-sysv", "dbus", "grub-pc", "xfsprogs"],
    initramfs: "COMPRESS=gzip\nMODULES=list\n",
    modules: "ahci\nsd_mod\ncrc32c_generic\nxfs\next4\ne1000e\n",
    disk: 5 * GIB,
    table: "label: gpt\nlabel-id: 22222222-BBBB-4BBB-8BBB-000000000000\n\
            size=1MiB, type=21686148-6449-6E6F-744E-656564454649\n\
            size=400MiB, type=L, uuid=22222222-BBBB-4BBB-8BBB-000000000002\n\
            type=L, name=system\n",
    volumes: &[
        Volume {
            number: 3,
            format: &[
                "mkfs.xfs",
                "-q",
                "-L",
                "system",
                "-m",
                "uuid=22222222-aaaa-4aaa-8aaa-000000000003",
            ],
            kind: Some("xfs"),
            mount: Some("/"),
            subvolume: None,
        },
        Volume {
            number: 2,
            format: &[
                "mkfs.ext4",
                "-q",
                "-U",
                "22222222-aaaa-4aaa-8aaa-000000000002",
            ],
            kind: Some("ext4"),
            mount: Some("/boot"),
            subvolume: None,
        },
    ],
    firmware: Firmware::Bios,
    root: "root=UUID=22222222-aaaa-4aaa-8aaa-000000000003",
    setup: include_str!("scripts/xfs-setup"),
    finish: include_str!("scripts/grub-bios-finish"),
    systemd: true,
    changes: &[
        "/boot/grub/*",
        "/boot/initrd.img-*",
        "/etc/default/grub",
        "/etc/fstab",
        "/etc/initramfs-tools/*",
        "/etc/systemd/network/*",
        "/swapfile",
        "/var/cache/debconf/config.dat",
        "/var/lib/initramfs-tools/*",
        // Its time: mkinitramfs works there.
        "/var/tmp",
    ],
};

/// Number 3: trixie, btrfs with the root in a subvolume, UEFI, NetworkManager.
pub const BTRFS: Recipe = Recipe {
    name: "btrfs",
    about: "trixie, NetworkManager, btrfs subvolume, swap, GRUB, UEFI",
    hostname: "old3",
    suite: "trixie",
    packages: &[
        "systemd-sysv",
        "dbus",
        "network-manager",
        "grub-efi-amd64",
        "btrfs-progs",
        "dosfstools",
    ],
    initramfs: "COMPRESS=gzip\n",
    modules: "",
    disk: 5 * GIB,
    table: "label: gpt\n\
            size=200MiB, type=U, name=esp\n\
            size=4GiB, type=L\n\
            type=S\n",
    volumes: &[
        Volume {
            number: 2,
            format: &[
                "mkfs.btrfs",
                "-q",
                "-U",
                "33333333-aaaa-4aaa-8aaa-000000000002",
            ],
            kind: Some("btrfs"),
            mount: Some("/"),
            subvolume: Some("@rootfs"),
        },
        Volume {
            number: 1,
            format: &["mkfs.vfat", "-F", "32", "-i", "33330001"],
            kind: Some("vfat"),
            mount: Some("/boot/efi"),
            subvolume: None,
        },
        Volume {
            number: 3,
            format: &["mkswap", "-U", "33333333-aaaa-4aaa-8aaa-000000000003"],
            kind: None,
            mount: None,
            subvolume: None,
        },
    ],
    firmware: Firmware::Efi,
    root: "root=UUID=33333333-aaaa-4aaa-8aaa-000000000002 rootflags=subvol=@rootfs",
    setup: include_str!("scripts/btrfs-setup"),
    finish: include_str!("scripts/grub-efi-finish"),
    systemd: true,
    changes: &[
        "/boot/efi/*",
        "/boot/grub/*",
        "/etc/NetworkManager/system-connections/office.nmconnection",
        "/etc/default/grub",
        "/etc/fstab",
        "/etc/systemd/network/10-p2v-ens3.link",
        "/var/cache/debconf/config.dat",
    ],
};

/// Number 4: bullseye, sysvinit, ext3 alone, extlinux, no swap, no virtio in
/// its initramfs.
pub const EXT3: Recipe = Recipe {
    name: "ext3",
    about: "bullseye, sysvinit, ifupdown, ext3, extlinux, no swap, msdos",
    hostname: "old4",
    suite: "bullseye",
    packages: &[
        "sysvinit-core",
        "initscripts",
        "ifupdown",
        "isc-dhcp-client",
        "extlinux",
    ],
    initramfs: "COMPRESS=gzip\nMODULES=list\n",
    modules: "ahci\nsd_mod\ncrc32c_generic\next4\n",
    disk: 3 * GIB,
    table: "label: dos\nlabel-id: 0x44440004\ntype=83, bootable\n",
    volumes: &[Volume {
        number: 1,
        // As mkfs.ext3 of its time makes it, for its extlinux.
        format: &[
            "mkfs.ext3",
            "-q",
            "-U",
            "44444444-aaaa-4aaa-8aaa-000000000001",
        ],
        kind: Some("ext3"),
        mount: Some("/"),
        subvolume: None,
    }],
    firmware: Firmware::Bios,
    root: "root=/dev/sda1",
    setup: include_str!("scripts/ext3-setup"),
    finish: include_str!("scripts/extlinux-finish"),
    systemd: false,
    changes: &[
        "/boot/extlinux/*",
        "/boot/initrd.img-*",
        "/etc/fstab",
        "/etc/initramfs-tools/*",
        "/etc/inittab",
        "/etc/network/interfaces",
        "/etc/systemd/network/*",
        "/etc/udev/rules.d/*",
        "/var/lib/initramfs-tools/*",
        // Its time: mkinitramfs works there.
        "/var/tmp",
    ],
};

/// The sparse file in each of a source's two odd directories, in bytes: far
/// more than its disk.
pub const SPARSE: u64 = 100 * GIB;

/// All of them.
pub const ALL: &[&Recipe] = &[&EXT4, &XFS, &BTRFS, &EXT3];
