//! A plan is looked at once more where it is carried out: it comes from
//! another machine, and people edit it.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use anyhow::{Result, bail};
use p2v_sys::partition::table::{Entry, Table};

use super::disks::{self, Disk};
use super::place::Place;
use crate::format::label_bytes;
use crate::plan::{self, Fill, Plan, PlannedDisk, Volume};

/// Finds the planned disks among the machine's.
///
/// # Errors
/// Everything that keeps the plan from being carried out here, in one message.
pub fn plan(place: &Place, plan: &Plan) -> Result<Vec<Disk>> {
    let mut wrong = Vec::new();
    if plan.version != plan::VERSION {
        let (theirs, ours) = (plan.version, plan::VERSION);
        bail!("the plan is of version {theirs}, this p2v's are of version {ours}");
    }
    if plan.disks.is_empty() {
        bail!("the plan has no disks");
    }
    let there = disks::list(place)?;
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for planned in &plan.disks {
        let name = planned.device.display();
        if !seen.insert(&planned.device) {
            wrong.push(format!("{name} is planned twice"));
            continue;
        }
        let Some(disk) = there.iter().find(|disk| disk.path == planned.device) else {
            let names: Vec<_> = there.iter().map(|it| it.path.to_string_lossy()).collect();
            let names = names.join(", ");
            wrong.push(format!(
                "{name} is no disk of this machine, which has: {names}"
            ));
            continue;
        };
        let mut faults = on_disk(planned, disk);
        if let Some(user) = disks::user(place, &disk.path)? {
            faults.push(format!("it is in use: {user}"));
        }
        wrong.extend(faults.iter().map(|fault| format!("{name}: {fault}")));
        found.push(disk.clone());
    }
    mounts(plan, &mut wrong);
    if !wrong.is_empty() {
        bail!("the plan cannot be carried out: {}", wrong.join("; "));
    }
    Ok(found)
}

fn on_disk(planned: &PlannedDisk, disk: &Disk) -> Vec<String> {
    let mut wrong = Vec::new();
    if disk.read_only {
        wrong.push("it is read-only".to_owned());
    }
    if disk.size < planned.size {
        let (has, needs) = (disk.size, planned.size);
        wrong.push(format!("it has {has} bytes, {needs} are needed"));
    }
    match &planned.table {
        Some(table) => in_table(planned, table, disk, &mut wrong),
        None => match planned.volumes.as_slice() {
            [volume] if volume.number == 0 => {
                if volume.size > disk.size {
                    wrong.push("its filesystem is larger than it".to_owned());
                }
            }
            _ => wrong.push("without partitions it can hold one volume, number 0".to_owned()),
        },
    }
    for volume in &planned.volumes {
        let name = volume.name(planned);
        wrong.extend(in_volume(volume).map(|fault| format!("{name}: {fault}")));
    }
    wrong
}

fn in_table(planned: &PlannedDisk, table: &Table, disk: &Disk, wrong: &mut Vec<String>) {
    if !["dos", "gpt"].contains(&table.label.as_str()) {
        wrong.push(format!("{:?} is no kind of partition table", table.label));
    }
    if table.sector_size != u64::from(disk.sector_size) {
        let (has, planned) = (disk.sector_size, table.sector_size);
        wrong.push(format!(
            "its sectors have {has} bytes, planned are {planned}"
        ));
    }
    let faults = wrong.len();
    wrong.extend(table.partitions.iter().filter_map(|entry| {
        let end = entry.extent(table.sector_size);
        let beyond = end.offset.saturating_add(end.length) > disk.size;
        let number = entry.number;
        match entry.size {
            0 => Some(format!("partition {number} has no sectors")),
            _ if beyond => Some(format!("partition {number} ends behind the disk")),
            _ => None,
        }
    }));
    wrong.extend(overlaps(table));
    let mut numbers = BTreeSet::new();
    for volume in &planned.volumes {
        let number = volume.number;
        if !numbers.insert(number) {
            wrong.push(format!("partition {number} has two volumes"));
        }
        match entry_of(table, number) {
            None => wrong.push(format!("there is no partition {number} for a volume")),
            Some(entry) if entry.is_extended() => {
                wrong.push(format!(
                    "partition {number} is extended and holds no volume"
                ));
            }
            Some(entry) if volume.size > entry.extent(table.sector_size).length => {
                wrong.push(format!("partition {number} is smaller than its volume"));
            }
            Some(_) => {}
        }
    }
    // Only what holds so far can sfdisk be asked.
    if wrong.len() == faults {
        if let Err(error) = table.check_writable(disk.size) {
            wrong.push(format!("{error:#}"));
        }
    }
}

