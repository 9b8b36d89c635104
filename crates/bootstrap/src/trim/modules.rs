//! Kernel modules: those of hardware that virtual machines have, of disks,
//! filesystems and networks, and what they depend on. The rest of Debian's
//! kernel package, some 380 MB of it, goes.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::{Context, Result};
use p2v_sys::Cmd;

use super::pattern::{expand, remove_path};

/// Modules that stay, by their path below `kernel/`: one that ends in `/` is
/// a directory, `*` within one stands for any name. Dependencies stay too.
pub const KEPT: &[(&[&str], &str)] = &[
    (
        &[
            "arch/*/crypto/",
            "crypto/",
            "lib/crypto/",
            "lib/libcrc32c",
            "lib/crc*",
        ],
        "checksums and ciphers of filesystems and of dm-crypt; they are asked for by alias",
    ),
    (
        &[
            "drivers/virtio/",
            "drivers/block/virtio_blk",
            "drivers/net/virtio_net",
            "drivers/scsi/virtio_scsi",
            "drivers/char/virtio_console",
            "drivers/crypto/virtio/",
            "drivers/char/hw_random/virtio-rng",
            "drivers/firmware/qemu_fw_cfg",
        ],
        "KVM",
    ),
    (
        &[
            "drivers/xen/xen-evtchn",
            "drivers/xen/xen-gntdev",
            "drivers/xen/xenfs/",
            "drivers/pci/xen-pcifront",
            "drivers/block/xen-blkfront",
            "drivers/net/xen-netfront",
            "drivers/scsi/xen-scsifront",
            "drivers/input/misc/xen-kbdfront",
        ],
        "Xen",
    ),
    (
        &[
            "drivers/hv/",
            "drivers/net/hyperv/",
            "drivers/scsi/hv_storvsc",
            "drivers/hid/hid-hyperv",
            "drivers/input/serio/hyperv-keyboard",
        ],
        "Hyper-V",
    ),
    (
        &[
            "drivers/scsi/vmw_pvscsi",
            "drivers/net/vmxnet3/",
            "drivers/message/fusion/mptspi",
            "drivers/message/fusion/mptsas",
            "drivers/scsi/BusLogic",
        ],
        "VMware",
    ),
    (
        &[
            "drivers/ata/ahci",
            "drivers/ata/ata_piix",
            "drivers/ata/ata_generic",
            "drivers/ata/pata_acpi",
            "drivers/nvme/host/nvme",
            "drivers/scsi/sd_mod",
            "drivers/scsi/sr_mod",
            "drivers/scsi/sg",
            "drivers/scsi/sym53c8xx_2/",
            "drivers/scsi/megaraid/megaraid_sas",
            "drivers/scsi/am53c974",
            "drivers/cdrom/",
        ],
        "disks that QEMU can show",
    ),
    (
        &[
            "drivers/net/ethernet/intel/e1000/",
            "drivers/net/ethernet/intel/e1000e/",
            "drivers/net/ethernet/intel/e100",
            "drivers/net/ethernet/intel/igb/",
            "drivers/net/ethernet/intel/igbvf/",
            "drivers/net/ethernet/intel/ixgbevf/",
            "drivers/net/ethernet/intel/iavf/",
            "drivers/net/ethernet/realtek/8139cp",
            "drivers/net/ethernet/realtek/8139too",
            "drivers/net/ethernet/amd/pcnet32",
            "drivers/net/ethernet/8390/ne2k-pci",
        ],
        "network cards that QEMU can show, and virtual functions of real ones",
    ),
    (
        &[
            "drivers/usb/core/",
            "drivers/usb/common/",
            "drivers/usb/host/*hci*",
            "drivers/usb/storage/usb-storage",
            "drivers/usb/storage/uas",
            "drivers/hid/hid",
            "drivers/hid/hid-generic",
            "drivers/hid/usbhid/usbhid",
            "drivers/input/evdev",
            "drivers/input/serio/i8042",
            "drivers/input/serio/libps2",
            "drivers/input/keyboard/atkbd",
            "drivers/acpi/button",
        ],
        "a keyboard at the console, a stick, a power button",
    ),
    (
        &[
            "drivers/block/loop",
            "drivers/block/nbd",
            "drivers/block/brd",
            "drivers/block/zram",
            "drivers/md/bcache/",
            "drivers/md/persistent-data/",
            "drivers/md/dm-*",
            "drivers/md/md-mod",
            "drivers/md/raid*",
            "drivers/md/linear",
            "drivers/md/multipath",
        ],
        "device-mapper, RAID, LVM, images",
    ),
    (
        &[
            "fs/9p/",
            "fs/autofs/",
            "fs/btrfs/",
            "fs/configfs/",
            "fs/efivarfs/",
            "fs/ext2/",
            "fs/ext3/",
            "fs/ext4/",
            "fs/fat/",
            "fs/fuse/",
            "fs/isofs/",
            "fs/nls/",
            "fs/overlayfs/",
            "fs/squashfs/",
            "fs/udf/",
            "fs/xfs/",
        ],
        "filesystems: those that are made here, and those that media come in",
    ),
    (
        &[
            "net/packet/",
            "net/ipv6/ipv6",
            "net/9p/9pnet",
            "net/9p/9pnet_virtio",
            "net/9p/9pnet_xen",
            "net/8021q/",
            "net/bridge/bridge",
            "drivers/net/bonding/",
            "drivers/net/dummy",
            "drivers/net/tun",
            "drivers/net/veth",
            "drivers/net/macvlan",
            "net/ipv4/tcp_bbr",
            "net/sched/sch_fq*",
        ],
        "DHCP, and the ways a network may be built",
    ),
];

