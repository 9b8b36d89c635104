//! Whether a plan can be carried out: one that somebody gave, or edited.
//!
//! The agent looks at it once more, for what only the target knows.

use std::collections::BTreeSet;
use std::path::Path;

use p2v_sys::partition::table::Table;

use super::layout::{self, Space};
use super::show::size;
use super::{Fill, Plan, PlannedDisk, VERSION, Volume, demand};
use crate::format::Format;
use crate::source::{Area, Content, Source};
use crate::target::{Target, TargetDisk};

/// All that is wrong with it, each with the place where.
pub fn faults(plan: &Plan, source: &Source, target: &Target) -> Vec<String> {
    let mut wrong = Vec::new();
    if plan.version != VERSION {
        wrong.push(format!(
            "the plan is of version {}, and this p2v's are of version {VERSION}: make it anew",
            plan.version
        ));
        return wrong;
    }
    if plan.disks.is_empty() {
        wrong.push("the plan has no disks".to_owned());
    }
    let mut seen = BTreeSet::new();
    let mut sources = BTreeSet::new();
    for disk in &plan.disks {
        if !seen.insert(&disk.device) {
            wrong.push(format!("{} is planned twice", disk.device.display()));
        }
        if !sources.insert(&disk.source) {
            wrong.push(format!("{} is moved twice", disk.source.display()));
        }
        let faults = on_disk(disk, source, target);
        let place = |fault| format!("{}: {fault}", disk.device.display());
        wrong.extend(faults.into_iter().map(place));
    }
    wrong.extend(forgotten(plan, source));
    wrong.extend(mounts(plan));
    wrong
}

fn on_disk(disk: &PlannedDisk, source: &Source, target: &Target) -> Vec<String> {
    let there = target
        .disks
        .iter()
        .find(|there| Path::new(&there.device) == disk.device);
    let Some(there) = there else {
        let names: Vec<_> = target.disks.iter().map(|disk| &*disk.device).collect();
        return vec![format!(
            "the target has no such disk; it has {}",
            names.join(", ")
        )];
    };
    let mut wrong = Vec::new();
    if disk.size > there.size {
        wrong.push(format!(
            "the plan is for a disk of {}, and it has {}: make it larger (gnt-instance \
             grow-disk), or make the plan anew",
            size(disk.size),
            size(there.size)
        ));
    }
    match &disk.table {
        Some(table) => wrong.extend(in_table(disk, table, there)),
        None => wrong.extend(as_whole(disk)),
    }
    let from = source.disks.iter().find(|from| from.path == disk.source);
    match from {
        None => wrong.push(format!("the source has no disk {}", disk.source.display())),
        Some(from) => {
            for volume in &disk.volumes {
                let name = volume.name(disk);
                let faults = of_volume(volume, &from.areas, there);
                wrong.extend(faults.into_iter().map(|fault| format!("{name}: {fault}")));
            }
        }
    }
    wrong
}

fn as_whole(disk: &PlannedDisk) -> Option<String> {
    match &disk.volumes[..] {
        [volume] if volume.number == 0 && volume.size <= disk.size => None,
        [volume] if volume.number == 0 => Some("its volume is larger than it".to_owned()),
        _ => Some("without a partition table it has one volume, of number 0".to_owned()),
    }
}

fn in_table(disk: &PlannedDisk, table: &Table, there: &TargetDisk) -> Vec<String> {
    let mut wrong = Vec::new();
    if !["dos", "gpt"].contains(&table.label.as_str()) {
        wrong.push(format!("{:?} is no kind of partition table", table.label));
    }
    if table.sector_size != u64::from(there.sector_size) {
        wrong.push(format!(
            "its table counts in sectors of {} bytes, and it has sectors of {}: make the plan anew",
            table.sector_size, there.sector_size
        ));
        return wrong;
    }
    if let Err(error) = layout::check_apart(table) {
        wrong.push(format!("{error:#}"));
    }
    wrong.extend(partitions(disk, table, there));
    wrong.extend(sizes(disk, table));
    // Only what holds so far can sfdisk be asked.
    if wrong.is_empty() {
        let tried = table.check_writable(there.size);
        wrong.extend(tried.err().map(|error| format!("{error:#}")));
    }
    wrong
}

/// Each partition lies on the disk, and has the one volume that it should.
fn partitions(disk: &PlannedDisk, table: &Table, there: &TargetDisk) -> Vec<String> {
    let mut wrong = Vec::new();
    let space = Space {
        size: there.size,
        sector: table.sector_size,
    };
    let end = space.end(&table.label);
    for entry in &table.partitions {
        let extent = entry.extent(table.sector_size);
        let behind = extent.offset.saturating_add(extent.length) > end;
        let number = entry.number;
        if entry.size == 0 || behind || extent.offset < layout::STEP {
            wrong.push(format!(
                "partition {number} must lie between {} and {}",
                size(layout::STEP),
                size(end)
            ));
        }
        let volumes = disk.volumes.iter();
        let count = volumes.filter(|volume| volume.number == number).count();
        match (entry.is_extended(), count) {
            (false, 1) | (true, 0) => {}
            (true, _) => wrong.push(format!("partition {number} is extended and has a volume")),
            (false, 0) => wrong.push(format!(
                "partition {number} has no volume: remove it from the table, or give it one"
            )),
            (false, _) => wrong.push(format!("partition {number} has two volumes")),
        }
    }
    wrong
}

