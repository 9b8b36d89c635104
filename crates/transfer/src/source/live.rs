//! The disks of the machine that this runs on, and what it calls them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use p2v_sys::filesystem::{self, Content};
use p2v_sys::loopdev::Extent;

use super::findings::Findings;
use super::running::{self, Use, names_in};

/// Kernel names of what is no disk of its own, before a number.
const NO_DISKS: [&str; 11] = [
    "loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd", "mtdblock", "bcache", "zd",
];

/// What a live medium is made of. A system that lives on its disk has others.
const OF_A_MEDIUM: [&str; 8] = [
    "iso9660", "udf", "vfat", "exfat", "ntfs3", "fuseblk", "squashfs", "erofs",
];

/// Every disk that may be the machine's to move. The live medium is left out.
///
/// # Errors
/// There is none; the running system lives on one.
pub fn disks(findings: &mut Findings) -> Result<Vec<PathBuf>> {
    let mut disks = Vec::new();
    for name in names_in("/sys/block") {
        if !is_disk(&name) || attribute(&name, "hidden").as_deref() == Some("1") {
            continue;
        }
        if attribute(&name, "size").is_none_or(|size| size == "0") {
            continue;
        }
        let path = Path::new("/dev").join(name.replace('!', "/"));
        if !path.exists() {
            findings.remark(format!("{} has no device node", path.display()));
            continue;
        }
        let uses = running::uses(&path)?;
        if is_live_medium(&name, &uses) || is_idle_medium(&name, &path)? {
            findings.remark(format!(
                "{} is left out: it is a live medium",
                path.display()
            ));
        } else {
            disks.push(path);
        }
    }
    if disks.is_empty() {
        bail!("this machine has no disk: name a disk or a disk's image");
    }
    Ok(disks)
}

/// Whether the machine has disks, and nothing uses one of them: it was started
/// from a live medium, or from nothing of its own.
pub fn lie_still() -> bool {
    let free = |path: &PathBuf| {
        let mut options = std::fs::File::options();
        let exclusive =
            std::os::unix::fs::OpenOptionsExt::custom_flags(options.read(true), nix::libc::O_EXCL);
        running::uses(path).is_ok_and(|uses| uses.is_empty()) && exclusive.open(path).is_ok()
    };
    disks(&mut Findings::default()).is_ok_and(|disks| disks.iter().all(free))
}

