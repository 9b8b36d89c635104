//! Where everything goes on the new disk: a plan made of the manifest and the
//! disk's size alone. Nothing is read or written here.
//!
//! Partitions keep their places and sizes, but for two kinds: the last
//! filesystem grows or shrinks with the disk, and swap areas behind it move
//! along, since a swap area is but its header. Anything else behind the last
//! filesystem keeps it from growing.

use std::ops::Range;

use anyhow::{Result, bail};
use p2v_sys::partition::table::{Entry, Table};

use crate::stream::{Area, AreaRole, Manifest};
use partitions::Partitions;

mod partitions;

/// More than any boot area: they are kept in memory until the end.
const MOST_BOOT_AREA: u64 = 16 << 20;

/// The kernel shrinks no btrfs below this.
const LEAST_BTRFS: u64 = 256 << 20;

/// Where on the new disk everything goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fit {
    /// The partition table to write, if there is one.
    pub table: Option<Table>,
    /// For each area of the manifest its bytes on the new disk.
    pub places: Vec<Range<u64>>,
    /// What must become another size.
    pub resize: Option<Resize>,
    /// Why the disk is not filled, if it is larger and nothing grows.
    pub remark: Option<String>,
}

/// A filesystem that becomes another size; its place has the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resize {
    /// The area's number.
    pub area: usize,
    /// Larger or smaller.
    pub how: Direction,
}

/// Which way a filesystem is resized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// After it has been restored.
    Grow,
    /// Before it reaches the disk.
    Shrink,
}

/// The disk that is restored to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewDisk {
    /// Its size in bytes.
    pub size: u64,
    /// Its logical sectors' size in bytes.
    pub sector_size: u32,
}

impl Fit {
    /// Everything where it was.
    pub fn unchanged(manifest: &Manifest) -> Self {
        let place = |area: &Area| area.offset..area.offset + area.length;
        Self {
            table: manifest.table.clone(),
            places: manifest.areas.iter().map(place).collect(),
            resize: None,
            remark: None,
        }
    }

    /// The plan for `disk`. An error says why there is none.
    pub fn plan(manifest: &Manifest, disk: NewDisk) -> Result<Self> {
        check(manifest)?;
        match &manifest.table {
            None => whole(manifest, disk),
            Some(table) => {
                if disk.sector_size != manifest.sector_size {
                    bail!(
                        "the partition table counts in sectors of {} bytes, and this disk has {}; \
                         import it to a disk with sectors of {0}",
                        manifest.sector_size,
                        disk.sector_size
                    );
                }
                Partitions::new(manifest, table, disk).plan()
            }
        }
    }
}

/// A manifest is what another program wrote: its numbers must make sense.
fn check(manifest: &Manifest) -> Result<()> {
    for area in &manifest.areas {
        let end = area.offset.checked_add(area.length);
        if end.is_none_or(|end| end > manifest.disk_size) {
            bail!("{} lies outside the disk that it is of", area.name());
        }
        let sound = match (area.role, &manifest.table) {
            (AreaRole::BootArea, Some(_)) => area.offset == 0 && area.length <= MOST_BOOT_AREA,
            (AreaRole::WholeDisk, None) => {
                area.offset == 0 && area.length == manifest.disk_size && manifest.areas.len() == 1
            }
            (AreaRole::Partition(number), Some(table)) => table.partitions.iter().any(|entry| {
                entry.number == number
                    && bytes(entry, table) == (area.offset..area.offset + area.length)
            }),
            _ => false,
        };
        if !sound {
            bail!("{} is not what the partition table says", area.name());
        }
    }
    match &manifest.table {
        Some(table) if table.sector_size != u64::from(manifest.sector_size) => {
            bail!("the partition table counts in other sectors than its disk")
        }
        _ => Ok(()),
    }
}

fn bytes(entry: &Entry, table: &Table) -> Range<u64> {
    let extent = entry.extent(table.sector_size);
    extent.offset..extent.offset.saturating_add(extent.length)
}

/// A disk without partitions.
fn whole(manifest: &Manifest, disk: NewDisk) -> Result<Fit> {
    let mut fit = Fit::unchanged(manifest);
    let Some(area) = manifest.areas.first() else {
        return Ok(fit);
    };
    if disk.size == area.length {
        return Ok(fit);
    }
    let new = disk.size / 4096 * 4096;
    if disk.size < area.length {
        shrinkable(area, new, |used| used)?;
        fit.resize = Some(Resize::of(0, Direction::Shrink));
        fit.places[0].end = new;
    } else if grows(area) {
        fit.resize = Some(Resize::of(0, Direction::Grow));
        fit.places[0].end = disk.size;
    } else {
        fit.remark = Some(format!("{} cannot grow", area.name()));
    }
    Ok(fit)
}

impl Resize {
    fn of(area: usize, how: Direction) -> Self {
        Self { area, how }
    }
}

/// Whether its filesystem can grow.
fn grows(area: &Area) -> bool {
    matches!(
        area.content.as_deref(),
        Some("ext2" | "ext3" | "ext4" | "xfs" | "btrfs")
    )
}

/// Fails unless the area can have `length` bytes. `disk` tells how large a disk
/// must be on which it has so many.
fn shrinkable(area: &Area, length: u64, disk: impl Fn(u64) -> u64) -> Result<()> {
    let (name, there) = (area.name(), disk(length) >> 20);
    match area.content.as_deref() {
        Some("btrfs") if length < LEAST_BTRFS => bail!(
            "this disk has {there} MiB, and {} MiB are needed for {name}: btrfs shrinks to {} MiB \
             at the least",
            disk(LEAST_BTRFS).div_ceil(1 << 20),
            LEAST_BTRFS >> 20
        ),
        // If that cannot be told, trying will show it, on another file.
        Some("ext2" | "ext3" | "ext4" | "btrfs") if area.whole_because.is_some() && length > 0 => {
            Ok(())
        }
        Some("ext2" | "ext3" | "ext4" | "btrfs") if area.used < length => Ok(()),
        Some("ext2" | "ext3" | "ext4" | "btrfs") => bail!(
            "this disk has {there} MiB, and at least {} MiB are needed: {} MiB of {name} are in use",
            disk(area.used).div_ceil(1 << 20),
            area.used.div_ceil(1 << 20)
        ),
        content => {
            let why = match content {
                Some("xfs") => "XFS cannot shrink",
                _ => "only ext2, ext3, ext4 and btrfs can be shrunk",
            };
            bail!(
                "this disk has {there} MiB, and {} MiB are needed for {name}: {why}",
                disk(area.length).div_ceil(1 << 20)
            )
        }
    }
}

#[cfg(test)]
mod tests;