/// Removes the other modules from every kernel of the tree `root`, and writes
/// the indexes anew.
pub(super) fn trim(root: &Path) -> Result<()> {
    for directory in expand(root, "usr/lib/modules/*")? {
        let name = directory.file_name().unwrap_or_default();
        let version = name.to_string_lossy().into_owned();
        let dependencies = directory.join("modules.dep");
        let text = std::fs::read_to_string(&dependencies)
            .with_context(|| format!("reading {}", dependencies.display()))?;
        let kept = kept(&text);
        for module in every(&text).filter(|module| !kept.contains(module)) {
            remove_path(&directory.join(module))?;
        }
        remove_empty(&directory.join("kernel"))?;
        // The root's own: nobody but its packages has written to it yet, and
        // the node may lack kmod, or have one that does not know the format.
        Cmd::new("chroot", format!("indexing the modules of Linux {version}"))
            .arg(root)
            .args(["depmod", &version])
            .run()?;
    }
    Ok(())
}

/// The modules of modules.dep.
fn every(dependencies: &str) -> impl Iterator<Item = &str> {
    dependencies
        .lines()
        .filter_map(|line| Some(line.split_once(':')?.0))
}

/// The modules that stay: those of the table and all that they depend on.
fn kept(dependencies: &str) -> HashSet<&str> {
    let depends: HashMap<&str, &str> = dependencies
        .lines()
        .filter_map(|line| line.split_once(':'))
        .collect();
    let mut kept = HashSet::new();
    let mut open: Vec<&str> = every(dependencies)
        .filter(|module| listed(module))
        .collect();
    while let Some(module) = open.pop() {
        if kept.insert(module) {
            let on = depends.get(module).copied().unwrap_or_default();
            open.extend(on.split_whitespace());
        }
    }
    kept
}

fn listed(module: &str) -> bool {
    let Some(path) = module.strip_prefix("kernel/") else {
        // Outside of the kernel's package: an operator wanted it.
        return true;
    };
    // Compressed ones end in .ko.xz or .ko.zst.
    let stem = path.split_once(".ko").map_or(path, |(stem, _)| stem);
    let patterns = KEPT.iter().flat_map(|(patterns, _)| *patterns);
    patterns.into_iter().any(|pattern| matches(pattern, stem))
}

fn matches(pattern: &str, stem: &str) -> bool {
    let mut names = stem.split('/');
    for part in pattern.split('/') {
        if part.is_empty() {
            // The pattern's end: a directory, and something is in it.
            return names.next().is_some();
        }
        match names.next() {
            Some(name) if name_matches(part, name) => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

fn name_matches(pattern: &str, name: &str) -> bool {
    let mut rest = name;
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(after) = rest.strip_prefix(first) else {
        return false;
    };
    rest = after;
    let mut exact = true;
    for part in parts {
        exact = part.is_empty();
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    // After a final `*` anything may follow.
    rest.is_empty() || (exact && pattern.ends_with('*'))
}

/// Removes directories that hold nothing, deepest first.
fn remove_empty(directory: &Path) -> Result<()> {
    let reading = || format!("reading {}", directory.display());
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(reading),
    };
    for entry in entries {
        let entry = entry.with_context(reading)?;
        if entry.file_type().with_context(reading)?.is_dir() {
            remove_empty(&entry.path())?;
            // Fails where something is left in it.
            let _ = std::fs::remove_dir(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_paths() {
        for (pattern, stem, expected) in [
            ("fs/ext4/", "fs/ext4/ext4", true),
            ("fs/ext4/", "fs/ext4", false),
            ("drivers/block/loop", "drivers/block/loop", true),
            ("drivers/block/loop", "drivers/block/loopy", false),
            ("drivers/net/virtio_net", "drivers/net/virtio_net/x", false),
            ("arch/*/crypto/", "arch/x86/crypto/aesni-intel", true),
            ("arch/*/crypto/", "arch/x86/kvm/kvm", false),
            ("lib/crc*", "lib/crc16", true),
            ("drivers/usb/host/*hci*", "drivers/usb/host/xhci-pci", true),
            (
                "drivers/usb/host/*hci*",
                "drivers/usb/host/sl811-hcd",
                false,
            ),
        ] {
            assert_eq!(matches(pattern, stem), expected, "{pattern} on {stem}");
        }
    }

    #[test]
    fn dependencies_of_what_stays_stay() {
        let text = "\
kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz kernel/fs/mbcache.ko.xz
kernel/fs/jbd2/jbd2.ko.xz:
kernel/fs/mbcache.ko.xz:
kernel/fs/nfs/nfs.ko.xz: kernel/fs/lockd/lockd.ko.xz
kernel/fs/lockd/lockd.ko.xz:
updates/dkms/own.ko:
";
        let mut kept: Vec<_> = kept(text).into_iter().collect();
        kept.sort_unstable();
        assert_eq!(
            kept,
            [
                "kernel/fs/ext4/ext4.ko.xz",
                "kernel/fs/jbd2/jbd2.ko.xz",
                "kernel/fs/mbcache.ko.xz",
                "updates/dkms/own.ko",
            ]
        );
    }
}
