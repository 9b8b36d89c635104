//! What the running system does with a disk: mounts, swap, RAID arrays, on it
//! or on anything that stands on it.
//!
//! See <https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html>.

use std::collections::BTreeSet;
use std::fmt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::sys::stat::{major, minor};
use p2v_fixes::machine::octal_decoded;
use p2v_sys::loopdev;

/// A way in which the running system uses a disk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// A filesystem on it is mounted there; its type.
    Mounted(String, String),
    /// This device is swapped to.
    Swap(String),
    /// It belongs to this array, which may be written to.
    Raid(String),
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mounted(path, _) => write!(f, "mounted on {path}"),
            Self::Swap(device) => write!(f, "swap on {device}"),
            Self::Raid(array) => write!(f, "in the running RAID array {array}"),
        }
    }
}

/// The uses of the disk or image at `path`; none if it lies still.
pub fn uses(path: &Path) -> Result<Vec<Use>> {
    let doing = || format!("looking who uses {}", path.display());
    let metadata = std::fs::metadata(path).with_context(doing)?;
    let mut devices = BTreeSet::new();
    if metadata.file_type().is_block_device() {
        let name = kernel_name(metadata.rdev()).with_context(doing)?;
        let backing = format!("/sys/class/block/{name}/loop/backing_file");
        // Another loop device may show the same file.
        if let Ok(backing) = std::fs::read_to_string(backing) {
            let backing = PathBuf::from(backing.trim_end_matches('\n'));
            if backing.exists() {
                add_loops_of(&backing, &mut devices)?;
            }
        }
        add_with_all_above(&name, &mut devices)?;
    } else {
        add_loops_of(path, &mut devices)?;
    }
    Kernel::read()?.uses(&devices)
}

/// The kernel's name of a block device: `sda1`.
pub fn kernel_name(device: u64) -> Result<String> {
    let link = format!("/sys/dev/block/{}", number(device));
    let target = std::fs::read_link(&link).with_context(|| format!("reading {link}"))?;
    let name = target.file_name().unwrap_or_default();
    Ok(name.to_string_lossy().into_owned())
}

fn number(device: u64) -> String {
    format!("{}:{}", major(device), minor(device))
}

/// The names in a directory of /sys; none if it is not there.
pub fn names_in(directory: impl AsRef<Path>) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// The partitions of a disk that the kernel knows.
pub fn partitions(name: &str) -> Vec<String> {
    let directory = PathBuf::from("/sys/class/block").join(name);
    let is_partition = |entry: &String| directory.join(entry).join("partition").exists();
    let mut names = names_in(&directory);
    names.retain(is_partition);
    names
}

/// The device, its partitions, and what stands on either.
fn add_with_all_above(name: &str, devices: &mut BTreeSet<String>) -> Result<()> {
    if !devices.insert(name.to_owned()) {
        return Ok(());
    }
    for above in partitions(name) {
        add_with_all_above(&above, devices)?;
    }
    for above in names_in(format!("/sys/class/block/{name}/holders")) {
        add_with_all_above(&above, devices)?;
    }
    // The kernel writes a slash in a device's name as an exclamation mark.
    let node = Path::new("/dev").join(name.replace('!', "/"));
    if node.exists() {
        add_loops_of(&node, devices)?;
    }
    Ok(())
}

fn add_loops_of(file: &Path, devices: &mut BTreeSet<String>) -> Result<()> {
    for user in loopdev::users_of(file)? {
        let name = user.file_name().unwrap_or_default().to_string_lossy();
        add_with_all_above(&name, devices)?;
    }
    Ok(())
}

/// What is mounted and swapped to at all.
struct Kernel {
    mounts: Vec<MountedHere>,
    swaps: Vec<(String, String)>,
}

#[derive(Debug, PartialEq, Eq)]
struct MountedHere {
    number: String,
    path: String,
    kind: String,
    source: String,
}

impl Kernel {
    fn read() -> Result<Self> {
        let read = |path: &str| -> Result<String> {
            let bytes = std::fs::read(path).with_context(|| format!("reading {path}"))?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let mounts = read("/proc/thread-self/mountinfo")?;
        // A kernel without swap has no such file.
        let swaps = read("/proc/swaps").unwrap_or_default();
        let swap = |line: &str| {
            let path = octal_decoded(line.split_ascii_whitespace().next()?);
            let metadata = std::fs::metadata(&path).ok()?;
            let is_device = metadata.file_type().is_block_device();
            is_device.then(|| (number(metadata.rdev()), path))
        };
        Ok(Self {
            mounts: mounts.lines().filter_map(mounted_here).collect(),
            swaps: swaps.lines().skip(1).filter_map(swap).collect(),
        })
    }

    fn uses(&self, devices: &BTreeSet<String>) -> Result<Vec<Use>> {
        let mut found = BTreeSet::new();
        for name in devices {
            let directory = format!("/sys/class/block/{name}");
            let text = |file: &str| std::fs::read_to_string(format!("{directory}/{file}"));
            let Ok(number) = text("dev") else {
                continue;
            };
            let number = number.trim();
            for mount in &self.mounts {
                if mount.number == number || mount.is_btrfs_with(name) {
                    found.insert(Use::Mounted(mount.path.clone(), mount.kind.clone()));
                }
            }
            for (swap, path) in &self.swaps {
                if swap == number {
                    found.insert(Use::Swap(path.clone()));
                }
            }
            let state = text("md/array_state").unwrap_or_default();
            let still = ["", "clear", "inactive", "readonly", "read-auto"];
            if !still.contains(&state.trim()) {
                found.insert(Use::Raid(name.clone()));
            }
        }
        Ok(found.into_iter().collect())
    }
}

impl MountedHere {
    /// A btrfs has a device number of its own, and perhaps many devices, of
    /// which the mount names one.
    fn is_btrfs_with(&self, name: &str) -> bool {
        if self.kind != "btrfs" {
            return false;
        }
        let Ok(metadata) = std::fs::metadata(&self.source) else {
            return false;
        };
        let source = match kernel_name(metadata.rdev()) {
            Ok(source) if metadata.file_type().is_block_device() => source,
            _ => return false,
        };
        let has = |directory: &str| {
            let devices = names_in(format!("/sys/fs/btrfs/{directory}/devices"));
            devices.contains(&source) && devices.iter().any(|device| device == name)
        };
        source == name || names_in("/sys/fs/btrfs").iter().any(|entry| has(entry))
    }
}

/// A line of mountinfo: six fields, optional ones, a dash, three more.
fn mounted_here(line: &str) -> Option<MountedHere> {
    let fields: Vec<&str> = line.split(' ').collect();
    let dash = fields.iter().skip(6).position(|field| *field == "-")? + 6;
    Some(MountedHere {
        number: fields[2].to_owned(),
        path: octal_decoded(fields[4]),
        kind: (*fields.get(dash + 1)?).to_owned(),
        source: octal_decoded(fields.get(dash + 2)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo() {
        let line = r"36 35 98:0 /a /mnt\040x rw,noatime shared:1 master:2 - btrfs /dev/sd\040b rw";
        let expected = MountedHere {
            number: "98:0".into(),
            path: "/mnt x".into(),
            kind: "btrfs".into(),
            source: "/dev/sd b".into(),
        };
        assert_eq!(mounted_here(line), Some(expected));
        assert_eq!(mounted_here("36 35 98:0 / /mnt rw - ext4"), None);
        assert_eq!(mounted_here(""), None);
    }
}
