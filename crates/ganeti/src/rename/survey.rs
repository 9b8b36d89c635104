//! What the instance's disks hold, and where a root is among it. Writes
//! nothing.

use std::path::Path;

use anyhow::Result;
use p2v_sys::Root;
use p2v_sys::disk::Disk;
use p2v_sys::filesystem::{self, Content, Filesystem, Signature};
use p2v_sys::loopdev::Extent;
use p2v_sys::partition::table::{Found, Table};

use super::volume::{Access, Volume};

/// Where the usual installers put the root of a btrfs. The default subvolume
/// is looked at before them.
const SUBVOLUMES: [&str; 3] = ["@", "@rootfs", "root"];

/// Kinds that hold no Linux root: nobody misses them.
const NO_ROOT: [&str; 7] = [
    "swap",
    "swsuspend",
    "vfat",
    "exfat",
    "iso9660",
    "udf",
    "BitLocker",
];

/// One of each is enough to tell a root from another filesystem.
const MARKS: [&str; 5] = [
    "etc/os-release",
    "etc/passwd",
    "etc/fstab",
    "etc/debian_version",
    "etc/redhat-release",
];
const PROGRAMS: [&str; 4] = ["usr", "sbin", "bin", "nix"];

/// A root that was found.
#[derive(Debug)]
pub struct FoundRoot {
    /// The number of its disk among those looked at.
    pub disk: usize,
    /// Its filesystem.
    pub volume: Volume,
    /// Its own fstab names this filesystem as the root.
    mounts_itself: bool,
}

/// What was found on all disks, in their order.
#[derive(Debug, Default)]
pub struct Survey {
    /// The roots.
    pub roots: Vec<FoundRoot>,
    /// What may hold a root, and could not be looked into, in words.
    pub closed: Vec<String>,
}

impl Survey {
    /// Looks at the disk number `index`; filesystems are mounted on `target`.
    pub fn look_at(&mut self, index: usize, disk: &Disk, target: &Path) -> Result<()> {
        let parts = match parts(disk) {
            Ok(parts) => parts,
            Err(reason) => {
                let path = disk.path().display();
                self.closed
                    .push(format!("{path} is not looked into: {reason}"));
                return Ok(());
            }
        };
        for (extent, name) in parts {
            match filesystem::probe(disk.path(), extent)? {
                Content::Nothing => {}
                Content::Ambiguous => self.closed.push(format!(
                    "{name} has signatures of more than one kind (see `wipefs`)"
                )),
                Content::Known(signature) => {
                    self.look_into(index, disk, target, extent, name, &signature);
                }
            }
        }
        Ok(())
    }

    fn look_into(
        &mut self,
        index: usize,
        disk: &Disk,
        target: &Path,
        extent: Extent,
        name: String,
        signature: &Signature,
    ) {
        let kind = signature.kind.as_str();
        let Some(filesystem) = Filesystem::from_name(kind) else {
            if !NO_ROOT.contains(&kind) {
                self.closed.push(format!("{name} holds {}", words(kind)));
            }
            return;
        };
        let others: &[&'static str] = match filesystem {
            Filesystem::Btrfs => &SUBVOLUMES,
            _ => &[],
        };
        let subvolumes = [None].into_iter().chain(others.iter().copied().map(Some));
        for subvolume in subvolumes {
            let volume = Volume {
                extent,
                filesystem,
                subvolume,
                name: name.clone(),
            };
            let look = |root: &Root| Ok(is_root(root).then(|| mounts_itself(root, signature)));
            match volume.with(disk, target, Access::Look, look) {
                Ok(Some(mounts_itself)) => self.roots.push(FoundRoot {
                    disk: index,
                    volume,
                    mounts_itself,
                }),
                Ok(None) => {}
                // Most have none of that name.
                Err(error) if subvolume.is_some() => tracing::debug!("{error:#}"),
                Err(error) => {
                    self.closed.push(format!("{error:#}"));
                    return;
                }
            }
        }
    }

    /// The root to work on: the first whose own fstab mounts it as `/`, else
    /// the first.
    pub fn choose(&self) -> Option<&FoundRoot> {
        let chosen = self.roots.iter().find(|root| root.mounts_itself);
        let chosen = chosen.or(self.roots.first())?;
        if self.roots.len() > 1 {
            let why = match chosen.mounts_itself {
                true => "the first whose own fstab mounts it",
                false => "the first",
            };
            tracing::info!(
                "found {} roots: {}; taking {}, {why}",
                self.roots.len(),
                list(&self.roots),
                chosen.volume
            );
        }
        Some(chosen)
    }
}

