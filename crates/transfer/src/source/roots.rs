//! Which filesystem, and which subvolume of a btrfs, is the system's root.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Result;
use p2v_sys::Root;

use super::fstab;
use super::index::{Index, Known, Place};
use super::mounted::MountedSource;

/// One of each marks a root. `sbin`, `os-release` and others may be links to a
/// /usr that is another filesystem.
const MARKS: [&str; 4] = ["etc/fstab", "etc/passwd", "etc/hostname", "etc/inittab"];
const SYSTEMS: [&str; 7] = [
    "sbin/init",
    "etc/os-release",
    "usr/lib/os-release",
    "sbin",
    "usr/lib/systemd/systemd",
    "etc/debian_version",
    "etc/redhat-release",
];

/// The number of a btrfs subvolume's top directory.
const SUBVOLUME_INODE: u64 = 256;

/// More subvolumes than this at the top are not the work of an installer.
const MOST_SUBVOLUMES: usize = 64;

/// A root that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundRoot {
    /// Its filesystem.
    pub place: Place,
    /// Its subvolume; none for the top.
    pub subvolume: Option<String>,
    /// It is the subvolume that is mounted where none is asked for.
    pub is_default: bool,
    /// Its fstab.
    pub fstab: Option<String>,
}

/// How sure it is that a root is the one that starts, the surest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// Its fstab mounts another one, or it has none.
    Stranger,
    /// Its fstab names its root in a way that another disk may have too.
    Likely,
    /// Its own fstab mounts it.
    Own,
}

/// The roots on a mounted filesystem.
pub fn on(place: Place, mounted: &MountedSource) -> Result<Vec<FoundRoot>> {
    let top = Root::open(mounted.path())?;
    let (candidates, default) = match mounted.is_btrfs() {
        true => {
            let default = mounted.subvolume(None)?;
            (subvolumes(&top, &default)?, default)
        }
        false => (vec![None], None),
    };
    let mut roots = Vec::new();
    for subvolume in candidates {
        let path = Path::new(subvolume.as_deref().unwrap_or("."));
        let Some(inside) = top.real_path(path)? else {
            continue;
        };
        let root = Root::open(&top.path().join(inside))?;
        if !is_root(&root) {
            continue;
        }
        roots.push(FoundRoot {
            place,
            is_default: subvolume == default,
            subvolume,
            fstab: root.read_text("etc/fstab").unwrap_or_default(),
        });
    }
    Ok(roots)
}

/// The default one, the top itself, and those that lie at the top.
fn subvolumes(top: &Root, default: &Option<String>) -> Result<Vec<Option<String>>> {
    let mut all = vec![default.clone()];
    if default.is_some() {
        all.push(None);
    }
    for name in top.list(".")? {
        let Some(name) = name.to_str().map(str::to_owned) else {
            continue;
        };
        let is_subvolume = matches!(top.read_link(&name), Ok(None))
            && top
                .open_file(&name)
                .and_then(|directory| Ok(directory.metadata()?))
                .is_ok_and(|metadata| metadata.is_dir() && metadata.ino() == SUBVOLUME_INODE);
        let name = Some(name);
        if is_subvolume && !all.contains(&name) && all.len() < MOST_SUBVOLUMES {
            all.push(name);
        }
    }
    Ok(all)
}

fn is_root(root: &Root) -> bool {
    let has = |paths: &[&str]| {
        let there = |path: &&str| root.exists(path) || matches!(root.read_link(path), Ok(Some(_)));
        paths.iter().any(there)
    };
    has(&MARKS) && has(&SYSTEMS)
}

impl FoundRoot {
    /// Whether its own fstab mounts it.
    pub fn trust(&self, index: &Index) -> Trust {
        let entries = fstab::parse(self.fstab.as_deref().unwrap_or_default());
        let mut own = entries
            .iter()
            .filter(|entry| entry.path.as_deref() == Some("/"));
        let Some(entry) = own.next() else {
            return Trust::Stranger;
        };
        let named = match entry.subvolume() {
            Some(name) => Some(&name) == self.subvolume.as_ref(),
            None => entry.subvolume_id().is_some() || self.is_default || self.subvolume.is_none(),
        };
        match index.find(&entry.spec) {
            _ if !named => Trust::Stranger,
            Known::Area(place) if place == self.place => Trust::Own,
            Known::KernelName => Trust::Likely,
            _ => Trust::Stranger,
        }
    }
}
