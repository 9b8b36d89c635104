//! What the system needs and would not find on the target.

use super::Plan;
use crate::source::{Content, Source};

/// Each with what to do.
pub fn unmet(source: &Source, plan: &Plan) -> Vec<String> {
    let unmovable = unmovable(source);
    let because = if unmovable.is_empty() {
        "it is not on the disks that were looked at: name the missing disk too".to_owned()
    } else {
        format!(
            "it may be on what cannot be moved yet ({}): move it to a plain partition first, or \
             take it out of /etc/fstab",
            unmovable.join(", ")
        )
    };
    let has = |path: &str| {
        let mut points = plan.volumes().flat_map(|(_, volume)| &volume.mounts);
        points.any(|point| point.path == path)
    };
    if !has("/") {
        return vec![format!(
            "no filesystem of the plan is the system's root; {because}"
        )];
    }
    // Without anything that cannot be moved, such a line leads nowhere on the
    // source either: inspecting it has said so, and a fix takes it out.
    if unmovable.is_empty() {
        return Vec::new();
    }
    let lines = plan.system.fstab.iter().filter_map(|line| needed(line));
    let missing = lines.filter(|(_, path)| !has(path));
    missing
        .map(|(device, path)| {
            format!("/etc/fstab mounts {device} on {path}, which is not moved; {because}")
        })
        .collect()
}

/// `LVM2_member on /dev/sda3`.
fn unmovable(source: &Source) -> Vec<String> {
    let areas = source
        .disks
        .iter()
        .flat_map(|disk| disk.areas.iter().map(move |area| (disk, area)));
    areas
        .filter_map(|(disk, area)| match &area.content {
            Content::Unmovable(kind) => {
                let whole = disk.path.to_string_lossy().into_owned();
                let name = area.names.first().unwrap_or(&whole);
                Some(format!("{kind} on {name}"))
            }
            _ => None,
        })
        .collect()
}

/// Device and mount point of a line of fstab without which the system stops
/// when it starts: a disk's filesystem that is mounted by itself, and must be.
fn needed(line: &str) -> Option<(&str, String)> {
    let mut fields = line.split_whitespace();
    let (device, path) = (fields.next()?, fields.next()?);
    let (kind, options) = (fields.next().unwrap_or("auto"), fields.next().unwrap_or(""));
    let of_disk = device.starts_with("/dev/")
        || ["UUID=", "LABEL=", "PARTUUID=", "PARTLABEL=", "ID="]
            .iter()
            .any(|start| device.starts_with(start));
    let optional = options
        .split(',')
        .any(|option| ["noauto", "nofail", "bind", "rbind"].contains(&option));
    let removable = ["/dev/fd", "/dev/sr", "/dev/cdrom", "/dev/dvd", "/dev/loop"]
        .iter()
        .any(|start| device.starts_with(start));
    let wanted = of_disk && !optional && !removable && path.starts_with('/') && kind != "swap";
    wanted.then(|| (device, unescaped(path)))
}

/// fstab's octal escapes, and one way to write a path.
fn unescaped(path: &str) -> String {
    let mut text = path.to_owned();
    for (escape, c) in [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ] {
        text = text.replace(escape, c);
    }
    match text.trim_end_matches('/') {
        "" => "/".to_owned(),
        path => path.to_owned(),
    }
}
