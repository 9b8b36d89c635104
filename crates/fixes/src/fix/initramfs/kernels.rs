//! The installed kernels, their initramfses, and what those must have inside.

use std::collections::BTreeSet;

use anyhow::Result;
use p2v_sys::Root;

use crate::Draft;
use crate::machine::{Hypervisor, Machine};

/// An installed kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// As `uname -r` says it.
    pub version: String,
    /// Its initramfs, from the root; where it would be, if there is none.
    pub initramfs: String,
    /// The modules that it brings, by name, with those built in.
    pub modules: BTreeSet<String>,
    /// Those that are built in.
    pub built_in: BTreeSet<String>,
}

/// A driver, by the names of the modules of which one is enough.
pub type Driver = &'static [&'static str];

const MODULES: [&str; 2] = ["usr/lib/modules", "lib/modules"];

/// Every kernel with modules and an image.
pub fn installed(draft: &Draft) -> Result<Vec<Kernel>> {
    let mut kernels: Vec<Kernel> = Vec::new();
    for directory in MODULES {
        for version in draft.list(directory)? {
            let known = kernels.iter().any(|kernel| kernel.version == version);
            let base = format!("{directory}/{version}");
            if known || !draft.exists(format!("{base}/modules.dep")) {
                continue;
            }
            if let Some(initramfs) = initramfs_of(draft, &base, &version)? {
                let built_in = listed(draft, &format!("{base}/modules.builtin"))?;
                let mut modules = listed(draft, &format!("{base}/modules.dep"))?;
                modules.extend(built_in.iter().cloned());
                kernels.push(Kernel {
                    version,
                    initramfs,
                    modules,
                    built_in,
                });
            }
        }
    }
    Ok(kernels)
}

/// Where the initramfs is, or belongs; `None` for modules that a removed
/// kernel left behind.
fn initramfs_of(draft: &Draft, base: &str, version: &str) -> Result<Option<String>> {
    // Arch calls its files after the package.
    if let Some(package) = draft.text(format!("{base}/pkgbase"))? {
        return Ok(Some(format!("boot/initramfs-{}.img", package.trim())));
    }
    let names = [
        format!("boot/initrd.img-{version}"),
        format!("boot/initramfs-{version}.img"),
        format!("boot/initrd-{version}"),
        format!("boot/initrd-{version}.img"),
    ];
    if let Some(found) = names.iter().find(|path| draft.exists(path)) {
        return Ok(Some(found.clone()));
    }
    let id = draft.text("etc/machine-id")?.unwrap_or_default();
    let entry = format!("boot/{}/{version}/initrd", id.trim());
    if draft.exists(&entry) {
        return Ok(Some(entry));
    }
    let images = ["vmlinuz", "vmlinux", "Image", "bzImage"];
    let has_image = images
        .iter()
        .any(|image| draft.exists(format!("boot/{image}-{version}")));
    let debian = draft.exists("etc/initramfs-tools");
    Ok(has_image.then(|| names[usize::from(!debian)].clone()))
}

/// The modules of an index of kmod's: each line begins with a path.
fn listed(draft: &Draft, path: &str) -> Result<BTreeSet<String>> {
    let text = draft.text(path)?.unwrap_or_default();
    let paths = text
        .lines()
        .map(|line| line.split(':').next().unwrap_or(line));
    Ok(paths.filter_map(module_name).collect())
}

/// `kernel/drivers/block/virtio_blk.ko.xz` is `virtio_blk`.
pub fn module_name(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let (name, _) = file.split_once(".ko")?;
    Some(name.replace('-', "_"))
}

/// The drivers without which the machine's root cannot be mounted.
pub fn needed(machine: &Machine) -> Vec<Driver> {
    let root = machine.mounted_on("/");
    // A root on LVM or the like is on disks of this kind too.
    let device = match machine.boot_disk.as_str() {
        "" => root.map_or("", |root| root.device.as_str()),
        disk => disk,
    };
    let mut drivers: Vec<Driver> = match (device.get(5..7), machine.hypervisor) {
        (Some("xv"), _) | (_, Hypervisor::XenPvm) => vec![&["xen_blkfront", "xenblk"]],
        (Some("vd"), _) => vec![&["virtio_blk"], &["virtio_pci"]],
        (Some("sd"), Hypervisor::Kvm) => vec![&["virtio_scsi"], &["virtio_pci"], &["sd_mod"]],
        (Some("sd" | "hd"), _) => vec![
            &["ata_piix", "ahci", "ide_generic"],
            &["sd_mod", "ide_disk"],
        ],
        _ => Vec::new(),
    };
    drivers.extend(root.and_then(|root| match root.kind.as_str() {
        "ext2" => Some(&["ext2", "ext4"][..]),
        "ext3" => Some(&["ext3", "ext4"][..]),
        "ext4" => Some(&["ext4"][..]),
        "xfs" => Some(&["xfs"][..]),
        "btrfs" => Some(&["btrfs"][..]),
        "jfs" => Some(&["jfs"][..]),
        "reiserfs" => Some(&["reiserfs"][..]),
        "f2fs" => Some(&["f2fs"][..]),
        _ => None,
    }));
    drivers
}

/// What a look into an initramfs found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Look {
    /// Modules that it must have and has not.
    pub missing: Vec<&'static str>,
    /// What it waits for and will never come.
    pub stale: Vec<String>,
    /// Why it could not be looked into.
    pub closed: Option<String>,
}

impl Look {
    /// Whether it will do.
    pub fn is_good(&self) -> bool {
        *self == Self::default()
    }
}

/// Looks into a kernel's initramfs.
pub fn look(machine: &Machine, root: &Root, kernel: &Kernel) -> Look {
    let lacking = |inside: &BTreeSet<String>| -> Vec<&'static str> {
        let there = |name: &str| inside.contains(name) || kernel.built_in.contains(name);
        let has = |driver: &Driver| driver.iter().any(|name| there(name));
        let missing = needed(machine).into_iter().filter(|driver| !has(driver));
        missing.map(|driver| kernel.best_of(driver)).collect()
    };
    if !root.exists(&kernel.initramfs) {
        return Look {
            missing: lacking(&BTreeSet::new()),
            ..Look::default()
        };
    }
    let contents = root
        .open_file(&kernel.initramfs)
        .and_then(super::archive::read);
    let contents = match contents {
        Ok(contents) => contents,
        Err(error) => {
            return Look {
                closed: Some(format!("{error:#}")),
                ..Look::default()
            };
        }
    };
    // dracut's squash module hides everything in one file.
    if contents
        .names
        .iter()
        .any(|name| name.ends_with("squashfs-root.img"))
    {
        let closed = Some("its files are in a squashfs".to_owned());
        return Look {
            closed,
            ..Look::default()
        };
    }
    let inside = contents
        .names
        .iter()
        .filter_map(|name| module_name(name))
        .collect();
    Look {
        missing: lacking(&inside),
        stale: super::stale::stale(machine, &contents.texts),
        closed: None,
    }
}

impl Kernel {
    /// Of several modules the one that this kernel has.
    fn best_of(&self, driver: Driver) -> &'static str {
        let has = driver.iter().find(|name| self.modules.contains(**name));
        has.or(driver.first()).copied().unwrap_or_default()
    }

    /// What it must have and cannot get: there is no such module.
    pub fn lost(&self, missing: &[&'static str]) -> Vec<&'static str> {
        let lost = missing.iter().filter(|name| !self.modules.contains(**name));
        lost.copied().collect()
    }
}