/// The partition of that number.
pub fn entry_of(table: &Table, number: u32) -> Option<&Entry> {
    table.partitions.iter().find(|entry| entry.number == number)
}

fn overlaps(table: &Table) -> Vec<String> {
    let mut wrong = Vec::new();
    let all: Vec<_> = table.partitions.iter().collect();
    for (index, one) in all.iter().enumerate() {
        for other in &all[index + 1..] {
            let (one_number, other_number) = (one.number, other.number);
            if one_number == other_number {
                wrong.push(format!("partition {one_number} is there twice"));
            }
            let apart = one.end() <= other.start || other.end() <= one.start;
            // Logical partitions lie in the extended one.
            let holds = |outer: &Entry, inner: &Entry| outer.is_extended() && inner.number > 4;
            if !apart && !holds(one, other) && !holds(other, one) {
                wrong.push(format!(
                    "partitions {one_number} and {other_number} overlap"
                ));
            }
        }
    }
    wrong
}

fn in_volume(volume: &Volume) -> impl Iterator<Item = String> {
    let mut wrong = Vec::new();
    match &volume.fill {
        Fill::Files { format, .. } => {
            wrong.extend(format.check().err().map(|error| format!("{error:#}")));
        }
        Fill::Blocks { .. } if volume.source_size > volume.size => {
            wrong.push("it is smaller than what is copied into it".to_owned());
        }
        _ => {}
    }
    if let Some(uuid) = &volume.identity.uuid {
        let good = uuid.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        let is_made = matches!(volume.fill, Fill::Files { .. } | Fill::Swap);
        if !good || is_made && uuid.len() != 36 {
            wrong.push(format!("{uuid:?} is no UUID"));
        }
    }
    let label = volume.identity.label.as_deref().unwrap_or_default();
    let most = longest_label(&volume.fill);
    if label_bytes(label).len() > most {
        wrong.push(format!("its label {label:?} has more than {most} bytes"));
    }
    wrong.into_iter()
}

fn longest_label(fill: &Fill) -> usize {
    match fill {
        Fill::Files { format, .. } if format.kind.starts_with("ext") => 16,
        Fill::Files { format, .. } if format.kind == "xfs" => 12,
        Fill::Swap => 15,
        Fill::Files { .. } | Fill::Blocks { .. } | Fill::Reserved => 255,
    }
}

fn mounts(plan: &Plan, wrong: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for (disk, volume) in plan.volumes() {
        let name = volume.name(disk);
        for mount in &volume.mounts {
            if !is_plain(Path::new(&mount.path)) {
                wrong.push(format!("{name}: {:?} is no mount point", mount.path));
            }
            if !seen.insert(&mount.path) {
                wrong.push(format!("{} has two filesystems", mount.path));
            }
            let subvolume = mount.subvolume.as_deref().unwrap_or("/");
            let path = Path::new("/").join(subvolume.trim_start_matches('/'));
            if !is_plain(&path) || subvolume.contains(',') {
                wrong.push(format!("{name}: {subvolume:?} is no subvolume"));
            }
        }
    }
}

/// Absolute, without `..`, nothing that ends a line or a string.
fn is_plain(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let plain = |part: Component| matches!(part, Component::RootDir | Component::Normal(_));
    path.is_absolute()
        && path.components().all(plain)
        && !text.chars().any(char::is_control)
        && text.len() < 4096
}
