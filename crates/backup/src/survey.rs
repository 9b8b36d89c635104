//! What a disk holds, and what of it a stream must carry.

use anyhow::{Context, Result};
use p2v_sys::filesystem::{self, Content, Signature};
use p2v_sys::loopdev::Extent;
use p2v_sys::partition::table::{Found, Table};
use p2v_sys::source_disk::SourceDisk;

use crate::allocation::{self, Used};
use crate::ranges::Ranges;
use crate::stream::{Area, AreaRole, Manifest};
use crate::tools;
use crate::window::Window;

/// Boot code ends here in the first sector; the table's own bytes follow.
const BOOT_CODE: u64 = 440;

/// Bytes of a GPT's 128 entries, at both ends of a disk.
pub const GPT_ENTRIES: u64 = 128 * 128;

/// Boot loaders that hide before the first partition lie in its first MiB; no
/// one is known to reach further than this.
const MOST_BOOT_AREA: u64 = 16 << 20;

/// A disk as a stream will have it.
#[derive(Debug)]
pub struct Survey {
    /// The stream's beginning.
    pub manifest: Manifest,
    /// For each of the manifest's areas the bytes that are kept, counted from
    /// the area's start: those in use, and what lies behind a filesystem that
    /// does not fill its partition.
    pub used: Vec<Ranges>,
}

/// Looks at all of `disk`. Nothing is written, mounted or attached.
///
/// # Errors
/// The disk cannot be read, or a program that reads tables is missing. Neither
/// a table that makes no sense is an error, nor a filesystem that gives up: all
/// of the disk or of the partition is kept then.
pub fn survey(disk: &SourceDisk) -> Result<Survey> {
    tools::check_table().context("before an export")?;
    let mut survey = Survey {
        manifest: Manifest {
            writer: format!("p2v {}", env!("CARGO_PKG_VERSION")),
            disk_size: disk.size(),
            sector_size: disk.sector_size(),
            table: None,
            areas: Vec::new(),
        },
        used: Vec::new(),
    };
    match partitions(disk)? {
        Found::Table(table) => {
            survey.add_boot_area(&table);
            for entry in table.partitions.iter().filter(|entry| !entry.is_extended()) {
                let extent = entry.extent(table.sector_size);
                survey.add(disk, AreaRole::Partition(entry.number), extent)?;
            }
            survey.manifest.table = Some(table);
        }
        Found::Nothing => survey.add(disk, AreaRole::WholeDisk, all(disk))?,
        // What a probe sees there may be left from earlier.
        Found::Unreadable(reason) => survey.add_unknown(all(disk), reason),
    }
    Ok(survey)
}

/// The partition table, if a restore could write it anew.
fn partitions(disk: &SourceDisk) -> Result<Found> {
    let table = match Table::find(disk.path())? {
        Found::Table(table) => table,
        other => return Ok(other),
    };
    let sectors = disk.size() / table.sector_size.max(1);
    let outside = table.partitions.iter().find(|entry| entry.end() > sectors);
    if let Some(entry) = outside {
        let number = entry.number;
        return Ok(Found::Unreadable(format!(
            "partition {number} reaches past its end"
        )));
    }
    Ok(match table.check_writable(disk.size()) {
        Ok(()) => Found::Table(table),
        Err(error) => Found::Unreadable(format!(
            "its partition table could not be written anew: {error:#}"
        )),
    })
}

fn all(disk: &SourceDisk) -> Extent {
    Extent {
        offset: 0,
        length: disk.size(),
    }
}

/// What of the disk's first `length` bytes is not the partition table.
pub fn boot_area(table: &Table, length: u64) -> Ranges {
    let mut used = Ranges::default();
    used.add(0..BOOT_CODE.min(length));
    // A GPT's header and its entries, as sfdisk writes them; the first sector
    // that a partition may have can be much later.
    let after = match table.label.as_str() {
        "gpt" => (2 * table.sector_size).saturating_add(GPT_ENTRIES),
        _ => table.sector_size,
    };
    used.add(after.min(length)..length);
    used
}

impl Survey {
    /// What lies before the first partition, except the table itself.
    fn add_boot_area(&mut self, table: &Table) {
        let first = table.partitions.iter().map(|entry| entry.start).min();
        let first = first.unwrap_or(1) * table.sector_size;
        let length = first.min(MOST_BOOT_AREA);
        let used = boot_area(table, length);
        let area = Area {
            role: AreaRole::BootArea,
            offset: 0,
            length,
            content: None,
            uuid: None,
            label: None,
            used: used.bytes(),
            whole_because: None,
        };
        self.push(area, used);
    }

    fn add(&mut self, disk: &SourceDisk, role: AreaRole, extent: Extent) -> Result<()> {
        let content = filesystem::probe(disk.path(), extent)?;
        let window = Window::new(disk.file(), extent);
        let (in_use, kept, whole_because) = match used(&content, &window) {
            Ok(used) => (used.ranges.bytes(), used.with_rest(extent.length), None),
            Err(reason) => (extent.length, Ranges::all(extent.length), Some(reason)),
        };
        let signature = match content {
            Content::Known(signature) => signature,
            Content::Nothing | Content::Ambiguous => Signature::default(),
        };
        let area = Area {
            role,
            offset: extent.offset,
            length: extent.length,
            content: Some(signature.kind).filter(|kind| !kind.is_empty()),
            uuid: signature.uuid,
            label: signature.label,
            used: in_use,
            whole_because,
        };
        report(&area);
        self.push(area, kept);
        Ok(())
    }

    /// The whole disk, without a look at what it holds.
    fn add_unknown(&mut self, extent: Extent, reason: String) {
        tracing::warn!("the disk is taken as a whole, since {reason}");
        let area = Area {
            role: AreaRole::WholeDisk,
            offset: extent.offset,
            length: extent.length,
            content: None,
            uuid: None,
            label: None,
            used: extent.length,
            whole_because: Some(reason),
        };
        self.push(area, Ranges::all(extent.length));
    }

    fn push(&mut self, area: Area, used: Ranges) {
        self.manifest.areas.push(area);
        self.used.push(used);
    }
}

/// The bytes in use, or why that cannot be told.
fn used(content: &Content, window: &Window) -> Result<Used, String> {
    match content {
        Content::Nothing => Err("it holds nothing that is known".to_owned()),
        Content::Ambiguous => Err("it has the signatures of several filesystems".to_owned()),
        Content::Known(signature) => {
            allocation::used(&signature.kind, window).map_err(|reason| format!("{reason:#}"))
        }
    }
}

fn report(area: &Area) {
    let (used, length) = (area.used >> 20, area.length >> 20);
    match &area.whole_because {
        None => tracing::info!("{}: {used} of {length} MiB are in use", area.name()),
        Some(reason) => tracing::info!("{}: all {length} MiB, since {reason}", area.name()),
    }
}
