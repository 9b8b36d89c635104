//! What becomes of each area of a source's disk: a volume of some kind, or
//! something that is left out, with the reason.

use super::layout::{STEP, is_logical};
use super::{Fill, LeftOut, Volume};
use crate::source::{Area, Content, Disk, Identity};

/// What becomes of each area of a disk.
pub struct Sorted {
    /// In the disk's order; sizes are still the source's.
    pub volumes: Vec<Volume>,
    /// What stays behind.
    pub left_out: Vec<LeftOut>,
}

/// What is moved of a disk, and what is not.
pub fn sort(disk: &Disk) -> Sorted {
    let mut sorted = Sorted {
        volumes: Vec::new(),
        left_out: Vec::new(),
    };
    for area in &disk.areas {
        let leave = |reason: String| LeftOut {
            was: area.names.clone(),
            reason,
        };
        match fill(area) {
            Ok(fill) => sorted.volumes.push(volume(area, fill)),
            Err(reason) => sorted.left_out.push(leave(reason)),
        }
    }
    keep_numbers(disk, &mut sorted);
    sorted
        .volumes
        .sort_by_key(|volume| (volume.source_start, volume.number));
    sorted
}

/// How a volume comes to be, or why it does not.
fn fill(area: &Area) -> Result<Fill, String> {
    Ok(match &area.content {
        Content::Nothing => return Err("nothing known is on it".to_owned()),
        Content::Unmovable(kind) => return Err(format!("{kind} cannot be moved yet")),
        Content::BiosBoot => Fill::Reserved,
        Content::Swap(_) => Fill::Swap,
        Content::Filesystem(filesystem) if filesystem.format.kind == "vfat" => Fill::Blocks {
            kind: filesystem.format.kind.clone(),
        },
        Content::Filesystem(filesystem) => Fill::Files {
            format: filesystem.format.clone(),
            used: filesystem.used,
            inodes: filesystem.inodes,
        },
    })
}

fn volume(area: &Area, fill: Fill) -> Volume {
    let (identity, mounts) = match &area.content {
        Content::Filesystem(filesystem) => (filesystem.identity.clone(), filesystem.mounts.clone()),
        Content::Swap(identity) => (identity.clone(), Vec::new()),
        _ => (Identity::default(), Vec::new()),
    };
    Volume {
        number: area.number,
        size: area.size,
        source_start: area.start,
        source_size: area.size,
        fill,
        identity,
        mounts,
        was: area.names.clone(),
    }
}

/// Logical partitions have no gaps in their numbers: one that is left out
/// before one that is not keeps its number with a small place.
fn keep_numbers(disk: &Disk, sorted: &mut Sorted) {
    let Some(table) = &disk.table else { return };
    let kept =
        |number: u32, sorted: &Sorted| sorted.volumes.iter().any(|volume| volume.number == number);
    let logical = table
        .partitions
        .iter()
        .filter(|entry| is_logical(table, entry));
    let numbers: Vec<_> = logical.map(|entry| entry.number).collect();
    let last = numbers
        .iter()
        .copied()
        .filter(|number| kept(*number, sorted))
        .max();
    for number in numbers {
        if kept(number, sorted) || last.is_none_or(|last| number > last) {
            continue;
        }
        let extent = table
            .partitions
            .iter()
            .find(|entry| entry.number == number)
            .map(|entry| entry.extent(table.sector_size));
        sorted.volumes.push(Volume {
            number,
            size: STEP,
            source_start: extent.map_or(0, |extent| extent.offset),
            source_size: STEP.min(extent.map_or(STEP, |extent| extent.length)),
            fill: Fill::Reserved,
            identity: Identity::default(),
            mounts: Vec::new(),
            was: Vec::new(),
        });
    }
}
