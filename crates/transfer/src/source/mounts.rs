//! Where the system mounts its filesystems, by its own fstab.

use std::collections::BTreeSet;

use super::findings::Findings;
use super::fstab::Entry;
use super::index::{Index, Known, Place};
use super::mounted::MountedSource;
use super::roots::FoundRoot;
use super::{Content, Disk, MountPoint};

/// Without these a system does not start, or is not whole.
const VITAL: [&str; 4] = ["/usr", "/var", "/boot", "/etc"];

/// Gives each filesystem its mount points. `mounted` finds a btrfs, whose
/// subvolume may be named by its number.
pub fn assign<'a>(
    disks: &mut [Disk],
    root: &FoundRoot,
    entries: &[Entry],
    mounted: impl Fn(Place) -> Option<&'a MountedSource>,
    findings: &mut Findings,
) {
    let mut points = vec![(root.place, MountPoint::of("/", root.subvolume.clone()))];
    let mut taken = BTreeSet::from(["/"]);
    let index = Index::new(disks);
    for entry in entries {
        let path = entry.path.as_deref();
        match index.find(&entry.spec) {
            Known::Area(place) if path.is_some_and(|path| path != "/") => {
                let path = path.unwrap_or_default();
                if !taken.insert(path) {
                    findings.remark(format!("fstab mounts more than one device on {path}"));
                    continue;
                }
                let subvolume = entry.subvolume().or_else(|| {
                    let number = entry.subvolume_id()?;
                    let source = mounted(place).filter(|source| source.is_btrfs())?;
                    source.subvolume(Some(number)).ok().flatten()
                });
                points.push((place, MountPoint::of(path, subvolume)));
            }
            Known::Ambiguous => findings.obstacle(format!(
                "{} in the system's fstab names more than one partition: give one of them \
                 another name, or leave its disk out by naming the others",
                entry.spec
            )),
            Known::Missing | Known::KernelName => missing(entry, findings),
            Known::Area(_) | Known::NoDevice => {}
        }
    }
    for (place, point) in points {
        add(disks, place, point, findings);
    }
    for filesystem in disks.iter_mut().flat_map(|disk| disk.filesystems_mut()) {
        filesystem.mounts.sort_by_key(|point| point.path.len());
    }
}

fn missing(entry: &Entry, findings: &mut Findings) {
    let spec = &entry.spec;
    let is_removable = ["/dev/sr", "/dev/fd", "/dev/cdrom", "/dev/dvd"]
        .iter()
        .any(|prefix| spec.starts_with(prefix));
    let whereto = match &entry.path {
        Some(path) => format!("mounts {spec} on {path}"),
        None => format!("swaps to {spec}"),
    };
    match entry.path.as_deref() {
        _ if is_removable => {}
        Some(path) if VITAL.contains(&path) && !entry.is_optional() => findings.obstacle(format!(
            "the system {whereto}, which none of the disks has: name its disk too"
        )),
        Some("/") => {}
        _ => findings.remark(format!("the system {whereto}, which none of the disks has")),
    }
}

fn add(disks: &mut [Disk], place: Place, point: MountPoint, findings: &mut Findings) {
    let disk = &mut disks[place.disk];
    let name = disk.areas[place.area].place(&disk.path);
    match &mut disk.areas[place.area].content {
        Content::Filesystem(filesystem) => filesystem.mounts.push(point),
        Content::Unmovable(kind) => findings.obstacle(format!(
            "{name}, mounted on {}, holds {kind}, which cannot be moved yet: take its line out of \
             fstab, or move its files elsewhere",
            point.path
        )),
        _ => findings.remark(format!(
            "{name} is mounted on {} and holds no filesystem",
            point.path
        )),
    }
}