/// Each volume has a partition of its size.
fn sizes(disk: &PlannedDisk, table: &Table) -> Vec<String> {
    let mut wrong = Vec::new();
    for volume in &disk.volumes {
        let entry = table
            .partitions
            .iter()
            .find(|entry| entry.number == volume.number);
        match entry.map(|entry| entry.extent(table.sector_size).length) {
            None => wrong.push(format!(
                "there is no partition {} for a volume",
                volume.number
            )),
            Some(length) if length != volume.size => wrong.push(format!(
                "partition {} has another size than its volume",
                volume.number
            )),
            Some(_) => {}
        }
    }
    wrong
}

fn of_volume(volume: &Volume, areas: &[Area], there: &TargetDisk) -> Vec<String> {
    let area = areas.iter().find(|area| {
        area.start == volume.source_start
            && area.size == volume.source_size
            && is_like(&area.content, &volume.fill)
    });
    let mut wrong = Vec::new();
    let content = match (&volume.fill, area) {
        (Fill::Swap | Fill::Reserved, _) => None,
        (_, Some(area)) => Some(&area.content),
        (_, None) => {
            wrong.push(
                "the source has no such filesystem at its source_start: make the plan anew"
                    .to_owned(),
            );
            None
        }
    };
    match &volume.fill {
        Fill::Files {
            format,
            used,
            inodes,
        } => {
            if let Err(error) = format.check() {
                wrong.push(format!("{error:#}"));
            }
            // The source knows better than what somebody wrote.
            let (used, inodes) = match content {
                Some(Content::Filesystem(found)) => (found.used, found.inodes),
                _ => (*used, *inodes),
            };
            wrong.extend(too_little(volume, format, used, inodes));
        }
        Fill::Blocks { kind } => {
            if volume.size < volume.source_size {
                wrong.push(format!(
                    "its {kind} is copied as it is and needs {}",
                    size(volume.source_size)
                ));
            }
        }
        Fill::Swap if volume.size < u64::from(there.sector_size).max(65536) * 10 => {
            wrong.push("it is too small for a swap area".to_owned());
        }
        Fill::Swap | Fill::Reserved => {}
    }
    wrong
}

/// Whether its files fit.
fn too_little(volume: &Volume, format: &Format, used: u64, inodes: u64) -> Vec<String> {
    let mut wrong = Vec::new();
    let least = demand::least(format, used, inodes, volume.source_size);
    if volume.size < least {
        wrong.push(format!(
            "it has {}, and its files need {} at least",
            size(volume.size),
            size(least)
        ));
    }
    let made = demand::inodes_of(format, volume.size);
    if let Some(made) = made.filter(|made| *made < inodes) {
        wrong.push(format!(
            "it would have {made} inodes, and its files need {inodes}: give -i a smaller value, \
             {} or less",
            volume.size / inodes.max(1)
        ));
    }
    wrong
}

fn is_like(content: &Content, fill: &Fill) -> bool {
    match (content, fill) {
        (Content::Filesystem(filesystem), Fill::Files { format, .. }) => {
            filesystem.format.kind == format.kind
        }
        (Content::Filesystem(filesystem), Fill::Blocks { kind }) => filesystem.format.kind == *kind,
        _ => false,
    }
}

/// What of the source is neither moved nor named as left out.
fn forgotten(plan: &Plan, source: &Source) -> Vec<String> {
    let moved = |path: &Path, area: &Area| {
        let disks = plan.disks.iter().filter(|disk| disk.source == path);
        let mut volumes = disks.flat_map(|disk| &disk.volumes);
        volumes.any(|volume| volume.source_start == area.start)
    };
    let named = |area: &Area| {
        let mut left = plan.left_out.iter().flat_map(|left| &left.was);
        left.any(|name| area.names.contains(name))
    };
    let all = source
        .disks
        .iter()
        .flat_map(|disk| disk.areas.iter().map(move |area| (disk, area)));
    all.filter(|(_, area)| matches!(area.content, Content::Filesystem(_)))
        .filter(|(disk, area)| !moved(&disk.path, area) && !named(area))
        .map(|(disk, area)| {
            format!(
                "{}, partition {}: the plan neither moves it nor names it in left_out",
                disk.path.display(),
                area.number
            )
        })
        .collect()
}

fn mounts(plan: &Plan) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for (disk, volume) in plan.volumes() {
        for point in &volume.mounts {
            let whole = Path::new(&point.path);
            let up = whole.components().any(|part| part.as_os_str() == "..");
            if !whole.is_absolute() || up {
                wrong.push(format!(
                    "{}: {:?} is no mount point",
                    volume.name(disk),
                    point.path
                ));
            }
            if !seen.insert(&point.path) {
                wrong.push(format!("{} has two filesystems", point.path));
            }
        }
    }
    wrong
}
