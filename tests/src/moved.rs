//! A Debian on a disk as a copy of files leaves it: with a partition table and
//! filesystems, with the old hardware's names all over, without a boot loader,
//! and with an initramfs that knows no virtio.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use p2v_sys::Cmd;
use p2v_sys::lock::FileLock;

use crate::{guest, place};

/// Longer than a slow mirror takes on a busy machine.
const LONGEST_BOOTSTRAP: Duration = Duration::from_secs(1200);

/// The names that the system has for what stayed behind.
const SETTINGS: &[(&str, &str)] = &[
    ("etc/hostname", "moved\n"),
    ("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 moved\n"),
    (
        "etc/fstab",
        "/dev/sda1 / auto errors=remount-ro\n\
         UUID=9c3e1c1e-1111-4c1c-8e1f-222222222222 /backup xfs defaults 0 2\n\
         /dev/disk/by-id/ata-OLD_DISK_123-part2 none swap sw 0 0\n",
    ),
    (
        "etc/network/interfaces",
        "auto lo\niface lo inet loopback\nallow-hotplug enp0s25\niface enp0s25 inet dhcp\n",
    ),
    (
        "etc/default/grub",
        "GRUB_DEFAULT=0\nGRUB_TIMEOUT=1\nGRUB_CMDLINE_LINUX_DEFAULT=\"\"\n\
         GRUB_CMDLINE_LINUX=\"console=tty0 console=ttyS1,115200n8\"\n",
    ),
    (
        "etc/initramfs-tools/conf.d/resume",
        "RESUME=UUID=77d0a5b4-86d3-4b3c-9a0b-5f4a8f0f6a55\n",
    ),
    (
        "etc/udev/rules.d/70-persistent-net.rules",
        "SUBSYSTEM==\"net\", ACTION==\"add\", ATTR{address}==\"3c:a8:2a:11:22:33\", NAME=\"enp0s25\"\n",
    ),
    ("etc/machine-id", "5d3e0c6b7f2a4819a0b1c2d3e4f50617\n"),
];

/// What mmdebstrap is told. The initramfs is small, which makes it quick to
/// make anew on emulated hardware, and fit for the old hardware alone.
const OPTIONS: &[&str] = &[
    "--mode=root",
    "--variant=minbase",
    "--aptopt=APT::Install-Recommends \"false\"",
    "--include=linux-image-amd64,initramfs-tools,systemd-sysv,udev,dbus,ifupdown,isc-dhcp-client,\
     iproute2,openssh-server,procps,kmod,grub-pc,xfsprogs,e2fsprogs,smartmontools",
    "--essential-hook=mkdir -p \"$1/etc/initramfs-tools/conf.d\"",
    "--essential-hook=printf 'COMPRESS=gzip\\nMODULES=list\\n' >\"$1/etc/initramfs-tools/conf.d/small\"",
    "--essential-hook=printf 'ahci\\nsd_mod\\next4\\n' >\"$1/etc/initramfs-tools/modules\"",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/lib/modules/*/kernel/sound/*",
    "--dpkgopt=path-exclude=/lib/modules/*/kernel/drivers/gpu/*",
    "--dpkgopt=path-exclude=/lib/modules/*/kernel/drivers/media/*",
    "--dpkgopt=path-exclude=/lib/modules/*/kernel/drivers/net/wireless/*",
    "--dpkgopt=path-exclude=/lib/modules/*/kernel/drivers/infiniband/*",
    "--dpkgopt=path-exclude=/lib/modules/*/kernel/drivers/staging/*",
];

/// Where such a system goes.
#[derive(Debug)]
pub struct Layout {
    /// sfdisk's script.
    pub table: &'static str,
    /// The root's partition in the table's order, from 1.
    pub root: usize,
    /// Its filesystem.
    pub kind: &'static str,
    /// The swap area's partition.
    pub swap: Option<usize>,
}

/// Fills `disk`, an empty image; `key` may log in. Returns the SSH server's
/// public keys.
pub fn make(disk: &Path, layout: &Layout, key: &str) -> Result<Vec<String>> {
    guest::partition(disk, layout.table)?;
    let root = guest::extent(disk, layout.root)?;
    guest::format(disk, root, &format!("mkfs.{}", layout.kind), &["-q"])?;
    if let Some(swap) = layout.swap {
        guest::format(disk, guest::extent(disk, swap)?, "mkswap", &[])?;
    }
    let archive = archive()?;
    guest::edit(disk, root, (layout.kind, ""), |top| {
        fill(top, &archive, key)
    })?
}

fn fill(top: &Path, archive: &Path, key: &str) -> Result<Vec<String>> {
    guest::unpack(archive, top)?;
    for (path, text) in SETTINGS {
        write(&top.join(path), text)?;
    }
    write(&top.join("root/.ssh/authorized_keys"), key)?;
    let read = |kind| std::fs::read_to_string(top.join(format!("etc/ssh/ssh_host_{kind}_key.pub")));
    ["ed25519", "ecdsa"]
        .into_iter()
        .map(|kind| read(kind).context("reading the system's host keys"))
        .collect()
}

/// The system's archive, made once.
fn archive() -> Result<PathBuf> {
    let cache = place::test_cache()?;
    let hash = blake3::hash(OPTIONS.join(" ").as_bytes()).to_hex();
    let archive = cache.join(format!("moved-{}.tar.zst", &hash[..16]));
    let _lock = FileLock::wait(&cache.join("moved.lock"), "making a system to be moved")?;
    if !archive.exists() {
        let unfinished = cache.join("moved-unfinished.tar.zst");
        Cmd::new("mmdebstrap", "making a system to be moved")
            .args(OPTIONS)
            .arg("bookworm")
            .arg(&unfinished)
            .timeout(LONGEST_BOOTSTRAP)
            .run()?;
        std::fs::rename(&unfinished, &archive).context("keeping the system")?;
    }
    Ok(archive)
}

fn write(path: &Path, text: &str) -> Result<()> {
    let doing = || format!("writing {}", path.display());
    let parent = path.parent().with_context(doing)?;
    std::fs::create_dir_all(parent).with_context(doing)?;
    std::fs::write(path, text).with_context(doing)
}