fn list(roots: &[FoundRoot]) -> String {
    let names = roots.iter().map(|root| root.volume.to_string());
    names.collect::<Vec<_>>().join(", ")
}

/// The disk's partitions, or the whole of it where it has none. An error says
/// why neither can be told: then a superblock may be left from earlier, and
/// nothing is to be written by it.
fn parts(disk: &Disk) -> Result<Vec<(Extent, String)>, String> {
    let path = disk.path().display();
    let table = match Table::find(disk.path()) {
        Ok(Found::Table(table)) => table,
        Ok(Found::Nothing) => return Ok(vec![(Extent::default(), path.to_string())]),
        Ok(Found::Unreadable(reason)) => return Err(reason),
        Err(error) => return Err(format!("{error:#}")),
    };
    let sound = |extent: Extent| {
        let end = extent.offset.checked_add(extent.length);
        extent.length > 0 && end.is_some_and(|end| end <= disk.size())
    };
    let entries = table.partitions.iter().enumerate();
    Ok(entries
        .filter(|(_, entry)| !entry.is_extended())
        .map(|(index, entry)| (index, entry.extent(table.sector_size)))
        .filter(|(_, extent)| sound(*extent))
        .map(|(index, extent)| {
            let start = extent.offset >> 20;
            let name = format!("partition {} of {path} (at {start} MiB)", index + 1);
            (extent, name)
        })
        .collect())
}

/// What blkid's words mean to an admin.
fn words(kind: &str) -> String {
    match kind {
        "LVM2_member" => "a physical volume of LVM".to_owned(),
        "linux_raid_member" => "a member of a Linux RAID".to_owned(),
        "crypto_LUKS" => "a LUKS volume".to_owned(),
        kind => format!("{kind}, which is not looked into"),
    }
}

fn is_root(root: &Root) -> bool {
    MARKS.iter().any(|mark| root.exists(mark)) && PROGRAMS.iter().any(|name| root.exists(name))
}

/// Whether the root's fstab has its own filesystem as `/`, by UUID or label.
fn mounts_itself(root: &Root, signature: &Signature) -> bool {
    let text = root.read_text("etc/fstab").ok().flatten();
    let text = text.unwrap_or_default();
    let is_ours = |line: &str| {
        let mut fields = line.split_whitespace();
        let (Some(device), Some("/")) = (fields.next(), fields.next()) else {
            return false;
        };
        let is = |name: &str, value: &Option<String>| {
            let given = device
                .strip_prefix(name)
                .map(|given| given.trim_matches('"'));
            given.is_some() && given == value.as_deref()
        };
        is("UUID=", &signature.uuid) || is("LABEL=", &signature.label)
    };
    text.lines().any(is_ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_told_from_other_filesystems() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert!(!is_root(&root));
        root.write("bin/sh", "", 0o755).unwrap();
        assert!(!is_root(&root), "an initrd or /usr has programs too");
        root.symlink("../usr/lib/os-release", "etc/os-release")
            .unwrap();
        assert!(!is_root(&root), "the link dangles");
        root.write("usr/lib/os-release", "", 0o644).unwrap();
        assert!(is_root(&root));
    }

    #[test]
    fn fstab_tells_which_root_is_booted() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let signature = Signature {
            kind: "ext4".to_owned(),
            uuid: Some("6f4a".to_owned()),
            label: None,
        };
        for (fstab, is) in [
            ("UUID=6f4a / ext4 defaults 0 1\n", true),
            ("UUID=\"6f4a\"\t/\text4\n", true),
            ("UUID=6f4a /mnt ext4 defaults 0 1\n", false),
            ("#UUID=6f4a / ext4\n", false),
            ("LABEL= / ext4\n", false),
            ("/dev/vda1 / ext4 defaults 0 1\n", false),
            ("", false),
        ] {
            root.write("etc/fstab", fstab, 0o644).unwrap();
            assert_eq!(mounts_itself(&root, &signature), is, "{fstab}");
        }
    }
}
