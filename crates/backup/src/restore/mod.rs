//! A stream becomes a disk again.
//!
//! Whatever happens on the way, the disk boots when all of the stream has been
//! read, checked and written, and not before: what firmware and kernels look
//! at first is written last. What is known beforehand to fail is refused before
//! the first write.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use p2v_sys::disk::Disk;
use p2v_sys::interrupt;
use p2v_sys::loopdev::Extent;

use crate::stream::{Manifest, StreamReader};
use crate::tools;

mod fit;
mod resize;
mod spill;
mod target;

pub use fit::{Direction, Fit, NewDisk, Resize};
use resize::Grown;
use spill::Spill;
use target::{Held, Target};

/// Where a restore may work on the node.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// An empty directory, to mount what grows or shrinks.
    pub mount_point: &'a Path,
    /// A directory with room for a disk's data, if a filesystem must shrink.
    pub spill: &'a Path,
}

/// Marks an error before which nothing was written to the disk.
#[derive(Debug)]
pub struct Untouched;

impl std::fmt::Display for Untouched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "nothing was written")
    }
}

/// Writes the stream to `disk`. An error that carries [`Untouched`] has left it
/// as it was. After another one the caller wipes the disk: if the very last
/// steps failed, it may boot.
pub fn restore(stream: &mut StreamReader<impl Read>, disk: &Disk, places: &Places) -> Result<()> {
    let manifest = stream.manifest().clone();
    let fit = plan(&manifest, disk).context(Untouched)?;
    if let Some(remark) = &fit.remark {
        tracing::info!("what this disk has more stays free: {remark}");
    }
    let shrinks = fit.resize.filter(|resize| resize.how == Direction::Shrink);
    let held = match shrinks {
        None => {
            let mut target = Target::start(disk, &manifest, &fit)?;
            receive(stream, &mut target)?;
            target.finish()?
        }
        Some(resize) => {
            let spill = Spill::make(&manifest, places).context(Untouched)?;
            spill.fill(stream, places)?;
            let shrunk = spill.shrink(&manifest, &fit, resize, places);
            shrunk.context(Untouched)?;
            let mut target = Target::start(disk, &manifest, &fit)?;
            spill.copy(&manifest, &fit, &mut target)?;
            target.finish()?
        }
    };
    complete(disk, &manifest, &fit, &held, places)
}

/// Everything that can be known before the first write.
fn plan(manifest: &Manifest, disk: &Disk) -> Result<Fit> {
    let new = NewDisk {
        size: disk.size(),
        sector_size: disk.sector_size(),
    };
    let doing = || format!("looking how the stream fits onto {}", disk.path().display());
    let fit = Fit::plan(manifest, new).with_context(doing)?;
    tools::check(manifest, &fit).with_context(doing)?;
    if let Some(table) = &fit.table {
        table.check_writable(disk.size()).with_context(doing)?;
    }
    target::check_room(disk, known_data(manifest)).with_context(doing)?;
    Ok(fit)
}

/// How many bytes the stream has at least, but for zeros. Areas of which all
/// blocks were taken may hold nothing but zeros.
fn known_data(manifest: &Manifest) -> u64 {
    let areas = manifest.areas.iter();
    let known = areas.filter(|area| area.whole_because.is_none());
    known.map(|area| area.used.min(area.length)).sum()
}

/// Reads the stream to its end.
fn receive(stream: &mut StreamReader<impl Read>, target: &mut Target) -> Result<()> {
    while let Some(record) = stream.next_record()? {
        interrupt::check().context("importing")?;
        target.put(&record)?;
    }
    Ok(())
}

/// The last steps, of which the very last makes the disk boot.
fn complete(
    disk: &Disk,
    manifest: &Manifest,
    fit: &Fit,
    held: &Held,
    places: &Places,
) -> Result<()> {
    let grows = fit.resize.filter(|resize| resize.how == Direction::Grow);
    let grow = || grows.map_or(Ok(()), |resize| grow(disk, manifest, fit, resize, places));
    match &fit.table {
        Some(table) => {
            grow()?;
            table.write(disk.path())?;
            held.write()
        }
        // What grows needs its superblock.
        None => {
            held.write()?;
            grow()
        }
    }
}

fn grow(disk: &Disk, manifest: &Manifest, fit: &Fit, how: Resize, places: &Places) -> Result<()> {
    let (area, place) = (&manifest.areas[how.area], &fit.places[how.area]);
    let (name, length) = (area.name(), place.end - place.start);
    let device = disk.part(Extent {
        offset: place.start,
        length,
    })?;
    let kind = area.content.as_deref().unwrap_or_default();
    let grown = resize::grow(kind, &device, places.mount_point, fit.table.is_none());
    let grown = grown.with_context(|| format!("growing {name}"))?;
    device.close()?;
    disk.sync()?;
    let (old, new) = (area.length >> 20, length >> 20);
    match grown {
        Grown::Fully => tracing::info!("{name} has grown from {old} to {new} MiB"),
        Grown::NotAtAll(error) => tracing::warn!(
            "{name} is whole, but could not grow from {old} to {new} MiB; do that in the \
             instance: {error:#}"
        ),
    }
    Ok(())
}