fn is_disk(name: &str) -> bool {
    let of = |kind: &&str| {
        let number = name.strip_prefix(*kind);
        number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    // The boot partitions of an eMMC are disks to the kernel.
    let emmc = name.starts_with("mmcblk") && (name.contains("boot") || name.contains("rpmb"));
    !NO_DISKS.iter().any(of) && !emmc
}

fn is_live_medium(name: &str, uses: &[Use]) -> bool {
    let of_medium = |kind: &str| OF_A_MEDIUM.contains(&kind);
    let all_of_medium = uses
        .iter()
        .all(|used| matches!(used, Use::Mounted(_, kind) if of_medium(kind)));
    // A stick with its own root filesystem is a system that lives there.
    let is_root = |used: &Use| matches!(used, Use::Mounted(path, _) if path == "/");
    let persistent = is_removable(name)
        && uses.iter().all(|used| matches!(used, Use::Mounted(..)))
        && !uses.iter().any(is_root);
    !uses.is_empty() && (all_of_medium || persistent)
}

fn is_removable(name: &str) -> bool {
    let device = std::fs::canonicalize(format!("/sys/block/{name}")).unwrap_or_default();
    let usb = device.to_string_lossy().contains("/usb");
    usb || attribute(name, "removable").as_deref() == Some("1")
}

/// One whose system has copied itself into memory: nothing uses it any more.
fn is_idle_medium(name: &str, path: &Path) -> Result<bool> {
    if !is_removable(name) {
        return Ok(false);
    }
    let found = filesystem::probe(path, Extent::default())?;
    Ok(matches!(found, Content::Known(signature) if signature.kind == "iso9660"))
}

fn attribute(name: &str, file: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/sys/block/{name}/{file}")).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Maker and model of a disk, by its kernel name.
pub fn model(name: &str) -> Option<String> {
    let model = attribute(name, "device/model")?;
    match attribute(name, "device/vendor") {
        // What libata says of every disk, and virtio's number.
        Some(vendor) if vendor != "ATA" && !vendor.starts_with("0x") => {
            Some(format!("{vendor} {model}"))
        }
        _ => Some(model),
    }
}

/// A hash of the numbers that only this machine's disk of that kernel name has.
pub fn hardware(name: &str) -> Option<String> {
    let files = ["serial", "device/serial", "wwid", "device/wwid"];
    let serial = files.iter().find_map(|file| attribute(name, file));
    // A loop device shows a file, which may be shown on any machine.
    if name.starts_with("loop") {
        return None;
    }
    let machine = std::fs::read_to_string("/sys/class/dmi/id/product_uuid").ok();
    let numbers = [machine.as_deref().map(str::trim), serial.as_deref()];
    digest(numbers.into_iter().flatten())
}

/// A short hash of the texts, if there are any.
pub fn digest<'a>(texts: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut hasher = blake3::Hasher::new();
    let mut some = false;
    for text in texts.filter(|text| !text.is_empty()) {
        some = true;
        hasher.update(text.as_bytes());
        hasher.update(b"\n");
    }
    some.then(|| hasher.finalize().to_hex()[..16].to_owned())
}

/// What udev calls a disk and its partitions: `/dev/disk/by-id/...` and
/// `/dev/disk/by-path/...`, by the partition's number, 0 for the disk.
pub fn udev_names(name: &str) -> Result<BTreeMap<u32, Vec<String>>> {
    let mut numbers = BTreeMap::from([(node(name), 0)]);
    for partition in running::partitions(name) {
        let file = format!("/sys/class/block/{partition}/partition");
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
        if let Ok(number) = text.trim().parse() {
            numbers.insert(node(&partition), number);
        }
    }
    let mut names: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for directory in ["/dev/disk/by-id", "/dev/disk/by-path"] {
        for link in names_in(directory) {
            let link = Path::new(directory).join(link);
            let number = std::fs::canonicalize(&link)
                .ok()
                .and_then(|target| numbers.get(&target));
            if let (Some(number), Some(link)) = (number, link.to_str()) {
                names.entry(*number).or_default().push(link.to_owned());
            }
        }
    }
    Ok(names)
}

fn node(name: &str) -> PathBuf {
    Path::new("/dev").join(name.replace('!', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_by_their_kernel_names() {
        for name in [
            "sda",
            "vda",
            "xvda",
            "nvme0n1",
            "mmcblk0",
            "hda",
            "sdaa",
            "cciss!c0d0",
        ] {
            assert!(is_disk(name), "{name}");
        }
        for name in [
            "loop0",
            "ram15",
            "zram0",
            "dm-0",
            "md127",
            "sr0",
            "fd0",
            "mmcblk0boot0",
        ] {
            assert!(!is_disk(name), "{name}");
        }
    }

    #[test]
    fn numbers_tell_machines_apart() {
        let of = |numbers: &[&str]| digest(numbers.iter().copied());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["", ""]), None);
        assert_eq!(of(&["a", "b"]), of(&["a", "", "b"]));
        let all = [of(&["a", "b"]), of(&["ab"]), of(&["b", "a"]), of(&["a"])];
        for (number, one) in all.iter().enumerate() {
            assert_eq!(one.as_ref().unwrap().len(), 16);
            assert!(!all[..number].contains(one));
        }
        // Whatever it has; a file behind a loop device has none.
        assert_eq!(hardware("loop0"), None);
    }

    #[test]
    fn a_live_medium_is_told_from_a_disk_in_use() {
        let mounted = |path: &str, kind: &str| Use::Mounted(path.into(), kind.into());
        let is = |uses: &[Use]| is_live_medium("no-such-disk", uses);
        assert!(is(&[mounted("/run/live/medium", "iso9660")]));
        assert!(is(&[
            mounted("/cdrom", "vfat"),
            mounted("/rofs", "squashfs")
        ]));
        assert!(!is(&[]));
        assert!(!is(&[mounted("/", "ext4")]));
        assert!(!is(&[mounted("/boot/efi", "vfat"), mounted("/", "ext4")]));
        assert!(!is(&[
            mounted("/boot/efi", "vfat"),
            Use::Swap("/dev/sda2".into())
        ]));
    }
}
