//! Whether a disk was made for a plan: then nothing on it is lost by going on.

use std::fs::File;

use anyhow::{Context, Result};
use p2v_sys::block;
use p2v_sys::filesystem::{self, Content};
use p2v_sys::loopdev::Extent;
use p2v_sys::partition::table::{Found, Table};

use super::disks::{self, Disk};
use super::stamp::{Filled, Spot, Stamp};
use crate::plan::{Fill, PlannedDisk, Volume};

/// What a disk is to a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// It was made for it, and this is how far it is.
    Partitioned(Stamp),
    /// It was wiped for it, and has no table yet.
    Wiped,
    /// There is nothing on it.
    Empty,
    /// It holds something else.
    Not,
}

/// Looks at the disk, which nobody uses.
pub fn disk(planned: &PlannedDisk, disk: &Disk, spot: &Spot, plan_id: &str) -> Result<Made> {
    let is_ours =
        |stamp: &Stamp| stamp.plan_id == plan_id && !planned.is_anothers(stamp.hardware.as_deref());
    let stamp = spot.read()?.filter(is_ours);
    let found = Table::find(&disk.path)?;
    let whole = |disk: &Disk| filesystem::probe(&disk.path, Extent::default());
    let is_blank = found == Found::Nothing && whole(disk)? == Content::Nothing;
    let as_planned = match (&planned.table, &found) {
        (Some(planned), Found::Table(found)) => same(planned, found),
        (None, Found::Nothing) => true,
        _ => false,
    };
    Ok(match (stamp, is_blank) {
        (Some(stamp), _) if as_planned => Made::Partitioned(stamp),
        (Some(_), true) => Made::Wiped,
        (None, true) if disks::is_blank(&disk.path, 0, disk.size)? => Made::Empty,
        _ => Made::Not,
    })
}

/// Whether a volume is there as its stamp says: its signature is the planned
/// one.
pub fn volume(planned: &PlannedDisk, volume: &Volume, stamp: &Stamp) -> Result<Option<Filled>> {
    let Some(filled) = stamp.volumes.get(&volume.number).copied() else {
        return Ok(None);
    };
    let kind = match &volume.fill {
        Fill::Files { format, .. } => format.kind.as_str(),
        Fill::Swap => "swap",
        Fill::Blocks { .. } | Fill::Reserved => return Ok(Some(filled)),
    };
    let is_it = match probe(planned, volume)? {
        Content::Known(found) => {
            let uuid = volume.identity.uuid.as_deref();
            let same = |uuid: &str| {
                let found = found.uuid.as_deref().unwrap_or_default();
                found.eq_ignore_ascii_case(uuid)
            };
            found.kind == kind && uuid.is_none_or(same)
        }
        Content::Nothing | Content::Ambiguous => false,
    };
    Ok(is_it.then_some(filled))
}

/// Volumes that were made once, in whose place somebody has put something else.
pub fn strangers(planned: &PlannedDisk, stamp: &Stamp) -> Result<Vec<String>> {
    let mut strangers = Vec::new();
    for it in &planned.volumes {
        let was_made = stamp.volumes.contains_key(&it.number);
        if !was_made || volume(planned, it, stamp)?.is_some() {
            continue;
        }
        if let Content::Known(found) = probe(planned, it)? {
            strangers.push(format!("{} {}", it.name(planned), found.kind));
        }
    }
    Ok(strangers)
}

/// What is there now in a volume's place, also where it is mounted.
pub fn probe(planned: &PlannedDisk, volume: &Volume) -> Result<Content> {
    let doing = || format!("looking at {}", planned.device.display());
    let disk = File::open(&planned.device).with_context(doing)?;
    block::forget_cached(&disk).with_context(doing)?;
    filesystem::probe(&planned.device, extent(planned, volume))
}

/// Where a volume lies on its disk.
pub fn extent(planned: &PlannedDisk, volume: &Volume) -> Extent {
    let table = planned.table.as_ref();
    let entry = table.and_then(|table| {
        let entry = super::check::entry_of(table, volume.number)?;
        Some(entry.extent(table.sector_size))
    });
    entry.unwrap_or_default()
}

/// Whether a table is the planned one, as far as the plan says anything.
fn same(planned: &Table, found: &Table) -> bool {
    let places = |table: &Table| {
        let mut places: Vec<_> = table
            .partitions
            .iter()
            .map(|entry| (entry.number, entry.start, entry.size))
            .collect();
        places.sort_unstable();
        places
    };
    let alike = |planned: &Option<String>, found: &Option<String>| match (planned, found) {
        (Some(planned), Some(found)) => planned.eq_ignore_ascii_case(found),
        (Some(_), None) => false,
        (None, _) => true,
    };
    planned.label == found.label
        && planned.sector_size == found.sector_size
        && alike(&planned.id, &found.id)
        && places(planned) == places(found)
        && planned.partitions.iter().all(|entry| {
            // An MBR's are made of its id and the number.
            let found = super::check::entry_of(found, entry.number);
            planned.label != "gpt" || found.is_some_and(|found| alike(&entry.uuid, &found.uuid))
        })
}
